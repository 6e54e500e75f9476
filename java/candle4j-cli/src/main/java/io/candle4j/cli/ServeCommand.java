package io.candle4j.cli;

import io.candle4j.server.CandleServer;
import java.io.UncheckedIOException;
import java.time.Duration;
import java.util.List;
import java.util.Locale;
import java.util.concurrent.CountDownLatch;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Option;

/** Models over HTTP. */
@Command(
    name = "serve",
    description = {
      "Serve models over HTTP: OpenAI's API under /v1, Ollama's under /api, a page to chat at /,"
          + " /health and /metrics.",
      "",
      "Models are loaded when they are first asked for. Ctrl-C or SIGTERM ends the server: requests"
          + " under way have 5 seconds."
    })
final class ServeCommand extends BaseCommand {
  @Option(
      names = {"-m", "--model"},
      paramLabel = "ALIAS|ID|DIR|FILE",
      description =
          "A model to serve, under this name; several times for several. The first answers requests"
              + " that name none (default: the built-in smollm2 and minilm).")
  private List<String> models = List.of();

  @Option(
      names = "--host",
      paramLabel = "HOST",
      defaultValue = "127.0.0.1",
      description = "Interface to listen on (default: ${DEFAULT-VALUE}; 0.0.0.0 for all).")
  private String host = "";

  @Option(
      names = "--port",
      paramLabel = "P",
      defaultValue = "8080",
      description = "Port to listen on; 0 takes a free one (default: ${DEFAULT-VALUE}).")
  private int port;

  @Option(
      names = "--api-key",
      paramLabel = "K",
      description = "Key that requests must have (default: CANDLE_API_KEY; none if not set).")
  private @Nullable String apiKey;

  @Option(
      names = "--origin",
      paramLabel = "URL",
      description =
          "Origin whose pages may use the server from a browser, * for all; several times.")
  private List<String> origins = List.of();

  @Option(
      names = "--parallel",
      paramLabel = "N",
      defaultValue = "64",
      description = "Requests that are worked on at a time (default: ${DEFAULT-VALUE}).")
  private int parallel;

  @Option(
      names = "--queue",
      paramLabel = "N",
      defaultValue = "256",
      description = "Requests that wait; one more gets 429 (default: ${DEFAULT-VALUE}).")
  private int queue;

  @Option(
      names = "--keep-alive",
      paramLabel = "SECONDS",
      defaultValue = "900",
      description = "How long an idle model stays in memory (default: ${DEFAULT-VALUE}).")
  private long keepAlive;

  @Option(
      names = "--threads",
      paramLabel = "N",
      description = "Number of CPU threads (default: CANDLE_NUM_THREADS, else all processors).")
  private @Nullable Integer threads;

  ServeCommand(Stdio stdio, Interruption interruption) {
    super(stdio, interruption);
  }

  @Override
  int run() {
    ModelOptions.applyThreads(threads, spec());
    CountDownLatch end = new CountDownLatch(1);
    return interruption()
        .during(
            end::countDown,
            () -> {
              try (CandleServer server = start()) {
                stdio().out().println("listening on " + server.uri());
                end.await();
              } catch (InterruptedException e) {
                Thread.currentThread().interrupt();
              }
              return interruption().isRequested() ? ExitCode.INTERRUPTED : ExitCode.OK;
            });
  }

  private CandleServer start() {
    try {
      CandleServer.Builder server =
          CandleServer.builder()
              .host(host)
              .port(port)
              .parallel(parallel)
              .queue(queue)
              .keepAlive(Duration.ofSeconds(keepAlive));
      models.forEach(server::model);
      origins.forEach(server::origin);
      String key = apiKey != null ? apiKey : System.getenv("CANDLE_API_KEY");
      if (key != null) {
        server.apiKey(key);
      }
      return server.start();
    } catch (IllegalArgumentException e) {
      throw usage("--" + asOption(String.valueOf(e.getMessage())));
    } catch (UncheckedIOException e) {
      throw new CommandException(
          ExitCode.USAGE, "cannot listen on " + host + ":" + port + ": " + Failures.message(e), e);
    }
  }

  /** A message that begins with a name of Java's, with the name of the option. */
  private static String asOption(String message) {
    int end = Math.max(0, message.indexOf(':'));
    String name = message.substring(0, end).replaceAll("[A-Z]", "-$0").toLowerCase(Locale.ROOT);
    return name + message.substring(end);
  }
}
