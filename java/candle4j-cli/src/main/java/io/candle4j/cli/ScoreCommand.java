package io.candle4j.cli;

import io.candle4j.CandleModel;
import io.candle4j.CandleSession;
import io.candle4j.Score;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;

/** Log-probabilities. */
@Command(
    name = "score",
    description = {
      "Print the log-probability of each token given the ones before it, and the most likely next"
          + " tokens."
    })
final class ScoreCommand extends BaseCommand {
  @Option(
      names = "--tokens",
      paramLabel = "1,2,3",
      converter = TokenIds.Converter.class,
      description = "Token ids; nothing is added.")
  private @Nullable TokenIds tokens;

  @Option(names = "--text", paramLabel = "TEXT", description = "Text instead of token ids.")
  private @Nullable String text;

  @Option(
      names = "--top",
      paramLabel = "N",
      description = "Number of most probable next tokens to print (default: 5).")
  private int top = 5;

  @Option(
      names = "--json",
      description = "Print a JSON object with logprobs and top, and token_ids with --text.")
  private boolean json;

  @Mixin private ModelOptions models;

  ScoreCommand(Stdio stdio, Interruption interruption) {
    super(stdio, interruption);
  }

  @Override
  int run() {
    if ((tokens == null) == (text == null)) {
      throw usage("expected either --tokens or --text");
    }
    if (top < 0) {
      throw usage("--top: expected at least 0, got " + top);
    }
    try (CandleModel model = models.load(stdio(), interruption());
        CandleSession session = model.newSession()) {
      int[] ids = tokens == null ? model.tokenizer().encode(text, true) : tokens.toArray();
      Score score = interruption().during(session::cancel, () -> session.score(ids, top));
      if (json) {
        stdio().out().println(Json.line(object(ids, score)));
      } else {
        print(model, ids, score);
      }
    }
    return ExitCode.OK;
  }

  private Map<String, Object> object(int[] ids, Score score) {
    List<Map<String, Object>> list = new ArrayList<>();
    for (Score.TokenLogprob token : score.top()) {
      list.add(Json.object("id", token.id(), "logprob", token.logprob()));
    }
    Map<String, Object> object = Json.object("logprobs", score.logprobs(), "top", list);
    if (text != null) {
      object.put("token_ids", ids);
    }
    return object;
  }

  private void print(CandleModel model, int[] ids, Score score) {
    float[] logprobs = score.logprobs();
    Table given = table("TOKEN");
    double sum = 0;
    for (int i = 0; i < ids.length; i++) {
      boolean first = i == 0;
      sum += first ? 0 : logprobs[i - 1];
      given.row(
          Integer.toString(ids[i]), first ? "-" : number(logprobs[i - 1]), shown(model, ids[i]));
    }
    given.print(stdio().out());
    if (logprobs.length > 0) {
      stdio()
          .out()
          .println(
              String.format(
                  Locale.ROOT, "sum %.4f, perplexity %.4f", sum, Math.exp(-sum / logprobs.length)));
    }
    if (!score.top().isEmpty()) {
      Table next = table("NEXT");
      for (Score.TokenLogprob token : score.top()) {
        next.row(Integer.toString(token.id()), number(token.logprob()), shown(model, token.id()));
      }
      stdio().out().println();
      next.print(stdio().out());
    }
  }

  private static Table table(String first) {
    return new Table()
        .column(first, Table.Side.RIGHT)
        .column("LOGPROB", Table.Side.RIGHT)
        .column("TEXT", Table.Side.LEFT);
  }

  private static String number(float logprob) {
    return String.format(Locale.ROOT, "%.4f", logprob);
  }

  /** A token's text, quoted since it may be a space. */
  private static String shown(CandleModel model, int id) {
    return Json.line(model.tokenizer().decode(new int[] {id}, false));
  }
}
