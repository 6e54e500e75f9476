package io.candle4j.server;

/** The client of a request is gone, so that nobody waits for its answer. */
final class ClientLeftException extends RuntimeException {
  private static final long serialVersionUID = 1L;

  ClientLeftException() {
    super("the client has left");
  }

  ClientLeftException(Throwable cause) {
    super("the client has left", cause);
  }
}
