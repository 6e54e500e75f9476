package io.candle4j.internal;

import static io.candle4j.bindings.candle4j_h.c4j_reranker_describe;
import static io.candle4j.bindings.candle4j_h.c4j_reranker_score;

import io.candle4j.DocumentScores;
import io.candle4j.ProgressListener;
import io.candle4j.Quantization;
import io.candle4j.RerankerInfo;
import io.candle4j.bindings.candle4j_h;
import java.lang.foreign.MemorySegment;
import java.nio.file.Path;
import java.util.List;
import java.util.concurrent.CancellationException;
import org.jspecify.annotations.Nullable;

/** A loaded reranker behind the border. Any thread may use it. */
public final class NativeReranker implements AutoCloseable {
  private final NumberedCalls calls;

  private NativeReranker(MemorySegment pointer) {
    calls =
        new NumberedCalls(
            "reranker", pointer, candle4j_h::c4j_reranker_free, candle4j_h::c4j_reranker_cancel);
  }

  /**
   * Loads what is in a folder or a file.
   *
   * @param source the folder or the file
   * @param quantize in which blocks, or null for none
   * @param maxTokens the most tokens, or null for what the files say
   * @param listener told how far it is, on a thread of the library, or null
   * @return the model
   */
  public static NativeReranker load(
      Path source,
      @Nullable Quantization quantize,
      @Nullable Integer maxTokens,
      @Nullable ProgressListener listener) {
    return WatchedLoad.run(
        source,
        new Requests.TextOptions(quantize, maxTokens),
        listener,
        candle4j_h::c4j_reranker_load,
        candle4j_h::c4j_reranker_free,
        NativeReranker::new);
  }

  /**
   * Describes it.
   *
   * @return the description
   */
  public RerankerInfo describe() {
    StackGuard.check();
    return calls
        .handle()
        .call(pointer -> {
          try (Call call = new Call()) {
            call.check(c4j_reranker_describe(pointer, call.buffer(), call.error()));
            return Json.read(call.text(), Results.RerankerDescription.class).toInfo();
          }
        });
  }

  /**
   * Scores documents.
   *
   * @param call the call's number, by which it can be cancelled; 0 for one of its own
   * @param query the query
   * @param documents the documents
   * @param instruction what makes one relevant, or null
   * @return the scores of each
   * @throws CancellationException when it was cancelled, or this thread is interrupted
   */
  public List<DocumentScores> score(
      long call, String query, List<String> documents, @Nullable String instruction) {
    StackGuard.check();
    try {
      return scored(call, query, documents, instruction);
    } finally {
      calls.forget(call);
    }
  }

  private List<DocumentScores> scored(
      long call, String query, List<String> documents, @Nullable String instruction) {
    return calls.run(
        call,
        number -> {
          byte[] request = Json.write(new Requests.Rerank(query, documents, instruction, number));
          return calls.handle().call(reranker -> score(reranker, request));
        });
  }

  private static List<DocumentScores> score(MemorySegment reranker, byte[] request) {
    try (Call call = new Call()) {
      call.check(
          c4j_reranker_score(
              reranker, call.bytes(request), request.length, call.buffer(), call.error()));
      return Json.list(call.text(), Results.Reranked.class).stream()
          .map(Results.Reranked::toScores)
          .toList();
    }
  }

  /**
   * Takes a number for a call, by which it can be cancelled before it begins.
   *
   * @return the number
   */
  public long nextCall() {
    return calls.next();
  }

  /**
   * Cancels a call.
   *
   * @param call its number
   */
  public void cancel(long call) {
    calls.cancel(call);
  }

  @Override
  public void close() {
    calls.handle().close();
  }
}
