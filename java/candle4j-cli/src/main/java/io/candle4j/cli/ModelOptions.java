package io.candle4j.cli;

import io.candle4j.CandleModel;
import io.candle4j.CandleRuntime;
import io.candle4j.Device;
import io.candle4j.Engine;
import io.candle4j.Precision;
import io.candle4j.Quantization;
import java.io.UncheckedIOException;
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
          "An id on the Hugging Face Hub such as Qwen/Qwen2.5-0.5B-Instruct, fetched when it is not"
              + " cached; a folder or a GGUF file; or an alias. The small built-in model, smollm2,"
              + " when left out.")
  private @Nullable String source;

  @Option(
      names = "--revision",
      paramLabel = "REV",
      description = "Branch, tag or commit of a Hub model; main when left out.")
  private @Nullable String revision;

  @Option(
      names = "--engine",
      paramLabel = "E",
      description =
          "One of auto, candle, fused: Candle's ready-made model, or the library's own. auto is"
              + " candle on Metal, else fused.")
  private @Nullable Engine engine;

  @Option(
      names = "--device",
      paramLabel = "D",
      description = "One of auto, cpu, metal, cuda. auto is Metal on macOS, else the CPU.")
  private @Nullable Device device;

  @Option(
      names = "--precision",
      paramLabel = "P",
      description = "One of auto, f32, f16, bf16: the type of the weights in memory.")
  private @Nullable Precision precision;

  @Option(
      names = "--quantize",
      paramLabel = "Q",
      description =
          "One of q8_0, q6_k, q5_k, q4_k, q4_0: turn a folder's weights into that while they are read.")
  private @Nullable Quantization quantization;

  @Option(
      names = "--context",
      paramLabel = "N",
      description = "Tokens that prompt and answer may have together; at most the model's limit.")
  private @Nullable Integer context;

  @Option(
      names = "--threads",
      paramLabel = "N",
      description = "Threads for the CPU's work. CANDLE_NUM_THREADS, else all processors.")
  private @Nullable Integer threads;

  @Spec(Target.MIXEE)
  private CommandSpec command;

  /** Whether a model was named. */
  boolean isGiven() {
    return source != null;
  }

  /** Fixes the number of threads, which must come before anything else that the library does. */
  void applyThreads() {
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

  private static boolean isFolder(String source) {
    return new java.io.File(source).exists();
  }
}
