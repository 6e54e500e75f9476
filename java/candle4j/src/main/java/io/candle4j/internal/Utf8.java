package io.candle4j.internal;

import java.nio.ByteBuffer;
import java.nio.CharBuffer;
import java.nio.charset.CharacterCodingException;
import java.nio.charset.StandardCharsets;

/** Java texts as UTF-8. */
final class Utf8 {
  private Utf8() {}

  /**
   * Encodes a text.
   *
   * @throws IllegalArgumentException when it holds half of a surrogate pair, which UTF-8 cannot
   */
  static byte[] encode(String name, String text) {
    try {
      ByteBuffer bytes = StandardCharsets.UTF_8.newEncoder().encode(CharBuffer.wrap(text));
      byte[] array = new byte[bytes.remaining()];
      bytes.get(array);
      return array;
    } catch (CharacterCodingException e) {
      throw new IllegalArgumentException(name + ": holds half of a surrogate pair", e);
    }
  }

  /** Whether a text holds whole surrogate pairs only. */
  static boolean isUnicode(String text) {
    return StandardCharsets.UTF_8.newEncoder().canEncode(text);
  }

  /** Checks a text that will be part of a larger document. */
  static String check(String name, String text) {
    encode(name, text);
    return text;
  }
}
