package io.candle4j.cli;

import org.jspecify.annotations.Nullable;

/** How many prompts are answered at a time when nothing is said about it. */
final class Workers {
  private static final String VARIABLE = "CANDLE_NUM_PARALLEL";
  private static final int DEFAULT = 4;

  /** The most at a time, as the library has it. */
  private static final int MOST = 1024;

  private Workers() {}

  /** What is wrong with a number of prompts at a time, or null. */
  static @Nullable String fault(int workers) {
    return workers >= 1 && workers <= MOST
        ? null
        : "--parallel: expected 1 to " + MOST + ", got " + workers;
  }

  static int ofEnvironment() {
    String value = System.getenv(VARIABLE);
    if (value == null || value.isBlank()) {
      return DEFAULT;
    }
    try {
      return Integer.parseInt(value.strip());
    } catch (NumberFormatException e) {
      throw new CommandException(
          ExitCode.USAGE, VARIABLE + ": expected a number, got '" + value + "'", e);
    }
  }
}
