package io.candle4j;

import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.json.JsonMapper;

/** A golden Llama checkpoint as a GGUF file of F32 tensors. */
final class TinyGguf {
  private static final int ALIGNMENT = 32;
  private static final int UINT32 = 4;
  private static final int INT32 = 5;
  private static final int FLOAT32 = 6;
  private static final int STRING = 8;
  private static final int ARRAY = 9;
  private static final List<Map.Entry<String, String>> NAMES =
      List.of(
          Map.entry("model.embed_tokens.", "token_embd."),
          Map.entry("model.norm.", "output_norm."),
          Map.entry("lm_head.", "output."),
          Map.entry("model.layers.", "blk."),
          Map.entry("self_attn.q_proj.", "attn_q."),
          Map.entry("self_attn.k_proj.", "attn_k."),
          Map.entry("self_attn.v_proj.", "attn_v."),
          Map.entry("self_attn.o_proj.", "attn_output."),
          Map.entry("mlp.gate_proj.", "ffn_gate."),
          Map.entry("mlp.up_proj.", "ffn_up."),
          Map.entry("mlp.down_proj.", "ffn_down."),
          Map.entry("post_attention_layernorm.", "ffn_norm."),
          Map.entry("input_layernorm.", "attn_norm."));

  private final ByteArrayOutputStream out = new ByteArrayOutputStream();
  private int count;

  private TinyGguf() {}

  static byte[] of(Path folder) throws IOException {
    JsonMapper mapper = JsonMapper.shared();
    JsonNode config = mapper.readTree(folder.resolve("config.json"));
    JsonNode tokenizer = mapper.readTree(folder.resolve("tokenizer.json"));
    byte[] weights = Files.readAllBytes(folder.resolve("model.safetensors"));
    TinyGguf metadata = new TinyGguf();
    metadata.describe(config, tokenizer);
    ByteBuffer file = ByteBuffer.wrap(weights).order(ByteOrder.LITTLE_ENDIAN);
    int header = (int) file.getLong();
    JsonNode entries = mapper.readTree(new String(weights, 8, header, StandardCharsets.UTF_8));
    TinyGguf infos = new TinyGguf();
    ByteArrayOutputStream data = new ByteArrayOutputStream();
    for (Map.Entry<String, JsonNode> entry : entries.properties()) {
      if (entry.getKey().equals("__metadata__")) {
        continue;
      }
      infos.tensor(entry.getKey(), entry.getValue().get("shape"), data.size());
      int start = entry.getValue().get("data_offsets").get(0).asInt();
      int end = entry.getValue().get("data_offsets").get(1).asInt();
      data.write(weights, 8 + header + start, end - start);
      pad(data);
    }
    ByteArrayOutputStream whole = new ByteArrayOutputStream();
    whole.writeBytes("GGUF".getBytes(StandardCharsets.US_ASCII));
    whole.writeBytes(little(4).putInt(3).array());
    whole.writeBytes(little(16).putLong(infos.count).putLong(metadata.count).array());
    metadata.out.writeTo(whole);
    infos.out.writeTo(whole);
    pad(whole);
    data.writeTo(whole);
    return whole.toByteArray();
  }

  private void describe(JsonNode config, JsonNode tokenizer) {
    text("general.architecture", "llama");
    number("llama.context_length", config.get("max_position_embeddings"));
    number("llama.embedding_length", config.get("hidden_size"));
    number("llama.block_count", config.get("num_hidden_layers"));
    number("llama.feed_forward_length", config.get("intermediate_size"));
    number("llama.attention.head_count", config.get("num_attention_heads"));
    number("llama.attention.head_count_kv", config.get("num_key_value_heads"));
    key("llama.attention.layer_norm_rms_epsilon", FLOAT32);
    out.writeBytes(little(4).putFloat((float) config.get("rms_norm_eps").asDouble()).array());
    text("tokenizer.ggml.model", "gpt2");
    text("tokenizer.ggml.pre", "gpt2");
    JsonNode vocab = tokenizer.get("model").get("vocab");
    int size = config.get("vocab_size").asInt();
    List<String> tokens = new ArrayList<>();
    for (int id = 0; id < size; id++) {
      tokens.add("[unused" + id + "]");
    }
    vocab.properties().forEach(entry -> tokens.set(entry.getValue().asInt(), entry.getKey()));
    texts("tokenizer.ggml.tokens", tokens);
    List<String> merges = new ArrayList<>();
    for (JsonNode merge : tokenizer.get("model").get("merges")) {
      merges.add(
          merge.isArray()
              ? merge.get(0).asString() + " " + merge.get(1).asString()
              : merge.asString());
    }
    texts("tokenizer.ggml.merges", merges);
    key("tokenizer.ggml.token_type", ARRAY);
    out.writeBytes(little(12).putInt(INT32).putLong(size).array());
    for (int id = 0; id < size; id++) {
      out.writeBytes(little(4).putInt(1).array());
    }
    key("tokenizer.ggml.eos_token_id", UINT32);
    out.writeBytes(little(4).putInt(2).array());
    text(
        "tokenizer.chat_template",
        "{% for m in messages %}{{ m['role'] }}: {{ m['content'] }}\n{% endfor %}");
  }

  private void tensor(String name, JsonNode shape, long offset) {
    String gguf = name;
    for (Map.Entry<String, String> part : NAMES) {
      gguf = gguf.replace(part.getKey(), part.getValue());
    }
    count++;
    string(gguf);
    out.writeBytes(little(4).putInt(shape.size()).array());
    for (int i = shape.size() - 1; i >= 0; i--) {
      out.writeBytes(little(8).putLong(shape.get(i).asLong()).array());
    }
    out.writeBytes(little(12).putInt(0).putLong(offset).array());
  }

  private void key(String name, int type) {
    count++;
    string(name);
    out.writeBytes(little(4).putInt(type).array());
  }

  private void number(String name, JsonNode value) {
    key(name, UINT32);
    out.writeBytes(little(4).putInt(value.asInt()).array());
  }

  private void text(String name, String value) {
    key(name, STRING);
    string(value);
  }

  private void texts(String name, List<String> values) {
    key(name, ARRAY);
    out.writeBytes(little(12).putInt(STRING).putLong(values.size()).array());
    values.forEach(this::string);
  }

  private void string(String value) {
    byte[] bytes = value.getBytes(StandardCharsets.UTF_8);
    out.writeBytes(little(8).putLong(bytes.length).array());
    out.writeBytes(bytes);
  }

  private static ByteBuffer little(int size) {
    return ByteBuffer.allocate(size).order(ByteOrder.LITTLE_ENDIAN);
  }

  private static void pad(ByteArrayOutputStream out) {
    while (out.size() % ALIGNMENT != 0) {
      out.write(0);
    }
  }
}
