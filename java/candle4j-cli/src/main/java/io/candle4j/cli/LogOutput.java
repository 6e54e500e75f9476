package io.candle4j.cli;

import java.util.logging.Formatter;
import java.util.logging.Handler;
import java.util.logging.Level;
import java.util.logging.LogManager;
import java.util.logging.LogRecord;
import java.util.logging.Logger;
import java.util.logging.SimpleFormatter;

/** Brings what the library logs to standard error, a line a record. */
final class LogOutput extends Handler {
  /** Kept here because the log manager forgets loggers that nobody holds. */
  private static final Logger LOGGER = Logger.getLogger("io.candle4j");

  private static final Formatter FORMATTER = new SimpleFormatter();

  private final Stdio stdio;

  private LogOutput(Stdio stdio) {
    this.stdio = stdio;
  }

  /** Replaces everything that the JDK would log to. */
  static void install(Stdio stdio) {
    LogManager.getLogManager().reset();
    LOGGER.addHandler(new LogOutput(stdio));
  }

  @Override
  public void publish(LogRecord record) {
    String message = FORMATTER.formatMessage(record);
    if (record.getLevel().intValue() >= Level.WARNING.intValue()) {
      stdio.warn(message);
    } else {
      stdio.detail(message);
    }
  }

  @Override
  public void flush() {}

  @Override
  public void close() {}
}
