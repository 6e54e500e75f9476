package io.candle4j.server;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.candle4j.CandleEmbedder;
import java.util.List;
import java.util.stream.Collectors;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import tools.jackson.databind.JsonNode;

/** Ollama's API on real models. */
class OllamaTest {
  private static final String CHAT =
      "{'model':'smollm2:latest','messages':[{'role':'user','content':'What is the capital of"
          + " France?'}],'options':{'temperature':0,'num_predict':20}";

  private static CandleServer server;
  private static Http http;

  @BeforeAll
  static void start() {
    server = CandleServer.builder().port(0).start();
    http = new Http(server);
  }

  @AfterAll
  static void stop() {
    server.close();
  }

  @Test
  void linesJoinToTheAnswer() {
    JsonNode whole = http.post("/api/chat", CHAT + ",'stream':false}").body();
    assertTrue(whole.get("done").booleanValue());
    assertTrue(whole.get("eval_count").intValue() > 0);
    List<JsonNode> lines = http.lines("/api/chat", CHAT + "}");
    assertEquals(
        whole.at("/message/content").stringValue(),
        lines.stream()
            .map(line -> line.at("/message/content").stringValue())
            .collect(Collectors.joining()));
    assertEquals("stop", lines.getLast().get("done_reason").stringValue());
  }

  @Test
  void promptsAreAnswered() {
    JsonNode answer =
        http.post(
                "/api/generate",
                "{'model':'smollm2','prompt':'Hello','raw':true,'stream':false,"
                    + "'options':{'num_predict':3,'temperature':0}}")
            .body();
    assertEquals("length", answer.get("done_reason").stringValue());
    assertEquals(3, answer.get("eval_count").intValue());
    JsonNode typed =
        http.post(
                "/api/generate",
                "{'model':'smollm2','prompt':'Hello','system':'Be brief.','stream':false,"
                    + "'format':{'type':'object','properties':{'a':{'type':'boolean'}},"
                    + "'required':['a'],'additionalProperties':false}}")
            .body();
    assertTrue(Http.parse(typed.get("response").stringValue()).get("a").isBoolean());
    assertEquals(
        "load",
        http.post("/api/generate", "{'model':'smollm2'}").body().get("done_reason").stringValue());
  }

  @Test
  void argumentsOfToolsAreObjects() {
    JsonNode answer =
        http.post(
                "/api/chat",
                "{'model':'smollm2','stream':false,'messages':["
                    + "{'role':'user','content':'Weather?'},"
                    + "{'role':'assistant','content':'','tool_calls':[{'function':{'name':'weather',"
                    + "'arguments':{'city':'Paris'}}}]},"
                    + "{'role':'tool','tool_name':'weather','content':'Sunny.'}],"
                    + "'options':{'num_predict':3}}")
            .body();
    assertTrue(answer.get("done").booleanValue(), answer::toString);
  }

  @Test
  void modelsAreDescribed() {
    assertEquals(2, http.get("/api/tags").body().get("models").size());
    assertTrue(http.get("/api/version").body().get("version").stringValue().matches("\\d+\\..*"));
    JsonNode chat = http.post("/api/show", "{'model':'smollm2'}").body();
    assertEquals("llama", chat.at("/details/family").stringValue());
    assertEquals("completion", chat.at("/capabilities/0").stringValue());
    JsonNode vectors = http.post("/api/show", "{'model':'minilm'}").body();
    assertEquals("embedding", vectors.at("/capabilities/0").stringValue(), vectors::toString);
  }

  @Test
  void vectorsAreThoseOfTheLibrary() {
    JsonNode answer =
        http.post("/api/embed", "{'model':'minilm','input':['A fox.','Paris']}").body();
    assertEquals(2, answer.get("embeddings").size());
    try (CandleEmbedder embedder = CandleEmbedder.load("minilm")) {
      assertEquals(embedder.embed("A fox.").vector()[5], answer.at("/embeddings/0/5").floatValue());
    }
  }

  @Test
  void errorsAreTexts() {
    Http.Answer none = http.post("/api/chat", "{'model':'other','messages':[]}");
    assertEquals(404, none.status());
    assertTrue(none.body().get("error").stringValue().contains("other"));
    assertEquals(400, http.post("/api/chat", CHAT + ",'format':'xml'}").status());
    assertEquals(400, http.post("/api/chat", "{'model':'smollm2','messages':'a'}").status());
    assertEquals(400, http.post("/api/generate", "{'model':'smollm2','keep_alive':'x'}").status());
    assertEquals(404, http.post("/api/pull", "{}").status());
    assertEquals(
        400,
        http.post("/api/generate", "{'model':'smollm2','prompt':'a','images':['x']}").status());
  }
}
