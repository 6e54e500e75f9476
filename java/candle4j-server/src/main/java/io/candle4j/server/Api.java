package io.candle4j.server;

import io.helidon.http.HeaderNames;
import io.helidon.http.Status;
import io.helidon.webserver.CloseConnectionException;
import io.helidon.webserver.http.Handler;
import io.helidon.webserver.http.ServerRequest;
import io.helidon.webserver.http.ServerResponse;
import java.time.Duration;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.function.Function;
import tools.jackson.databind.node.ObjectNode;

/** What all endpoints share: counting, errors, and the end of the server. */
final class Api {
  /** What counts as the status of a request whose client did not wait, as proxies have it. */
  private static final int LEFT = 499;

  private final ServerMetrics metrics;
  private final AtomicInteger running = new AtomicInteger();
  private final Set<ClientWatch> watches = ConcurrentHashMap.newKeySet();
  private volatile boolean ending;

  Api(ServerMetrics metrics) {
    this.metrics = metrics;
  }

  /** What an endpoint does. */
  interface Endpoint {
    void answer(Exchange exchange);
  }

  /** How an API writes an error. */
  interface ErrorForm extends Function<ApiException, ObjectNode> {}

  /** OpenAI's form. */
  static ObjectNode openAiError(ApiException error) {
    ObjectNode object = Json.object();
    ObjectNode inside =
        object.putObject("error").put("message", error.text()).put("type", error.type());
    inside.put("param", error.param().orElse(null)).put("code", error.code().orElse(null));
    return object;
  }

  /** Ollama's form. */
  static ObjectNode ollamaError(ApiException error) {
    return Json.object().put("error", error.text());
  }

  /** Handles requests by an endpoint. */
  Handler handler(String name, ErrorForm form, Endpoint endpoint) {
    return (request, response) -> {
      long begin = System.nanoTime();
      running.incrementAndGet();
      int status = LEFT;
      try {
        status = answer(request, response, form, endpoint);
      } finally {
        running.decrementAndGet();
        metrics.answered(name, status, Duration.ofNanos(System.nanoTime() - begin));
      }
    };
  }

  /** Answers, and tells the status. */
  private int answer(
      ServerRequest request, ServerResponse response, ErrorForm form, Endpoint endpoint) {
    Exchange exchange = null;
    try {
      if (ending) {
        throw ApiException.ending();
      }
      exchange = Exchange.of(request, response);
      watches.add(exchange.watch());
      endpoint.answer(exchange);
      exchange.end();
      return 200;
    } catch (Throwable failure) {
      if (failure instanceof ClientLeftException) {
        // Nobody reads an answer.
        throw new CloseConnectionException("the client has left", failure);
      }
      ApiException error = Errors.of(failure);
      if (exchange != null && exchange.isStreaming()) {
        exchange.failed(form.apply(error));
      } else {
        send(response, form, error);
      }
      return error.status();
    } finally {
      if (exchange != null) {
        watches.remove(exchange.watch());
        exchange.close();
      }
    }
  }

  /** Answers with an error. */
  static void send(ServerResponse response, ErrorForm form, ApiException error) {
    response.status(Status.create(error.status()));
    if (error.status() == 429 || error.status() == 503) {
      response.header(HeaderNames.RETRY_AFTER, "1");
    }
    response
        .header(HeaderNames.CONTENT_TYPE, "application/json")
        .send(Json.bytes(form.apply(error)));
  }

  /** Requests under way. */
  int running() {
    return running.get();
  }

  /** Refuses requests from now on. */
  void end() {
    ending = true;
  }

  /** Stops the requests under way. */
  void stopAll() {
    watches.forEach(ClientWatch::leave);
  }
}
