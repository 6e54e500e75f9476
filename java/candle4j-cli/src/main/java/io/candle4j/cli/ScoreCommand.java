package io.candle4j.cli;

import io.candle4j.CandleModel;
import io.candle4j.CandleSession;
import io.candle4j.Score;
import io.candle4j.TokenIds;
import io.candle4j.TokenLogprob;
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
      converter = TokenArgument.Converter.class,
      description = "Token ids; nothing is added.")
  private @Nullable TokenArgument tokens;

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
      TokenIds ids = tokens == null ? model.tokenizer().encode(text, true) : tokens.ids();
      Score score = interruption().during(session::cancel, () -> session.score(ids, top));
      if (json) {
        stdio().out().println(Json.line(object(ids, score)));
      } else {
        print(model, ids, score);
      }
    }
    return ExitCode.OK;
  }

  private Map<String, Object> object(TokenIds ids, Score score) {
    List<Map<String, Object>> list = new ArrayList<>();
    for (TokenLogprob token : score.top()) {
      list.add(Json.object("id", token.id(), "logprob", token.logprob()));
    }
    List<Float> logprobs = score.logprobs().stream().map(TokenLogprob::logprob).toList();
    Map<String, Object> object = Json.object("logprobs", logprobs, "top", list);
    if (text != null) {
      object.put("token_ids", ids);
    }
    return object;
  }

  private void print(CandleModel model, TokenIds ids, Score score) {
    List<TokenLogprob> logprobs = score.logprobs();
    Table given = table("TOKEN");
    double sum = 0;
    for (int i = 0; i < ids.size(); i++) {
      boolean first = i == 0;
      float logprob = first ? 0 : logprobs.get(i - 1).logprob();
      sum += logprob;
      given.row(ids.get(i).toString(), first ? "-" : number(logprob), shown(model, ids.get(i)));
    }
    given.print(stdio().out());
    if (!logprobs.isEmpty()) {
      stdio()
          .out()
          .println(
              String.format(
                  Locale.ROOT, "sum %.4f, perplexity %.4f", sum, Math.exp(-sum / logprobs.size())));
    }
    if (!score.top().isEmpty()) {
      Table next = table("NEXT");
      for (TokenLogprob token : score.top()) {
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
    return Json.line(model.tokenizer().decode(TokenIds.of(id), false));
  }
}
