package io.candle4j;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertInstanceOf;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.annotation.JsonCreator;
import com.fasterxml.jackson.annotation.JsonFormat;
import com.fasterxml.jackson.annotation.JsonIgnore;
import com.fasterxml.jackson.annotation.JsonProperty;
import com.fasterxml.jackson.annotation.JsonPropertyDescription;
import com.fasterxml.jackson.annotation.JsonSubTypes;
import com.fasterxml.jackson.annotation.JsonTypeInfo;
import com.fasterxml.jackson.annotation.JsonValue;
import com.networknt.schema.SchemaRegistry;
import com.networknt.schema.SpecificationVersion;
import io.candle4j.internal.TypedJson;
import java.math.BigDecimal;
import java.math.BigInteger;
import java.net.URI;
import java.time.DayOfWeek;
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
import java.time.ZoneId;
import java.time.ZoneOffset;
import java.time.ZonedDateTime;
import java.util.ArrayList;
import java.util.EnumMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalInt;
import java.util.Set;
import java.util.UUID;
import java.util.concurrent.CompletionException;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.json.JsonMapper;

/** Answers that become values of Java types. */
class TypedAnswerTest {
  enum Colour {
    RED,
    @JsonProperty("deep blue")
    BLUE;

    @Override
    public String toString() {
      return "the colour " + name();
    }
  }

  sealed interface Shape {}

  record Circle(double radius) implements Shape {}

  record Box(int width, int height, List<Shape> inside) implements Shape {}

  @JsonTypeInfo(use = JsonTypeInfo.Id.NAME, property = "kind")
  @JsonSubTypes({
    @JsonSubTypes.Type(value = Car.class, name = "car"),
    @JsonSubTypes.Type(value = Boat.class, name = "boat")
  })
  interface Vehicle {}

  record Car(int doors) implements Vehicle {}

  record Boat(Optional<Integer> sails) implements Vehicle {}

  record Tree(int value, List<Tree> children, Optional<Tree> next) {}

  record Email(@JsonValue String text) {
    @JsonCreator
    Email {}
  }

  @Description("Somebody.")
  record Person(
      @Description("As friends say it.") String name,
      @JsonProperty("years") int age,
      @JsonPropertyDescription("What to wear.") Colour colour,
      Email email) {}

  record Scalars(
      boolean truth,
      Boolean boxed,
      byte small,
      short shorter,
      int whole,
      long longer,
      float approximate,
      double real,
      BigDecimal exact,
      BigInteger big,
      char letter,
      String text) {}

  record Times(
      LocalDate date,
      LocalTime time,
      LocalDateTime both,
      OffsetDateTime offset,
      OffsetTime offsetTime,
      ZonedDateTime zoned,
      Instant instant,
      Year year,
      YearMonth month,
      MonthDay day,
      DayOfWeek weekday,
      Duration duration,
      Period period,
      ZoneOffset zone,
      UUID id) {}

  record Containers(
      List<Person> people,
      Set<Colour> colours,
      int[] numbers,
      Map<String, BigDecimal> prices,
      Map<Colour, List<Integer>> byColour,
      Optional<String> note,
      OptionalInt count,
      byte[] bytes) {}

  record Sealed(Shape shape, Vehicle vehicle, Circle circle) {}

  /** Not a record. */
  static final class Bean {
    private String title = "";
    private boolean open;
    @JsonIgnore public ZoneId ignored = ZoneId.systemDefault();

    public String getTitle() {
      return title;
    }

    public void setTitle(String title) {
      this.title = title;
    }

    public boolean isOpen() {
      return open;
    }

    public void setOpen(boolean open) {
      this.open = open;
    }
  }

  record Page<T>(T content, int number) {}

  record Maybe(Optional<Shape> shape, List<Optional<Colour>> colours) {}

  record Strict(int value) {
    Strict {
      if (value >= 0) {
        throw new IllegalArgumentException("value: expected a negative number");
      }
    }
  }

  private static CandleModel model;

  @BeforeAll
  static void load() {
    model = CandleModel.load(CandleModel.BUILT_IN);
  }

  @AfterAll
  static void close() {
    model.close();
  }

  private static GenerateOptions warm(int tokens, long seed) {
    return GenerateOptions.builder().maxTokens(tokens).temperature(1).seed(seed).build();
  }

  /** What a schema allows is read; what is written from that is valid, and reads the same. */
  private static <T> void roundTrips(CandleSession session, TypeRef<T> type, int seeds) {
    TypedJson<T> json = TypedJson.of(type.type());
    JsonNode schema = JsonMapper.shared().readTree(json.schema());
    var validator =
        SchemaRegistry.withDefaultDialect(SpecificationVersion.DRAFT_2020_12).getSchema(schema);
    int whole = 0;
    for (int seed = 0; seed < seeds; seed++) {
      Generation generation =
          session.generate(
              Request.builder()
                  .text("Give an example.")
                  .responseFormat(ResponseFormat.jsonSchema(type.type()))
                  .options(warm(400, seed))
                  .build());
      if (generation.finishReason() != FinishReason.STOP) {
        continue;
      }
      whole++;
      T value = json.read(generation.text());
      String written = TypedJson.write(value);
      assertEquals(List.of(), validator.validate(JsonMapper.shared().readTree(written)), written);
      assertEquals(written, TypedJson.write(json.read(written)));
    }
    assertTrue(whole > 0, type.type() + ": all answers were cut");
  }

