package io.candle4j;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;

/** The memory that this process has, as Linux tells it. */
final class Resident {
  private Resident() {}

  static long bytes() throws IOException {
    return Files.readAllLines(Path.of("/proc/self/status")).stream()
        .filter(line -> line.startsWith("VmRSS:"))
        .map(line -> Long.parseLong(line.replaceAll("\\D", "")) << 10)
        .findFirst()
        .orElseThrow();
  }
}
