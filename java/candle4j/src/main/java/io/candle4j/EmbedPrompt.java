package io.candle4j;

import java.io.Serializable;
import java.util.Objects;

/** What is put before a text before it becomes a vector: models are trained with such words. */
public sealed interface EmbedPrompt extends Serializable {
  /** The model's default prompt, if it has one. */
  record Default() implements EmbedPrompt {}

  /** The model's prompt for what is looked for; its default prompt where it has none. */
  record Query() implements EmbedPrompt {}

  /** The model's prompt for what is found; its default prompt where it has none. */
  record Document() implements EmbedPrompt {}

  /**
   * A prompt of the model.
   *
   * @param name one of {@link EmbedderInfo#prompts()}
   */
  record Named(String name) implements EmbedPrompt {
    /** Checks the name. */
    public Named {
      Objects.requireNonNull(name, "name");
    }
  }

  /**
   * A text.
   *
   * @param text the text; an empty one for none, not even the model's default
   */
  record Text(String text) implements EmbedPrompt {
    /** Checks the text. */
    public Text {
      Objects.requireNonNull(text, "text");
    }
  }
}
