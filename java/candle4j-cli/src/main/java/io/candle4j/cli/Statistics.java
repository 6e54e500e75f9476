package io.candle4j.cli;

import io.candle4j.Generation;
import java.time.Duration;
import java.util.Locale;

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

  private static double seconds(Duration duration) {
    return duration.toNanos() / 1e9;
  }
}