  @Test
  void recordsOfEveryKindRoundTrip() {
    try (CandleSession session = model.newSession()) {
      roundTrips(session, new TypeRef<Scalars>() {}, 6);
      roundTrips(session, new TypeRef<Times>() {}, 6);
      roundTrips(session, new TypeRef<Person>() {}, 6);
      roundTrips(session, new TypeRef<Containers>() {}, 6);
      roundTrips(session, new TypeRef<Sealed>() {}, 6);
      roundTrips(session, new TypeRef<Tree>() {}, 6);
      roundTrips(session, new TypeRef<Bean>() {}, 3);
      roundTrips(session, new TypeRef<Map<String, Page<LocalDate>>>() {}, 6);
      roundTrips(session, new TypeRef<Maybe>() {}, 6);
    }
  }

  @Test
  void everyDateThatTheSchemaAllowsIsADate() {
    var validators = SchemaRegistry.withDefaultDialect(SpecificationVersion.DRAFT_2020_12);
    JsonNode schema = JsonMapper.shared().readTree(TypedJson.of(LocalDate.class).schema());
    var validator = validators.getSchema(schema);
    LocalDate date = LocalDate.of(1896, 1, 1);
    while (date.getYear() < 2005) {
      assertEquals(
          List.of(), validator.validate("\"" + date + "\"", com.networknt.schema.InputFormat.JSON));
      date = date.plusDays(1);
    }
    for (String none :
        List.of("1900-02-29", "2001-02-29", "2001-04-31", "2001-13-01", "2001-00-01")) {
      assertFalse(
          validator.validate("\"" + none + "\"", com.networknt.schema.InputFormat.JSON).isEmpty(),
          none);
    }
  }

  @Test
  void theSchemaSaysWhatTheTypeSays() {
    JsonNode schema = JsonMapper.shared().readTree(TypedJson.of(Person.class).schema());
    assertEquals(
        JsonMapper.shared()
            .readTree(
                """
                {"type": "object", "description": "Somebody.",
                 "properties": {
                   "name": {"type": "string", "description": "As friends say it."},
                   "years": {"type": "integer", "minimum": -2147483648, "maximum": 2147483647},
                   "colour": {"enum": ["RED", "deep blue"], "description": "What to wear."},
                   "email": {"type": "string"}},
                 "required": ["name", "years", "colour", "email"],
                 "additionalProperties": false}\
                """),
        schema);
    assertEquals(
        List.of("name", "years", "colour", "email"),
        new ArrayList<>(schema.get("properties").propertyNames()));
    JsonNode tree = JsonMapper.shared().readTree(TypedJson.of(Tree.class).schema());
    assertEquals("#/$defs/Tree", tree.get("$ref").stringValue());
  }

  @Test
  void valuesOfARecord() {
    try (CandleSession session = model.newSession()) {
      Request request = Request.of("Invent a person.", warm(200, 3));
      Person person = session.generate(request, Person.class);
      assertFalse(person.name().isEmpty());
      assertEquals(person, session.submit(request, Person.class).join());
      List<Colour> colours =
          session.generate(
              Request.of("Name two colours.", warm(100, 1)), new TypeRef<List<Colour>>() {});
      assertTrue(colours.stream().allMatch(c -> c == Colour.RED || c == Colour.BLUE));
      assertInstanceOf(Boolean.class, session.generate("Is it day?", Boolean.class));

      CandleChat chat = CandleChat.builder(session).options(warm(200, 3)).build();
      Person friend = chat.say("Invent a person.", Person.class);
      assertEquals(
          List.of("user", "assistant"), chat.history().stream().map(ChatMessage::role).toList());
      assertEquals("Invent a person.", chat.history().get(0).text());
      assertEquals(friend, TypedJson.<Person>of(Person.class).read(chat.history().get(1).text()));
    }
  }

