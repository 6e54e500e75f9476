package io.candle4j.server;

import io.candle4j.CandleEmbedder;
import io.candle4j.CandleModel;
import io.candle4j.EmbedOptions;
import io.candle4j.EmbedderInfo;
import io.candle4j.Embedding;
import io.candle4j.ModelException;
import io.candle4j.ModelInfo;
import java.nio.charset.StandardCharsets;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.HexFormat;
import java.util.List;
import java.util.Optional;
import tools.jackson.databind.node.ArrayNode;
import tools.jackson.databind.node.ObjectNode;

/** Ollama's lists and descriptions of models, and its embeddings. */
final class OllamaModels {
  private final ServedModels models;

  OllamaModels(ServedModels models) {
    this.models = models;
  }

  /** {@code /api/tags}: all models; {@code /api/ps}: those in memory. */
  ObjectNode list(boolean loadedOnly) {
    ObjectNode response = Json.object();
    ArrayNode array = response.putArray("models");
    for (ServedModel served : models.all()) {
      if (!loadedOnly || served.isLoaded()) {
        ObjectNode model =
            array
                .addObject()
                .put("name", served.name())
                .put("model", served.name())
                .put("modified_at", served.since().toString())
                .put("size", 0)
                .put("digest", digest(served.name()));
        model.set("details", details(served));
      }
    }
    return response;
  }

  private static String digest(String name) {
    try {
      byte[] hash =
          MessageDigest.getInstance("SHA-256").digest(name.getBytes(StandardCharsets.UTF_8));
      return HexFormat.of().formatHex(hash);
    } catch (NoSuchAlgorithmException e) {
      throw new IllegalStateException(e);
    }
  }

  /** What is known of a model, which is more once it is loaded. */
  private static ObjectNode details(ServedModel served) {
    Optional<ModelInfo> chat =
        served.chat().loaded().map(ChatResident::model).map(CandleModel::info);
    Optional<EmbedderInfo> embedder = served.embedder().loaded().map(CandleEmbedder::info);
    String family =
        chat.map(ModelInfo::architecture)
            .or(() -> embedder.map(EmbedderInfo::architecture))
            .orElse("");
    long parameters =
        chat.map(ModelInfo::parameters).or(() -> embedder.map(EmbedderInfo::parameters)).orElse(0L);
    String precision =
        chat.map(ModelInfo::precision).or(() -> embedder.map(EmbedderInfo::precision)).orElse("");
    ObjectNode details =
        Json.object()
            .put("parent_model", "")
            .put("format", served.name().endsWith(".gguf") ? "gguf" : "safetensors")
            .put("family", family)
            .put("parameter_size", parameters == 0 ? "" : parameters / 1_000_000 + "M")
            .put("quantization_level", precision);
    details.putArray("families").add(family);
    return details;
  }

  /** {@code /api/show}; loads the model. */
  void show(Exchange exchange) {
    Fields fields = exchange.fields();
    ServedModel served = OllamaFields.model(fields, models);
    ObjectNode response = Json.object();
    ObjectNode info = Json.object();
    ArrayNode capabilities = Json.array();
    try (var lease = served.use(served.chat(), 1, exchange)) {
      ModelInfo model = lease.model().model().info();
      info.put("general.architecture", model.architecture())
          .put("general.parameter_count", model.parameters())
          .put(model.architecture() + ".context_length", model.contextLength())
          .put(model.architecture() + ".embedding_length", model.hiddenSize())
          .put(model.architecture() + ".block_count", model.layers());
      capabilities.add("completion");
      if (model.hasChatTemplate()) {
        capabilities.add("tools");
      }
    } catch (ModelException.Unsupported e) {
      try (var lease = served.use(served.embedder(), 1, exchange)) {
        EmbedderInfo model = lease.model().info();
        info.put("general.architecture", model.architecture())
            .put("general.parameter_count", model.parameters())
            .put(model.architecture() + ".context_length", model.maxTokens())
            .put(model.architecture() + ".embedding_length", model.dimensions())
            .put(model.architecture() + ".block_count", model.layers());
        capabilities.add("embedding");
      }
    }
    response.put("modelfile", "").put("parameters", "").put("template", "");
    response.set("details", details(served));
    response.set("model_info", info);
    response.set("capabilities", capabilities);
    exchange.send(response.put("modified_at", served.since().toString()));
  }

  /** {@code /api/embed}. */
  void embed(Exchange exchange) {
    long begin = System.nanoTime();
    Fields fields = exchange.fields();
    ServedModel served = OllamaFields.model(fields, models);
    List<String> texts = fields.texts("input");
    EmbedOptions.Builder options = Embeddings.options(fields);
    options.truncate(fields.flag("truncate", true));
    try (var lease = served.use(served.embedder(), 1, exchange)) {
      OllamaFields.keepAlive(fields, lease);
      long loaded = System.nanoTime();
      List<Embedding> made =
          exchange.watch().interruptibly(() -> lease.model().embedAll(texts, options.build()));
      ObjectNode response = Json.object().put("model", served.name());
      ArrayNode vectors = response.putArray("embeddings");
      made.forEach(one -> vectors.add(Embeddings.floats(one.vector())));
      response
          .put("total_duration", System.nanoTime() - begin)
          .put("load_duration", loaded - begin)
          .put("prompt_eval_count", made.stream().mapToInt(Embedding::tokens).sum());
      exchange.send(response);
    }
  }

  /** The older {@code /api/embeddings}, of one text. */
  void embeddings(Exchange exchange) {
    Fields fields = exchange.fields();
    ServedModel served = OllamaFields.model(fields, models);
    String prompt = fields.text("prompt").orElseThrow(() -> fields.wrong("prompt", "a text"));
    try (var lease = served.use(served.embedder(), 1, exchange)) {
      ObjectNode response = Json.object();
      response.set(
          "embedding",
          Embeddings.floats(
              exchange.watch().interruptibly(() -> lease.model().embed(prompt)).vector()));
      exchange.send(response);
    }
  }
}
