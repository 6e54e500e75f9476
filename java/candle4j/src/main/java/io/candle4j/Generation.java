package io.candle4j;

import java.time.Duration;
import java.util.List;
import java.util.Objects;
import java.util.Optional;

/**
 * The outcome of a generation.
 *
 * @param text the new text, without special tokens, without the stop text that ended it and without
 *     what the model thought before
 * @param reasoning what the model thought before its answer, where its chat template has tags for
 *     that
 * @param toolCalls the tools that the model calls, in order; they are not part of the text
 * @param tokenIds the new tokens, an end-of-sequence token that ended them included
 * @param finishReason why there are no more
 * @param promptTokens tokens of the prompt
 * @param cachedTokens how many of those were in the session's KV cache already
 * @param seed the start of the random sequence: the same prompt, options and seed give the same
 *     answer
 * @param logprobs how probable each new token was, where {@link
 *     GenerateOptions.Builder#logprobs(int)} asked for it; else empty
 * @param droppedMessages how many messages a {@link ContextPolicy} left out of the conversation to
 *     make room for this answer
 * @param warnings what of the model's own file was not honoured and may make the answer another
 *     one; empty as a rule
 * @param timings how long it took
 */
public record Generation(
    String text,
    Optional<String> reasoning,
    List<ToolCall> toolCalls,
    TokenIds tokenIds,
    FinishReason finishReason,
    int promptTokens,
    int cachedTokens,
    long seed,
    List<TokenLogprob> logprobs,
    int droppedMessages,
    List<String> warnings,
    Timings timings) {

  /** Checks and copies the parts. */
  public Generation {
    Objects.requireNonNull(text, "text");
    Objects.requireNonNull(reasoning, "reasoning");
    toolCalls = List.copyOf(toolCalls);
    Objects.requireNonNull(tokenIds, "tokenIds");
    Objects.requireNonNull(finishReason, "finishReason");
    logprobs = List.copyOf(logprobs);
    warnings = List.copyOf(warnings);
    Objects.requireNonNull(timings, "timings");
  }

  /**
   * The number of new tokens.
   *
   * @return {@code tokenIds().size()}
   */
  public int completionTokens() {
    return tokenIds.size();
  }

  /**
   * The answer as a message of a conversation.
   *
   * @return the message
   */
  public ChatMessage.Assistant toMessage() {
    return new ChatMessage.Assistant(text, reasoning, toolCalls);
  }

  /** The same, with messages that were left out. */
  Generation withDropped(int messages) {
    return messages == 0
        ? this
        : new Generation(
            text,
            reasoning,
            toolCalls,
            tokenIds,
            finishReason,
            promptTokens,
            cachedTokens,
            seed,
            logprobs,
            messages,
            warnings,
            timings);
  }

  /** The text. */
  @Override
  public String toString() {
    return text;
  }

  /**
   * How long a generation took.
   *
   * @param prefill from the call to the logits of the first new token
   * @param decode from there to the end
   * @param prefillTokensPerSecond prompt tokens that were computed, by prefill time
   * @param decodeTokensPerSecond new tokens behind the first, by decode time; 0 when there are none
   */
  public record Timings(
      Duration prefill,
      Duration decode,
      double prefillTokensPerSecond,
      double decodeTokensPerSecond) {}
}
