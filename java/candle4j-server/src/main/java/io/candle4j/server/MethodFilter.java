package io.candle4j.server;

import io.helidon.http.HeaderNames;
import io.helidon.http.HeaderValues;
import io.helidon.http.Method;
import io.helidon.http.Status;
import io.helidon.webserver.CloseConnectionException;
import io.helidon.webserver.http.Filter;
import io.helidon.webserver.http.FilterChain;
import io.helidon.webserver.http.RoutingRequest;
import io.helidon.webserver.http.RoutingResponse;

/**
 * What HTTP wants of every path, and Helidon does not do by itself: OPTIONS are answered, HEAD gets
 * no body, and a connection ends when the client says so.
 */
final class MethodFilter implements Filter {
  @Override
  public void filter(FilterChain chain, RoutingRequest request, RoutingResponse response) {
    Method method = request.prologue().method();
    String path = request.path().path();
    if (method == Method.OPTIONS) {
      response
          .status(Status.NO_CONTENT_204)
          .header(HeaderNames.ALLOW, "GET, POST, HEAD, OPTIONS")
          .send();
    } else if (method == Method.HEAD && isApi(path)) {
      boolean reads =
          path.equals("/health") || path.equals("/metrics") || path.equals("/v1/models");
      response.status(reads ? Status.OK_200 : Status.METHOD_NOT_ALLOWED_405).send();
    } else {
      chain.proceed();
    }
    if (request.headers().containsToken(HeaderValues.CONNECTION_CLOSE)
        || response.headers().containsToken(HeaderValues.CONNECTION_CLOSE)) {
      throw new CloseConnectionException("as was said");
    }
  }

  /** Whether a path is none of the page's files, which know HEAD. */
  private static boolean isApi(String path) {
    return path.startsWith("/v1")
        || path.startsWith("/v2")
        || path.startsWith("/api")
        || path.equals("/rerank")
        || path.equals("/health")
        || path.equals("/metrics");
  }
}
