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
import java.util.Set;

/**
 * What HTTP wants of every path, and Helidon does not do by itself: OPTIONS are answered, HEAD gets
 * no body, and a connection ends when the client says so.
 */
final class MethodFilter implements Filter {
  /** What can be read, beside the files of the page, which know HEAD. */
  private static final Set<String> READ = Set.of("/health", "/metrics", "/v1/models");

  @Override
  public void filter(FilterChain chain, RoutingRequest request, RoutingResponse response) {
    Method method = request.prologue().method();
    String path = request.path().path();
    if (method == Method.OPTIONS) {
      response
          .status(Status.NO_CONTENT_204)
          .header(HeaderNames.ALLOW, "GET, POST, HEAD, OPTIONS")
          .send();
    } else if (method == Method.HEAD && READ.contains(path)) {
      response.send();
    } else if (method == Method.HEAD && Routes.isApi(path)) {
      response.status(Status.METHOD_NOT_ALLOWED_405).send();
    } else {
      chain.proceed();
    }
    if (request.headers().containsToken(HeaderValues.CONNECTION_CLOSE)
        || response.headers().containsToken(HeaderValues.CONNECTION_CLOSE)) {
      throw new CloseConnectionException("as was said");
    }
  }
}
