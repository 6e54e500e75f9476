package io.candle4j.server;

import io.candle4j.CandleModel;
import io.candle4j.CandleTokenizer;
import io.candle4j.Token;
import io.candle4j.TokenIds;
import io.candle4j.TokenLogprob;
import java.nio.charset.StandardCharsets;
import java.util.Optional;
import tools.jackson.databind.node.ArrayNode;
import tools.jackson.databind.node.ObjectNode;

/** How probable tokens were, as OpenAI's API writes it. */
final class Logprobs {
  private final CandleTokenizer tokenizer;
  private final TokenIds ends;

  Logprobs(CandleModel model) {
    this.tokenizer = model.tokenizer();
    this.ends = model.info().eosTokenIds();
  }

  /** The entry of a token of the answer; none for what it thinks, calls, and ends with. */
  Optional<TokenLogprob> of(Token token) {
    boolean isText =
        token.kind() == Token.Kind.TEXT && ends.stream().noneMatch(id -> id == token.id());
    return isText ? token.logprob() : Optional.empty();
  }

  /** A chat's entry. */
  ObjectNode entry(TokenLogprob token) {
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

  /** The text of a token. */
  String text(int id) {
    return tokenizer.decode(TokenIds.of(id), false);
  }
}
