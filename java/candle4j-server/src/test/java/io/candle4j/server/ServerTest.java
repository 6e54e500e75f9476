package io.candle4j.server;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.io.InputStream;
import java.net.Socket;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.net.http.HttpResponse.BodyHandlers;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import java.util.function.BooleanSupplier;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import tools.jackson.databind.JsonNode;

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

  /** Leaves a request that is worked on, and waits until nothing is any more. */
  private static void leaves(Http http, HttpRequest request) throws InterruptedException {
    CompletableFuture<?> leaving = Http.client().sendAsync(request, BodyHandlers.ofString());
    await(() -> isActive(http, 1));
    Thread.sleep(500);
    leaving.cancel(true);
    long begin = System.nanoTime();
    await(() -> isActive(http, 0));
    long millis = TimeUnit.NANOSECONDS.toMillis(System.nanoTime() - begin);
    assertTrue(millis < 1000, () -> millis + " ms");
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
        leaves(http, http.request("/v1/chat/completions", LONG + stream + "}"));
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
  void keepAliveIsOfItsRequestAlone() throws Exception {
    try (CandleServer server = CandleServer.builder().port(0).start()) {
      Http http = new Http(server);
      String embed = "{'model':'minilm','input':'a'";
      for (String longTime : List.of("1e300", "'1h30m'", "-1")) {
        http.post("/api/embed", embed + ",'keep_alive':" + longTime + "}");
      }
      JsonNode unload = http.post("/api/generate", "{'model':'smollm2','keep_alive':0}").body();
      assertEquals("unload", unload.get("done_reason").stringValue());
      await(() -> http.get("/api/ps").body().get("models").size() == 1);
      http.post("/api/embed", embed + ",'keep_alive':0}");
      await(() -> http.get("/api/ps").body().get("models").isEmpty());
      http.post("/api/embed", embed + "}");
      Thread.sleep(1200);
      assertEquals(1, http.get("/api/ps").body().get("models").size());
    }
  }

  @Test
  void aModelThatHangsWhileItIsLoadedHoldsUpNoOther() throws Exception {
    CountDownLatch begun = new CountDownLatch(2);
    CountDownLatch end = new CountDownLatch(1);
    Places places = new Places(2, 2);
    ServedModel hanging = new ServedModel("a", places, Duration.ofMinutes(1), Chats::of);
    Resident<AutoCloseable> way =
        new Resident<>(
            () -> {
              try {
                end.await();
              } catch (InterruptedException e) {
                throw new AssertionError(e);
              }
              return () -> {};
            },
            Duration.ofMinutes(1));
    List<ClientWatch> watches = List.of(ClientWatch.begin(), ClientWatch.begin());
    List<CompletableFuture<Object>> waiting =
        watches.stream()
            .map(watch ->
                CompletableFuture.<Object>supplyAsync(() -> {
                  begun.countDown();
                  return hanging.use(way, 2, watch);
                }))
            .toList();
    begun.await();
    await(() -> places.waiting() == 4);
    assertEquals(0, places.active());
    watches.getFirst().leave();
    await(() -> waiting.getFirst().isCompletedExceptionally() && places.waiting() == 2);
    end.countDown();
    waiting.getLast().join();
    assertEquals(2, places.active());
    watches.getLast().leave();
  }

  @Test
  void whoComesFirstIsServedFirst() throws Exception {
    Places places = new Places(2, 10);
    ClientWatch watch = ClientWatch.begin();
    Places.Place first = places.enter(2);
    first.take(watch);
    List<Integer> order = Collections.synchronizedList(new ArrayList<>());
    List<Thread> threads = new ArrayList<>();
    for (int count : new int[] {2, 1, 1}) {
      threads.add(
          Thread.ofVirtual()
              .start(() -> {
                try (Places.Place place = places.enter(count)) {
                  place.take(watch);
                  order.add(count);
                }
              }));
      int before = threads.size();
      await(() -> places.waiting() == (before == 1 ? 2 : before + 1));
      Thread.sleep(200);
    }
    first.close();
    for (Thread thread : threads) {
      thread.join();
    }
    assertEquals(List.of(2, 1, 1), order);
    watch.close();
  }

  @Test
  void embeddingsEndWhenTheirClientLeaves() throws Exception {
    try (CandleServer server = CandleServer.builder().port(0).start()) {
      Http http = new Http(server);
      String texts = ("'" + "word ".repeat(200) + "',").repeat(2000);
      leaves(http, http.request("/v1/embeddings", "{'model':'minilm','input':[" + texts + "'a']}"));
    }
  }

  @Test
  void methodsAndConnectionsAreAsHttpWants() throws Exception {
    try (CandleServer server =
        CandleServer.builder().port(0).apiKey("k").origin("https://example.org").start()) {
      String preflight =
          raw(
              server,
              "OPTIONS /v1/chat/completions HTTP/1.1",
              "Origin: https://example.org",
              "Access-Control-Request-Method: POST",
              "Access-Control-Request-Headers: authorization, content-type");
      assertTrue(preflight.startsWith("HTTP/1.1 204 "), preflight);
      assertTrue(preflight.contains("Access-Control-Allow-Origin: https://example.org"), preflight);
      String head = raw(server, "HEAD /v1/models HTTP/1.1", "Authorization: Bearer k");
      assertTrue(head.startsWith("HTTP/1.1 200 ") && head.endsWith("\r\n\r\n"), head);
      assertTrue(raw(server, "GET /health HTTP/1.1").endsWith("{\"status\":\"ok\"}"));
    }
  }

  /** What a server sends until it closes the connection, as it is asked to. */
  private static String raw(CandleServer server, String... lines) throws IOException {
    try (Socket socket = new Socket("127.0.0.1", server.port())) {
      socket.setSoTimeout(10_000);
      String request =
          String.join("\r\n", lines) + "\r\nHost: localhost\r\nConnection: close\r\n\r\n";
      socket.getOutputStream().write(request.getBytes(StandardCharsets.US_ASCII));
      return new String(socket.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
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
