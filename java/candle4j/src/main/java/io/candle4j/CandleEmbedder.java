package io.candle4j;

import io.candle4j.hub.HubException;
import io.candle4j.internal.NativeEmbedder;
import io.candle4j.internal.StackGuard;
import java.util.ArrayList;
import java.util.Iterator;
import java.util.List;
import java.util.Objects;
import java.util.concurrent.CompletableFuture;

/**
 * A loaded model that turns texts into vectors, so that texts about the same things are near each
 * other.
 *
 * <p>Any number of threads may use one; their texts go through the model together. It holds memory
 * outside the Java heap, so close it.
 *
 * {@snippet :
 * try (CandleEmbedder embedder = CandleEmbedder.load("minilm")) {
 *   Embedding cat = embedder.embed("A cat sleeps on the sofa.");
 *   Embedding pet = embedder.embed("The kitten naps.");
 *   System.out.println(cat.cosine(pet));
 * }
 * }
 */
public final class CandleEmbedder implements AutoCloseable {
  /**
   * The alias of the small model that comes as the Maven artifact {@code candle4j-model-minilm}:
   * all-MiniLM-L6-v2, 384 dimensions, for English. Unless something else is asked for, it is
   * computed in {@link Quantization#I16}.
   */
  public static final String BUILT_IN = "minilm";

  /** Texts that cross to the native side at a time: so many vectors wait in memory. */
  private static final int WINDOW = 256;

  private final NativeEmbedder embedder;
  private final EmbedderInfo info;

  private CandleEmbedder(NativeEmbedder embedder) {
    this.embedder = embedder;
    try {
      this.info = embedder.describe();
    } catch (Throwable t) {
      embedder.close();
      throw t;
    }
  }

  /**
   * Loads a model with default settings.
   *
   * @param source the alias {@value #BUILT_IN}, a Hub id such as {@code BAAI/bge-small-en-v1.5}, a
   *     folder, or a GGUF file
   * @return the model
   * @see Builder#load()
   */
  public static CandleEmbedder load(String source) {
    return builder().source(source).load();
  }

  /**
   * Starts from default settings, and the built-in model.
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
  public EmbedderInfo info() {
    return info;
  }

  /**
   * Numbers of a vector.
   *
   * @return at least 1
   */
  public int dimensions() {
    return info.dimensions();
  }

  /**
   * The vector of a text.
   *
   * @param text the text; of an empty one, it is the vector of the tokens around every text
   * @return its vector, of the length 1
   * @throws IllegalArgumentException for a text that is no Unicode, or has no tokens
   * @throws IllegalStateException after close
   * @throws java.util.concurrent.CancellationException when this thread is interrupted
   */
  public Embedding embed(String text) {
    return embed(text, EmbedOptions.defaults());
  }

  /**
   * The vector of a text.
   *
   * @param text the text
   * @param options how
   * @return its vector
   * @throws ContextFullException for a text that is too long and may not be cut
   * @throws IllegalArgumentException for a text that is no Unicode, or has no tokens; for options
   *     that the model does not have
   */
  public Embedding embed(String text, EmbedOptions options) {
    return embedder.embed(0, List.of(text), options).getFirst().orElseThrow();
  }

  /**
   * The vector of tokens, to which nothing is added.
   *
   * @param tokens at least one
   * @param options how; prompts are left out
   * @return their vector
   * @throws ContextFullException for too many, when they may not be cut
   * @throws IllegalArgumentException for none, or for ids beyond the vocabulary
   */
  public Embedding embed(TokenIds tokens, EmbedOptions options) {
    return embedder.embedTokens(tokens, options).orElseThrow();
  }

  /**
   * The vectors of many texts.
   *
   * @param texts the texts
   * @return their vectors, in order
   * @throws EmbeddingException when some have none; it has the vectors of the others
   */
  public List<Embedding> embedAll(List<String> texts) {
    return embedAll(texts, EmbedOptions.defaults());
  }

