package io.candle4j.cli;

import java.time.Duration;
import java.util.List;
import java.util.Locale;

/** How many texts are done, as a line that changes in place. */
final class TextProgress implements AutoCloseable {
  private static final long QUIET_NANOS = Duration.ofMillis(500).toNanos();
  private static final long INTERVAL_NANOS = Duration.ofMillis(100).toNanos();

  private final LiveLines lines;
  private final long start = System.nanoTime();
  private long shown = start;

  TextProgress(LiveLines lines) {
    this.lines = lines;
  }

  /** Tells how many are done by now. */
  void done(long count) {
    long now = System.nanoTime();
    if (!lines.isEnabled() || now - start < QUIET_NANOS || now - shown < INTERVAL_NANOS) {
      return;
    }
    shown = now;
    lines.show(
        List.of(
            String.format(
                Locale.ROOT,
                "%s  %.0f texts/s",
                Units.count(count, "text"),
                count / ((now - start) / 1e9))));
  }

  @Override
  public void close() {
    lines.clear();
  }
}
