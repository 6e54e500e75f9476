package io.candle4j.cli;

import io.candle4j.CandleEmbedder;
import io.candle4j.CandleModel;
import io.candle4j.CandleRuntime;
import io.candle4j.EmbedderInfo;
import io.candle4j.ModelException;
import io.candle4j.ModelInfo;
import io.candle4j.RuntimeInfo;
import java.util.Collection;
import java.util.Map;
import java.util.stream.Collectors;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;

/** Tells what there is to know about the library, the machine and a model. */
@Command(
    name = "info",
    description = "Show the native library and the machine, or a model with --model.")
final class InfoCommand extends BaseCommand {
  @Option(names = "--json", description = "Print a JSON object.")
  private boolean json;

  @Mixin private ModelOptions models;

  InfoCommand(Stdio stdio, Interruption interruption) {
    super(stdio, interruption);
  }

  @Override
  int run() {
    models.applyThreads();
    Map<String, Object> runtime = runtime(CandleRuntime.info());
    Map<String, Object> document = Json.object("runtime", runtime);
    if (models.isGiven()) {
      document.put("model", model());
    }
    if (json) {
      stdio().out().println(Json.line(document));
    } else {
      document.values().forEach(part -> print((Map<?, ?>) part));
    }
    return ExitCode.OK;
  }

  /** A model for texts, or one for embeddings, whose files may look like the former's. */
  private Map<String, Object> model() {
    if (models.isForEmbeddings()) {
      return embedder();
    }
    try (CandleModel model = models.load(stdio(), interruption())) {
      return model(model.info(), isVerbose());
    } catch (ModelException e) {
      try {
        return embedder();
      } catch (ModelException other) {
        e.addSuppressed(other);
        throw e;
      }
    }
  }

  private Map<String, Object> embedder() {
    try (CandleEmbedder embedder = models.forEmbeddings().loadEmbedder(stdio(), interruption())) {
      EmbedderInfo info = embedder.info();
      Map<String, Object> model =
          Json.object(
              "path", info.path().toString(),
              "architecture", info.architecture(),
              "precision", info.precision(),
              "dimensions", info.dimensions(),
              "pooling", info.pooling(),
              "similarity", Json.word(info.similarity()),
              "max_tokens", info.maxTokens(),
              "prompts", info.prompts(),
              "default_prompt", info.defaultPrompt().orElse(""),
              "vocab_size", info.vocabSize(),
              "layers", info.layers(),
              "parameters", info.parameters(),
              "load_ms", Json.rounded(info.loadTime().toNanos() / 1e6));
      if (isVerbose()) {
        model.put("ignored_keys", info.ignoredKeys());
      }
      return model;
    }
  }

  private static Map<String, Object> runtime(RuntimeInfo info) {
    return Json.object(
        "version", info.version(),
        "candle_version", info.candleVersion(),
        "target", info.target(),
        "library", info.library().toString(),
        "threads", info.threads(),
        "instruction_sets", info.instructionSets(),
        "instructions", info.instructions(),
        "default_device", info.defaultDevice(),
        "devices", info.devices(),
        "java_version", Runtime.version().toString());
  }

  private static Map<String, Object> model(ModelInfo info, boolean verbose) {
    Map<String, Object> model = described(info);
    if (verbose) {
      model.put("ignored_keys", info.ignoredKeys());
    }
    return model;
  }

  private static Map<String, Object> described(ModelInfo info) {
    return Json.object(
        "path", info.path().toString(),
        "architecture", info.architecture(),
        "engine", Json.word(info.engine()),
        "device", Json.word(info.device()),
        "precision", info.precision(),
        "context_length", info.contextLength(),
        "vocab_size", info.vocabSize(),
        "layers", info.layers(),
        "hidden_size", info.hiddenSize(),
        "parameters", info.parameters(),
        "eos_token_ids", info.eosTokenIds(),
        "has_chat_template", info.hasChatTemplate(),
        "kv_cache_limit", info.kvCacheLimit(),
        "load_ms", Json.rounded(info.loadTime().toNanos() / 1e6),
        "warnings", info.warnings());
  }

  private void print(Map<?, ?> part) {
    part.forEach((key, value) -> {
      String shown =
          value instanceof Collection<?> list
              ? list.stream().map(String::valueOf).collect(Collectors.joining(", "))
              : String.valueOf(value);
      stdio().out().print(Style.STRONG, String.format("%-18s", key.toString().replace('_', ' ')));
      stdio().out().println(shown);
    });
  }
}
