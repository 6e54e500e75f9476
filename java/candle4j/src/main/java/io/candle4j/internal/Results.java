package io.candle4j.internal;

import io.candle4j.BatchResult;
import io.candle4j.FinishReason;
import io.candle4j.Generation;
import io.candle4j.TokenLogprobs;
import java.math.BigInteger;
import java.time.Duration;
import java.util.List;
import java.util.Objects;
import org.jspecify.annotations.Nullable;
import tools.jackson.databind.JsonNode;

/** Results as the native side writes them, and what they become. */
final class Results {
  private Results() {}

  record Generated(
      String text,
      List<Integer> tokenIds,
      FinishReason finishReason,
      int promptTokens,
      int cachedTokens,
      BigInteger seed,
      @Nullable List<TokenLogprobs> logprobs,
      @Nullable List<String> warnings,
      double prefillMs,
      double decodeMs) {

    Generation toGeneration() {
      int computed = promptTokens - cachedTokens;
      int decoded = tokenIds.size() - 1;
      return new Generation(
          text,
          tokenIds,
          finishReason,
          promptTokens,
          cachedTokens,
          seed.longValue(),
          logprobs == null ? List.of() : logprobs,
          warnings == null ? List.of() : warnings,
          new Generation.Timings(
              duration(prefillMs),
              duration(decodeMs),
              rate(computed, prefillMs),
              rate(decoded, decodeMs)));
    }
  }

  /** What a call has that ended before it began. */
  static Generation nothing(FinishReason reason) {
    return new Generation(
        "",
        List.of(),
        reason,
        0,
        0,
        0,
        List.of(),
        List.of(),
        new Generation.Timings(Duration.ZERO, Duration.ZERO, 0, 0));
  }

  record Failure(int code, String message, JsonNode detail) {}

  record Outcome(@Nullable Generated result, @Nullable Failure error) {
    BatchResult toBatchResult() {
      if (result != null) {
        return new BatchResult.Completed(result.toGeneration());
      }
      Failure failure = Objects.requireNonNull(error, "either a result or an error");
      return new BatchResult.Failed(
          Errors.of(failure.code, failure.message, failure.detail.toString()));
    }
  }

  record BatchProgress(int done, int total, @Nullable Integer index) {}

  private static Duration duration(double milliseconds) {
    return Duration.ofNanos(Math.round(milliseconds * 1e6));
  }

  private static double rate(int tokens, double milliseconds) {
    return tokens <= 0 || milliseconds <= 0 ? 0 : tokens / milliseconds * 1e3;
  }
}
