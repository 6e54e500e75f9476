package io.candle4j.internal;

import static io.candle4j.bindings.candle4j_h.c4j_embedder_describe;
import static io.candle4j.bindings.candle4j_h.c4j_embedder_embed;

import io.candle4j.EmbedOptions;
import io.candle4j.EmbedResult;
import io.candle4j.EmbedderInfo;
import io.candle4j.ProgressListener;
import io.candle4j.Quantization;
import io.candle4j.TokenIds;
import io.candle4j.bindings.candle4j_h;
import java.lang.foreign.MemorySegment;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CancellationException;
import org.jspecify.annotations.Nullable;

/** A loaded model for embeddings behind the border. Any thread may use it. */
public final class NativeEmbedder implements AutoCloseable {
  private final NumberedCalls calls;

  private NativeEmbedder(MemorySegment pointer) {
    calls =
        new NumberedCalls(
            "embedder", pointer, candle4j_h::c4j_embedder_free, candle4j_h::c4j_embedder_cancel);
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
  public static NativeEmbedder load(
      Path source,
      @Nullable Quantization quantize,
      @Nullable Integer maxTokens,
      @Nullable ProgressListener listener) {
    return WatchedLoad.run(
        source,
        new Requests.TextOptions(quantize, maxTokens),
        listener,
        candle4j_h::c4j_embedder_load,
        candle4j_h::c4j_embedder_free,
        NativeEmbedder::new);
  }

  /**
   * Describes it.
   *
   * @return the description
   */
  public EmbedderInfo describe() {
    StackGuard.check();
    return calls
        .handle()
        .call(pointer -> {
          try (Call call = new Call()) {
            call.check(c4j_embedder_describe(pointer, call.buffer(), call.error()));
            return Json.read(call.text(), Results.EmbedderDescription.class).toInfo();
          }
        });
  }

  /**
   * Makes vectors.
   *
   * @param call the call's number, by which it can be cancelled; 0 for one of its own
   * @param texts the texts
   * @param how the options
   * @return what became of each text, in order
   * @throws CancellationException when it was cancelled, or this thread is interrupted
   */
  public List<EmbedResult> embed(long call, List<String> texts, EmbedOptions how) {
    StackGuard.check();
    List<String> good = new ArrayList<>(texts.size());
    for (String text : texts) {
      if (Utf8.isUnicode(text)) {
        good.add(text);
      }
    }
    List<EmbedResult> made = run(call, good, List.of(), how);
    if (good.size() == texts.size()) {
      return made;
    }
    List<EmbedResult> results = new ArrayList<>(texts.size());
    int next = 0;
    for (String text : texts) {
      results.add(
          Utf8.isUnicode(text)
              ? made.get(next++)
              : new EmbedResult.Failed(
                  new IllegalArgumentException("text: holds half of a surrogate pair")));
    }
    return results;
  }

  /**
   * Makes the vector of tokens.
   *
   * @param tokens the tokens
   * @param how the options
   * @return what became of them
   */
  public EmbedResult embedTokens(TokenIds tokens, EmbedOptions how) {
    StackGuard.check();
    if (tokens.isEmpty()) {
      throw new IllegalArgumentException("tokens: expected at least one");
    }
    return run(0, List.of(), List.of(tokens.toIntArray()), how).getFirst();
  }

  private List<EmbedResult> run(
      long call, List<String> texts, List<int[]> tokens, EmbedOptions how) {
    if (texts.isEmpty() && tokens.isEmpty()) {
      return List.of();
    }
    return calls.run(
        call,
        number -> {
          byte[] request =
              Json.write(
                  new Requests.Embed(
                      texts,
                      tokens,
                      Requests.prompt(how.prompt()),
                      how.normalizes(),
                      how.truncates(),
                      how.dimensions().isPresent() ? how.dimensions().getAsInt() : null,
                      number));
          return calls.handle().call(embedder -> run(embedder, request));
        });
  }

  private static List<EmbedResult> run(MemorySegment embedder, byte[] request) {
    try (Call call = new Call();
        Call vectors = new Call()) {
      call.check(
          c4j_embedder_embed(
              embedder,
              call.bytes(request),
              request.length,
              vectors.buffer(),
              call.buffer(),
              call.error()));
      return Json.read(call.text(), Results.Embedded.class).toResults(vectors.floats());
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
   * Says that a call is over.
   *
   * @param call its number
   */
  public void forget(long call) {
    calls.forget(call);
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
