package io.candle4j.cli;

import io.candle4j.CandleEmbedder;
import io.candle4j.EmbedListener;
import io.candle4j.EmbedOptions;
import io.candle4j.EmbedResult;
import io.candle4j.Embedding;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;
import picocli.CommandLine.Parameters;

/** Vectors of texts. */
@Command(
    name = "embed",
    description = "Print the vectors of texts, or write those of a file's lines to another file.")
final class EmbedCommand extends BaseCommand {
  @Parameters(paramLabel = "TEXT", arity = "0..*", description = "The texts.")
  private List<String> texts = new ArrayList<>();

  @Option(
      names = "--tokens",
      paramLabel = "1,2,3",
      converter = TokenArgument.Converter.class,
      description = "Token ids instead of a text; nothing is added.")
  private @Nullable TokenArgument tokens;

  @Option(
      names = "--in",
      paramLabel = "FILE",
      description =
          "The texts of a file instead, one a line; of .jsonl, objects with a text. - for standard"
              + " input.")
  private @Nullable Path in;

  @Option(
      names = "--out",
      paramLabel = "FILE",
      description = "Write to a file: an array of numpy's (.npy), else JSON lines.")
  private @Nullable Path out;

  @Option(
      names = "--json",
      description =
          "Print one JSON object with embeddings and prompt_tokens; null where a text failed.")
  private boolean json;

  @Mixin private EmbedSettings settings;

  @Mixin private TextModelOptions models;

  private long failed;

  EmbedCommand(Stdio stdio, Interruption interruption) {
    super(stdio, interruption);
  }

  @Override
  int run() {
    int given = (texts.isEmpty() ? 0 : 1) + (tokens == null ? 0 : 1) + (in == null ? 0 : 1);
    if (given != 1) {
      throw usage("expected one of TEXT, --tokens and --in");
    }
    if (json && out != null) {
      throw usage("expected --json or --out, not both");
    }
    EmbedOptions options;
    try {
      options = settings.options();
    } catch (IllegalArgumentException e) {
      throw usage("--" + e.getMessage());
    }
    try (CandleEmbedder embedder = models.loadEmbedder(stdio(), interruption())) {
      if (json) {
        printAll(embedder, options);
      } else {
        writeEach(embedder, options);
      }
    }
    return failed == 0 ? ExitCode.OK : ExitCode.FAILURE;
  }

  private void printAll(CandleEmbedder embedder, EmbedOptions options) {
    List<@Nullable List<Float>> vectors = new ArrayList<>();
    List<@Nullable Integer> counts = new ArrayList<>();
    List<Object> errors = new ArrayList<>();
    each(
        embedder,
        options,
        (index, text, result) -> {
          switch (result) {
            case EmbedResult.Completed(Embedding embedding) -> {
              vectors.add(VectorOutput.numbers(embedding));
              counts.add(embedding.tokens());
            }
            case EmbedResult.Failed(RuntimeException cause) -> {
              failed++;
              vectors.add(null);
              counts.add(null);
              errors.add(Json.object("index", index, "error", Failures.message(cause)));
              stdio().error("text " + (index + 1) + ": " + Failures.message(cause), cause);
            }
          }
        });
    Map<String, Object> object = Json.object("embeddings", vectors, "prompt_tokens", counts);
    if (!errors.isEmpty()) {
      object.put("errors", errors);
    }
    stdio().out().println(Json.line(object));
  }

  private void writeEach(CandleEmbedder embedder, EmbedOptions options) {
    try (VectorOutput output =
            out == null ? VectorOutput.lines(stdio().out()) : VectorOutput.file(out);
        TextProgress progress = new TextProgress(stdio().live())) {
      each(
          embedder,
          options,
          (index, text, result) -> {
            if (result instanceof EmbedResult.Failed) {
              failed++;
            }
            output.write(index, result);
            progress.done(index + 1);
          });
      output.finish();
    }
  }

  private void each(CandleEmbedder embedder, EmbedOptions options, EmbedListener listener) {
    interruption()
        .during(() -> {
          if (tokens != null) {
            Embedding embedding = embedder.embed(tokens.ids(), options);
            listener.onResult(0, "", new EmbedResult.Completed(embedding));
          } else if (in != null) {
            try (TextInput input = TextInput.open(in)) {
              embedder.embedEach(
                  input,
                  options,
                  (index, text, result) -> {
                    String problem = input.takeProblem(index);
                    listener.onResult(
                        index,
                        text,
                        problem == null
                            ? result
                            : new EmbedResult.Failed(
                                new CommandException(ExitCode.FAILURE, problem)));
                  });
            }
          } else {
            embedder.embedEach(texts, options, listener);
          }
          return true;
        });
  }
}
