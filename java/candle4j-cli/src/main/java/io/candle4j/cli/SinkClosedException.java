package io.candle4j.cli;

import java.io.IOException;
import java.io.UncheckedIOException;

/** Who was reading the output reads no more of it. */
final class SinkClosedException extends UncheckedIOException {
  private static final long serialVersionUID = 1L;

  SinkClosedException(IOException cause) {
    super(cause);
  }
}
