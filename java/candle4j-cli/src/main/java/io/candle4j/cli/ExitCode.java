package io.candle4j.cli;

/** What the program's exit status says. The help lists the same. */
final class ExitCode {
  static final int OK = 0;
  static final int FAILURE = 1;
  static final int USAGE = 2;
  static final int MODEL = 3;
  static final int HUB = 4;
  static final int INTERRUPTED = 130;

  private ExitCode() {}
}
