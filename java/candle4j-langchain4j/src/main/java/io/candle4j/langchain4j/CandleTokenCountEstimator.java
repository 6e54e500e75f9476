package io.candle4j.langchain4j;

import dev.langchain4j.data.message.ChatMessage;
import dev.langchain4j.model.TokenCountEstimator;
import io.candle4j.CandleException;
import io.candle4j.CandleModel;
import io.candle4j.CandleTokenizer;
import java.util.List;
import java.util.Objects;

/**
 * LangChain4j's {@link TokenCountEstimator} by a model's own tokenizer and chat template: counts
 * are those of its prompts. Any number of threads may use it.
 */
public final class CandleTokenCountEstimator implements TokenCountEstimator {
  private final CandleModel model;
  private final CandleTokenizer tokenizer;

  /**
   * Counts as a model does.
   *
   * @param model the model, which stays the caller's
   */
  public CandleTokenCountEstimator(CandleModel model) {
    this.model = Objects.requireNonNull(model, "model");
    this.tokenizer = model.tokenizer();
  }

  @Override
  public int estimateTokenCountInText(String text) {
    return tokenizer.count(text);
  }

  /** The tokens of a message with those around it, alone in its conversation. */
  @Override
  public int estimateTokenCountInMessage(ChatMessage message) {
    return estimateTokenCountInMessages(List.of(message));
  }

  /** The tokens of a prompt of these messages, without what begins the answer. */
  @Override
  public int estimateTokenCountInMessages(Iterable<ChatMessage> messages) {
    List<io.candle4j.ChatMessage> all = Messages.of(messages);
    if (all.isEmpty()) {
      return 0;
    }
    try {
      String prompt = model.applyChatTemplate(all, false);
      return tokenizer.encode(prompt, false).size();
    } catch (CandleException e) {
      // The template knows no such conversation, or there is none.
      return all.stream().mapToInt(message -> tokenizer.count(message.text())).sum();
    }
  }
}
