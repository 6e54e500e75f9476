package io.candle4j.server;

import io.candle4j.CandleEmbedder;
import io.candle4j.CandleModel;
import io.helidon.common.socket.SocketOptions;
import io.helidon.webserver.WebServer;
import io.helidon.webserver.http.HttpRouting;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.net.InetSocketAddress;
import java.net.StandardSocketOptions;
import java.net.URI;
import java.net.UnknownHostException;
import java.nio.channels.ServerSocketChannel;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Objects;
import java.util.Optional;
import java.util.function.Function;
import org.jspecify.annotations.Nullable;

/**
 * A server of models over HTTP: OpenAI's API under {@code /v1}, Ollama's under {@code /api}, a page
 * to chat at {@code /}, {@code /health}, and {@code /metrics} in Prometheus' form.
 *
 * {@snippet :
 * try (CandleServer server = CandleServer.builder().model("Qwen/Qwen3-0.6B").port(8080).start()) {
 *   System.out.println("listening on " + server.uri());
 *   Thread.currentThread().join();
 * }
 * }
 *
 * <p>Models are loaded when they are first asked for and unloaded when they are idle. Requests run
 * at the same time and share the passes through a model's weights; those beyond {@link
 * Builder#parallel} wait, and those beyond {@link Builder#queue} get status 429. A client that
 * leaves ends its request. Any number of threads may use a server.
 */
public final class CandleServer implements AutoCloseable {
  private final ServedModels models;
  private final Api api;
  private final WebServer server;
  private final String host;
  private final Duration grace;
  private boolean closed;

  private CandleServer(Builder builder) {
    checkAddress(builder.host, builder.port);
    List<String> names =
        builder.models.isEmpty()
            ? List.of(CandleModel.BUILT_IN, CandleEmbedder.BUILT_IN)
            : builder.models;
    Places places = new Places(builder.parallel, builder.queue);
    ServerMetrics metrics = new ServerMetrics(places);
    models = new ServedModels(names, places, builder.keepAlive, builder.chats);
    models.all().forEach(metrics::register);
    api = new Api(metrics);
    host = builder.host;
    grace = builder.grace;
    HttpRouting.Builder routing = HttpRouting.builder();
    Optional.ofNullable(builder.apiKey).ifPresent(key -> routing.addFilter(new ApiKeyFilter(key)));
    Routes.add(routing, models, api, metrics);
    server =
        WebServer.builder()
            .host(host)
            .port(builder.port)
            .addRouting(routing)
            .addConnectionSelector(new WatchedConnections())
            .addFeature(Origins.feature(builder.origins))
            .connectionOptions(SocketOptions.builder().tcpNoDelay(true).build())
            .shutdownHook(false)
            .build();
    server.start();
    if (!server.isRunning()) {
      models.close();
      throw new UncheckedIOException(new IOException("the address was taken meanwhile"));
    }
  }

