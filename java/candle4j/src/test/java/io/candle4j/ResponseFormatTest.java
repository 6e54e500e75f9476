package io.candle4j;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotNull;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.networknt.schema.SchemaRegistry;
import com.networknt.schema.SpecificationVersion;
import java.util.ArrayList;
import java.util.List;
import java.util.Set;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.json.JsonMapper;

/** Answers that have to have a form. */
class ResponseFormatTest {
  private static final int SCHEMAS = 50;

  /** 20 for the figure in the README. */
  private static final int ANSWERS = Integer.getInteger("candle4j.test.schemaAnswers", 2);

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
    return GenerateOptions.builder()
        .maxTokens(tokens)
        .temperature(1)
        .topP(1)
        .topK(0)
        .minP(0)
        .seed(seed)
        .build();
  }

  private static String answer(CandleSession session, ResponseFormat format, long seed) {
    Generation generation =
        session.generate(
            Request.builder()
                .text("What do you see?")
                .responseFormat(format)
                .options(warm(200, seed))
                .build());
    assertEquals(FinishReason.STOP, generation.finishReason(), generation.text());
    return generation.text();
  }

  @Test
  void answersThatAreNotCutHaveTheirSchema() {
    SchemaRegistry validators =
        SchemaRegistry.withDefaultDialect(SpecificationVersion.DRAFT_2020_12);
    List<Request> requests = new ArrayList<>();
    for (int schema = 0; schema < SCHEMAS; schema++) {
      for (int answer = 0; answer < ANSWERS; answer++) {
        requests.add(
            Request.builder()
                .text("Give an example.")
                .responseFormat(ResponseFormat.jsonSchema(RandomSchemas.schema(schema).toString()))
                .options(warm(300, answer))
                .build());
      }
    }
    int whole = 0;
    List<BatchResult> results = model.generateAll(requests, 4, Golden.IGNORED);
    for (int i = 0; i < requests.size(); i++) {
      Generation generation = results.get(i).orElseThrow();
      if (generation.finishReason() != FinishReason.STOP) {
        assertEquals(FinishReason.LENGTH, generation.finishReason());
        continue;
      }
      whole++;
      JsonNode schema = RandomSchemas.schema(i / ANSWERS);
      JsonNode document = JsonMapper.shared().readTree(generation.text());
      assertEquals(
          List.of(), validators.getSchema(schema).validate(document), schema + "\n" + document);
    }
    System.out.println(whole + " of " + requests.size() + " answers were not cut; all are valid");
    assertTrue(whole > requests.size() / 2, whole + " of " + requests.size());
  }

  @Test
  void textsExpressionsAndGrammars() {
    try (CandleSession session = model.newSession()) {
      for (int seed = 0; seed < 5; seed++) {
        ResponseFormat choice = ResponseFormat.oneOf("a lantern", "ключ 🦊", "a \"key\"\n");
        assertTrue(
            Set.of("a lantern", "ключ 🦊", "a \"key\"\n").contains(answer(session, choice, seed)));
        String date = answer(session, ResponseFormat.regex("[0-9]{4}-(0[1-9]|1[0-2])"), seed);
        assertTrue(date.matches("[0-9]{4}-(0[1-9]|1[0-2])"), date);
        ResponseFormat sum = ResponseFormat.lark("start: NUMBER (\"+\" NUMBER)+\nNUMBER: /[1-9]/");
        String text = answer(session, sum, seed);
        assertTrue(text.matches("[1-9](\\+[1-9])+"), text);
        assertNotNull(JsonMapper.shared().readTree(answer(session, ResponseFormat.json(), seed)));
      }
    }
  }

  @Test
  void aStreamOfAFormIsItsText() {
    Request request =
        Request.builder()
            .text("Who is it?")
            .responseFormat(
                ResponseFormat.jsonSchema(
                    """
                    {"type": "object", "required": ["name", "age"], "additionalProperties": false,
                     "properties": {"name": {"type": "string", "maxLength": 20},
                                    "age": {"type": "integer", "minimum": 0, "maximum": 120}}}\
                    """))
            .options(warm(100, 7))
            .build();
    try (CandleSession session = model.newSession()) {
      Generation whole = session.generate(request);
      StringBuilder streamed = new StringBuilder();
      try (TokenStream stream = session.stream(request)) {
        stream.forEach(token -> streamed.append(token.text()));
        assertEquals(whole.tokenIds(), stream.result().tokenIds());
      }
      assertEquals(whole.text(), streamed.toString());
      assertEquals(whole.text(), session.submit(request).join().text());
    }
  }

  @Test
  void whatCannotBeFollowedIsRefusedByName() {
    try (CandleSession session = model.newSession()) {
      for (String[] wrong :
          new String[][] {
            {"{\"type\": \"array\", \"uniqueItems\": true}", "uniqueItems"},
            {"{\"type\": \"string\", \"format\": \"colour\"}", "colour"},
            {"{\"type\": \"strnig\"}", "strnig"},
            {"{\"type\": ", "not JSON"},
            {"{\"const\": 12345678901234567890123}", "more digits"},
            {"{\"type\": \"object\", \"minProperties\": 2}", "minProperties"},
          }) {
        Request request =
            Request.builder()
                .text("x")
                .responseFormat(ResponseFormat.jsonSchema(wrong[0]))
                .options(warm(10, 1))
                .build();
        IllegalArgumentException refused =
            assertThrows(IllegalArgumentException.class, () -> session.generate(request));
        assertTrue(String.valueOf(refused.getMessage()).contains(wrong[1]), refused.getMessage());
      }
      assertThrows(
          IllegalArgumentException.class, () -> answer(session, ResponseFormat.regex("("), 1));
      assertThrows(
          IllegalArgumentException.class, () -> answer(session, ResponseFormat.lark("x"), 1));
      assertThrows(IllegalArgumentException.class, () -> ResponseFormat.oneOf());
      assertThrows(IllegalArgumentException.class, () -> ResponseFormat.oneOf("a", ""));
      assertThrows(
          IllegalArgumentException.class, () -> answer(session, ResponseFormat.oneOf("\uD800"), 1));
    }
  }
}
