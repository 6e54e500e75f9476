package io.candle4j.cli;

import java.time.Duration;
import java.time.Instant;
import java.util.Locale;

/** Quantities as people read them. */
final class Units {
  private static final String[] BYTES = {"B", "kB", "MB", "GB", "TB", "PB", "EB"};

  private Units() {}

  /** Bytes in the decimal units that disks and networks are measured in, with three digits. */
  static String bytes(long count) {
    double value = count;
    int unit = 0;
    // From 999.5 on, three digits would read 1000.
    while (value >= 999.5 && unit < BYTES.length - 1) {
      value /= 1000;
      unit++;
    }
    String format =
        unit == 0 || value >= 99.95 ? "%.0f %s" : value >= 9.995 ? "%.1f %s" : "%.2f %s";
    return String.format(Locale.ROOT, format, value, BYTES[unit]);
  }

  /** A time span as {@code 0:09} or {@code 1:02:03}. */
  static String clock(Duration time) {
    long seconds = time.toSeconds();
    return seconds < 3600
        ? String.format(Locale.ROOT, "%d:%02d", seconds / 60, seconds % 60)
        : String.format(
            Locale.ROOT, "%d:%02d:%02d", seconds / 3600, seconds / 60 % 60, seconds % 60);
  }

  /** How long ago something was. */
  static String ago(Instant then, Instant now) {
    Duration time = Duration.between(then, now);
    if (time.toMinutes() < 1) {
      return "just now";
    }
    if (time.toHours() < 1) {
      return count(time.toMinutes(), "minute") + " ago";
    }
    if (time.toDays() < 1) {
      return count(time.toHours(), "hour") + " ago";
    }
    return count(time.toDays(), "day") + " ago";
  }

  /** A number of things, in the plural unless it is one. */
  static String count(long number, String thing) {
    return number + " " + thing + (number == 1 ? "" : "s");
  }
}
