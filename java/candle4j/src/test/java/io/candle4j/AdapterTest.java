package io.candle4j;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** LoRA adapters of a folder. */
class AdapterTest {
  private static final String CONFIG =
      """
      {"peft_type": "LORA", "r": 1, "lora_alpha": 4, "bias": "none", "target_modules": ["q_proj"]}
      """;

  @TempDir Path folder;

  @Test
  void anAdapterChangesTheAnswersAndOneOfZerosDoesNot() throws IOException {
    write(CONFIG, 0);
    assertEquals(scores(null), scores(folder));
    write(CONFIG, 1);
    assertNotEquals(scores(null), scores(folder));
  }

  @Test
  void whatIsNotMergedIsRefusedByName() throws IOException {
    write(CONFIG.replace("none", "all"), 1);
    ModelException.Unsupported refusal =
        assertThrows(ModelException.Unsupported.class, () -> scores(folder));
    assertEquals("bias", refusal.detail().get("key"));
    Files.delete(folder.resolve("adapter_model.safetensors"));
    write(CONFIG, 1);
    Files.delete(folder.resolve("adapter_config.json"));
    ModelException missing = assertThrows(ModelException.class, () -> scores(folder));
    assertTrue(String.valueOf(missing.getMessage()).contains("adapter_config.json"));
  }

  private static List<Float> scores(@Nullable Path adapter) {
    CandleModel.Builder builder = CandleModel.builder().path(Golden.folder("llama-plain"));
    if (adapter != null) {
      builder.adapter(adapter);
    }
    try (CandleModel model = builder.load();
        CandleSession session = model.newSession()) {
      Score score = session.score(TokenIds.of(5, 9, 33, 70, 100), 1);
      return score.logprobs().stream().map(token -> token.logprob()).toList();
    }
  }

  /** An adapter of rank 1 for one matrix of 32 by 32, whose numbers are all the same. */
  private void write(String config, float number) throws IOException {
    Files.writeString(folder.resolve("adapter_config.json"), config);
    String name = "base_model.model.model.layers.0.self_attn.q_proj.lora_";
    String header =
        """
        {"%sA.weight":{"dtype":"F32","shape":[1,32],"data_offsets":[0,128]},\
        "%sB.weight":{"dtype":"F32","shape":[32,1],"data_offsets":[128,256]}}\
        """
            .formatted(name, name);
    byte[] json = header.getBytes(StandardCharsets.UTF_8);
    ByteBuffer bytes = ByteBuffer.allocate(8 + json.length + 256).order(ByteOrder.LITTLE_ENDIAN);
    bytes.putLong(json.length).put(json);
    for (int i = 0; i < 64; i++) {
      bytes.putFloat(number);
    }
    Files.write(folder.resolve("adapter_model.safetensors"), bytes.array());
  }
}
