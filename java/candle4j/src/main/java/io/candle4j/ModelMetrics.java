package io.candle4j;

import java.time.Duration;
import java.util.OptionalLong;

/**
 * What a model has done since it was loaded, and what it is doing. Counts only grow, so that the
 * difference of two of these is what happened in between. The same is in the JFR event {@code
 * io.candle4j.ModelStatistics}.
 *
 * @param requests generations that ended with an outcome, those of batches included
 * @param failed generations that failed
 * @param rejected requests that got {@link QueueFullException}
 * @param active requests under way
 * @param waiting requests that wait for a place ({@link Request.Builder#waitWhenFull})
 * @param promptTokens tokens of prompts
 * @param cachedTokens those of them that were in a KV cache already
 * @param generatedTokens new tokens
 * @param waitTime how long requests waited for a place
 * @param prefillTime from there to the logits of their first new tokens
 * @param decodeTime from there to the ends
 * @param passes forward passes, each of one sequence or more; 0 for {@link Engine#CANDLE}
 * @param passSequences sequences in all of these passes
 * @param passTokens tokens that they computed
 * @param passTime how long they took
 * @param kvCacheUsed bytes that the keys and values of all sessions use now; empty where they are
 *     not counted
 * @param kvCacheLimit bytes that they may use
 */
public record ModelMetrics(
    long requests,
    long failed,
    long rejected,
    int active,
    int waiting,
    long promptTokens,
    long cachedTokens,
    long generatedTokens,
    Duration waitTime,
    Duration prefillTime,
    Duration decodeTime,
    long passes,
    long passSequences,
    long passTokens,
    Duration passTime,
    OptionalLong kvCacheUsed,
    OptionalLong kvCacheLimit) {

  /**
   * The share of prompt tokens that were in a cache.
   *
   * @return 0 to 1; 0 when there was no prompt
   */
  public double cacheHitRate() {
    return promptTokens == 0 ? 0 : (double) cachedTokens / promptTokens;
  }

  /**
   * Prompt tokens that were computed, by the time of prefills. Of requests at the same time, each
   * one's time counts.
   *
   * @return tokens a second of one request; 0 when there were none
   */
  public double prefillTokensPerSecond() {
    return rate(promptTokens - cachedTokens, prefillTime);
  }

  /**
   * New tokens by the time of decoding. Of requests at the same time, each one's time counts.
   *
   * @return tokens a second of one request; 0 when there were none
   */
  public double decodeTokensPerSecond() {
    return rate(generatedTokens, decodeTime);
  }

  private static double rate(long tokens, Duration time) {
    return time.isZero() ? 0 : tokens / (time.toNanos() / 1e9);
  }
}
