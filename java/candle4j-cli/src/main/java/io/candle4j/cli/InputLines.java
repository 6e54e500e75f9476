package io.candle4j.cli;

import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.InputStream;
import org.jspecify.annotations.Nullable;

/** Lines of a stream, as bytes: one that is not UTF-8 is told apart from the others. */
final class InputLines {
  /** A line beyond this is no text but a file without line breaks. */
  static final int LONGEST = 64 << 20;

  private InputLines() {}

  /**
   * The next line without its end, null behind the last; of one that is longer than {@link
   * #LONGEST}, a byte more than that.
   */
  static byte @Nullable [] read(InputStream in) throws IOException {
    ByteArrayOutputStream bytes = new ByteArrayOutputStream();
    int b = in.read();
    if (b < 0) {
      return null;
    }
    while (b >= 0 && b != '\n') {
      if (bytes.size() <= LONGEST) {
        bytes.write(b);
      }
      b = in.read();
    }
    return bytes.toByteArray();
  }
}
