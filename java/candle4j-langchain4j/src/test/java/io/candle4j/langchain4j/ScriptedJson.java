package io.candle4j.langchain4j;

import com.networknt.schema.InputFormat;
import com.networknt.schema.Schema;
import com.networknt.schema.SchemaRegistry;
import com.networknt.schema.SpecificationVersion;
import java.util.List;

/**
 * What a model extracts from the texts of LangChain4j's tests. Of the answers to a text, the first
 * that another library says is valid under the schema that the engine was given is the model's: a
 * schema that came through wrong has none.
 */
final class ScriptedJson {
  private record Answer(String question, String json) {}

  private static final SchemaRegistry VALIDATOR =
      SchemaRegistry.withDefaultDialect(SpecificationVersion.DRAFT_2020_12);

  private static final String PEOPLE = "1.78m height and single. Franny";

  private static final List<Answer> ANSWERS =
      List.of(
          new Answer("capital of Germany", "{\"city\":\"Berlin\"}"),
          new Answer(
              "1.78m height and single",
              "{\"name\":\"Klaus\",\"age\":37,\"height\":1.78,\"married\":false}"),
          new Answer("Do not include missing fields", "{\"name\":\"Klaus\"}"),
          new Answer(
              "billing address should be New York",
              "{\"name\":\"Klaus\",\"shippingAddress\":{\"city\":\"Langley Falls\"},"
                  + "\"billingAddress\":{\"city\":\"New York\"}}"),
          new Answer("Klaus is single", "{\"name\":\"Klaus\",\"maritalStatus\":\"SINGLE\"}"),
          new Answer(
              "likes orange and green",
              "{\"name\":\"Klaus\",\"favouriteColors\":[\"orange\",\"green\"]}"),
          new Answer(
              "Peanut and Muffin",
              "{\"name\":\"Klaus\",\"pets\":[{\"name\":\"Peanut\"},{\"name\":\"Muffin\"}]}"),
          new Answer("groups A and C", "{\"name\":\"Klaus\",\"groups\":[\"A\",\"C\"]}"),
          new Answer(
              "born at 14:43",
              "{\"name\":\"Klaus\",\"birthDate\":{\"year\":1976,\"month\":8,\"day\":12},"
                  + "\"birthTime\":{\"hour\":14,\"minute\":43,\"second\":0,\"nano\":0},"
                  + "\"birthDateTime\":{\"date\":{\"year\":1976,\"month\":8,\"day\":12},"
                  + "\"time\":{\"hour\":14,\"minute\":43,\"second\":0,\"nano\":0}}}"),
          new Answer(
              "following text: Klaus and Francine",
              values("{\"name\":\"Klaus\"}", "{\"name\":\"Francine\"}")),
          new Answer("following text: Klaus", "{\"name\":\"Klaus\"}"),
          new Answer(
              "Francine has 2 children",
              "{\"name\":\"Francine\",\"children\":[{\"name\":\"Steve\",\"children\":[]},"
                  + "{\"name\":\"Hayley\",\"children\":[]}]}"),
          new Answer(
              "567b229a", "{\"id\":\"567b229a-6b0a-4f1e-9006-448cd9dfbfda\",\"name\":\"Klaus\"}"),
          new Answer("37-year-old man", "{\"value\":true}"),
          new Answer("Extract number of people", "{\"value\":2}"),
          new Answer("-0.5", "{\"value\":-0.5}"),
          new Answer("Staniel", values("\"SINGLE\"", "\"MARRIED\"", "\"MARRIED\"")),
          new Answer(PEOPLE, values("\"Klaus\"", "\"Franny\"")),
          new Answer(
              PEOPLE,
              values(
                  "{\"name\":\"Klaus\",\"age\":37,\"height\":1.78,\"married\":false}",
                  "{\"name\":\"Franny\",\"age\":35,\"height\":1.65,\"married\":true}")),
          new Answer("1.78m height and single.", "{\"value\":\"SINGLE\"}"),
          new Answer(
              "weather in Berlin was sunny",
              values("\"SUNNY\"", "\"WINDY\"", "\"RAINY\"", "\"CLOUDY\"")),
          new Answer(
              "Rex is a Labrador dog",
              "{\"value\":{\"type\":\"Dog\",\"name\":\"Rex\",\"breed\":\"Labrador\"}}"),
          new Answer(
              "Rex is a Labrador. Whiskers",
              values(
                  "{\"type\":\"Dog\",\"name\":\"Rex\",\"breed\":\"Labrador\"}",
                  "{\"type\":\"Cat\",\"name\":\"Whiskers\",\"indoor\":true}")),
          new Answer(
              "Alice owns a Labrador",
              "{\"name\":\"Alice\",\"pet\":"
                  + "{\"type\":\"Dog\",\"name\":\"Rex\",\"breed\":\"Labrador\"}}"),
          new Answer("expression 1+2+3", "{\"value\":" + sum(sum("1", "2"), "3") + "}"));

  private ScriptedJson() {}

  private static String values(String... values) {
    return "{\"values\":[" + String.join(",", values) + "]}";
  }

  private static String sum(String left, String right) {
    return "{\"type\":\"Addition\",\"left\":" + term(left) + ",\"right\":" + term(right) + "}";
  }

  private static String term(String term) {
    return term.startsWith("{") ? term : "{\"type\":\"Constant\",\"value\":" + term + "}";
  }

  /** The answer to a question by a schema. */
  static String answer(String question, String schema) {
    Schema valid = VALIDATOR.getSchema(schema, InputFormat.JSON);
    return ANSWERS.stream()
        .filter(answer -> question.contains(answer.question))
        .map(Answer::json)
        .filter(json -> valid.validate(json, InputFormat.JSON).isEmpty())
        .findFirst()
        .orElseThrow(
            () -> new AssertionError("no answer to \"" + question + "\" by the schema " + schema));
  }
}
