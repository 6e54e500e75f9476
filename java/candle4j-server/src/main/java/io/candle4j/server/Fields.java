package io.candle4j.server;

import java.math.BigDecimal;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalInt;
import java.util.OptionalLong;
import java.util.function.DoubleConsumer;
import java.util.function.IntConsumer;
import java.util.function.LongConsumer;
import org.jspecify.annotations.Nullable;
import tools.jackson.core.JacksonException;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.json.JsonMapper;

/**
 * The fields of a JSON object in a request. What is null is not there, and what nobody asks for
 * does not count. One that is not what it is to be is an {@link ApiException} that names it.
 */
final class Fields {
  private static final JsonMapper MAPPER = JsonMapper.shared();

  private final String prefix;
  private final JsonNode object;

  private Fields(String prefix, JsonNode object) {
    this.prefix = prefix;
    this.object = object;
  }

  /** Reads the body of a request. */
  static Fields parse(byte[] body) {
    JsonNode node;
    try {
      node = MAPPER.readTree(body);
    } catch (JacksonException e) {
      throw ApiException.invalid(null, "the body is not JSON: " + e.getOriginalMessage());
    }
    if (node != null && hasHalfPair(node)) {
      throw ApiException.invalid(null, "the body has half of a surrogate pair, which is no text");
    }
    if (node == null || !node.isObject()) {
      throw ApiException.invalid(null, "the body: expected a JSON object");
    }
    return new Fields("", node);
  }

  /** Whether a text or a name in a document is one that no UTF-8 can say. */
  private static boolean hasHalfPair(JsonNode node) {
    if (node.isString()) {
      return hasHalfPair(node.stringValue());
    }
    for (Map.Entry<String, JsonNode> field : node.properties()) {
      if (hasHalfPair(field.getKey()) || hasHalfPair(field.getValue())) {
        return true;
      }
    }
    for (JsonNode item : node.isArray() ? node : MAPPER.createArrayNode()) {
      if (hasHalfPair(item)) {
        return true;
      }
    }
    return false;
  }

  private static boolean hasHalfPair(String text) {
    return text.codePoints()
        .anyMatch(c -> c >= Character.MIN_SURROGATE && c <= Character.MAX_SURROGATE);
  }

  /** The value of a field; null when there is none. */
  @Nullable JsonNode get(String name) {
    JsonNode value = object.get(name);
    return value == null || value.isNull() ? null : value;
  }

  boolean has(String name) {
    return get(name) != null;
  }

  /** What errors call a field. */
  String place(String name) {
    return prefix + name;
  }

  /** The error for a field that is something else. */
  ApiException wrong(String name, String expected) {
    return ApiException.invalid(place(name), place(name) + ": expected " + expected);
  }

  /** Refuses a field that would change the answer and cannot be honoured. */
  void refuse(String name, String why) {
    JsonNode value = get(name);
    if (value != null && !(value.isBoolean() && !value.booleanValue())) {
      throw ApiException.unsupported(place(name), why);
    }
  }

  Optional<String> text(String name) {
    JsonNode value = get(name);
    if (value == null) {
      return Optional.empty();
    }
    if (!value.isString()) {
      throw wrong(name, "a text");
    }
    return Optional.of(value.stringValue());
  }

  boolean flag(String name, boolean otherwise) {
    JsonNode value = get(name);
    if (value == null) {
      return otherwise;
    }
    if (!value.isBoolean()) {
      throw wrong(name, "true or false");
    }
    return value.booleanValue();
  }

  OptionalInt integer(String name) {
    JsonNode value = get(name);
    if (value == null) {
      return OptionalInt.empty();
    }
    OptionalLong integer = integral(value);
    if (integer.isEmpty() || integer.getAsLong() != (int) integer.getAsLong()) {
      throw wrong(name, "an integer");
    }
    return OptionalInt.of((int) integer.getAsLong());
  }

  /** Sets a number where there is one, and gives errors of the setter the name of the field. */
  void number(String name, DoubleConsumer set) {
    JsonNode value = get(name);
    if (value == null) {
      return;
    }
    double number = decimal(value).map(BigDecimal::doubleValue).orElse(Double.NaN);
    if (!Double.isFinite(number)) {
      throw wrong(name, "a number");
    }
    named(name, () -> set.accept(number));
  }

  /** The same for integers. */
  void integer(String name, IntConsumer set) {
    integer(name).ifPresent(value -> named(name, () -> set.accept(value)));
  }

  /** The same for integers of 64 bits. */
  void longInteger(String name, LongConsumer set) {
    JsonNode value = get(name);
    if (value == null) {
      return;
    }
    OptionalLong integer = integral(value);
    if (integer.isEmpty()) {
      throw wrong(name, "an integer of 64 bits");
    }
    named(name, () -> set.accept(integer.getAsLong()));
  }

  /** An integer of 64 bits, which some clients write as 5.0. */
  private static OptionalLong integral(JsonNode value) {
    try {
      return decimal(value)
          .map(number -> OptionalLong.of(number.longValueExact()))
          .orElse(OptionalLong.empty());
    } catch (ArithmeticException e) {
      return OptionalLong.empty();
    }
  }

  /** A number that is finite, however many digits it has. */
  private static Optional<BigDecimal> decimal(JsonNode value) {
    try {
      return value.isNumber() ? Optional.of(value.decimalValue()) : Optional.empty();
    } catch (JacksonException | NumberFormatException e) {
      return Optional.empty();
    }
  }

  private void named(String name, Runnable set) {
    try {
      set.run();
    } catch (IllegalArgumentException e) {
      String message = String.valueOf(e.getMessage());
      throw ApiException.invalid(
          place(name), place(name) + message.substring(Math.max(0, message.indexOf(": "))));
    }
  }

  /** An object in this one. */
  Optional<Fields> object(String name) {
    JsonNode value = get(name);
    if (value == null) {
      return Optional.empty();
    }
    if (!value.isObject()) {
      throw wrong(name, "an object");
    }
    return Optional.of(new Fields(place(name) + ".", value));
  }

  /** An array; null when there is none, or an empty one. */
  @Nullable JsonNode array(String name) {
    JsonNode value = get(name);
    if (value != null && !value.isArray()) {
      throw wrong(name, "an array");
    }
    return value == null || value.isEmpty() ? null : value;
  }

  /** Names and values of the object. */
  Iterable<Map.Entry<String, JsonNode>> entries() {
    return object.properties();
  }

  /** A text, or a list of texts. */
  List<String> texts(String name) {
    JsonNode value = get(name);
    if (value == null) {
      return List.of();
    }
    if (value.isString()) {
      return List.of(value.stringValue());
    }
    List<String> texts = new ArrayList<>();
    if (!value.isArray()) {
      throw wrong(name, "a text or an array of texts");
    }
    for (JsonNode text : value) {
      if (!text.isString()) {
        throw wrong(name, "a text or an array of texts");
      }
      texts.add(text.stringValue());
    }
    return texts;
  }
}
