package io.candle4j.cli;

import java.time.Duration;
import java.util.List;
import java.util.Locale;

/** How far a batch is, as a line that changes in place. */
final class BatchProgress implements AutoCloseable {
  private static final long QUIET_NANOS = Duration.ofMillis(500).toNanos();

  private final LiveLines lines;
  private final long total;
  private final long start = System.nanoTime();
  private long answered;
  private long failed;
  private long tokens;

  /**
   * Starts the clock.
   *
   * @param total how many lines the input has, negative when that is not known
   */
  BatchProgress(LiveLines lines, long total) {
    this.lines = lines;
    this.total = total;
  }

  synchronized void answered(int newTokens) {
    answered++;
    tokens += newTokens;
    show();
  }

  synchronized void failed() {
    failed++;
    show();
  }

  synchronized long answered() {
    return answered;
  }

  synchronized long failures() {
    return failed;
  }

  @Override
  public void close() {
    lines.clear();
  }

  private void show() {
    long nanos = System.nanoTime() - start;
    if (!lines.isEnabled() || nanos < QUIET_NANOS) {
      return;
    }
    long done = answered + failed;
    StringBuilder line = new StringBuilder();
    line.append(total < 0 ? Units.count(done, "prompt") : done + "/" + total + " prompts");
    if (failed > 0) {
      line.append(", ").append(failed).append(" failed");
    }
    line.append(String.format(Locale.ROOT, "  %.1f tokens/s", tokens / (nanos / 1e9)));
    if (total >= done) {
      Duration left = Duration.ofNanos(Math.round((double) nanos / done * (total - done)));
      line.append("  ").append(Units.clock(left)).append(" left");
    }
    lines.show(List.of(line.toString()));
  }
}
