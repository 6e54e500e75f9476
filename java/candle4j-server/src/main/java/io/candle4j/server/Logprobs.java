package io.candle4j.server;

import io.candle4j.CandleModel;
import io.candle4j.CandleTokenizer;
import io.candle4j.FinishReason;
import io.candle4j.Token;
import io.candle4j.TokenIds;
import io.candle4j.TokenLogprob;
import java.nio.charset.StandardCharsets;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import tools.jackson.databind.node.ArrayNode;
import tools.jackson.databind.node.ObjectNode;

/** How probable tokens were, as OpenAI's API writes it. */
final class Logprobs {
  private final CandleTokenizer tokenizer;
  private final TokenIds ends;
  private final boolean wanted;

  /** Those of a model, where a request asks for them. */
  Logprobs(CandleModel model, boolean wanted) {
    this.wanted = wanted;
    this.tokenizer = model.tokenizer();
    this.ends = model.info().eosTokenIds();
  }

  /** Whether a request asks for them; the trails are empty otherwise. */
  boolean areWanted() {
    return wanted;
  }

  /** The entry of a token of the answer; none for what it thinks, calls, and ends with. */
  private Optional<TokenLogprob> of(Token token) {
    return token
        .logprob()
        .filter(entry -> wanted && token.kind() == Token.Kind.TEXT)
        .filter(entry -> ends.stream().noneMatch(id -> id == token.id()));
  }

  /** Adds a chat's entries. */
  void add(ArrayNode array, List<TokenLogprob> tokens) {
    tokens.forEach(token -> array.add(entry(token)));
  }

  private ObjectNode entry(TokenLogprob token) {
    ObjectNode entry = one(token);
    ArrayNode top = entry.putArray("top_logprobs");
    token.top().forEach(other -> top.add(one(other)));
    return entry;
  }

  private ObjectNode one(TokenLogprob token) {
    String text = text(token.id());
    ObjectNode entry = Json.object().put("token", text).put("logprob", token.logprob());
    if (text.indexOf('\uFFFD') >= 0) {
      // A part of a character.
      return entry.putNull("bytes");
    }
    ArrayNode bytes = entry.putArray("bytes");
    for (byte b : text.getBytes(StandardCharsets.UTF_8)) {
      bytes.add(b & 0xFF);
    }
    return entry;
  }

  /** The log-probabilities of one answer, as far as its text has come. */
  final class Trail {
    private final ArrayDeque<TokenLogprob> pending = new ArrayDeque<>();
    private int begun;
    private int shown;

    /**
     * Takes a token of the answer.
     *
     * @return the tokens that are begun by the text that has come
     */
    List<TokenLogprob> take(Token token) {
      of(token).ifPresent(pending::add);
      shown += token.text().length();
      List<TokenLogprob> out = new ArrayList<>();
      while (!pending.isEmpty() && begun < shown) {
        begun += text(pending.element().id()).length();
        out.add(pending.remove());
      }
      return out;
    }

    /** The tokens that are left at the end: none where they belong to the text that ended it. */
    List<TokenLogprob> rest(FinishReason reason) {
      return reason == FinishReason.STOP_STRING ? List.of() : List.copyOf(pending);
    }
  }

  /** The text of a token. */
  String text(int id) {
    return tokenizer.decode(TokenIds.of(id), false);
  }
}
