package io.candle4j.internal;

import java.math.BigDecimal;
import java.math.BigInteger;
import java.net.URI;
import java.time.Duration;
import java.time.Instant;
import java.time.LocalDate;
import java.time.LocalDateTime;
import java.time.LocalTime;
import java.time.MonthDay;
import java.time.OffsetDateTime;
import java.time.OffsetTime;
import java.time.Period;
import java.time.Year;
import java.time.YearMonth;
import java.time.ZoneOffset;
import java.time.ZonedDateTime;
import java.util.Map;
import java.util.UUID;
import org.jspecify.annotations.Nullable;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.node.JsonNodeFactory;
import tools.jackson.databind.node.ObjectNode;

/**
 * The schemas of types that are one JSON value. They allow what Java can read and nothing else:
 * JSON schema's own formats know the 29th of February of every year and seconds that leap.
 */
final class ScalarSchemas {
  private static final String YEAR = "[0-9]{4}";
  private static final String TWO_OF_28 = "(0[1-9]|1[0-9]|2[0-8])";
  private static final String LEAP_YEAR =
      "([0-9]{2}(0[48]|[2468][048]|[13579][26])|([02468][048]|[13579][26])00)";
  private static final String LONG_MONTHS =
      "((0[13578]|1[02])-(0[1-9]|[12][0-9]|3[01])|(0[469]|11)-(0[1-9]|[12][0-9]|30))";
  private static final String DATE =
      "(" + YEAR + "-(" + LONG_MONTHS + "|02-" + TWO_OF_28 + ")|" + LEAP_YEAR + "-02-29)";
  private static final String TIME = "([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](\\.[0-9]{1,9})?";
  private static final String OFFSET = "(Z|[+-](0[0-9]|1[0-7]):[0-5][0-9])";
  private static final String MONTH = "(0[1-9]|1[0-2])";
  private static final String DURATION =
      "P(([0-9]{1,4}D)|([0-9]{1,4}D)?T([0-9]{1,4}H([0-9]{1,2}M)?([0-9]{1,2}S)?"
          + "|[0-9]{1,4}M([0-9]{1,2}S)?|[0-9]{1,5}(\\.[0-9]{1,9})?S))";
  private static final String PERIOD =
      "P([0-9]{1,4}Y([0-9]{1,2}M)?([0-9]{1,2}D)?|[0-9]{1,3}M([0-9]{1,2}D)?|[0-9]{1,4}D)";

  private static final String URI_OF_HTTP =
      "https?://[A-Za-z0-9]+([.-][A-Za-z0-9]+)*(:[0-9]{1,5})?(/[A-Za-z0-9._~-]*)*"
          + "(\\?[A-Za-z0-9._~=&-]*)?";

  /** The greatest whole number that all readers of JSON agree about. */
  private static final long EXACT = (1L << 53) - 1;

  private static final Map<Class<?>, JsonNode> SCHEMAS =
      Map.ofEntries(
          Map.entry(boolean.class, typed("boolean")),
          Map.entry(byte.class, whole(Byte.MIN_VALUE, Byte.MAX_VALUE)),
          Map.entry(short.class, whole(Short.MIN_VALUE, Short.MAX_VALUE)),
          Map.entry(int.class, whole(Integer.MIN_VALUE, Integer.MAX_VALUE)),
          Map.entry(long.class, whole(-EXACT, EXACT)),
          Map.entry(BigInteger.class, typed("integer")),
          Map.entry(float.class, typed("number")),
          Map.entry(double.class, typed("number")),
          Map.entry(Number.class, typed("number")),
          Map.entry(BigDecimal.class, typed("number")),
          Map.entry(char.class, pattern("[ -\uD7FF\uE000-\uFFFD]")),
          Map.entry(String.class, typed("string")),
          Map.entry(CharSequence.class, typed("string")),
          Map.entry(UUID.class, typed("string").put("format", "uuid")),
          Map.entry(URI.class, pattern(URI_OF_HTTP)),
          Map.entry(byte[].class, pattern("([A-Za-z0-9+/]{4})*")),
          Map.entry(LocalDate.class, pattern(DATE)),
          Map.entry(LocalTime.class, pattern(TIME)),
          Map.entry(LocalDateTime.class, pattern(DATE + "T" + TIME)),
          Map.entry(OffsetDateTime.class, pattern(DATE + "T" + TIME + OFFSET)),
          Map.entry(ZonedDateTime.class, pattern(DATE + "T" + TIME + OFFSET)),
          Map.entry(OffsetTime.class, pattern(TIME + OFFSET)),
          Map.entry(Instant.class, pattern(DATE + "T" + TIME + "Z")),
          Map.entry(Year.class, whole(0, 9999)),
          Map.entry(YearMonth.class, pattern(YEAR + "-" + MONTH)),
          Map.entry(MonthDay.class, pattern("--(" + LONG_MONTHS + "|02-(" + TWO_OF_28 + "|29))")),
          Map.entry(ZoneOffset.class, pattern(OFFSET)),
          Map.entry(Duration.class, pattern(DURATION)),
          Map.entry(Period.class, pattern(PERIOD)));

  private static final Map<Class<?>, Class<?>> PRIMITIVES =
      Map.of(
          Boolean.class, boolean.class,
          Byte.class, byte.class,
          Short.class, short.class,
          Integer.class, int.class,
          Long.class, long.class,
          Float.class, float.class,
          Double.class, double.class,
          Character.class, char.class);

  private ScalarSchemas() {}

  /** The schema of a type, or null when it is not one JSON value. */
  static @Nullable ObjectNode of(Class<?> type) {
    JsonNode schema = SCHEMAS.get(PRIMITIVES.getOrDefault(type, type));
    return schema == null ? null : (ObjectNode) schema.deepCopy();
  }

  static ObjectNode typed(String type) {
    return JsonNodeFactory.instance.objectNode().put("type", type);
  }

  private static ObjectNode whole(long minimum, long maximum) {
    return typed("integer").put("minimum", minimum).put("maximum", maximum);
  }

  private static ObjectNode pattern(String regex) {
    return typed("string").put("pattern", "^" + regex + "$");
  }
}