  /** Fails with the reason where nobody can listen, which Helidon writes to its log alone. */
  private static void checkAddress(String host, int port) {
    InetSocketAddress address = new InetSocketAddress(host, port);
    if (address.isUnresolved()) {
      throw new UncheckedIOException(new UnknownHostException("unknown host"));
    }
    try (ServerSocketChannel socket = ServerSocketChannel.open()) {
      socket.setOption(StandardSocketOptions.SO_REUSEADDR, true).bind(address);
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  /**
   * Starts from the built-in models, on the loopback interface, port 8080.
   *
   * @return a builder
   */
  public static Builder builder() {
    return new Builder();
  }

  /**
   * The port that it listens on.
   *
   * @return the port
   */
  public int port() {
    return server.port();
  }

  /**
   * Where it listens.
   *
   * @return an address with scheme {@code http}
   */
  public URI uri() {
    String name = host.indexOf(':') >= 0 ? "[" + host + "]" : host;
    return URI.create("http://" + name + ":" + port());
  }

  /**
   * Ends the server: requests that come are refused, those under way have some seconds to end and
   * are stopped then, and models are unloaded. Takes less than 10 seconds; does nothing the second
   * time.
   */
  @Override
  public synchronized void close() {
    if (closed) {
      return;
    }
    closed = true;
    api.end();
    long end = System.nanoTime() + grace.toNanos();
    try {
      while (api.running() > 0 && System.nanoTime() < end) {
        Thread.sleep(20);
      }
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
    }
    api.stopAll();
    server.stop();
    models.close();
  }

  /** Puts a {@link CandleServer} together. Not for several threads. */
  public static final class Builder {
    private String host = "127.0.0.1";
    private int port = 8080;
    private final List<String> models = new ArrayList<>();
    private @Nullable String apiKey;
    private int parallel = 64;
    private int queue = 256;
    private Duration keepAlive = Duration.ofMinutes(15);
    private Duration grace = Duration.ofSeconds(5);
    private List<String> origins = List.of();
    private Function<CandleModel, Chats> chats = Chats::of;

    private Builder() {}

    /**
     * The interface to listen on; {@code 127.0.0.1} when this is left out, and {@code 0.0.0.0} for
     * all.
     *
     * @param host a name or an address
     * @return this
     */
    public Builder host(String host) {
      this.host = Objects.requireNonNull(host, "host");
      return this;
    }

    /**
     * The port to listen on; 8080 when this is left out.
     *
     * @param port 0 to 65535; 0 takes a free one
     * @return this
     * @throws IllegalArgumentException for any other
     */
    public Builder port(int port) {
      if (port < 0 || port > 65535) {
        throw new IllegalArgumentException("port: expected 0 to 65535, got " + port);
      }
      this.port = port;
      return this;
    }

    /**
     * Serves one more model, under the name that is given here. The first one answers requests that
     * name none. Without any the built-in models for chats and embeddings are served.
     *
     * @param source as for {@link CandleModel#load(String)}
     * @return this
     */
    public Builder model(String source) {
      models.add(Objects.requireNonNull(source, "source"));
      return this;
    }

    /**
     * Refuses requests without this key, but those for the page, {@code /health} and {@code
     * /metrics}.
     *
     * @param apiKey what stands behind {@code Authorization: Bearer}
     * @return this
     * @throws IllegalArgumentException for an empty one
     */
    public Builder apiKey(String apiKey) {
      if (apiKey.isBlank()) {
        throw new IllegalArgumentException("apiKey: expected a text");
      }
      this.apiKey = apiKey;
      return this;
    }

    /**
     * How many requests are worked on at a time; 64 when this is left out.
     *
     * @param parallel at least 1
     * @return this
     * @throws IllegalArgumentException below 1
     */
    public Builder parallel(int parallel) {
      if (parallel < 1) {
        throw new IllegalArgumentException("parallel: expected 1 or more, got " + parallel);
      }
      this.parallel = parallel;
      return this;
    }

    /**
     * How many requests wait beyond those; 256 when this is left out. One more gets status 429.
     *
     * @param queue at least 0
     * @return this
     * @throws IllegalArgumentException below 0
     */
    public Builder queue(int queue) {
      if (queue < 0) {
        throw new IllegalArgumentException("queue: expected 0 or more, got " + queue);
      }
      this.queue = queue;
      return this;
    }

    /**
     * How long a model that nobody uses stays in memory; 15 minutes when this is left out.
     *
     * @param keepAlive 0 or more
     * @return this
     * @throws IllegalArgumentException below 0
     */
    public Builder keepAlive(Duration keepAlive) {
      if (keepAlive.isNegative()) {
        throw new IllegalArgumentException("keepAlive: expected 0 or more, got " + keepAlive);
      }
      this.keepAlive = keepAlive;
      return this;
    }

    /**
     * How long {@link CandleServer#close} lets requests go on; 5 seconds when this is left out.
     *
     * @param grace 0 to 8 seconds
     * @return this
     * @throws IllegalArgumentException for any other
     */
    public Builder grace(Duration grace) {
      if (grace.isNegative() || grace.compareTo(Duration.ofSeconds(8)) > 0) {
        throw new IllegalArgumentException("grace: expected 0 to 8 seconds, got " + grace);
      }
      this.grace = grace;
      return this;
    }

    /**
     * Which pages of other origins may use the server from a browser; none when this is left out.
     *
     * @param origin such as {@code https://example.org}, or {@code *} for all
     * @return this
     */
    public Builder origin(String origin) {
      origins = new ArrayList<>(origins);
      origins.add(Objects.requireNonNull(origin, "origin"));
      return this;
    }

    /** What answers chats in the place of the models. */
    Builder chats(Function<CandleModel, Chats> chats) {
      this.chats = chats;
      return this;
    }

    /**
     * Starts the server.
     *
     * @return a server that listens
     * @throws java.io.UncheckedIOException when it cannot listen there
     */
    public CandleServer start() {
      return new CandleServer(this);
    }
  }
}
