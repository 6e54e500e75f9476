package io.candle4j.server;

import io.helidon.logging.common.spi.LoggingProvider;

/** Leaves logging as the program has it, which Helidon would set up. For service loaders. */
public final class Logging implements LoggingProvider {
  /** For service loaders. */
  public Logging() {}

  @Override
  public void initialization() {}

  @Override
  public void runTime() {}
}
