package io.candle4j.internal;

import java.nio.ByteBuffer;
import java.nio.CharBuffer;
import java.nio.charset.CharacterCodingException;
import java.nio.charset.StandardCharsets;
import java.util.Collection;
import java.util.Map;
import org.jspecify.annotations.Nullable;

/** Java texts as UTF-8. */
final class Utf8 {
  private static final int DEEPEST = 30;

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

  /**
   * Checks the names of maps inside a value, which a JSON document cannot hold otherwise.
   *
   * @param place where the value stands, for messages
   * @param value maps, collections, and what else there is
   */
  static void checkNames(String place, @Nullable Object value) {
    checkNames(place, value, 0);
  }

  private static void checkNames(String place, @Nullable Object value, int depth) {
    // What is nested deeper, or holds itself, is refused by Jackson.
    if (depth > DEEPEST) {
      return;
    }
    if (value instanceof Map<?, ?> map) {
      map.forEach((key, inner) -> {
        String name = check(place + ": a name in it", String.valueOf(key));
        checkNames(place + "." + name, inner, depth + 1);
      });
    } else if (value instanceof Collection<?> list) {
      int index = 0;
      for (Object inner : list) {
        checkNames(place + "[" + index++ + "]", inner, depth + 1);
      }
    }
  }

  /** Checks a text that will be part of a larger document. */
  static String check(String name, String text) {
    encode(name, text);
    return text;
  }
}
