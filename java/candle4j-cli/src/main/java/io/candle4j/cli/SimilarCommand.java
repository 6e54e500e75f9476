package io.candle4j.cli;

import io.candle4j.CandleEmbedder;
import io.candle4j.EmbedOptions;
import io.candle4j.EmbedPrompt;
import io.candle4j.EmbedResult;
import io.candle4j.Embedding;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;
import java.util.Locale;
import java.util.PriorityQueue;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;
import picocli.CommandLine.Parameters;

/** Lines of a file that mean what a query means. */
@Command(
    name = "similar",
    description = "Print the lines of a file that mean most nearly what a query means.")
final class SimilarCommand extends BaseCommand {
  @Parameters(paramLabel = "QUERY", description = "What is looked for.")
  private String query = "";

  @Option(
      names = "--in",
      paramLabel = "FILE",
      required = true,
      description =
          "The texts to look in, one a line; of .jsonl, objects with a text. - for standard input.")
  private Path in = Path.of("");

  @Option(names = "--top", paramLabel = "N", description = "How many to print (default: 5).")
  private int top = 5;

  @Option(
      names = "--json",
      description = "Print a JSON array of line, text and score, the best first.")
  private boolean json;

  @Mixin private EmbedSettings settings;

  @Mixin private TextModelOptions models;

  private long failed;

  /** A line, and how near it is. */
  private record Hit(long line, String text, double score) {}

  SimilarCommand(Stdio stdio, Interruption interruption) {
    super(stdio, interruption);
  }

  @Override
  int run() {
    if (top < 1) {
      throw usage("--top: expected at least 1, got " + top);
    }
    EmbedOptions forQuery;
    EmbedOptions forLines;
    try {
      forQuery = settings.options(new EmbedPrompt.Query());
      forLines = settings.options(new EmbedPrompt.Document());
    } catch (IllegalArgumentException e) {
      throw usage("--" + e.getMessage());
    }
    try (TextInput input = TextInput.open(in);
        CandleEmbedder embedder = models.loadEmbedder(stdio(), interruption())) {
      List<Hit> hits = interruption().during(() -> search(embedder, input, forQuery, forLines));
      if (json) {
        List<Object> list = new ArrayList<>();
        for (Hit hit : hits) {
          list.add(Json.object("line", hit.line, "text", hit.text, "score", hit.score));
        }
        stdio().out().println(Json.line(list));
      } else {
        for (Hit hit : hits) {
          stdio()
              .out()
              .print(Style.STRONG, String.format(Locale.ROOT, "%.3f %6d: ", hit.score, hit.line));
          stdio().out().println(Sink.harmless(hit.text));
        }
      }
    }
    return failed == 0 ? ExitCode.OK : ExitCode.FAILURE;
  }

  private List<Hit> search(
      CandleEmbedder embedder, TextInput input, EmbedOptions forQuery, EmbedOptions forLines) {
    Embedding wanted = embedder.embed(query, forQuery);
    Comparator<Hit> order =
        Comparator.comparingDouble(Hit::score).thenComparing(Hit::line, Comparator.reverseOrder());
    PriorityQueue<Hit> best = new PriorityQueue<>(order);
    try (TextProgress progress = new TextProgress(stdio().live())) {
      embedder.embedEach(
          input,
          forLines,
          (index, text, result) -> {
            progress.done(index + 1);
            String problem = input.takeProblem(index);
            if (problem != null) {
              stdio().warn(problem);
              failed++;
            }
            if (text.isBlank() || !(result instanceof EmbedResult.Completed(Embedding found))) {
              return;
            }
            best.add(new Hit(index + 1, text, embedder.similarity(wanted, found)));
            if (best.size() > top) {
              best.poll();
            }
          });
    }
    return best.stream().sorted(order.reversed()).toList();
  }
}
