package io.candle4j.server;

import io.helidon.http.HeaderNames;
import io.helidon.http.Method;
import io.helidon.webserver.http.Filter;
import io.helidon.webserver.http.FilterChain;
import io.helidon.webserver.http.RoutingRequest;
import io.helidon.webserver.http.RoutingResponse;
import java.nio.charset.StandardCharsets;
import java.security.MessageDigest;

/** Lets requests with the right key through to the APIs. */
final class ApiKeyFilter implements Filter {
  private final byte[] expected;

  ApiKeyFilter(String key) {
    expected = ("Bearer " + key).getBytes(StandardCharsets.UTF_8);
  }

  @Override
  public void filter(FilterChain chain, RoutingRequest request, RoutingResponse response) {
    String path = request.path().path();
    // A browser asks without the key whether it may ask with it.
    if (!Routes.isApi(path) || request.prologue().method() == Method.OPTIONS || isKnown(request)) {
      chain.proceed();
      return;
    }
    ApiException error =
        new ApiException(
            401,
            "authentication_error",
            "invalid_api_key",
            null,
            "the API key is missing or wrong",
            null);
    response.header(HeaderNames.WWW_AUTHENTICATE, "Bearer");
    Api.send(response, path.startsWith("/api") ? Api::ollamaError : Api::openAiError, error);
  }

  private boolean isKnown(RoutingRequest request) {
    byte[] given =
        request
            .headers()
            .first(HeaderNames.AUTHORIZATION)
            .orElse("")
            .getBytes(StandardCharsets.UTF_8);
    // Takes the same time wherever the two differ.
    return MessageDigest.isEqual(expected, given);
  }
}
