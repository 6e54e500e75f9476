package io.candle4j.cli;

import io.candle4j.CandleReranker;
import io.candle4j.DocumentScores;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;
import java.util.Locale;
import java.util.stream.IntStream;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;
import picocli.CommandLine.Parameters;

/** Scores of documents for a query. */
@Command(
    name = "rerank",
    description = "Print documents in the order in which they fit a query, with their scores.")
final class RerankCommand extends BaseCommand {
  @Parameters(paramLabel = "DOC", arity = "0..*", description = "The documents.")
  private List<String> documents = new ArrayList<>();

  @Option(names = "--query", paramLabel = "Q", required = true, description = "What is looked for.")
  private String query = "";

  @Option(
      names = "--in",
      paramLabel = "FILE",
      description = "The documents of a file, one a line; of .jsonl, objects with a text.")
  private @Nullable Path in;

  @Option(
      names = "--instruction",
      paramLabel = "TEXT",
      description = "What makes a document relevant, for models that are told.")
  private @Nullable String instruction;

  @Option(
      names = "--top",
      paramLabel = "N",
      description = "How many documents to print (default: all).")
  private int top = Integer.MAX_VALUE;

  @Option(
      names = "--json",
      description = "Print a JSON object with scores, in the order in which documents were given.")
  private boolean json;

  @Mixin private TextModelOptions models;

  RerankCommand(Stdio stdio, Interruption interruption) {
    super(stdio, interruption);
  }

  @Override
  int run() {
    if (documents.isEmpty() == (in == null)) {
      throw usage("expected either DOC or --in");
    }
    if (top < 0) {
      throw usage("--top: expected at least 0, got " + top);
    }
    if (in != null) {
      try (TextInput input = TextInput.open(in)) {
        for (String document : input) {
          String problem = input.takeProblem(documents.size());
          if (problem != null) {
            throw new CommandException(ExitCode.USAGE, problem);
          }
          documents.add(document);
        }
      }
    }
    try (CandleReranker reranker = models.loadReranker(stdio(), interruption())) {
      List<DocumentScores> scores =
          interruption()
              .during(() ->
                  instruction == null
                      ? reranker.score(query, documents)
                      : reranker.score(query, documents, instruction));
      boolean several = reranker.info().labels().size() > 1;
      if (json) {
        List<Object> all = new ArrayList<>();
        scores.forEach(one -> all.add(several ? one.scores() : (Object) one.score()));
        stdio().out().println(Json.line(Json.object("scores", all)));
      } else if (several) {
        print(reranker.info().labels(), scores);
      } else {
        print(scores);
      }
    }
    return ExitCode.OK;
  }

  private void print(List<DocumentScores> scores) {
    Table table = new Table().column("SCORE", Table.Side.RIGHT).column("DOCUMENT", Table.Side.LEFT);
    IntStream.range(0, scores.size())
        .boxed()
        .sorted(Comparator.comparing((Integer i) -> scores.get(i).score()).reversed())
        .limit(top)
        .forEach(i -> table.row(number(scores.get(i).score()), Json.line(documents.get(i))));
    table.print(stdio().out());
  }

  private void print(List<String> labels, List<DocumentScores> scores) {
    Table table = new Table();
    labels.forEach(label -> table.column(label, Table.Side.RIGHT));
    table.column("DOCUMENT", Table.Side.LEFT);
    for (int i = 0; i < scores.size(); i++) {
      List<String> row = new ArrayList<>();
      scores.get(i).scores().forEach(score -> row.add(number(score)));
      row.add(Json.line(documents.get(i)));
      table.row(row.toArray(String[]::new));
    }
    table.print(stdio().out());
  }

  private static String number(float score) {
    return String.format(Locale.ROOT, "%.4f", score);
  }
}
