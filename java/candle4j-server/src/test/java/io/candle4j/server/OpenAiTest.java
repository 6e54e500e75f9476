package io.candle4j.server;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.candle4j.CandleEmbedder;
import io.candle4j.CandleModel;
import io.candle4j.CandleReranker;
import io.candle4j.GenerateOptions;
import io.candle4j.Request;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.file.Path;
import java.util.Base64;
import java.util.List;
import java.util.stream.Collectors;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import tools.jackson.databind.JsonNode;

/** OpenAI's API on real models; what it answers is what the library says. */
class OpenAiTest {
  private static final String RERANKER =
      Path.of(System.getProperty("candle4j.test.models"))
          .resolveSibling("encoders")
          .resolve("bert-rerank")
          .normalize()
          .toString();

  private static CandleServer server;
  private static Http http;

  @BeforeAll
  static void start() {
    server =
        CandleServer.builder().port(0).model("smollm2").model("minilm").model(RERANKER).start();
    http = new Http(server);
  }

  @AfterAll
  static void stop() {
    server.close();
  }

  private static String chat(String more) {
    return "{'model':'smollm2','messages':[{'role':'user','content':'What is the capital of"
        + " France?'}],'temperature':0"
        + more
        + "}";
  }

  @Test
  void modelsAreListed() {
    JsonNode list = http.get("/v1/models").body();
    assertEquals("list", list.get("object").stringValue());
    assertEquals("smollm2", list.at("/data/0/id").stringValue());
    assertEquals("minilm", http.get("/v1/models/minilm").body().get("id").stringValue());
    assertEquals(404, http.get("/v1/models/other/one").status());
    assertEquals(404, http.get("/v1/none").status());
  }

  @Test
  void answersAreThoseOfTheLibrary() {
    try (CandleModel model = CandleModel.load("smollm2");
        var session = model.newSession()) {
      var generation =
          session.generate(
              Request.of(
                  "What is the capital of France?",
                  GenerateOptions.builder().temperature(0).maxTokens(20).build()));
      JsonNode body = http.post("/v1/chat/completions", chat(",'max_tokens':20")).body();
      assertEquals(generation.text(), body.at("/choices/0/message/content").stringValue());
      assertEquals("stop", body.at("/choices/0/finish_reason").stringValue());
      assertEquals(generation.promptTokens(), body.at("/usage/prompt_tokens").intValue());
      assertEquals(generation.completionTokens(), body.at("/usage/completion_tokens").intValue());
    }
  }

  @Test
  void streamsJoinToTheAnswer() {
    String whole =
        http.post("/v1/chat/completions", chat(",'max_tokens':6"))
            .body()
            .at("/choices/0/message/content")
            .stringValue();
    List<String> events =
        http.events(
            "/v1/chat/completions",
            chat(",'max_tokens':6,'stream':true,'stream_options':{'include_usage':true}"));
    assertEquals("[DONE]", events.getLast());
    List<JsonNode> chunks = events.subList(0, events.size() - 1).stream().map(Http::parse).toList();
    assertEquals("assistant", chunks.getFirst().at("/choices/0/delta/role").stringValue());
    assertEquals(
        whole,
        chunks.stream()
            .map(chunk -> chunk.at("/choices/0/delta/content").asString(""))
            .collect(Collectors.joining()));
    assertEquals(
        "length", chunks.get(chunks.size() - 2).at("/choices/0/finish_reason").stringValue());
    assertTrue(chunks.getLast().get("choices").isEmpty());
    assertEquals(6, chunks.getLast().at("/usage/completion_tokens").intValue());
    assertEquals(1, chunks.stream().map(chunk -> chunk.get("id").stringValue()).distinct().count());
  }

  @Test
  void severalAnswersHaveSeedsOfTheirOwn() {
    String body =
        "{'messages':[{'role':'user','content':'Name an animal.'}],'temperature':1.5,'seed':7,"
            + "'max_tokens':12,'n':3}";
    JsonNode first = http.post("/v1/chat/completions", body).body();
    JsonNode second = http.post("/v1/chat/completions", body).body();
    assertEquals(3, first.get("choices").size());
    assertEquals(first.get("choices"), second.get("choices"));
    assertFalse(
        first.at("/choices/0/message/content").equals(first.at("/choices/1/message/content")));
  }

  @Test
  void schemasHold() {
    JsonNode body =
        http.post(
                "/v1/chat/completions",
                chat(
                    ",'max_tokens':60,'response_format':{'type':'json_schema','json_schema':{'name':'a','strict':true,"
                        + "'schema':{'type':'object','properties':{'city':{'type':'string','maxLength':20}},"
                        + "'required':['city'],'additionalProperties':false}}}"))
            .body();
    JsonNode answer = Http.parse(body.at("/choices/0/message/content").stringValue());
    assertTrue(answer.get("city").isString());
  }

