package io.candle4j;

import io.candle4j.internal.NativeRuntime;
import io.candle4j.internal.StackGuard;
import java.nio.file.Path;
import java.util.Objects;
import org.jspecify.annotations.Nullable;

/**
 * How a model for embeddings or reranking is to be loaded. Not for several threads.
 *
 * @param <B> the builder
 */
public abstract sealed class TextModelBuilder<B extends TextModelBuilder<B>>
    permits CandleEmbedder.Builder, CandleReranker.Builder {
  private @Nullable String source;
  private @Nullable String revision;
  private @Nullable Quantization quantization;
  private @Nullable Integer maxTokens;
  private @Nullable ProgressListener progress;

  TextModelBuilder(@Nullable String source) {
    this.source = source;
  }

  abstract B self();

  /**
   * Which model, as {@link CandleModel.Builder#source} has it.
   *
   * @param source alias, id or path
   * @return this
   */
  public B source(String source) {
    this.source = Objects.requireNonNull(source, "source");
    return self();
  }

  /**
   * Which model: a folder of files as they are on the Hub, or a GGUF file.
   *
   * @param path the folder or the file
   * @return this
   */
  public B path(Path path) {
    this.source = path.toAbsolutePath().toString();
    return self();
  }

  /**
   * Which branch, tag or commit of a Hub model; {@code main} when left out.
   *
   * @param revision the revision
   * @return this
   */
  public B revision(String revision) {
    this.revision = Objects.requireNonNull(revision, "revision");
    return self();
  }

  /**
   * Turns the weights of a folder into fewer bits while they are read.
   *
   * @param quantization the format
   * @return this
   */
  public B quantize(Quantization quantization) {
    this.quantization = Objects.requireNonNull(quantization, "quantization");
    return self();
  }

  /**
   * The most tokens that are read at once: of a text, or of a query and a document, those around
   * them included. What the model's files say when left out.
   *
   * @param maxTokens at most what the model can read
   * @return this
   */
  public B maxTokens(int maxTokens) {
    this.maxTokens = maxTokens;
    return self();
  }

  /**
   * Who is told how far a download is, and then how far the weights are in memory.
   *
   * @param progress the listener
   * @return this
   */
  public B progress(ProgressListener progress) {
    this.progress = Objects.requireNonNull(progress, "progress");
    return self();
  }

  /** Makes something of the model's files. */
  interface Loader<N> {
    N load(
        Path path,
        @Nullable Quantization quantization,
        @Nullable Integer maxTokens,
        @Nullable ProgressListener progress);
  }

  /** Finds the model, and loads it. Where no format was given, {@code builtIn} is loaded in I16. */
  final <N> N load(@Nullable String builtIn, Loader<N> loader) {
    NativeRuntime.library();
    StackGuard.check();
    if (source == null) {
      throw new IllegalStateException("source: expected a model, there is no built-in one");
    }
    Path path = ModelSource.resolve(source, revision, progress);
    // The built-in weights have 16 bits, so next to nothing is lost.
    Quantization format =
        quantization == null && source.equals(builtIn) ? Quantization.I16 : quantization;
    return loader.load(path, format, maxTokens, progress);
  }
}
