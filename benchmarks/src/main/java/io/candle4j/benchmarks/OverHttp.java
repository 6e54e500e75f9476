package io.candle4j.benchmarks;

import io.candle4j.CandleModel;
import io.candle4j.CandleSession;
import io.candle4j.GenerateOptions;
import io.candle4j.Request;
import io.candle4j.server.CandleServer;
import java.io.IOException;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpRequest.BodyPublishers;
import java.net.http.HttpResponse.BodyHandlers;
import java.util.ArrayList;
import java.util.Iterator;
import java.util.List;
import java.util.function.ToDoubleFunction;
import java.util.stream.Stream;

/**
 * What the server costs over the library: {@code OverHttp MODEL [ROUNDS]}. One client's time to the
 * first token and tokens a second, with and without HTTP, in turn in one JVM; medians.
 */
public final class OverHttp {
  private static final int TOKENS = 64;
  private static final int EACH = 10;

  /** Seconds to the first token, and tokens a second behind it. */
  private record Times(double first, double rate) {
    static Times of(long begin, List<Long> tokens) {
      double all = (tokens.getLast() - tokens.getFirst()) / 1e9;
      return new Times((tokens.getFirst() - begin) / 1e9, (tokens.size() - 1) / all);
    }
  }

  private OverHttp() {}

  /**
   * Runs the command line.
   *
   * @param args the model, and how many rounds
   * @throws Exception when something fails
   */
  public static void main(String[] args) throws Exception {
    int rounds = args.length > 1 ? Integer.parseInt(args[1]) : 5;
    List<Times> library = new ArrayList<>();
    List<Times> http = new ArrayList<>();
    try (CandleModel model = CandleModel.load(args[0]);
        CandleServer server = CandleServer.builder().port(0).model(args[0]).start();
        HttpClient client = HttpClient.newHttpClient()) {
      for (int i = 0; i < (rounds + 1) * EACH; i++) {
        Times own = library(model, prompt(2 * i));
        Times over = http(client, server, prompt(2 * i + 1));
        // The first round warms up.
        if (i >= EACH) {
          library.add(own);
          http.add(over);
        }
      }
    }
    System.out.println("| one client | library | HTTP | ratio |\n|---|---:|---:|---:|");
    double first = median(library, Times::first);
    double firstOver = median(http, Times::first);
    System.out.printf(
        "| first token, ms | %.1f | %.1f | %.3f |%n",
        first * 1000, firstOver * 1000, first / firstOver);
    double rate = median(library, Times::rate);
    double rateOver = median(http, Times::rate);
    System.out.printf("| tokens/s | %.1f | %.1f | %.3f |%n", rate, rateOver, rateOver / rate);
  }

  /** Prompts differ from their first words on, so that none finds another in a cache. */
  private static String prompt(int number) {
    return number + " is a number. Tell what you know of it, and of the sea and its animals.";
  }

  private static Times library(CandleModel model, String prompt) {
    Request request =
        Request.of(
            prompt,
            GenerateOptions.builder().temperature(0).maxTokens(TOKENS).ignoreEos(true).build());
    List<Long> tokens = new ArrayList<>();
    long begin = System.nanoTime();
    try (CandleSession session = model.newSession()) {
      session.generate(
          request,
          token -> {
            if (!token.text().isEmpty()) {
              tokens.add(System.nanoTime());
            }
          });
    }
    return Times.of(begin, tokens);
  }

  private static Times http(HttpClient client, CandleServer server, String prompt)
      throws IOException, InterruptedException {
    String body =
        """
        {"messages": [{"role": "user", "content": "%s"}], "temperature": 0, "max_tokens": %d,
         "ignore_eos": true, "stream": true}\
        """
            .formatted(prompt, TOKENS);
    HttpRequest request =
        HttpRequest.newBuilder(server.uri().resolve("/v1/chat/completions"))
            .POST(BodyPublishers.ofString(body))
            .build();
    List<Long> tokens = new ArrayList<>();
    long begin = System.nanoTime();
    try (Stream<String> lines = client.send(request, BodyHandlers.ofLines()).body()) {
      for (Iterator<String> all = lines.iterator(); all.hasNext(); ) {
        String line = all.next();
        if (line.contains("\"delta\":{\"content\":")) {
          tokens.add(System.nanoTime());
        }
      }
    }
    return Times.of(begin, tokens);
  }

  private static double median(List<Times> times, ToDoubleFunction<Times> value) {
    double[] sorted = times.stream().mapToDouble(value).sorted().toArray();
    return sorted[sorted.length / 2];
  }
}