  @Test
  void toolsAreCalled() {
    String tools =
        ",'tools':[{'type':'function','function':{'name':'weather','parameters':{'type':'object',"
            + "'properties':{'city':{'enum':['Paris','Rome']}},'required':['city'],"
            + "'additionalProperties':false}}}],'tool_choice':'required','parallel_tool_calls':false";
    JsonNode body = http.post("/v1/chat/completions", chat(tools)).body();
    JsonNode calls = body.at("/choices/0/message/tool_calls");
    assertEquals(1, calls.size());
    assertEquals("weather", calls.at("/0/function/name").stringValue());
    assertTrue(Http.parse(calls.at("/0/function/arguments").stringValue()).has("city"));
    assertEquals("tool_calls", body.at("/choices/0/finish_reason").stringValue());
    JsonNode delta =
        http.events("/v1/chat/completions", chat(tools + ",'stream':true")).stream()
            .filter(event -> event.contains("tool_calls\":["))
            .map(Http::parse)
            .findFirst()
            .orElseThrow();
    assertEquals(0, delta.at("/choices/0/delta/tool_calls/0/index").intValue());
    // What it called and was told goes on as a conversation.
    String id = calls.at("/0/id").stringValue();
    JsonNode next =
        http.post(
                "/v1/chat/completions",
                "{'messages':[{'role':'user','content':'Weather in Paris?'},"
                    + "{'role':'assistant','content':null,'tool_calls':[{'id':'"
                    + id
                    + "','type':'function',"
                    + "'function':{'name':'weather','arguments':'{}'}}]},"
                    + "{'role':'tool','tool_call_id':'"
                    + id
                    + "','content':'Sunny.'}],'max_tokens':5}")
            .body();
    assertTrue(next.has("choices"), next::toString);
  }

  @Test
  void logprobsAreOfTheTokensOfTheAnswer() {
    JsonNode body =
        http.post("/v1/chat/completions", chat(",'max_tokens':20,'logprobs':true,'top_logprobs':2"))
            .body();
    JsonNode content = body.at("/choices/0/logprobs/content");
    StringBuilder text = new StringBuilder();
    for (JsonNode entry : content) {
      text.append(entry.get("token").stringValue());
      assertEquals(2, entry.get("top_logprobs").size());
      assertEquals(entry.get("logprob"), entry.at("/top_logprobs/0/logprob"));
    }
    assertEquals(body.at("/choices/0/message/content").stringValue(), text.toString());
  }

  @Test
  void logprobsEndWithTheText() {
    JsonNode choice =
        http.post(
                "/v1/chat/completions", chat(",'max_tokens':20,'logprobs':true,'stop':['France']"))
            .body()
            .at("/choices/0");
    StringBuilder text = new StringBuilder();
    choice.at("/logprobs/content").forEach(entry -> text.append(entry.get("token").stringValue()));
    // The last token is the one that the text ends in.
    String content = choice.at("/message/content").stringValue();
    assertTrue(text.toString().startsWith(content), text + " for " + content);
    int last =
        choice
            .at("/logprobs/content/" + (choice.at("/logprobs/content").size() - 1) + "/token")
            .stringValue()
            .length();
    assertTrue(text.length() - last < content.length(), text + " for " + content);
    List<JsonNode> chunks =
        http
            .events(
                "/v1/completions",
                "{'prompt':'One, two,','max_tokens':4,'logprobs':1,'temperature':0,'stream':true}")
            .stream()
            .filter(event -> event.startsWith("{"))
            .map(Http::parse)
            .toList();
    int offset = 0;
    for (JsonNode chunk : chunks) {
      JsonNode logprobs = chunk.at("/choices/0/logprobs");
      for (int i = 0; i < logprobs.get("tokens").size(); i++) {
        assertEquals(offset, logprobs.at("/text_offset/" + i).intValue());
        offset += logprobs.at("/tokens/" + i).stringValue().length();
      }
    }
    assertTrue(offset > 0);
  }

  @Test
  void textsGoOn() {
    JsonNode body =
        http.post(
                "/v1/completions",
                "{'prompt':['The capital of France is','One, two,'],'max_tokens':3,'temperature':0,"
                    + "'echo':true}")
            .body();
    assertEquals(2, body.get("choices").size());
    String text = body.at("/choices/1/text").stringValue();
    assertTrue(text.matches("(?s)One, two,.+"), text);
    assertEquals(6, body.at("/usage/completion_tokens").intValue());
    List<String> events =
        http.events(
            "/v1/completions",
            "{'prompt':'One, two,','max_tokens':2,'temperature':0,'stream':true}");
    assertEquals("[DONE]", events.getLast());
  }

  @Test
  void vectorsAreThoseOfTheLibraryInBothForms() {
    try (CandleEmbedder embedder = CandleEmbedder.load("minilm")) {
      float[] expected = embedder.embed("A fox.").vector();
      JsonNode floats =
          http.post("/v1/embeddings", "{'model':'minilm','input':['A fox.','Paris']}").body();
      JsonNode base64 =
          http.post(
                  "/v1/embeddings",
                  "{'model':'minilm','input':'A fox.','encoding_format':'base64'}")
              .body();
      ByteBuffer bytes =
          ByteBuffer.wrap(Base64.getDecoder().decode(base64.at("/data/0/embedding").stringValue()))
              .order(ByteOrder.LITTLE_ENDIAN);
      for (int i = 0; i < expected.length; i++) {
        assertEquals(expected[i], floats.at("/data/0/embedding/" + i).floatValue());
        assertEquals(expected[i], bytes.getFloat());
      }
      assertEquals(1, floats.at("/data/1/index").intValue());
      assertTrue(floats.at("/usage/total_tokens").intValue() > 0);
    }
  }

