package io.candle4j.server;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.InputStream;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.net.http.HttpResponse.BodyHandlers;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.TimeUnit;
import java.util.function.BooleanSupplier;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

/** What the server does beside answering. */
@Timeout(value = 120, unit = TimeUnit.SECONDS)
class ServerTest {
  private static final String LONG =
      "{'messages':[{'role':'user','content':'Tell a story.'}],'max_tokens':4000,'ignore_eos':true";

  private static void await(BooleanSupplier condition) throws InterruptedException {
    long end = System.nanoTime() + TimeUnit.SECONDS.toNanos(30);
    while (!condition.getAsBoolean()) {
      assertTrue(System.nanoTime() < end, "it did not happen");
      Thread.sleep(10);
    }
  }

  private static boolean isActive(Http http, int requests) {
    return http.text("/metrics").contains("candle_requests_active " + requests + ".0");
  }

  @Test
  void keysAreChecked() {
    try (CandleServer server = CandleServer.builder().port(0).apiKey("secret").start()) {
      Http http = new Http(server);
      Http.Answer none = http.get("/v1/models");
      assertEquals(401, none.status());
      assertEquals("invalid_api_key", none.body().at("/error/code").stringValue());
      assertEquals(401, http.get("/api/tags").status());
      assertEquals(
          401,
          http.post("/v1/embeddings", "{'input':'a'}", "Authorization", "Bearer other").status());
      assertEquals(
          200,
          http.post(
                  "/v1/embeddings",
                  "{'model':'minilm','input':'a'}",
                  "Authorization",
                  "Bearer secret")
              .status());
      assertEquals("ok", http.get("/health").body().get("status").stringValue());
    }
  }

  @Test
  void whoLeavesFreesItsPlaceWithinASecond() throws Exception {
    try (CandleServer server = CandleServer.builder().port(0).start()) {
      Http http = new Http(server);
      for (String stream : List.of("", ",'stream':true")) {
        CompletableFuture<?> leaving =
            Http.client()
                .sendAsync(
                    http.request("/v1/chat/completions", LONG + stream + "}"),
                    BodyHandlers.ofString());
        await(() -> isActive(http, 1));
        Thread.sleep(300);
        leaving.cancel(true);
        long begin = System.nanoTime();
        await(() -> isActive(http, 0));
        long millis = TimeUnit.NANOSECONDS.toMillis(System.nanoTime() - begin);
        assertTrue(millis < 1000, () -> millis + " ms");
      }
    }
  }

  @Test
  void requestsBeyondTheQueueAreRefused() throws Exception {
    try (CandleServer server = CandleServer.builder().port(0).parallel(1).queue(1).start()) {
      Http http = new Http(server);
      List<CompletableFuture<HttpResponse<String>>> taken = new ArrayList<>();
      for (int i = 0; i < 2; i++) {
        taken.add(
            Http.client()
                .sendAsync(
                    http.request("/v1/chat/completions", LONG + "}"), BodyHandlers.ofString()));
      }
      await(() -> isActive(http, 1) && http.text("/metrics").contains("waiting 1.0"));
      Http.Answer refused = http.post("/v1/chat/completions", LONG + "}");
      assertEquals(429, refused.status());
      assertEquals("1", refused.response().headers().firstValue("Retry-After").orElseThrow());
      taken.forEach(request -> request.cancel(true));
      await(() -> isActive(http, 0));
    }
  }

  @Test
  void aServerThatEndsStopsWhatItDoes() throws Exception {
    CandleServer server = CandleServer.builder().port(0).grace(Duration.ofMillis(300)).start();
    Http http = new Http(server);
    HttpResponse<InputStream> stream =
        Http.client()
            .send(
                http.request("/v1/chat/completions", LONG + ",'stream':true}"),
                BodyHandlers.ofInputStream());
    assertTrue(stream.body().read() >= 0);
    long begin = System.nanoTime();
    server.close();
    server.close();
    long millis = TimeUnit.NANOSECONDS.toMillis(System.nanoTime() - begin);
    assertTrue(millis < 5000, () -> millis + " ms");
    assertThrows(AssertionError.class, () -> http.get("/health"));
  }

  @Test
  void idleModelsAreUnloaded() throws Exception {
    try (CandleServer server = CandleServer.builder().port(0).keepAlive(Duration.ZERO).start()) {
      Http http = new Http(server);
      http.post("/v1/embeddings", "{'model':'minilm','input':'a'}");
      await(() -> http.get("/api/ps").body().get("models").isEmpty());
      // And loaded again, to stay as a request says.
      http.post("/api/embed", "{'model':'minilm','input':'a','keep_alive':-1}");
      Thread.sleep(1200);
      assertEquals("minilm", http.get("/api/ps").body().at("/models/0/name").stringValue());
    }
  }

  @Test
  void otherOriginsAreLetInByName() {
    try (CandleServer server =
        CandleServer.builder().port(0).origin("https://example.org").start()) {
      Http http = new Http(server);
      for (String origin : List.of("https://example.org", "https://other.org")) {
        String allowed =
            http.post("/v1/embeddings", "{'model':'minilm','input':'a'}", "Origin", origin)
                .response()
                .headers()
                .firstValue("Access-Control-Allow-Origin")
                .orElse("");
        assertEquals(origin.contains("example") ? origin : "", allowed);
      }
    }
  }

  @Test
  void thePageHasAllItNeeds() {
    try (CandleServer server = CandleServer.builder().port(0).start()) {
      Http http = new Http(server);
      String page = http.text("/");
      Matcher files = Pattern.compile("(?:src|href)=\"([^\"]+)\"").matcher(page);
      int found = 0;
      while (files.find()) {
        found++;
        HttpResponse<String> file =
            Http.send(HttpRequest.newBuilder(server.uri().resolve("/" + files.group(1))).build());
        assertEquals(200, file.statusCode(), files.group(1));
      }
      assertEquals(5, found);
    }
  }

  @Test
  void equalSeedsGiveEqualTextsInParallel() {
    try (CandleServer server = CandleServer.builder().port(0).start()) {
      Http http = new Http(server);
      List<CompletableFuture<HttpResponse<String>>> all = new ArrayList<>();
      for (int i = 0; i < 32; i++) {
        all.add(
            Http.client()
                .sendAsync(
                    http.request(
                        "/v1/chat/completions",
                        "{'messages':[{'role':'user','content':'Name an animal.'}],'seed':3,"
                            + "'temperature':1,'max_tokens':16}"),
                    BodyHandlers.ofString()));
      }
      assertEquals(
          1,
          all.stream()
              .map(CompletableFuture::join)
              .map(response -> Http.parse(response.body()).at("/choices/0/message/content"))
              .distinct()
              .count());
    }
  }
}
