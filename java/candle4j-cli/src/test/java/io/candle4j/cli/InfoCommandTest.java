package io.candle4j.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.Test;
import tools.jackson.databind.JsonNode;

class InfoCommandTest {
  @Test
  void theLibraryAndAModel() {
    JsonNode info = Cli.run("info", "--model", Golden.LLAMA, "--json").json();
    assertEquals(List.of("runtime", "model"), new ArrayList<>(info.propertyNames()));
    JsonNode runtime = info.get("runtime");
    assertTrue(Files.isRegularFile(Path.of(runtime.get("library").stringValue())));
    assertTrue(runtime.get("threads").intValue() > 0);
    assertTrue(runtime.get("devices").toString().contains("\"cpu\""));
    JsonNode model = info.get("model");
    assertEquals("llama", model.get("architecture").stringValue());
    assertEquals(512, model.get("context_length").intValue());
    assertEquals(384, model.get("vocab_size").intValue());
    assertEquals("[377]", model.get("eos_token_ids").toString());
    assertTrue(model.get("has_chat_template").booleanValue());
  }

  @Test
  void onlyTheLibraryWithoutAModel() {
    Cli.Result result = Cli.run("info");
    assertEquals(ExitCode.OK, result.code());
    assertTrue(result.out().startsWith("version           0.1.0\n"), result.out());
    assertTrue(!result.out().contains("architecture"), result.out());
  }

  @Test
  void modelsForEmbeddingsTellTheirPooling() {
    Path encoders = Path.of(System.getProperty("candle4j.test.models")).resolveSibling("encoders");
    JsonNode several =
        Cli.run("info", "--json", "--model", encoders.resolve("bert-several").toString())
            .json()
            .get("model");
    assertEquals(96, several.get("dimensions").intValue());
    assertEquals(3, several.get("pooling").size());
    assertEquals("cosine", several.get("similarity").stringValue());
    JsonNode plain =
        Cli.run("info", "--json", "--model", encoders.resolve("bert-rerank").toString())
            .json()
            .get("model");
    assertEquals("mean", plain.get("pooling").get(0).stringValue());
  }
}
