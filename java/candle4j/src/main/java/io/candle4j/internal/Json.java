package io.candle4j.internal;

import com.fasterxml.jackson.annotation.JsonInclude;
import io.candle4j.NativeFailureException;
import java.math.BigDecimal;
import java.util.List;
import java.util.Map;
import java.util.function.Supplier;
import tools.jackson.core.JacksonException;
import tools.jackson.core.JsonParser;
import tools.jackson.core.JsonToken;
import tools.jackson.databind.DeserializationFeature;
import tools.jackson.databind.JavaType;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.PropertyNamingStrategies;
import tools.jackson.databind.cfg.EnumFeature;
import tools.jackson.databind.json.JsonMapper;

/** The JSON documents that cross the border: keys in snake case, nothing unknown accepted. */
final class Json {
  /** Reads numbers as they are written. */
  private static final JsonMapper EXACT =
      JsonMapper.builder().enable(DeserializationFeature.USE_BIG_DECIMAL_FOR_FLOATS).build();

  private static final JsonMapper MAPPER =
      JsonMapper.builder()
          .enable(EnumFeature.WRITE_ENUMS_TO_LOWERCASE)
          .propertyNamingStrategy(PropertyNamingStrategies.SNAKE_CASE)
          .changeDefaultPropertyInclusion(
              inclusion -> inclusion.withValueInclusion(JsonInclude.Include.NON_NULL))
          .enable(DeserializationFeature.FAIL_ON_UNKNOWN_PROPERTIES)
          // Versions of Jackson differ in what they do when this is not said.
          .disable(DeserializationFeature.FAIL_ON_NULL_FOR_PRIMITIVES)
          .build();

  private Json() {}

  /**
   * A request as UTF-8.
   *
   * @throws IllegalArgumentException when a text in it is not Unicode (half of a surrogate pair),
   *     which it names by its place
   */
  static byte[] write(Object value) {
    // Jackson takes a stack that overflows for a value that cannot be written.
    StackGuard.check();
    try {
      byte[] json = MAPPER.writeValueAsBytes(value);
      checkSurrogates(json);
      return json;
    } catch (JacksonException e) {
      if (e.getCause() instanceof StackOverflowError overflow) {
        throw overflow;
      }
      throw new IllegalArgumentException("not expressible as JSON: " + e.getOriginalMessage(), e);
    }
  }

  /** Halves of pairs are all that is written as an escape of a surrogate. */
  private static void checkSurrogates(byte[] json) {
    for (int i = 0; i + 2 < json.length; i++) {
      if (json[i] == '\\') {
        if (json[i + 1] == 'u' && (json[i + 2] == 'd' || json[i + 2] == 'D')) {
          throw new IllegalArgumentException(
              placeOfSurrogate(json) + ": holds half of a surrogate pair");
        }
        i++;
      }
    }
  }

  private static String placeOfSurrogate(byte[] json) {
    try (JsonParser parser = MAPPER.createParser(json)) {
      for (JsonToken token = parser.nextToken(); token != null; token = parser.nextToken()) {
        boolean isText = token == JsonToken.VALUE_STRING || token == JsonToken.PROPERTY_NAME;
        if (isText
            && parser.getString().chars().anyMatch(c -> Character.isSurrogate((char) c))
            && !Utf8.isUnicode(parser.getString())) {
          return place(parser.streamReadContext().pathAsPointer().toString());
        }
      }
    }
    return "request";
  }

  /** {@code /options/stop/0} as {@code options.stop[0]}. */
  private static String place(String pointer) {
    String place =
        pointer
            .replaceAll("/(\\d+)(?=/|$)", "[$1]")
            .replace('/', '.')
            .replace("~1", "/")
            .replace("~0", "~");
    return place.startsWith(".") ? place.substring(1) : place;
  }

  /**
   * A document of the caller's.
   *
   * @throws IllegalArgumentException that names it when it is no JSON
   */
  static JsonNode parse(String name, String json) {
    StackGuard.check();
    try {
      return EXACT.readTree(json);
    } catch (JacksonException e) {
      throw new IllegalArgumentException(name + ": not JSON: " + e.getOriginalMessage(), e);
    }
  }

  /**
   * A schema of the caller's.
   *
   * @throws IllegalArgumentException when it is no JSON, or has a number that would lose digits
   */
  static JsonNode schema(String name, String json) {
    JsonNode schema = parse(name, json);
    checkNumbers(name, schema);
    return schema;
  }

  private static void checkNumbers(String name, JsonNode node) {
    if (node.isNumber()) {
      boolean isExact =
          node.isIntegralNumber()
              ? node.canConvertToLong()
              : node.decimalValue().compareTo(BigDecimal.valueOf(node.doubleValue())) == 0;
      if (!isExact) {
        throw new IllegalArgumentException(
            name + ": the number " + node + " has more digits than are supported");
      }
    }
    node.forEach(child -> checkNumbers(name, child));
  }

  /**
   * What the library answered.
   *
   * @throws NativeFailureException when that is not what this version understands
   */
  static <T> T read(String json, Class<T> type) {
    return understood(() -> MAPPER.readValue(json, type));
  }

  /** As {@link #read}, of a list. */
  static <T> List<T> list(String json, Class<T> type) {
    JavaType list = MAPPER.getTypeFactory().constructCollectionType(List.class, type);
    return understood(() -> MAPPER.readValue(json, list));
  }

  /** As {@link #read}, of any form. */
  static JsonNode tree(String json) {
    return understood(() -> MAPPER.readTree(json));
  }

  private static <T> T understood(Supplier<T> reading) {
    try {
      return reading.get();
    } catch (JacksonException e) {
      throw new NativeFailureException(
          "cannot read what the native library answered: " + e.getOriginalMessage(), Map.of());
    }
  }
}
