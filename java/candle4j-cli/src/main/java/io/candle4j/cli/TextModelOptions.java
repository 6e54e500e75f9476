package io.candle4j.cli;

import io.candle4j.CandleEmbedder;
import io.candle4j.CandleReranker;
import io.candle4j.Quantization;
import io.candle4j.TextModelBuilder;
import java.io.UncheckedIOException;
import java.util.function.Supplier;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.ParameterException;
import picocli.CommandLine.Spec;
import picocli.CommandLine.Spec.Target;

/** Which model for embeddings or reranking, and how it is loaded. */
final class TextModelOptions {
  @Option(
      names = {"-m", "--model"},
      paramLabel = "ALIAS|ID|DIR|FILE",
      description =
          "Hugging Face id such as BAAI/bge-small-en-v1.5 (downloaded if not cached), folder, GGUF"
              + " file, or alias (default for embeddings: minilm, the built-in model).")
  private @Nullable String source;

  @Option(
      names = "--revision",
      paramLabel = "REV",
      description = "Branch, tag or commit of a Hub model (default: main).")
  private @Nullable String revision;

  @Option(
      names = "--quantize",
      paramLabel = "Q",
      description =
          "Quantize a folder's weights while loading: i16, q8_0, q6_k, q5_k, q4_k or q4_0.")
  private @Nullable Quantization quantization;

  @Option(
      names = "--max-tokens",
      paramLabel = "N",
      description = "The most tokens of a text; longer ones are cut (default: the model's).")
  private @Nullable Integer maxTokens;

  @Option(
      names = "--threads",
      paramLabel = "N",
      description = "Number of CPU threads (default: CANDLE_NUM_THREADS, else all processors).")
  private @Nullable Integer threads;

  @Spec(Target.MIXEE)
  private CommandSpec command;

  TextModelOptions() {}

  /** Another command's model. */
  TextModelOptions(
      @Nullable String source, @Nullable String revision, @Nullable Quantization quantization) {
    this.source = source;
    this.revision = revision;
    this.quantization = quantization;
  }

  /** Loads a model for embeddings, and shows the download if there is one. */
  CandleEmbedder loadEmbedder(Stdio stdio, Interruption interruption) {
    CandleEmbedder.Builder builder = CandleEmbedder.builder();
    CandleEmbedder embedder = load(builder, builder::load, stdio, interruption);
    stdio.detail("loaded " + embedder.info());
    return embedder;
  }

  /** Loads a reranker, and shows the download if there is one. */
  CandleReranker loadReranker(Stdio stdio, Interruption interruption) {
    if (source == null) {
      throw new ParameterException(
          command.commandLine(), "expected --model: there is no built-in reranker");
    }
    CandleReranker.Builder builder = CandleReranker.builder();
    CandleReranker reranker = load(builder, builder::load, stdio, interruption);
    stdio.detail("loaded " + reranker.info());
    return reranker;
  }

  private <T> T load(
      TextModelBuilder<?> builder, Supplier<T> load, Stdio stdio, Interruption interruption) {
    ModelOptions.applyThreads(threads, command);
    if (source != null) {
      builder.source(source);
    }
    if (revision != null) {
      builder.revision(revision);
    }
    if (quantization != null) {
      builder.quantize(quantization);
    }
    if (maxTokens != null) {
      builder.maxTokens(maxTokens);
    }
    try (ProgressBars bars = new ProgressBars(stdio.live())) {
      builder.progress(bars);
      return interruption.during(load);
    } catch (UncheckedIOException e) {
      throw new CommandException(ExitCode.MODEL, Failures.message(e), e);
    }
  }
}
