package io.candle4j.server;

import io.candle4j.CandleEmbedder;
import io.candle4j.EmbedOptions;
import io.candle4j.EmbedPrompt;
import io.candle4j.Embedding;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.ArrayList;
import java.util.Base64;
import java.util.List;
import org.jspecify.annotations.Nullable;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.node.ArrayNode;
import tools.jackson.databind.node.ObjectNode;

/** OpenAI's {@code /v1/embeddings}. */
final class Embeddings {
  /** As many as OpenAI's. */
  private static final int MOST_TEXTS = 2048;

  private final ServedModels models;

  Embeddings(ServedModels models) {
    this.models = models;
  }

  void answer(Exchange exchange) {
    Fields fields = exchange.fields();
    ServedModel served = models.get(fields.text("model").orElse(null));
    boolean base64 =
        switch (fields.text("encoding_format").orElse("float")) {
          case "float" -> false;
          case "base64" -> true;
          default -> throw fields.wrong("encoding_format", "float or base64");
        };
    // What does not fit is refused, as by OpenAI, unless a request says otherwise.
    EmbedOptions options = options(fields).truncate(fields.flag("truncate", false)).build();
    JsonNode input = fields.get("input");
    boolean tokens = isTokens(input);
    List<String> texts = tokens ? List.of() : texts(fields);
    try (var lease = served.use(served.embedder(), 1, exchange)) {
      CandleEmbedder embedder = lease.model();
      List<Embedding> made =
          tokens && input != null
              ? exchange.watch().interruptibly(() -> ofTokens(fields, embedder, input, options))
              : exchange.watch().interruptibly(() -> embedder.embedAll(texts, options));
      exchange.send(response(served.name(), made, base64));
    }
  }

  /** The texts of a field, one or many. */
  private static List<String> texts(Fields fields) {
    List<String> texts = fields.texts("input");
    if (texts.isEmpty() || texts.size() > MOST_TEXTS) {
      throw fields.wrong("input", "1 to " + MOST_TEXTS + " texts");
    }
    for (int i = 0; i < texts.size(); i++) {
      if (texts.get(i).isEmpty()) {
        throw ApiException.invalid("input", "input[" + i + "]: expected a text that is not empty");
      }
    }
    return texts;
  }

  private static boolean isTokens(@Nullable JsonNode input) {
    return input != null
        && input.isArray()
        && !input.isEmpty()
        && (input.get(0).isNumber() || input.get(0).isArray());
  }

  private static List<Embedding> ofTokens(
      Fields fields, CandleEmbedder embedder, JsonNode input, EmbedOptions options) {
    List<JsonNode> all = new ArrayList<>();
    if (input.get(0).isNumber()) {
      all.add(input);
    } else {
      input.forEach(all::add);
    }
    return all.stream()
        .map(one -> embedder.embed(Completions.tokens(fields, "input", one), options))
        .toList();
  }

  /** Dimensions, and whether texts are queries or documents, by the names that servers have. */
  static EmbedOptions.Builder options(Fields fields) {
    EmbedOptions.Builder options = EmbedOptions.builder();
    fields.integer("dimensions", options::dimensions);
    fields
        .text("input_type")
        .ifPresent(type -> {
          switch (type) {
            case "query", "search_query" -> options.prompt(new EmbedPrompt.Query());
            case "document", "passage", "search_document" ->
                options.prompt(new EmbedPrompt.Document());
            default -> throw fields.wrong("input_type", "query or document");
          }
        });
    return options;
  }

  private static ObjectNode response(String model, List<Embedding> made, boolean base64) {
    ObjectNode response = Json.object().put("object", "list");
    ArrayNode data = response.putArray("data");
    for (Embedding embedding : made) {
      ObjectNode one = Json.object().put("object", "embedding").put("index", data.size());
      if (base64) {
        one.put("embedding", base64(embedding.vector()));
      } else {
        one.set("embedding", floats(embedding.vector()));
      }
      data.add(one);
    }
    int tokens = made.stream().mapToInt(Embedding::tokens).sum();
    response.put("model", model);
    response.putObject("usage").put("prompt_tokens", tokens).put("total_tokens", tokens);
    return response;
  }

  static ArrayNode floats(float[] vector) {
    ArrayNode array = Json.array();
    for (float value : vector) {
      array.add(value);
    }
    return array;
  }

  private static String base64(float[] vector) {
    ByteBuffer bytes = ByteBuffer.allocate(4 * vector.length).order(ByteOrder.LITTLE_ENDIAN);
    bytes.asFloatBuffer().put(vector);
    return Base64.getEncoder().encodeToString(bytes.array());
  }
}
