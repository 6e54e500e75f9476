package io.candle4j.cli;

import io.candle4j.CandleModel;
import io.candle4j.ModelInfo;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;

/** A conversation. */
@Command(
    name = "chat",
    description = {
      "Chat with a model.",
      "",
      "Lines that begin with a slash are commands, /help lists them. A message of several lines"
          + " stands between two lines of \"\"\", or has a backslash at the end of each line but the"
          + " last. Ctrl-C stops an answer, Ctrl-D leaves.",
      "",
      "When messages are piped in, each line is one, and the answers are all that is printed."
    })
class ChatCommand extends BaseCommand {
  @Option(
      names = "--system",
      paramLabel = "TEXT|@FILE",
      converter = SystemText.class,
      description = "System message.")
  private @Nullable String system;

  @Option(names = "--no-history", description = "Do not save what is typed.")
  private boolean noHistory;

  @Mixin private ModelOptions models;

  @Mixin private SamplingOptions sampling;

  ChatCommand(Stdio stdio, Interruption interruption) {
    super(stdio, interruption);
  }

  @Override
  final int run() {
    ChatSettings settings = new ChatSettings(sampling.toOptions());
    try (ChatModel model =
            new ChatModel(load(), source -> models.load(source, stdio(), interruption()));
        ChatInput input = openInput()) {
      ModelInfo info = model.model().info();
      stdio().note(info.architecture() + " on " + Json.word(info.device()) + "; /help helps");
      new Chat(stdio(), interruption(), model, settings, new Conversation(system)).run(input);
    }
    return interruption().isRequested() ? ExitCode.INTERRUPTED : ExitCode.OK;
  }

  /** The model that the chat begins with. */
  CandleModel load() {
    return models.load(stdio(), interruption());
  }

  /** The options that say which model, and how it runs. */
  final ModelOptions models() {
    return models;
  }

  /** Where messages come from. */
  ChatInput openInput() {
    return stdio().isInteractive()
        ? new TerminalInput(interruption(), !noHistory)
        : new PipedInput(stdio().in());
  }
}
