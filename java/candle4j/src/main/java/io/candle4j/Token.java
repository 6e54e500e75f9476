package io.candle4j;

import java.util.List;
import java.util.Objects;
import java.util.Optional;

/**
 * One token while it is generated.
 *
 * @param id its number in the vocabulary
 * @param kind whether it belongs to the answer or to what the model thinks before
 * @param text the text of the answer that became certain with it; often empty, since a character
 *     can take several tokens and what may be the beginning of a stop text or a tag is held back.
 *     The texts of all tokens joined are the text of the answer.
 * @param reasoning the text of the thought that became certain with it. Joined, these are {@link
 *     Generation#reasoning}.
 * @param toolCalls the calls of tools that became complete with it. Joined, these are {@link
 *     Generation#toolCalls}.
 * @param logprob how probable it was, where {@link GenerateOptions.Builder#logprobs(int)} asked for
 *     it
 */
public record Token(
    int id,
    Kind kind,
    String text,
    String reasoning,
    List<ToolCall> toolCalls,
    Optional<TokenLogprob> logprob) {

  /** What a token belongs to. */
  public enum Kind {
    /** The answer. */
    TEXT,
    /** What the model thinks before its answer. */
    REASONING,
    /** A call of a tool, as far as is known. */
    TOOL_CALL
  }

  /** Checks the parts. */
  public Token {
    Objects.requireNonNull(kind, "kind");
    Objects.requireNonNull(text, "text");
    Objects.requireNonNull(reasoning, "reasoning");
    toolCalls = List.copyOf(toolCalls);
    Objects.requireNonNull(logprob, "logprob");
  }
}
