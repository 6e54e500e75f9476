package io.candle4j.cli;

import io.candle4j.CandleModel;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Parameters;

/** A conversation with a model that stands first, as other programs have it. */
@Command(
    name = "run",
    description = {
      "Chat with a model, or answer one prompt.",
      "",
      "What help chat says of messages and keys holds here, too."
    })
final class RunCommand extends ChatCommand {
  @Parameters(
      index = "0",
      paramLabel = "MODEL",
      description = "Hugging Face id, folder, GGUF file, or alias.")
  private String model = "";

  @Parameters(
      index = "1",
      arity = "0..1",
      paramLabel = "PROMPT",
      description = "Answer this, and end.")
  private @Nullable String prompt;

  RunCommand(Stdio stdio, Interruption interruption) {
    super(stdio, interruption);
  }

  @Override
  CandleModel load() {
    if (models().isGiven()) {
      throw usage("MODEL and --model exclude each other");
    }
    return models().loadNamed(model, stdio(), interruption());
  }

  @Override
  ChatInput openInput() {
    return prompt == null ? super.openInput() : new OneMessage(prompt);
  }

  /** A conversation of one message. */
  private static final class OneMessage implements ChatInput {
    private @Nullable String text;

    private OneMessage(String text) {
      this.text = text;
    }

    @Override
    public @Nullable String next() {
      String next = text;
      text = null;
      return next;
    }

    @Override
    public boolean isInteractive() {
      return false;
    }

    @Override
    public void close() {}
  }
}
