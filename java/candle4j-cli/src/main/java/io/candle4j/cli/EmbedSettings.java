package io.candle4j.cli;

import io.candle4j.EmbedOptions;
import io.candle4j.EmbedPrompt;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine.Option;

/** How texts become vectors. */
final class EmbedSettings {
  @Option(
      names = "--prompt-name",
      paramLabel = "NAME",
      description = "The model's prompt of this name is put before each text, such as query.")
  private @Nullable String promptName;

  @Option(
      names = "--prompt",
      paramLabel = "TEXT",
      description = "Put before each text instead; an empty one for none.")
  private @Nullable String prompt;

  @Option(
      names = "--no-normalize",
      description = "Leave vectors as the model gives them, and not at the length 1.")
  private boolean asTheyAre;

  @Option(
      names = "--no-truncate",
      description = "A text that is too long is an error, and not cut at its end.")
  private boolean whole;

  @Option(
      names = "--dimensions",
      paramLabel = "N",
      description = "How many numbers of each vector are kept (default: the model's).")
  private @Nullable Integer dimensions;

  /** The options, with the model's default prompt unless another one was named. */
  EmbedOptions options() {
    return options(new EmbedPrompt.Default());
  }

  /** The options, with a prompt unless another one was named. */
  EmbedOptions options(EmbedPrompt otherwise) {
    if (prompt != null && promptName != null) {
      throw new IllegalArgumentException("prompt: expected it or --prompt-name, not both");
    }
    EmbedOptions.Builder builder =
        EmbedOptions.builder().prompt(otherwise).normalize(!asTheyAre).truncate(!whole);
    if (promptName != null) {
      builder.promptName(promptName);
    }
    if (prompt != null) {
      builder.prompt(prompt);
    }
    if (dimensions != null) {
      builder.dimensions(dimensions);
    }
    return builder.build();
  }
}
