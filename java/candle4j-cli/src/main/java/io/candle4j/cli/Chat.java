package io.candle4j.cli;

import io.candle4j.CandleSession;
import io.candle4j.ChatMessage;
import io.candle4j.ContextFullException;
import io.candle4j.FinishReason;
import io.candle4j.GenerateOptions;
import io.candle4j.Generation;
import io.candle4j.Request;
import java.nio.file.Path;
import java.util.List;
import java.util.Optional;

/** The loop of a conversation: a message or a command, and what follows from it. */
final class Chat {
  private final Stdio stdio;
  private final Interruption interruption;
  private final CandleSession session;
  private final GenerateOptions options;
  private final Conversation conversation;

  Chat(
      Stdio stdio,
      Interruption interruption,
      CandleSession session,
      GenerateOptions options,
      Conversation conversation) {
    this.stdio = stdio;
    this.interruption = interruption;
    this.session = session;
    this.options = options;
    this.conversation = conversation;
  }

  /** Talks until the other side leaves. */
  void run(ChatInput input) {
    while (!interruption.isRequested()) {
      String text = input.next();
      if (text == null) {
        return;
      }
      Optional<SlashCommand.Call> call = SlashCommand.parse(text);
      try {
        if (call.isPresent()) {
          if (!execute(call.get(), input)) {
            return;
          }
        } else if (!text.isBlank()) {
          say(MultiLine.message(text), input);
        }
      } catch (SinkClosedException e) {
        throw e;
      } catch (ContextFullException e) {
        fail(
            new CommandException(
                ExitCode.USAGE,
                Failures.message(e)
                    + "; /reset forgets what was said, and a larger --context holds more, as"
                    + " far as the model goes",
                e),
            input);
      } catch (RuntimeException e) {
        fail(e, input);
      }
    }
  }

  /** A person can do something about it and go on; a script cannot. */
  private void fail(RuntimeException e, ChatInput input) {
    if (!input.isInteractive()) {
      throw e;
    }
    stdio.error(Failures.message(e), e);
  }

  private void say(String message, ChatInput input) {
    input.answering(true);
    try {
      interruption.during(session::cancel, () -> answer(message));
    } finally {
      input.answering(false);
    }
  }

  private Generation answer(String message) {
    try (AnswerPrinter printer = new AnswerPrinter(stdio.out())) {
      Request request =
          Request.builder().messages(conversation.with(message)).options(options).build();
      Generation answer = session.generate(request, printer);
      printer.finish(answer);
      // Of an answer that was stopped, what can be read has been said.
      if (answer.finishReason() != FinishReason.CANCELLED || !answer.text().isEmpty()) {
        conversation.add(message, answer.text());
      }
      stdio.detail(Statistics.of(answer));
      return answer;
    }
  }

  /** Does what a command asks for; false when that is to leave. */
  private boolean execute(SlashCommand.Call call, ChatInput input) {
    if (call.command().isEmpty()) {
      throw new CommandException(
          ExitCode.USAGE, "there is no command " + call.word() + "; /help lists those there are");
    }
    switch (call.command().get()) {
      case HELP -> stdio.out().print(SlashCommand.help());
      case RESET -> conversation.reset();
      case SYSTEM -> system(call.argument());
      case RETRY -> retry(input);
      case SAVE -> {
        Transcript.save(file(call), conversation.messages(), call.forced());
        stdio.note("saved " + Units.count(conversation.messages().size(), "message"));
      }
      case LOAD -> {
        List<ChatMessage> messages = Transcript.load(file(call));
        conversation.replace(messages);
        stdio.note("loaded " + Units.count(messages.size(), "message"));
      }
      case BYE -> {
        return false;
      }
    }
    return true;
  }

  private void system(String text) {
    switch (text) {
      case "" -> {
        String system = conversation.system();
        stdio.out().println(system == null ? "(no instructions)" : system);
      }
      case "-" -> conversation.setSystem(null);
      default -> conversation.setSystem(MultiLine.message(text));
    }
  }

  private void retry(ChatInput input) {
    String message = conversation.takeBack();
    if (message == null) {
      throw new CommandException(ExitCode.USAGE, "there is no message to answer again");
    }
    say(message, input);
  }

  private static Path file(SlashCommand.Call call) {
    String name = call.argument();
    if (name.isEmpty()) {
      throw new CommandException(ExitCode.USAGE, call.word() + " needs the name of a file");
    }
    return name.startsWith("~/")
        ? Path.of(System.getProperty("user.home")).resolve(name.substring(2))
        : Path.of(name);
  }
}
