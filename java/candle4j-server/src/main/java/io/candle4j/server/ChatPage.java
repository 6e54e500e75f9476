package io.candle4j.server;

import io.helidon.http.HeaderNames;
import io.helidon.webserver.http.HttpRouting;
import io.helidon.webserver.staticcontent.ClasspathHandlerConfig;
import io.helidon.webserver.staticcontent.StaticContentFeature;

/** The page to chat: files of this artifact, and the libraries that it uses, all from here. */
final class ChatPage {
  private static final String LIBRARIES = "META-INF/resources/webjars";

  private ChatPage() {}

  static void add(HttpRouting.Builder routing) {
    routing.any(
        "/",
        (request, response) -> {
          // Whatever a model writes, it reaches nobody else and runs nothing.
          response.header(
              HeaderNames.create("Content-Security-Policy"),
              "default-src 'self'; img-src 'self' data:; frame-ancestors 'none'; base-uri 'none'");
          response.header(HeaderNames.create("X-Content-Type-Options"), "nosniff");
          response.next();
        });
    routing.register("/libraries", StaticContentFeature.createService(files(LIBRARIES)));
    routing.register(
        "/",
        StaticContentFeature.createService(
            ClasspathHandlerConfig.builder(files("io/candle4j/server/page"))
                .welcome("index.html")
                .build()));
  }

  private static ClasspathHandlerConfig files(String location) {
    return ClasspathHandlerConfig.builder()
        .location(location)
        .classLoader(ChatPage.class.getClassLoader())
        .build();
  }
}
