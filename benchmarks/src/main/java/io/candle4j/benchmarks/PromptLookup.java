package io.candle4j.benchmarks;

import io.candle4j.CandleModel;
import io.candle4j.CandleSession;
import io.candle4j.ChatMessage;
import io.candle4j.GenerateOptions;
import io.candle4j.Generation;
import io.candle4j.Request;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;

/**
 * Decoding with prompt lookup beside decoding without: answers that repeat what was said, and some
 * that do not. Both sides of a task run in turn, and have to give the same tokens.
 *
 * <p>Usage: {@code PromptLookup MODEL ROUNDS}
 */
public final class PromptLookup {
  private static final String PASSAGE =
      """
      The lighthouse at Cape Arden was built in 1862 by Captain Elias Moor, who had lost two ships on \
      the rocks below it. Its lamp burned whale oil for thirty years, then paraffin, and was changed to \
      electric light in 1931. The keeper, a quiet man named Thomas Pell, wrote down the weather each \
      morning and evening for forty years. His notebooks are kept in the town library, where students \
      of the climate still read them. In the winter of 1947 a storm broke the windows of the lantern \
      room, and Pell kept the light burning by hand for three nights, until a boat could land with new \
      glass. The tower is white with one red band, and stands thirty-one metres above the sea.\
      """;

  private static final String CODE =
      """
      public final class Counter {
        private final String name;
        private int value;

        public Counter(String name) {
          this.name = name;
        }

        public void increment() {
          value = value + 1;
        }

        public int value() {
          return value;
        }
      }\
      """;

  private PromptLookup() {}

  /**
   * Prints a table.
   *
   * @param args the model and the number of rounds
   */
  public static void main(String[] args) {
    int rounds = Integer.parseInt(args[1]);
    System.out.println("| task | tokens | without, tokens/s | with, tokens/s | ratio |");
    System.out.println("|---|---:|---:|---:|---:|");
    try (CandleModel model = CandleModel.builder().path(Path.of(args[0])).load();
        CandleSession session = model.newSession()) {
      for (Map.Entry<String, Task> task : tasks().entrySet()) {
        measure(session, task.getKey(), task.getValue(), rounds);
      }
    }
  }

  /** What is asked, and how many tokens the answer has. */
  private record Task(String prompt, int tokens) {}

  private static Map<String, Task> tasks() {
    Map<String, Task> tasks = new LinkedHashMap<>();
    tasks.put(
        "copy: a text", new Task("Repeat the following text word for word.\n\n" + PASSAGE, 160));
    tasks.put(
        "copy: edit a class",
        new Task(
            "Rewrite this class so that it is named Meter. Answer with the code alone.\n\n" + CODE,
            90));
    tasks.put(
        "copy: answer from a text",
        new Task(
            PASSAGE + "\n\nQuote the sentences of this text about the keeper and his notebooks.",
            80));
    tasks.put("prose: a story", new Task("Write a short story about a fox and the sea.", 160));
    tasks.put("prose: an explanation", new Task("Explain why the sky is blue.", 160));
    tasks.put("prose: a letter", new Task("Write a letter to a friend about spring.", 160));
    return tasks;
  }

  private static void measure(CandleSession session, String name, Task task, int rounds) {
    List<Double> with = new ArrayList<>();
    List<Double> without = new ArrayList<>();
    Generation expected = generate(session, task, false);
    int tokens = expected.tokenIds().size();
    for (int round = 0; round < rounds; round++) {
      for (boolean lookup : new boolean[] {round % 2 == 0, round % 2 != 0}) {
        Generation generation = generate(session, task, lookup);
        if (!generation.tokenIds().equals(expected.tokenIds())) {
          throw new AssertionError(name + ": not the same tokens");
        }
        (lookup ? with : without)
            .add((tokens - 1) / (generation.timings().decode().toNanos() / 1e9));
      }
    }
    System.out.printf(
        Locale.ROOT,
        "| %s | %d | %.1f | %.1f | %.2f |%n",
        name,
        tokens,
        median(without),
        median(with),
        median(with) / median(without));
  }

  private static Generation generate(CandleSession session, Task task, boolean lookup) {
    session.reset();
    GenerateOptions options =
        GenerateOptions.greedy().toBuilder().maxTokens(task.tokens()).promptLookup(lookup).build();
    return session.generate(
        Request.builder()
            .messages(List.of(ChatMessage.user(task.prompt())))
            .options(options)
            .build());
  }

  private static double median(List<Double> values) {
    double[] sorted = values.stream().mapToDouble(Double::doubleValue).toArray();
    Arrays.sort(sorted);
    return sorted[sorted.length / 2];
  }
}
