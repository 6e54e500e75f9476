package io.candle4j;

import io.candle4j.hub.HubException;
import io.candle4j.internal.NativeReranker;
import io.candle4j.internal.StackGuard;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;
import java.util.Objects;
import java.util.concurrent.CompletableFuture;

/**
 * A loaded model that reads a query and a document together and says how well they fit: slower than
 * vectors, and better, so it puts in order what vectors have found.
 *
 * <p>Any number of threads may use one; their documents go through the model together. It holds
 * memory outside the Java heap, so close it.
 *
 * {@snippet :
 * try (CandleReranker reranker = CandleReranker.load("cross-encoder/ms-marco-MiniLM-L6-v2")) {
 *   for (RankedDocument best : reranker.rank("How do cats sleep?", documents, 3)) {
 *     System.out.println(best.score() + " " + best.document());
 *   }
 * }
 * }
 */
public final class CandleReranker implements AutoCloseable {
  private final NativeReranker reranker;
  private final RerankerInfo info;

  private CandleReranker(NativeReranker reranker) {
    this.reranker = reranker;
    try {
      this.info = reranker.describe();
    } catch (Throwable t) {
      reranker.close();
      throw t;
    }
  }

  /**
   * Loads a model with default settings.
   *
   * @param source a Hub id such as {@code cross-encoder/ms-marco-MiniLM-L6-v2}, or a folder
   * @return the model
   * @see Builder#load()
   */
  public static CandleReranker load(String source) {
    return builder().source(source).load();
  }

  /**
   * Starts from default settings.
   *
   * @return a builder
   */
  public static Builder builder() {
    return new Builder();
  }

  /**
   * What there is to know about the model.
   *
   * @return the description
   */
  public RerankerInfo info() {
    return info;
  }

  /**
   * Scores documents for a query. Those that are too long are cut at their end.
   *
   * @param query what is looked for
   * @param documents where it is looked for
   * @return the scores of each document, in order
   * @throws IllegalArgumentException for a text that is no Unicode; the message names it
   * @throws IllegalStateException after close
   * @throws java.util.concurrent.CancellationException when this thread is interrupted
   */
  public List<DocumentScores> score(String query, List<String> documents) {
    return reranker.score(0, query, List.copyOf(documents), null);
  }

  /**
   * Scores documents for a query, by a model that can be told what makes a document relevant.
   *
   * @param query what is looked for
   * @param documents where it is looked for
   * @param instruction what makes a document relevant
   * @return the scores of each document, in order
   * @throws IllegalArgumentException for a model that takes no instruction
   */
  public List<DocumentScores> score(String query, List<String> documents, String instruction) {
    return reranker.score(
        0, query, List.copyOf(documents), Objects.requireNonNull(instruction, "instruction"));
  }

  /**
   * Scores documents for a query, on a thread of the library.
   *
   * @param query what is looked for
   * @param documents where it is looked for
   * @return what {@link #score(String, List)} gives or throws. Completing it in any other way, such
   *     as {@code cancel}, stops the call
   */
  public CompletableFuture<List<DocumentScores>> scoreAsync(String query, List<String> documents) {
    StackGuard.check();
    List<String> all = List.copyOf(documents);
    long call = reranker.nextCall();
    return CallFuture.start(
        () -> reranker.score(call, query, all, null), () -> reranker.cancel(call));
  }

  /**
   * The documents that fit a query best.
   *
   * @param query what is looked for
   * @param documents where it is looked for
   * @param top how many at most
   * @return the best first; of equal ones, the earlier first
   * @throws IllegalStateException for a model with several labels, whose scores have no order
   */
  public List<RankedDocument> rank(String query, List<String> documents, int top) {
    return rank(0, query, List.copyOf(documents), top);
  }

  private List<RankedDocument> rank(long call, String query, List<String> documents, int top) {
    if (info.labels().size() != 1) {
      throw new IllegalStateException(
          "rank: the model has the labels " + info.labels() + ", whose scores have no order");
    }
    if (top < 0) {
      throw new IllegalArgumentException("top: expected at least 0, got " + top);
    }
    List<DocumentScores> scores = reranker.score(call, query, documents, null);
    List<RankedDocument> ranked = new ArrayList<>(scores.size());
    for (int i = 0; i < scores.size(); i++) {
      ranked.add(new RankedDocument(i, documents.get(i), scores.get(i).score()));
    }
    ranked.sort(Comparator.comparingDouble(RankedDocument::score).reversed());
    return List.copyOf(ranked.subList(0, Math.min(top, ranked.size())));
  }

  /**
   * The documents that fit a query best, found on a thread of the library.
   *
   * @param query what is looked for
   * @param documents where it is looked for
   * @param top how many at most
   * @return what {@link #rank} gives or throws. Completing it in any other way, such as {@code
   *     cancel}, stops the call
   */
  public CompletableFuture<List<RankedDocument>> rankAsync(
      String query, List<String> documents, int top) {
    StackGuard.check();
    List<String> all = List.copyOf(documents);
    long call = reranker.nextCall();
    return CallFuture.start(() -> rank(call, query, all, top), () -> reranker.cancel(call));
  }

  /** Ends the model. Stops calls that are under way. Does nothing the second time. */
  @Override
  public void close() {
    reranker.close();
  }

  /** How a model is to be loaded. Not for several threads. */
  public static final class Builder extends TextModelBuilder<Builder> {
    private Builder() {
      super(null);
    }

    @Override
    Builder self() {
      return this;
    }

    /**
     * Unpacks or fetches the model if it is not in the cache, and loads it. Blocks until that is
     * done.
     *
     * @return the model
     * @throws IllegalStateException when no source was given
     * @throws HubException when it cannot be fetched
     * @throws ModelException.Invalid when its files are damaged
     * @throws ModelException.Unsupported when it would not be computed rightly
     * @throws ModelException.InsufficientMemory when it would not fit
     * @throws NativeLibraryException when there is no native library
     */
    public CandleReranker load() {
      return new CandleReranker(load(null, NativeReranker::load));
    }
  }
}
