package io.candle4j.cli;

import io.candle4j.Generation;
import java.time.Duration;
import java.util.Locale;
import java.util.Optional;

/** What a generation took, for people. */
final class Statistics {
  private Statistics() {}

  static String of(Generation generation) {
    Generation.Timings timings = generation.timings();
    return String.format(
        Locale.ROOT,
        "%d prompt tokens (%d cached) in %.2f s, %.1f/s; %d tokens in %.2f s, %.1f/s; %s; seed %s",
        generation.promptTokens(),
        generation.cachedTokens(),
        seconds(timings.prefill()),
        timings.prefillTokensPerSecond(),
        generation.completionTokens(),
        seconds(timings.decode()),
        timings.decodeTokensPerSecond(),
        generation.finishReason(),
        Long.toUnsignedString(generation.seed()));
  }

  /** What a person should know of an answer that is not whole; empty for one that is. */
  static Optional<String> cut(Generation generation) {
    return switch (generation.finishReason()) {
      case LENGTH ->
          Optional.of(
              "cut after %d tokens; --max-tokens, or /set max-tokens in a chat, allows more"
                  .formatted(generation.completionTokens()));
      case CONTEXT_FULL ->
          Optional.of("cut, because the context is full; a larger --context may hold more");
      case TIMEOUT -> Optional.of("cut, because its time was over");
      case STOP, STOP_STRING, TOOL_CALLS, CANCELLED -> Optional.empty();
    };
  }

  private static double seconds(Duration duration) {
    return duration.toNanos() / 1e9;
  }
}