  @Test
  void documentsAreRanked() {
    List<String> documents = List.of("a fox", "the capital of France", "bread");
    try (CandleReranker reranker = CandleReranker.load(RERANKER)) {
      var ranked = reranker.rank("capital", documents, 2);
      JsonNode body =
          http.post(
                  "/v1/rerank",
                  "{'model':'"
                      + RERANKER
                      + "','query':'capital','top_n':2,'return_documents':true,"
                      + "'documents':['a fox',{'text':'the capital of France'},'bread']}")
              .body();
      assertEquals(2, body.get("results").size());
      for (int i = 0; i < 2; i++) {
        JsonNode result = body.at("/results/" + i);
        assertEquals(ranked.get(i).index(), result.get("index").intValue());
        assertEquals((float) ranked.get(i).score(), result.get("relevance_score").floatValue());
        assertEquals(ranked.get(i).document(), result.at("/document/text").stringValue());
      }
    }
  }

  @Test
  void whatIsWrongIsNamed() {
    record Wrong(String path, String body, int status, String names) {}
    String chat = "/v1/chat/completions";
    for (Wrong wrong :
        List.of(
            new Wrong(chat, "{", 400, "JSON"),
            new Wrong(chat, "[]", 400, "object"),
            new Wrong(chat, "{}", 400, "messages"),
            new Wrong(chat, "{'messages':[]}", 400, "messages"),
            new Wrong(chat, "{'messages':[{'role':'user'}]}", 400, "messages[0].content"),
            new Wrong(
                chat, chat(",'model':'gpt-4'").replace("'model':'smollm2',", ""), 404, "gpt-4"),
            new Wrong(
                chat,
                chat(",'temperature':'hot'").replace("'temperature':0,", ""),
                400,
                "temperature"),
            new Wrong(chat, chat(",'top_p':7"), 400, "top_p"),
            new Wrong(chat, chat(",'max_tokens':0"), 400, "max_tokens"),
            new Wrong(chat, chat(",'n':0"), 400, "n: "),
            new Wrong(chat, chat(",'n':65"), 400, "n: "),
            new Wrong(chat, chat(",'stop':['']"), 400, "stop"),
            new Wrong(chat, chat(",'tool_choice':'required'"), 400, "tool_choice"),
            new Wrong(chat, chat(",'functions':[{'name':'f'}]"), 400, "functions"),
            new Wrong(chat, chat(",'response_format':{'type':'xml'}"), 400, "response_format.type"),
            new Wrong(
                chat,
                "{'messages':[{'role':'user','content':[{'type':'image_url','image_url':{'url':'x'}}]}]}",
                400,
                "messages[0].content[0].type"),
            new Wrong(
                chat,
                "{'messages':[{'role':'user','content':'" + "word ".repeat(9000) + "'}]}",
                400,
                "context"),
            new Wrong(chat, chat(",'max_tokens':" + "9".repeat(400)), 400, "max_tokens"),
            new Wrong(chat, chat(",'top_p':1e999"), 400, "top_p"),
            new Wrong(chat, chat(",'tools':5"), 400, "tools"),
            new Wrong(chat, chat(",'chat_template_kwargs':{'messages':5}"), 400, "messages"),
            new Wrong(chat, "{'messages':[{'role':'user','content':'\\ud83d'}]}", 400, "surrogate"),
            new Wrong(chat, "'" + "a".repeat(5 << 20) + "'", 413, "bytes"),
            new Wrong("/v1/none", "{}", 404, "/v1/none"),
            new Wrong("/v1/completions", "{'prompt':['a','b','c','d'],'n':1073741825}", 400, "n: "),
            new Wrong(
                "/v1/embeddings",
                "{'model':'minilm','input':'" + "word ".repeat(3000) + "'}",
                400,
                "256"),
            new Wrong("/v1/completions", "{}", 400, "prompt"),
            new Wrong("/v1/completions", "{'prompt':'a','suffix':'b'}", 400, "suffix"),
            new Wrong("/v1/embeddings", "{'model':'minilm'}", 400, "input"),
            new Wrong("/v1/embeddings", "{'model':'minilm','input':''}", 400, "input"),
            new Wrong(
                "/v1/embeddings",
                "{'model':'minilm','input':'a','dimensions':0}",
                400,
                "dimensions"),
            new Wrong("/v1/rerank", "{'query':'a'}", 400, "documents"))) {
      Http.Answer answer = http.post(wrong.path(), wrong.body());
      assertEquals(wrong.status(), answer.status(), wrong::toString);
      JsonNode error = answer.body().get("error");
      assertTrue(error.get("message").stringValue().contains(wrong.names()), error::toString);
      assertEquals("invalid_request_error", error.get("type").stringValue());
    }
  }
}
