package io.candle4j;

import java.util.Objects;
import java.util.Optional;

/**
 * One token while it is generated.
 *
 * @param id its number in the vocabulary
 * @param text the text that became certain with it; often empty, since a character can take several
 *     tokens and what may be the beginning of a stop text is held back. The texts of all tokens
 *     joined are the text of the answer.
 * @param logprob how probable it was, where {@link GenerateOptions.Builder#logprobs(int)} asked for
 *     it
 */
public record Token(int id, String text, Optional<TokenLogprob> logprob) {

  /** Checks the parts. */
  public Token {
    Objects.requireNonNull(text, "text");
    Objects.requireNonNull(logprob, "logprob");
  }
}
