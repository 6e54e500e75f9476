package io.candle4j.server;

import java.io.IOException;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpRequest.BodyPublishers;
import java.net.http.HttpResponse;
import java.net.http.HttpResponse.BodyHandlers;
import java.util.List;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.json.JsonMapper;

/** What tests ask a server. */
final class Http {
  private static final HttpClient CLIENT =
      HttpClient.newBuilder().version(HttpClient.Version.HTTP_1_1).build();

  private final URI base;

  Http(CandleServer server) {
    base = server.uri();
  }

  /** A response, whose body is JSON. */
  record Answer(int status, JsonNode body, HttpResponse<String> response) {}

  Answer get(String path) {
    return json(send(HttpRequest.newBuilder(base.resolve(path)).build()));
  }

  String text(String path) {
    return send(HttpRequest.newBuilder(base.resolve(path)).build()).body();
  }

  /** Posts JSON, in which ' stands for ". */
  Answer post(String path, String body, String... headers) {
    return json(send(request(path, body, headers)));
  }

  /** The data of server-sent events; comments are left out. */
  List<String> events(String path, String body) {
    return send(request(path, body))
        .body()
        .lines()
        .filter(line -> line.startsWith("data: "))
        .map(line -> line.substring("data: ".length()))
        .toList();
  }

  /** Documents of a line each. */
  List<JsonNode> lines(String path, String body) {
    return send(request(path, body)).body().lines().map(Http::parse).toList();
  }

  HttpRequest request(String path, String body, String... headers) {
    HttpRequest.Builder request =
        HttpRequest.newBuilder(base.resolve(path))
            .POST(BodyPublishers.ofString(body.replace('\'', '"')));
    if (headers.length > 0) {
      request.headers(headers);
    }
    return request.build();
  }

  static JsonNode parse(String json) {
    return JsonMapper.shared().readTree(json);
  }

  static HttpClient client() {
    return CLIENT;
  }

  static HttpResponse<String> send(HttpRequest request) {
    try {
      return CLIENT.send(request, BodyHandlers.ofString());
    } catch (IOException | InterruptedException e) {
      throw new AssertionError(e);
    }
  }

  private static Answer json(HttpResponse<String> response) {
    return new Answer(response.statusCode(), parse(response.body()), response);
  }
}
