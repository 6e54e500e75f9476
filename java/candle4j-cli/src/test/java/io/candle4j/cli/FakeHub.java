package io.candle4j.cli;

import com.sun.net.httpserver.HttpExchange;
import com.sun.net.httpserver.HttpServer;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.HexFormat;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.concurrent.Executors;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.stream.Stream;

/** A Hub on this machine with one model, and one that may not be had. */
final class FakeHub implements AutoCloseable {
  static final String MODEL = "someone/tiny-llama";
  static final String GATED = "someone/gated";
  static final String COMMIT = "0123456789abcdef0123456789abcdef01234567";

  private final HttpServer server;
  private final Map<String, byte[]> files = new TreeMap<>();
  private final AtomicInteger requests = new AtomicInteger();
  private volatile int pauseMillis;

  FakeHub() {
    try (Stream<Path> all = Files.list(Golden.folder("llama-plain"))) {
      for (Path file : all.toList()) {
        String name = file.getFileName().toString();
        if (List.of(
                "config.json",
                "generation_config.json",
                "model.safetensors",
                "tokenizer.json",
                "tokenizer_config.json")
            .contains(name)) {
          files.put(name, Files.readAllBytes(file));
        }
      }
      server = HttpServer.create(new InetSocketAddress(InetAddress.getLoopbackAddress(), 0), 0);
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
    server.createContext("/", this::answer);
    server.setExecutor(Executors.newCachedThreadPool());
    server.start();
  }

  String endpoint() {
    return "http://127.0.0.1:" + server.getAddress().getPort();
  }

  int requests() {
    return requests.get();
  }

  /** Sends weights a little at a time. */
  void slowDown(int pauseMillis) {
    this.pauseMillis = pauseMillis;
  }

  private void answer(HttpExchange exchange) throws IOException {
    requests.incrementAndGet();
    String path = exchange.getRequestURI().getPath();
    try (exchange) {
      if (path.startsWith("/api/models/" + MODEL)) {
        List<Map<String, Object>> siblings =
            files.keySet().stream().map(name -> Json.object("rfilename", name)).toList();
        send(
            exchange,
            200,
            Json.line(Json.object("id", MODEL, "sha", COMMIT, "siblings", siblings)).getBytes());
      } else if (path.startsWith("/" + MODEL + "/resolve/" + COMMIT + "/")) {
        sendFile(exchange, path.substring(path.lastIndexOf('/') + 1));
      } else if (path.contains(GATED)) {
        exchange.getResponseHeaders().set("X-Error-Code", "GatedRepo");
        send(exchange, 403, new byte[0]);
      } else {
        exchange.getResponseHeaders().set("X-Error-Code", "RepoNotFound");
        send(exchange, 404, new byte[0]);
      }
    }
  }

  private void sendFile(HttpExchange exchange, String name) throws IOException {
    byte[] content = files.get(name);
    if (content == null) {
      exchange.getResponseHeaders().set("X-Error-Code", "EntryNotFound");
      send(exchange, 404, new byte[0]);
      return;
    }
    exchange.getResponseHeaders().set("ETag", "\"" + sha256(content) + "\"");
    exchange.getResponseHeaders().set("X-Repo-Commit", COMMIT);
    exchange.getResponseHeaders().set("Accept-Ranges", "bytes");
    send(exchange, 200, content);
  }

  private void send(HttpExchange exchange, int status, byte[] content) throws IOException {
    if (exchange.getRequestMethod().equals("HEAD")) {
      exchange.getResponseHeaders().set("Content-Length", Integer.toString(content.length));
      exchange.sendResponseHeaders(status, -1);
      return;
    }
    exchange.sendResponseHeaders(status, content.length == 0 ? -1 : content.length);
    if (content.length == 0) {
      return;
    }
    int step = pauseMillis == 0 ? content.length : 4096;
    for (int at = 0; at < content.length; at += step) {
      exchange.getResponseBody().write(content, at, Math.min(step, content.length - at));
      exchange.getResponseBody().flush();
      pause();
    }
  }

  private void pause() {
    try {
      Thread.sleep(pauseMillis);
    } catch (InterruptedException e) {
      throw new AssertionError(e);
    }
  }

  private static String sha256(byte[] content) {
    try {
      return HexFormat.of().formatHex(MessageDigest.getInstance("SHA-256").digest(content));
    } catch (NoSuchAlgorithmException e) {
      throw new AssertionError(e);
    }
  }

  @Override
  public void close() {
    server.stop(0);
  }
}
