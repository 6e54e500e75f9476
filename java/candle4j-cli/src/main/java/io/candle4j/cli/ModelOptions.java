package io.candle4j.cli;

import io.candle4j.CandleEmbedder;
import io.candle4j.CandleModel;
import io.candle4j.CandleRuntime;
import io.candle4j.Device;
import io.candle4j.Engine;
import io.candle4j.Precision;
import io.candle4j.Quantization;
import java.io.UncheckedIOException;
import java.nio.file.Path;
import java.util.Objects;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.ParameterException;
import picocli.CommandLine.Spec;
import picocli.CommandLine.Spec.Target;

/** Which model, and how it runs. */
final class ModelOptions {
  @Option(
      names = {"-m", "--model"},
      paramLabel = "ALIAS|ID|DIR|FILE",
      description =
          "Hugging Face id such as Qwen/Qwen2.5-0.5B-Instruct (downloaded if not cached), folder,"
              + " GGUF file, or alias (default: smollm2, the built-in model).")
  private @Nullable String source;

  @Option(
      names = "--revision",
      paramLabel = "REV",
      description = "Branch, tag or commit of a Hub model (default: main).")
  private @Nullable String revision;

  @Option(
      names = "--engine",
      paramLabel = "E",
      description =
          "auto, fused (this library's decoder) or candle (Candle's models) (default: auto: candle on"
              + " Metal, else fused).")
  private @Nullable Engine engine;

  @Option(
      names = "--device",
      paramLabel = "D",
      description = "auto, cpu, metal or cuda (default: auto: Metal on macOS, else the CPU).")
  private @Nullable Device device;

  @Option(
      names = "--precision",
      paramLabel = "P",
      description = "Type of the weights in memory: auto, f32, f16 or bf16 (default: auto).")
  private @Nullable Precision precision;

  @Option(
      names = "--quantize",
      paramLabel = "Q",
      description = "Quantize a folder's weights while loading: q8_0, q6_k, q5_k, q4_k or q4_0.")
  private @Nullable Quantization quantization;

  @Option(
      names = "--adapter",
      paramLabel = "FOLDER",
      description = "Folder of a LoRA adapter, as PEFT saves it, to merge into a folder's weights.")
  private @Nullable Path adapter;

  @Option(
      names = "--context",
      paramLabel = "N",
      description = "Context length in tokens, prompt and answer together (default: the model's).")
  private @Nullable Integer context;

  @Option(
      names = "--threads",
      paramLabel = "N",
      description = "Number of CPU threads (default: CANDLE_NUM_THREADS, else all processors).")
  private @Nullable Integer threads;

  @Spec(Target.MIXEE)
  private CommandSpec command;

  /** Whether a model was named. */
  boolean isGiven() {
    return source != null;
  }

  /** Fixes the number of threads, which must come before anything else that the library does. */
  void applyThreads() {
    applyThreads(threads, command);
  }

  /** Does so for the option of a command. */
  static void applyThreads(@Nullable Integer threads, CommandSpec command) {
    if (threads != null) {
      try {
        CandleRuntime.setThreads(threads);
      } catch (IllegalArgumentException e) {
        String message = Objects.requireNonNull(e.getMessage());
        throw new ParameterException(
            command.commandLine(), "--threads" + message.substring(message.indexOf(':')), e);
      }
    }
  }

  /** Loads another model with the same options, but for the revision. */
  CandleModel load(String other, Stdio stdio, Interruption interruption) {
    revision = null;
    return loadNamed(other, stdio, interruption);
  }

  /** Loads the model that an argument names. */
  CandleModel loadNamed(String named, Stdio stdio, Interruption interruption) {
    source = named;
    return load(stdio, interruption);
  }

  /** Loads the model, and shows the download if there is one. */
  CandleModel load(Stdio stdio, Interruption interruption) {
    applyThreads();
    CandleModel.Builder builder = CandleModel.builder();
    if (source != null) {
      builder.source(source);
    }
    if (revision != null) {
      if (source == null || isFolder(source)) {
        throw new ParameterException(
            command.commandLine(), "--revision is for a --model from the Hub");
      }
      builder.revision(revision);
    }
    if (engine != null) {
      builder.engine(engine);
    }
    if (device != null) {
      builder.device(device);
    }
    if (precision != null) {
      builder.precision(precision);
    }
    if (quantization != null) {
      builder.quantize(quantization);
    }
    if (adapter != null) {
      builder.adapter(adapter);
    }
    if (context != null) {
      builder.contextLength(context);
    }
    try (ProgressBars bars = new ProgressBars(stdio.live())) {
      builder.progress(bars);
      CandleModel model = interruption.during(builder::load);
      stdio.detail("loaded " + model.info());
      return model;
    } catch (UncheckedIOException e) {
      throw new CommandException(
          source == null || isFolder(source) ? ExitCode.MODEL : ExitCode.HUB,
          Failures.message(e),
          e);
    }
  }

  /** The same model, to be loaded for its embeddings. */
  TextModelOptions forEmbeddings() {
    applyThreads();
    return new TextModelOptions(source, revision, quantization);
  }

  /** Whether the model's folder says that it is one for embeddings. */
  boolean isForEmbeddings() {
    return source != null
        && (source.equals(CandleEmbedder.BUILT_IN)
            || new java.io.File(source, "modules.json").isFile());
  }

  private static boolean isFolder(String source) {
    return new java.io.File(source).exists();
  }
}
