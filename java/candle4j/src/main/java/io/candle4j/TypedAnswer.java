package io.candle4j;

import io.candle4j.internal.TypedJson;
import java.lang.reflect.Type;
import java.util.ArrayList;
import java.util.List;

/**
 * An answer that becomes a value of a type: the request that asks for it, and the value.
 *
 * @param <T> the type
 */
final class TypedAnswer<T> {
  private final TypedJson<T> json;

  /**
   * Reads a type.
   *
   * @throws IllegalArgumentException for a type that no schema can describe
   */
  TypedAnswer(Type type) {
    this.json = TypedJson.of(type);
  }

  /** The request, with the type's schema as the form of the answer, which the model is told. */
  Request request(Request request) {
    if (request.responseFormat().isPresent()) {
      throw new IllegalArgumentException(
          "responseFormat: expected none, because the type is the form");
    }
    Request.Builder builder =
        request.toBuilder().responseFormat(ResponseFormat.jsonSchema(json.schema()));
    return switch (request.prompt()) {
      case Request.Prompt.Text text when !text.raw() -> builder.text(told(text.text())).build();
      case Request.Prompt.Chat chat -> builder.messages(told(chat.messages())).build();
      case Request.Prompt.Text raw -> builder.build();
      case Request.Prompt.Tokens tokens -> builder.build();
    };
  }

  private String told(String text) {
    return text + "\n\nAnswer with JSON that this JSON schema describes:\n" + json.schema();
  }

  /** The last user message says it, so that what comes before is the same prompt as ever. */
  private List<ChatMessage> told(List<ChatMessage> messages) {
    List<ChatMessage> told = new ArrayList<>(messages);
    for (int i = told.size() - 1; i >= 0; i--) {
      if (told.get(i) instanceof ChatMessage.User user) {
        told.set(i, ChatMessage.user(told(user.text())));
        break;
      }
    }
    return told;
  }

  /**
   * The value that an answer stands for.
   *
   * @throws AnswerException when there is none
   */
  T value(Generation generation) {
    if (generation.finishReason() != FinishReason.STOP) {
      throw new AnswerException.Incomplete(
          "answer: ended by "
              + generation.finishReason()
              + " after "
              + generation.completionTokens()
              + " tokens, before its JSON was complete",
          generation);
    }
    try {
      return json.read(generation.text());
    } catch (IllegalArgumentException e) {
      throw new AnswerException.Invalid("answer: " + e.getMessage(), generation, e);
    }
  }
}
