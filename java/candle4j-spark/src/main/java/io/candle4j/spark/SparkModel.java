package io.candle4j.spark;

import io.candle4j.CandleModel;
import io.candle4j.Quantization;
import io.candle4j.TextModelBuilder;
import java.io.Serializable;
import java.util.Objects;
import org.apache.spark.SparkFiles;
import org.jspecify.annotations.Nullable;

/**
 * Which model executors load, and how. Each executor loads it once, when its first task needs it,
 * and all its tasks share it. Immutable.
 *
 * @param source what names the model: an alias, a Hub id, a folder or a GGUF file on every node, or
 *     a name as {@link #shipped} takes it
 * @param isShipped whether the source is a name of Spark's files
 * @param revision branch, tag or commit of a Hub model; null for {@code main}
 * @param quantization the format that weights of a folder are turned into; null for what they have
 * @param contextLength the longest context of a generation, or the most tokens of a text, in
 *     tokens; null for the model's own limit
 */
public record SparkModel(
    String source,
    boolean isShipped,
    @Nullable String revision,
    @Nullable Quantization quantization,
    @Nullable Integer contextLength)
    implements Serializable {

  /** Checks the parts. */
  public SparkModel {
    Objects.requireNonNull(source, "source");
    if (contextLength != null && contextLength < 1) {
      throw new IllegalArgumentException(
          "contextLength: expected at least 1, got " + contextLength);
    }
  }

  /**
   * A model by its name. Hub models are fetched once a node into its cache, by whichever executor
   * comes first.
   *
   * @param source an alias such as {@code smollm2}, a Hub id, or a path that exists on every node
   * @return the model
   */
  public static SparkModel of(String source) {
    return new SparkModel(source, false, null, null, null);
  }

  /**
   * A model that Spark sends to the executors: a file of {@code SparkContext.addFile} or {@code
   * --files}, a folder of {@code addFile(path, true)}, or an archive of {@code --archives}.
   *
   * @param name the file's name, as {@code SparkFiles.get} takes it
   * @return the model
   */
  public static SparkModel shipped(String name) {
    return new SparkModel(name, true, null, null, null);
  }

  /**
   * The same model at a revision.
   *
   * @param revision branch, tag or commit on the Hub
   * @return the model
   */
  public SparkModel withRevision(String revision) {
    return new SparkModel(source, isShipped, revision, quantization, contextLength);
  }

  /**
   * The same model with weights in fewer bits; for folders and Hub models of safetensors.
   *
   * @param quantization the format
   * @return the model
   */
  public SparkModel withQuantization(Quantization quantization) {
    return new SparkModel(source, isShipped, revision, quantization, contextLength);
  }

  /**
   * The same model with a shorter context, whose keys and values take less memory.
   *
   * @param contextLength tokens, at least 1
   * @return the model
   */
  public SparkModel withContextLength(int contextLength) {
    return new SparkModel(source, isShipped, revision, quantization, contextLength);
  }

  /** Tells a builder of a model which one to load. */
  CandleModel.Builder configure(CandleModel.Builder builder) {
    builder.source(location());
    if (revision != null) {
      builder.revision(revision);
    }
    if (quantization != null) {
      builder.quantize(quantization);
    }
    if (contextLength != null) {
      builder.contextLength(contextLength);
    }
    return builder;
  }

  /** Tells a builder of a model for embeddings or reranking which one to load. */
  <B extends TextModelBuilder<B>> B configure(B builder) {
    builder.source(location());
    if (revision != null) {
      builder.revision(revision);
    }
    if (quantization != null) {
      builder.quantize(quantization);
    }
    if (contextLength != null) {
      builder.maxTokens(contextLength);
    }
    return builder;
  }

  /** What names the model in this executor. */
  String location() {
    return isShipped ? SparkFiles.get(source) : source;
  }
}