  /**
   * The vectors of many texts.
   *
   * @param texts the texts
   * @param options how
   * @return their vectors, in order
   * @throws EmbeddingException when some have none; it has the vectors of the others
   * @throws java.util.concurrent.CancellationException when this thread is interrupted
   */
  public List<Embedding> embedAll(List<String> texts, EmbedOptions options) {
    StackGuard.check();
    return embedAll(embedder.nextCall(), List.copyOf(texts), options);
  }

  private List<Embedding> embedAll(long call, List<String> texts, EmbedOptions options) {
    List<EmbedResult> results = new ArrayList<>(texts.size());
    try {
      for (int start = 0; start < texts.size(); start += WINDOW) {
        List<String> window = texts.subList(start, Math.min(start + WINDOW, texts.size()));
        results.addAll(embedder.embed(call, window, options));
      }
    } finally {
      embedder.forget(call);
    }
    List<Embedding> embeddings = new ArrayList<>(results.size());
    for (int i = 0; i < results.size(); i++) {
      switch (results.get(i)) {
        case EmbedResult.Completed(Embedding embedding) -> embeddings.add(embedding);
        case EmbedResult.Failed(RuntimeException cause) ->
            throw new EmbeddingException(i, results, cause);
      }
    }
    return embeddings;
  }

  /**
   * The vectors of many texts, each given away when it is there: so many texts take no more memory
   * than a few.
   *
   * @param texts the texts, looked at as they are needed
   * @param options how
   * @param listener receives each vector, or what went wrong with its text, in order, on this
   *     thread. What it throws ends the call
   * @throws java.util.concurrent.CancellationException when this thread is interrupted
   */
  public void embedEach(Iterable<String> texts, EmbedOptions options, EmbedListener listener) {
    StackGuard.check();
    Objects.requireNonNull(listener, "listener");
    Iterator<String> rest = texts.iterator();
    long index = 0;
    while (rest.hasNext()) {
      List<String> window = new ArrayList<>(WINDOW);
      while (window.size() < WINDOW && rest.hasNext()) {
        window.add(rest.next());
      }
      List<EmbedResult> results = embedder.embed(0, window, options);
      for (int i = 0; i < results.size(); i++) {
        listener.onResult(index++, window.get(i), results.get(i));
      }
    }
  }

  /**
   * The vectors of many texts, made on a thread of the library.
   *
   * @param texts the texts
   * @param options how
   * @return what {@link #embedAll(List, EmbedOptions)} gives or throws. Completing it in any other
   *     way, such as {@code cancel}, stops the call
   */
  public CompletableFuture<List<Embedding>> embedAsync(List<String> texts, EmbedOptions options) {
    StackGuard.check();
    List<String> all = List.copyOf(texts);
    long call = embedder.nextCall();
    return CallFuture.start(() -> embedAll(call, all, options), () -> embedder.cancel(call));
  }

  /**
   * How alike two vectors of this model are, as its files say.
   *
   * @param a a vector
   * @param b another
   * @return more for vectors that are more alike
   */
  public double similarity(Embedding a, Embedding b) {
    return info.similarity().of(a, b);
  }

  /** Ends the model. Stops calls that are under way. Does nothing the second time. */
  @Override
  public void close() {
    embedder.close();
  }

  /** How a model is to be loaded. Not for several threads. */
  public static final class Builder extends TextModelBuilder<Builder> {
    private Builder() {
      super(BUILT_IN);
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
     * @throws HubException when it cannot be fetched
     * @throws ModelException.Invalid when its files are damaged
     * @throws ModelException.Unsupported when it would not be computed rightly
     * @throws ModelException.InsufficientMemory when it would not fit
     * @throws NativeLibraryException when there is no native library
     */
    public CandleEmbedder load() {
      return new CandleEmbedder(load(BUILT_IN, NativeEmbedder::load));
    }
  }
}
