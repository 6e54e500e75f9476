package io.candle4j.cli;

import java.util.LinkedHashMap;
import java.util.Locale;
import java.util.Map;
import org.jspecify.annotations.Nullable;
import tools.jackson.databind.json.JsonMapper;

/** Output as JSON, one document a line. */
final class Json {
  private Json() {}

  /**
   * An object whose keys keep their order.
   *
   * @param keysAndValues keys and values by turns
   */
  static Map<String, Object> object(@Nullable Object... keysAndValues) {
    Map<String, Object> object = new LinkedHashMap<>();
    for (int i = 0; i < keysAndValues.length; i += 2) {
      object.put((String) keysAndValues[i], keysAndValues[i + 1]);
    }
    return object;
  }

  /** The document as one line. */
  static String line(Object document) {
    return JsonMapper.shared().writeValueAsString(document);
  }

  /** A measured number, without digits that mean nothing. */
  static double rounded(double measured) {
    return Math.round(measured * 1e3) / 1e3;
  }

  /** An enum as JSON documents and messages spell it. */
  static String word(Enum<?> value) {
    return value.name().toLowerCase(Locale.ROOT);
  }
}
