package io.candle4j.cli;

/** The command {@code candle}. */
public final class Main {
  private Main() {}

  /**
   * Runs the command and ends the JVM with its exit code.
   *
   * @param args the command line
   */
  public static void main(String[] args) {
    Stdio stdio = Stdio.system();
    Interruption interruption = new Interruption();
    interruption.watchShutdown();
    int code = CandleCommand.run(stdio, interruption, args);
    interruption.finish();
    System.exit(code);
  }
}
