package io.candle4j;

import java.util.Map;

/** The repository has no such branch, tag or commit. */
public final class RevisionNotFoundException extends HubException {
  private static final long serialVersionUID = 1L;

  /**
   * Made by the library.
   *
   * @param message what is wrong, and what was expected
   * @param detail the things that the message names
   */
  public RevisionNotFoundException(String message, Map<String, String> detail) {
    super(message, detail);
  }
}
