package io.candle4j.hub;

import io.candle4j.ProgressListener;
import io.candle4j.internal.NativeHub;
import java.nio.file.Path;
import java.util.List;
import java.util.Objects;
import org.jspecify.annotations.Nullable;

/**
 * The Hugging Face Hub, and the cache of what was fetched from it: the same cache that Python's
 * huggingface_hub uses, so each finds what the other stored.
 *
 * <p>Every byte is checked against the hash that the Hub promises before it gets a place in the
 * cache, an interrupted download goes on where it stopped, and the access token goes to the Hub
 * itself and nowhere else. Any number of threads and processes may use one cache at once.
 *
 * <p>Settings come from the environment ({@code HF_HOME}, {@code HF_HUB_CACHE}, {@code HF_TOKEN},
 * {@code HF_ENDPOINT}, {@code HF_HUB_OFFLINE} and others) unless a builder says otherwise.
 */
public final class CandleHub implements AutoCloseable {
  private final NativeHub hub;

  private CandleHub(NativeHub hub) {
    this.hub = hub;
  }

  /**
   * The Hub with the environment's settings.
   *
   * @return the Hub
   */
  public static CandleHub open() {
    return builder().open();
  }

  /**
   * Starts from the environment's settings.
   *
   * @return a builder
   */
  public static Builder builder() {
    return new Builder();
  }

  /**
   * Makes sure that a model is in the cache. When the cache has all that loading needs, the Hub is
   * not asked.
   *
   * @param id such as {@code Qwen/Qwen2.5-0.5B-Instruct}, with {@code @revision} and {@code
   *     :QUANTISATION} behind it if need be
   * @return where it lies
   */
  public Snapshot fetch(String id) {
    return fetch(id, null);
  }

  /**
   * Makes sure that a model is in the cache.
   *
   * @param id such as {@code Qwen/Qwen2.5-0.5B-Instruct}
   * @param listener told how far it is, or null; what it throws stops the download, which goes on
   *     from there the next time
   * @return where it lies
   * @throws HubException.ModelNotFound when the Hub has no such repository
   * @throws HubException.RevisionNotFound when it has no such revision
   * @throws HubException.FileNotFound when it lacks what loading needs
   * @throws HubException.Gated when access must be asked for
   * @throws HubException.Unauthorized when the token is missing or refused
   * @throws HubException.NotCached when it is not in the cache, and offline mode is on
   * @throws HubException.Checksum when wrong bytes came, twice
   * @throws HubException.DiskFull when there is no room
   * @throws HubException.Unavailable when the Hub does not answer rightly in time
   * @throws java.util.concurrent.CancellationException when this thread is interrupted
   */
  public Snapshot fetch(String id, @Nullable ProgressListener listener) {
    return hub.fetch(Objects.requireNonNull(id, "id"), false, listener);
  }

  /**
   * Brings a model in the cache up to date: asks the Hub which commit its revision is now, and
   * fetches what is missing of that.
   *
   * @param id such as {@code Qwen/Qwen2.5-0.5B-Instruct}
   * @param listener told how far it is, or null
   * @return where it lies
   */
  public Snapshot pull(String id, @Nullable ProgressListener listener) {
    return hub.fetch(Objects.requireNonNull(id, "id"), true, listener);
  }

  /**
   * The models in the cache.
   *
   * @return the models, by name
   */
  public List<CachedModel> list() {
    return hub.list();
  }

  /**
   * Removes a model from the cache, or one revision of it. Contents that other revisions share
   * stay.
   *
   * @param id the model, with {@code @revision} behind it for that one only
   * @return what was reclaimed
   * @throws HubException.NotCached when there is nothing to remove
   */
  public RemovedModel remove(String id) {
    return hub.remove(Objects.requireNonNull(id, "id"));
  }

  /**
   * Hashes what the cache holds of a model once more. The Hub is not asked.
   *
   * @param id the model
   * @param listener told how far it is, or null
   * @return what was found
   * @throws HubException.NotCached when nothing of it is there
   */
  public VerifiedModel verify(String id, @Nullable ProgressListener listener) {
    return hub.verify(Objects.requireNonNull(id, "id"), listener);
  }

  /** Stops operations under way, as soon as they report next, and waits for them. */
  @Override
  public void close() {
    hub.close();
  }

  /** What differs from the environment's settings. Not for several threads. */
  public static final class Builder {
    private @Nullable String endpoint;
    private @Nullable String cache;
    private @Nullable String token;
    private @Nullable Boolean offline;
    private @Nullable Integer concurrency;

    private Builder() {}

    /**
     * The Hub's address.
     *
     * @param endpoint such as {@code https://huggingface.co}
     * @return this
     */
    public Builder endpoint(String endpoint) {
      this.endpoint = Objects.requireNonNull(endpoint, "endpoint");
      return this;
    }

    /**
     * The folder of the cache.
     *
     * @param cache the folder; made when it is not there
     * @return this
     */
    public Builder cache(Path cache) {
      this.cache = cache.toAbsolutePath().toString();
      return this;
    }

    /**
     * The access token. It shows in no message.
     *
     * @param token the token
     * @return this
     */
    public Builder token(String token) {
      this.token = Objects.requireNonNull(token, "token");
      return this;
    }

    /**
     * Whether the Hub may not be asked.
     *
     * @param offline whether so
     * @return this
     */
    public Builder offline(boolean offline) {
      this.offline = offline;
      return this;
    }

    /**
     * How many connections fetch at once.
     *
     * @param concurrency at least 1
     * @return this
     */
    public Builder concurrency(int concurrency) {
      this.concurrency = concurrency;
      return this;
    }

    /**
     * Makes the Hub. Nothing is asked yet.
     *
     * @return the Hub
     * @throws IllegalArgumentException when a setting is not what it should be
     */
    public CandleHub open() {
      return new CandleHub(
          NativeHub.open(new NativeHub.Options(endpoint, cache, token, offline, concurrency)));
    }
  }
}
