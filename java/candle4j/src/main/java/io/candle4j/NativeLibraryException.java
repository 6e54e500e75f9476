package io.candle4j;

import java.util.Map;
import org.jspecify.annotations.Nullable;

/** The native library cannot be loaded. The message says what was looked for and where. */
public final class NativeLibraryException extends CandleException {
  private static final long serialVersionUID = 1L;

  /**
   * Made by the library.
   *
   * @param message what is wrong, and what was expected
   * @param detail the things that the message names
   */
  public NativeLibraryException(String message, Map<String, String> detail) {
    this(message, detail, null);
  }

  /**
   * Made by the library.
   *
   * @param message what is wrong, and what was expected
   * @param detail the things that the message names
   * @param cause what the JDK or the file system said, or null
   */
  public NativeLibraryException(
      String message, Map<String, String> detail, @Nullable Throwable cause) {
    super(message, detail);
    if (cause != null) {
      initCause(cause);
    }
  }
}
