package io.candle4j.spark;

import io.candle4j.CandleReranker;
import io.candle4j.DocumentScores;
import io.candle4j.ModelException;
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
        .add("scores", DataTypes.createArrayType(DataTypes.DoubleType, false), true)
        .add("left_out", DataTypes.createArrayType(DataTypes.IntegerType, false), true);
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
    return reranker.scoreAsync(text(inputs, 0, "query"), documents).thenApply(RerankRows::values);
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

  private static Object[] values(List<DocumentScores> all) {
    double[] scores = all.stream().mapToDouble(DocumentScores::score).toArray();
    int[] leftOut = all.stream().mapToInt(DocumentScores::leftOut).toArray();
    return new Object[] {ArraySeq.unsafeWrapArray(scores), ArraySeq.unsafeWrapArray(leftOut)};
  }
}
