package io.candle4j.spark;

import io.candle4j.CandleEmbedder;
import io.candle4j.EmbedOptions;
import io.candle4j.Embedding;
import io.candle4j.EmbeddingException;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import org.apache.spark.sql.Row;
import org.apache.spark.sql.types.DataTypes;
import org.apache.spark.sql.types.StructType;
import scala.collection.immutable.ArraySeq;

/** Makes vectors of texts. The input is the text. */
final class EmbedRows extends RowWork<CandleEmbedder> {
  private static final long serialVersionUID = 1L;

  private final EmbedOptions options;

  EmbedRows(SparkModel model, EmbedOptions options) {
    super(model);
    this.options = options;
  }

  @Override
  StructType fields() {
    return new StructType()
        .add("vector", DataTypes.createArrayType(DataTypes.FloatType, false), true)
        .add("tokens", DataTypes.IntegerType, true)
        .add("left_out", DataTypes.IntegerType, true);
  }

  @Override
  CandleEmbedder load(SparkModel model) {
    return model.configure(CandleEmbedder.builder()).load();
  }

  @Override
  CompletableFuture<Object[]> start(CandleEmbedder embedder, Row inputs) {
    return embedder
        .embedAsync(List.of(text(inputs, 0, "text")), options)
        .thenApply(embeddings -> values(embeddings.getFirst()));
  }

  /** The only text's own failure, without its place in the call. */
  @Override
  Throwable cause(Throwable failure) {
    return failure instanceof EmbeddingException && failure.getCause() != null
        ? failure.getCause()
        : failure;
  }

  private static Object[] values(Embedding embedding) {
    return new Object[] {
      ArraySeq.unsafeWrapArray(embedding.vector()), embedding.tokens(), embedding.leftOut()
    };
  }
}
