package io.candle4j.cli;

import io.candle4j.Progress;
import io.candle4j.ProgressListener;
import java.time.Duration;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Deque;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.OptionalLong;
import org.jspecify.annotations.Nullable;

/**
 * A download or a check as bars, one a file and one for all. They appear only after half a second:
 * what is done sooner needs none.
 */
final class ProgressBars implements ProgressListener, AutoCloseable {
  private static final long QUIET_NANOS = Duration.ofMillis(500).toNanos();
  private static final long REDRAW_NANOS = Duration.ofMillis(100).toNanos();

  /** The rate is that of the last few seconds. */
  private static final long RATE_NANOS = Duration.ofSeconds(5).toNanos();

  private static final int MOST_FILES = 8;

  private final LiveLines lines;
  private final long start = System.nanoTime();
  private final Map<String, Progress> files = new LinkedHashMap<>();
  private final Deque<Sample> samples = new ArrayDeque<>();
  private long lastDrawn = start;
  private Progress.@Nullable Phase phase;

  /** How many bytes were done at a time. */
  private record Sample(long nanos, long bytes) {}

  ProgressBars(LiveLines lines) {
    this.lines = lines;
  }

  @Override
  public void onProgress(Progress progress) {
    if (!lines.isEnabled()) {
      return;
    }
    if (progress.phase() != phase) {
      phase = progress.phase();
      samples.clear();
      files.clear();
    }
    if (!progress.file().isEmpty()) {
      files.put(progress.file(), progress);
    }
    long now = System.nanoTime();
    if (now - start < QUIET_NANOS) {
      return;
    }
    // What was found on disk was there before the first sample, and counts for no rate.
    samples.addLast(new Sample(now, progress.overallBytes()));
    while (samples.size() > 2 && now - samples.getFirst().nanos > RATE_NANOS) {
      samples.removeFirst();
    }
    if (now - lastDrawn >= REDRAW_NANOS) {
      lastDrawn = now;
      lines.show(render(progress));
    }
  }

  /** Takes the bars away. */
  @Override
  public void close() {
    lines.clear();
  }

  private List<String> render(Progress progress) {
    List<Progress> active =
        files.values().stream()
            .filter(file -> file.bytes() > 0 && file.total().orElse(-1) != file.bytes())
            .limit(MOST_FILES)
            .toList();
    List<String> rendered = new ArrayList<>();
    for (Progress file : active) {
      rendered.add(line(file.file(), file.bytes(), file.total(), ""));
    }
    String what =
        switch (progress.phase()) {
          case RESOLVE -> "asking the Hub";
          case DOWNLOAD -> "fetching " + ofFiles(progress);
          case VERIFY -> "checking " + ofFiles(progress);
          case LOAD -> "loading";
        };
    rendered.add(line(what, progress.overallBytes(), progress.overallTotal(), speed(progress)));
    return rendered;
  }

  private static String ofFiles(Progress progress) {
    return progress.filesDone() + "/" + Units.count(progress.filesTotal(), "file");
  }

  private String speed(Progress progress) {
    Sample first = samples.getFirst();
    Sample last = samples.getLast();
    double rate = (last.bytes - first.bytes) / ((last.nanos - first.nanos) / 1e9);
    // Also when there are not two samples yet.
    if (!(rate > 0) || Double.isInfinite(rate)) {
      return "";
    }
    String speed = "  " + Units.bytes(Math.round(rate)) + "/s";
    if (progress.overallTotal().isPresent()) {
      double left = progress.overallTotal().getAsLong() - progress.overallBytes();
      speed += "  " + Units.clock(Duration.ofSeconds(Math.round(left / rate))) + " left";
    }
    return speed;
  }

  /** A line that has what there is room for. */
  private String line(String name, long bytes, OptionalLong total, String more) {
    int columns = lines.columns();
    String amount =
        total.isPresent()
            ? String.format(
                Locale.ROOT,
                "%3d%%  %s/%s",
                total.getAsLong() == 0 ? 100 : bytes * 100 / total.getAsLong(),
                Units.bytes(bytes),
                Units.bytes(total.getAsLong()))
            : Units.bytes(bytes);
    String tail = "  " + amount + more;
    int nameWidth = Math.max(8, Math.min(36, columns / 3));
    int barWidth = Math.min(30, columns - nameWidth - tail.length() - 4);
    StringBuilder line = new StringBuilder(fitted(name, nameWidth));
    if (barWidth >= 5 && total.isPresent() && total.getAsLong() > 0) {
      int done = (int) (bytes * barWidth / total.getAsLong());
      line.append("  [").append("=".repeat(done)).append(" ".repeat(barWidth - done)).append(']');
    }
    return line.append(tail).toString();
  }

  /** The end of a long name says more than its beginning. */
  private static String fitted(String name, int width) {
    return name.length() > width
        ? "..." + name.substring(name.length() - width + 3)
        : name + " ".repeat(width - name.length());
  }
}
