package io.candle4j.langchain4j;

import dev.langchain4j.data.segment.TextSegment;
import dev.langchain4j.model.output.Response;
import dev.langchain4j.model.output.TokenUsage;
import dev.langchain4j.model.scoring.ScoringModel;
import io.candle4j.CandleReranker;
import io.candle4j.DocumentScores;
import java.util.List;
import java.util.Objects;

/**
 * LangChain4j's {@link ScoringModel} on a reranker in this process: how well segments fit a query.
 * Segments go through the model together, and any number of threads may use it. Errors are
 * LangChain4j's, as those of {@link CandleChatModel}.
 */
public final class CandleScoringModel implements ScoringModel {
  private final CandleReranker reranker;

  /**
   * Scores by a reranker.
   *
   * @param reranker the reranker, which stays the caller's
   * @throws IllegalArgumentException for one with several labels, whose scores are no order
   */
  public CandleScoringModel(CandleReranker reranker) {
    this.reranker = Objects.requireNonNull(reranker, "reranker");
    List<String> labels = reranker.info().labels();
    if (labels.size() != 1) {
      throw new IllegalArgumentException(
          "reranker: expected one with one score, got one with the labels " + labels);
    }
  }

  @Override
  public Response<List<Double>> scoreAll(List<TextSegment> segments, String query) {
    try {
      List<String> texts = segments.stream().map(TextSegment::text).toList();
      List<DocumentScores> all = reranker.score(query, texts);
      int tokens = all.stream().mapToInt(DocumentScores::tokens).sum();
      List<Double> scores = all.stream().map(one -> (double) one.score()).toList();
      return Response.from(scores, new TokenUsage(tokens, 0));
    } catch (RuntimeException e) {
      throw Responses.error(e);
    }
  }
}
