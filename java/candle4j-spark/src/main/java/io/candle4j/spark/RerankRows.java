package io.candle4j.spark;

import io.candle4j.CandleReranker;
import io.candle4j.ModelException;
import io.candle4j.RankedDocument;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CompletableFuture;
import org.apache.spark.sql.Row;
import org.apache.spark.sql.types.DataTypes;
import org.apache.spark.sql.types.StructType;
import scala.collection.immutable.ArraySeq;

/** Scores documents. The inputs are the query and one document or several. */
final class RerankRows extends RowWork<CandleReranker> {
  private static final long serialVersionUID = 1L;

  RerankRows(SparkModel model) {
    super(model);
  }

  @Override
  StructType fields() {
    return new StructType()
        .add("scores", DataTypes.createArrayType(DataTypes.DoubleType, false), true);
  }

  @Override
  CandleReranker load(SparkModel model) {
    CandleReranker reranker = model.configure(CandleReranker.builder()).load();
    if (reranker.info().labels().size() != 1) {
      reranker.close();
      throw new ModelException.Unsupported(
          "model " + model.source() + ": expected a reranker with one score, got several labels",
          Map.of("model", model.source()));
    }
    return reranker;
  }

  @Override
  CompletableFuture<Object[]> start(CandleReranker reranker, Row inputs) {
    List<String> documents = documents(inputs);
    return reranker
        .rankAsync(text(inputs, 0, "query"), documents, documents.size())
        .thenApply(RerankRows::values);
  }

  private static List<String> documents(Row inputs) {
    if (!(inputs.get(1) instanceof scala.collection.Seq<?>)) {
      return List.of(text(inputs, 1, "documents"));
    }
    List<String> documents = new ArrayList<>(inputs.getList(1));
    if (documents.contains(null)) {
      throw new IllegalArgumentException("documents: expected texts, got null among them");
    }
    return documents;
  }

  private static Object[] values(List<RankedDocument> ranked) {
    double[] scores = new double[ranked.size()];
    for (RankedDocument document : ranked) {
      scores[document.index()] = document.score();
    }
    return new Object[] {ArraySeq.unsafeWrapArray(scores)};
  }
}
