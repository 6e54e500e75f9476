package io.candle4j.server;

import io.helidon.http.HeaderNames;
import io.helidon.http.Status;
import io.helidon.webserver.http.ServerRequest;
import io.helidon.webserver.http.ServerResponse;
import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import org.jspecify.annotations.Nullable;
import tools.jackson.databind.JsonNode;

/** One request with a JSON body, its client, and the ways to answer: at once or in a stream. */
final class Exchange implements AutoCloseable {
  /** How long a stream may be silent, for what stands between client and server. */
  private static final Duration SILENCE = Duration.ofSeconds(5);

  private static final String EVENTS = "text/event-stream; charset=utf-8";
  private static final String LINES = "application/x-ndjson";

  private final ServerResponse response;
  private final Fields fields;
  private final ClientWatch watch;
  private @Nullable OutputStream stream;
  private long lastWrite = System.nanoTime();
  private @Nullable String type;
  private boolean ended;

  private Exchange(ServerResponse response, Fields fields) {
    this.response = response;
    this.fields = fields;
    this.watch = ClientWatch.begin();
  }

  /** Reads a request. */
  static Exchange of(ServerRequest request, ServerResponse response) throws IOException {
    byte[] body = new byte[0];
    if (request.content().hasEntity()) {
      try (InputStream in = request.content().inputStream()) {
        body = in.readAllBytes();
      }
    }
    return new Exchange(response, Fields.parse(body));
  }

  Fields fields() {
    return fields;
  }

  ClientWatch watch() {
    return watch;
  }

  /** Answers with a document. */
  void send(JsonNode document) {
    watch.close();
    if (watch.hasLeft()) {
      throw new ClientLeftException();
    }
    response.header(HeaderNames.CONTENT_TYPE, "application/json").send(Json.bytes(document));
  }

  /**
   * Answers with server-sent events. The first event, or a comment when that takes long, begins the
   * response: until then a failure has a status of its own.
   */
  void beginEvents() {
    watch.onHeartbeat(() -> {
      synchronized (this) {
        if (!ended && System.nanoTime() - lastWrite > SILENCE.toNanos()) {
          write(EVENTS, ": waiting\n\n");
        }
      }
    });
  }

  /** Sends an event. */
  synchronized void event(String data) {
    write(EVENTS, "data: " + data + "\n\n");
  }

  /** Sends a document of a line, as Ollama streams. */
  synchronized void line(JsonNode document) {
    write(LINES, document + "\n");
  }

  /** Whether a response has begun. */
  synchronized boolean isStreaming() {
    return stream != null;
  }

  private void write(String type, String text) {
    lastWrite = System.nanoTime();
    try {
      if (stream == null) {
        this.type = type;
        response
            .status(Status.OK_200)
            .header(HeaderNames.CONTENT_TYPE, type)
            .header(HeaderNames.CACHE_CONTROL, "no-cache");
        stream = response.outputStream();
      }
      stream.write(text.getBytes(StandardCharsets.UTF_8));
      stream.flush();
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  /** Ends a stream with an error. */
  synchronized void failed(JsonNode error) {
    if (LINES.equals(type)) {
      line(error);
    } else {
      event(error.toString());
    }
    close();
  }

  /** Ends the watch, and a stream if there is one. */
  @Override
  public synchronized void close() {
    watch.close();
    ended = true;
    try {
      if (stream != null) {
        stream.close();
      }
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }
}
