package io.candle4j.server;

import io.helidon.webserver.cors.CorsFeature;
import io.helidon.webserver.cors.CorsPathConfig;
import java.util.List;
import java.util.Set;

/** Which pages of other origins a browser lets use the server. */
final class Origins {
  private Origins() {}

  /** The feature for these; without any, none may. */
  static CorsFeature feature(List<String> origins) {
    return CorsFeature.create(cors -> {
      cors.addDefaults(false).enabled(!origins.isEmpty());
      if (!origins.isEmpty()) {
        cors.addPath(
            CorsPathConfig.builder()
                .pathPattern("/*")
                .allowOrigins(Set.copyOf(origins))
                .allowMethods(Set.of("GET", "POST", "OPTIONS"))
                .allowHeaders(Set.of("*"))
                .build());
      }
    });
  }
}
