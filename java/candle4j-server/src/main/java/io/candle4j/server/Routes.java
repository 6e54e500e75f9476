package io.candle4j.server;

import io.candle4j.CandleRuntime;
import io.helidon.http.HeaderNames;
import io.helidon.webserver.http.HttpRouting;
import io.helidon.webserver.http.ServerRequest;
import io.helidon.webserver.http.ServerResponse;
import tools.jackson.databind.node.ArrayNode;
import tools.jackson.databind.node.ObjectNode;

/** Which path leads where. */
final class Routes {
  private Routes() {}

  /** Whether a path is one of the APIs, and no file, health or metrics. */
  static boolean isApi(String path) {
    return path.startsWith("/v1")
        || path.startsWith("/v2")
        || path.startsWith("/api")
        || path.equals("/rerank");
  }

  static void add(
      HttpRouting.Builder routing, ServedModels models, Api api, ServerMetrics metrics) {
    routing.addFilter(new MethodFilter());
    openAi(routing, models, api, metrics);
    ollama(routing, models, api, metrics);
    for (String prefix : new String[] {"/v1/*", "/v2/*"}) {
      routing.any(
          prefix, (request, response) -> Api.send(response, Api::openAiError, unknown(request)));
    }
    routing.any(
        "/api/*", (request, response) -> Api.send(response, Api::ollamaError, unknown(request)));
    routing.get(
        "/health", (request, response) -> send(response, Json.object().put("status", "ok")));
    routing.get(
        "/metrics",
        (request, response) ->
            response
                .header(HeaderNames.CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")
                .send(metrics.scrape()));
    ChatPage.add(routing);
  }

  private static void openAi(
      HttpRouting.Builder routing, ServedModels models, Api api, ServerMetrics metrics) {
    ChatCompletions chats = new ChatCompletions(models, metrics);
    Completions completions = new Completions(models, metrics);
    Embeddings embeddings = new Embeddings(models);
    Rerank rerank = new Rerank(models);
    routing.post("/v1/chat/completions", api.handler("chat", Api::openAiError, chats::answer));
    routing.post(
        "/v1/completions", api.handler("completions", Api::openAiError, completions::answer));
    routing.post("/v1/embeddings", api.handler("embeddings", Api::openAiError, embeddings::answer));
    for (String path : new String[] {"/v1/rerank", "/v2/rerank", "/rerank"}) {
      routing.post(path, api.handler("rerank", Api::openAiError, rerank::answer));
    }
    routing.get("/v1/models", (request, response) -> send(response, list(models)));
    routing.get(
        "/v1/models/*",
        (request, response) -> {
          String name = request.path().path().substring("/v1/models/".length());
          models
              .find(name)
              .ifPresentOrElse(
                  served -> send(response, model(served)),
                  () -> Api.send(response, Api::openAiError, ApiException.noModel(name)));
        });
  }

  private static ApiException unknown(ServerRequest request) {
    String what = request.prologue().method().text() + " " + request.path().path();
    return new ApiException(
        404, "invalid_request_error", "unknown_url", null, "there is no " + what, null);
  }

  private static void ollama(
      HttpRouting.Builder routing, ServedModels models, Api api, ServerMetrics metrics) {
    OllamaGenerate generate = new OllamaGenerate(models, metrics);
    OllamaModels list = new OllamaModels(models);
    routing.get(
        "/api/version",
        (request, response) ->
            send(response, Json.object().put("version", CandleRuntime.info().version())));
    routing.get("/api/tags", (request, response) -> send(response, list.list(false)));
    routing.get("/api/ps", (request, response) -> send(response, list.list(true)));
    routing.post("/api/show", api.handler("show", Api::ollamaError, list::show));
    routing.post("/api/chat", api.handler("chat", Api::ollamaError, generate::chat));
    routing.post("/api/generate", api.handler("generate", Api::ollamaError, generate::generate));
    routing.post("/api/embed", api.handler("embed", Api::ollamaError, list::embed));
    routing.post("/api/embeddings", api.handler("embed", Api::ollamaError, list::embeddings));
  }

  private static void send(ServerResponse response, ObjectNode document) {
    response.header(HeaderNames.CONTENT_TYPE, "application/json").send(Json.bytes(document));
  }

  private static ObjectNode list(ServedModels models) {
    ObjectNode response = Json.object().put("object", "list");
    ArrayNode data = response.putArray("data");
    models.all().forEach(served -> data.add(model(served)));
    return response;
  }

  private static ObjectNode model(ServedModel served) {
    return Json.object()
        .put("id", served.name())
        .put("object", "model")
        .put("created", served.since().getEpochSecond())
        .put("owned_by", "candle4j");
  }
}
