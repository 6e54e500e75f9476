package io.candle4j.server;

import io.helidon.http.HeaderNames;
import io.helidon.http.HeaderValues;
import io.helidon.http.Status;
import io.helidon.webserver.http.ServerRequest;
import io.helidon.webserver.http.ServerResponse;
import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.concurrent.Semaphore;
import java.util.concurrent.locks.ReentrantLock;
import org.jspecify.annotations.Nullable;
import tools.jackson.databind.JsonNode;

/** One request with a JSON body, its client, and the ways to answer: at once or in a stream. */
final class Exchange implements AutoCloseable {
  /** The largest body. Texts of the longest contexts are a few times smaller. */
  private static final int MOST_BYTES = 4 << 20;

  /**
   * Bytes of all bodies whose texts are read at the same time; a tokenizer takes a few hundred
   * times as many. Those of small ones do not count.
   */
  private static final Semaphore READING = new Semaphore(2 * MOST_BYTES, true);

  private static final int SMALL = 64 << 10;

  /** What is read of a body that is too long. */
  private static final long MOST_DRAINED = 64L << 20;

  /** How long a stream may be silent, for what stands between client and server. */
  private static final Duration SILENCE = Duration.ofSeconds(5);

  private static final String EVENTS = "text/event-stream; charset=utf-8";
  private static final String LINES = "application/x-ndjson";

  private final ServerResponse response;
  private final Fields fields;
  private final ClientWatch watch;
  private final ReentrantLock lock = new ReentrantLock();
  private @Nullable OutputStream stream;
  private @Nullable String type;
  private long lastWrite = System.nanoTime();
  private boolean ended;
  private final int bytes;
  private int reading;

  private Exchange(ServerResponse response, Fields fields, int bytes) {
    this.response = response;
    this.fields = fields;
    this.bytes = bytes;
    this.watch = ClientWatch.begin();
  }

  /**
   * Reads a request.
   *
   * @throws ApiException for a body that is too long, or no JSON object
   * @throws ClientLeftException when the client leaves meanwhile
   */
  static Exchange of(ServerRequest request, ServerResponse response) {
    byte[] body = new byte[0];
    boolean whole = true;
    if (request.content().hasEntity()) {
      try (InputStream in = request.content().inputStream()) {
        body = in.readNBytes(MOST_BYTES + 1);
        whole = body.length <= MOST_BYTES || isDrained(in);
      } catch (IOException e) {
        throw new ClientLeftException(e);
      }
    }
    if (body.length > MOST_BYTES) {
      if (!whole) {
        response.header(HeaderValues.CONNECTION_CLOSE);
      }
      throw new ApiException(
          413,
          "invalid_request_error",
          "body_too_long",
          null,
          "the body: expected at most " + MOST_BYTES + " bytes",
          null);
    }
    return new Exchange(response, Fields.parse(body), body.length);
  }

  /**
   * Reads what is left of a body, within limits. A client that is still sending would not get the
   * answer otherwise.
   */
  private static boolean isDrained(InputStream in) throws IOException {
    byte[] buffer = new byte[SMALL];
    for (long left = MOST_DRAINED; left > 0; ) {
      int read = in.read(buffer);
      if (read < 0) {
        return true;
      }
      left -= read;
    }
    return false;
  }

  Fields fields() {
    return fields;
  }

  ClientWatch watch() {
    return watch;
  }

  /**
   * Waits until the texts of the request may be read. A request that has its places does so, so
   * that those that wait here are few.
   *
   * @throws ClientLeftException when the client leaves meanwhile
   */
  void awaitReading() {
    if (bytes > SMALL) {
      watch.interruptibly(() -> {
        READING.acquire(bytes);
        reading = bytes;
        return bytes;
      });
    }
  }

  /** Says that the texts of the request are read, which others wait for. */
  void isRead() {
    lock.lock();
    try {
      READING.release(reading);
      reading = 0;
    } finally {
      lock.unlock();
    }
  }

  /** Answers with a document. */
  void send(JsonNode document) {
    watch.close();
    if (watch.hasLeft()) {
      throw new ClientLeftException();
    }
    try {
      response.header(HeaderNames.CONTENT_TYPE, "application/json").send(Json.bytes(document));
    } catch (RuntimeException e) {
      throw new ClientLeftException(e);
    }
  }

  /**
   * Answers with server-sent events. The first event, or a comment when that takes long, begins the
   * response: until then a failure has a status of its own.
   */
  void beginEvents() {
    watch.onHeartbeat(() -> {
      // Somebody who writes is no silence.
      if (lock.tryLock()) {
        try {
          if (!ended && System.nanoTime() - lastWrite > SILENCE.toNanos()) {
            write(EVENTS, ": waiting\n\n");
          }
        } finally {
          lock.unlock();
        }
      }
    });
  }

  /** Sends an event. */
  void event(String data) {
    write(EVENTS, "data: " + data + "\n\n");
  }

  /** Sends a document of a line, as Ollama streams. */
  void line(JsonNode document) {
    write(LINES, document + "\n");
  }

  /** Whether a response has begun. */
  boolean isStreaming() {
    lock.lock();
    try {
      return stream != null;
    } finally {
      lock.unlock();
    }
  }

  private void write(String type, String text) {
    lock.lock();
    watch.beginWrite();
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
    } catch (IOException | RuntimeException e) {
      throw new ClientLeftException(e);
    } finally {
      watch.endWrite();
      lastWrite = System.nanoTime();
      lock.unlock();
    }
  }

  /** Ends a stream with an error. */
  void failed(JsonNode error) {
    if (LINES.equals(type)) {
      line(error);
    } else {
      event(error.toString());
    }
    end();
  }

  /** Ends a stream if there is one. */
  void end() {
    lock.lock();
    watch.beginWrite();
    try {
      ended = true;
      if (stream != null) {
        stream.close();
      }
    } catch (IOException | RuntimeException e) {
      throw new ClientLeftException(e);
    } finally {
      watch.endWrite();
      lock.unlock();
    }
  }

  /** Ends the watch, whatever became of the request. */
  @Override
  public void close() {
    watch.close();
    isRead();
  }
}
