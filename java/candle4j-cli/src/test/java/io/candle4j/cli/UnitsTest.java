package io.candle4j.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;

import java.time.Duration;
import java.time.Instant;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class UnitsTest {
  @ParameterizedTest
  @CsvSource({
    "0, 0 B",
    "999, 999 B",
    "1000, 1.00 kB",
    "9994, 9.99 kB",
    "9996, 10.0 kB",
    "99960, 100 kB",
    "999499, 999 kB",
    "999500, 1.00 MB",
    "988097824, 988 MB",
    "1500000000, 1.50 GB",
    "9223372036854775807, 9.22 EB"
  })
  void bytes(long count, String shown) {
    assertEquals(shown, Units.bytes(count));
  }

  @ParameterizedTest
  @CsvSource({"0, 0:00", "59, 0:59", "61, 1:01", "3599, 59:59", "3600, 1:00:00", "90061, 25:01:01"})
  void clock(long seconds, String shown) {
    assertEquals(shown, Units.clock(Duration.ofSeconds(seconds)));
  }

  @ParameterizedTest
  @CsvSource({
    "-5, just now",
    "59, just now",
    "60, 1 minute ago",
    "3599, 59 minutes ago",
    "7200, 2 hours ago",
    "86400, 1 day ago",
    "8640000, 100 days ago"
  })
  void ago(long seconds, String shown) {
    Instant now = Instant.now();
    assertEquals(shown, Units.ago(now.minusSeconds(seconds), now));
  }
}