  @Test
  void whatIsCutOrRefusedIsTyped() {
    try (CandleSession session = model.newSession()) {
      Request cut = Request.of("Invent a person.", warm(6, 3));
      AnswerException.Incomplete incomplete =
          assertThrows(AnswerException.Incomplete.class, () -> session.generate(cut, Person.class));
      assertEquals(6, incomplete.generation().completionTokens());
      assertTrue(incomplete.generation().text().startsWith("{"));
      assertEquals(
          "answer: ended by LENGTH after 6 tokens, before its JSON was complete",
          incomplete.getMessage());
      CompletionException later =
          assertThrows(CompletionException.class, () -> session.submit(cut, Person.class).join());
      assertInstanceOf(AnswerException.Incomplete.class, later.getCause());

      CandleChat chat = CandleChat.builder(session).options(warm(6, 3)).build();
      assertThrows(
          AnswerException.Incomplete.class, () -> chat.say("Invent a person.", Person.class));
      assertEquals(List.of(), chat.history());

      // Of some seeds the value is negative.
      int refused = 0;
      for (int seed = 0; seed < 8 && refused == 0; seed++) {
        try {
          var unused = session.generate(Request.of("What is 2 + 2?", warm(60, seed)), Strict.class);
        } catch (AnswerException.Invalid e) {
          refused++;
          assertTrue(String.valueOf(e.getMessage()).contains("a negative number"), e.getMessage());
        }
      }
      assertEquals(1, refused);
    }
  }

  record Zoned(List<ZoneId> zones) {}

  /** Its class is sealed. */
  enum Direction {
    UP,
    DOWN {
      @Override
      public String toString() {
        return "down";
      }
    }
  }

  record Moves(Direction first, Map<Direction, Boolean> all) {}

  record Endless(int value, Endless next) {}

  sealed interface Named {}

  static final class One {
    record Same(int a) implements Named {}
  }

  static final class Two {
    record Same(int b) implements Named {}
  }

  record Numbers(float small, double large) {}

  @Test
  void oddTypesAreReadRightlyOrRefused() {
    JsonNode moves = JsonMapper.shared().readTree(TypedJson.of(Moves.class).schema());
    assertEquals("[\"UP\",\"DOWN\"]", moves.at("/properties/first/enum").toString());
    Moves read =
        TypedJson.<Moves>of(Moves.class).read("{\"first\": \"DOWN\", \"all\": {\"UP\": true}}");
    assertEquals(new Moves(Direction.DOWN, Map.of(Direction.UP, true)), read);
    TypedJson<Numbers> numbers = TypedJson.of(Numbers.class);
    assertEquals(new Numbers(1, 1e30), numbers.read("{\"small\": 1, \"large\": 1e30}"));
    for (String wrong :
        List.of("{\"small\": 1e39, \"large\": 1}", "{\"small\": 1, \"large\": -1e999}")) {
      assertThrows(IllegalArgumentException.class, () -> numbers.read(wrong));
    }
    for (Object[] refused :
        new Object[][] {
          {Endless.class, "contains itself without end"},
          {Named.class, "has two kinds that are called Same"},
          {Enum.class, "has no constants"},
        }) {
      String message =
          assertThrows(
                  IllegalArgumentException.class,
                  () -> ResponseFormat.jsonSchema((Class<?>) refused[0]))
              .getMessage();
      assertTrue(String.valueOf(message).contains((String) refused[1]), message);
    }
    TypedJson<Car> car = TypedJson.of(Car.class);
    JsonNode schema = JsonMapper.shared().readTree(car.schema());
    String kind = schema.at("/properties/kind/const").stringValue();
    assertEquals(new Car(3), car.read("{\"kind\": \"" + kind + "\", \"doors\": 3}"));
  }

  record Formatted(@JsonFormat(pattern = "dd.MM.yyyy") LocalDate date) {}

  record ByNumber(Map<URI, String> map) {}

  interface Open {}

  record HasOpen(Optional<Open> open) {}

  sealed interface Clash {}

  record ClashA(String type) implements Clash {}

  @Test
  void typesThatNoSchemaDescribesAreNamed() {
    for (Object[] wrong :
        new Object[][] {
          {Zoned.class, "type: Zoned.zones[]: java.time.ZoneId is not supported"},
          {Formatted.class, "type: Formatted.date: java.time.LocalDate has a format of its own"},
          {ByNumber.class, "type: ByNumber.map: java.net.URI cannot be the key of a map"},
          {HasOpen.class, "type: HasOpen.open<>: io.candle4j.TypedAnswerTest$Open is not"},
          {
            Clash.class,
            "type: Clash(ClashA): io.candle4j.TypedAnswerTest$ClashA has a property 'type'"
          },
          {Thread.class, "type: Thread: java.lang.Thread is not supported"},
        }) {
      String message =
          assertThrows(
                  IllegalArgumentException.class,
                  () -> ResponseFormat.jsonSchema((Class<?>) wrong[0]))
              .getMessage();
      assertTrue(String.valueOf(message).startsWith((String) wrong[1]), message);
    }
    try (CandleSession session = model.newSession()) {
      Request formed = Request.builder().text("x").responseFormat(ResponseFormat.json()).build();
      assertThrows(IllegalArgumentException.class, () -> session.generate(formed, Person.class));
    }
    assertThrows(IllegalArgumentException.class, TypedAnswerTest::raw);
    assertEquals(
        "java.util.EnumMap<io.candle4j.TypedAnswerTest$Colour, java.lang.Integer>",
        new TypeRef<EnumMap<Colour, Integer>>() {}.type().getTypeName());
  }

  @SuppressWarnings("rawtypes")
  private static Object raw() {
    return new TypeRef() {};
  }
}
