package io.candle4j.cli;

import io.candle4j.ChatMessage;
import io.candle4j.ContextFullException;
import io.candle4j.FinishReason;
import io.candle4j.Generation;
import io.candle4j.ModelInfo;
import io.candle4j.Request;
import io.candle4j.Tool;
import io.candle4j.ToolCall;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.stream.Collectors;
import picocli.CommandLine.TypeConversionException;

/** The loop of a conversation: a message or a command, and what follows from it. */
final class Chat {
  private final Stdio stdio;
  private final Interruption interruption;
  private final ChatModel model;
  private final ChatSettings settings;
  private final Conversation conversation;

  /** Results of calls of the last answer that were typed so far. */
  private final List<ChatMessage> results = new ArrayList<>();

  Chat(
      Stdio stdio,
      Interruption interruption,
      ChatModel model,
      ChatSettings settings,
      Conversation conversation) {
    this.stdio = stdio;
    this.interruption = interruption;
    this.model = model;
    this.settings = settings;
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
    List<ToolCall> calls = conversation.openCalls();
    if (calls.isEmpty()) {
      answer(List.of(ChatMessage.user(message)), input);
      return;
    }
    // What is typed is what the tools return, one after the other.
    results.add(ChatMessage.tool(calls.get(results.size()), message));
    if (results.size() < calls.size()) {
      stdio.note("and the result of " + calls.get(results.size()).name() + "?");
      return;
    }
    List<ChatMessage> all = List.copyOf(results);
    results.clear();
    answer(all, input);
  }

  private void answer(List<ChatMessage> said, ChatInput input) {
    input.answering(true);
    try {
      interruption.during(model.session()::cancel, () -> answer(said));
    } finally {
      input.answering(false);
    }
  }

  private Generation answer(List<ChatMessage> said) {
    try (AnswerPrinter printer = new AnswerPrinter(stdio.out())) {
      Request request =
          Request.builder()
              .messages(conversation.with(said))
              .options(settings.options())
              .tools(settings.tools())
              .build();
      Generation answer = model.session().generate(request, printer);
      printer.finish(answer);
      for (ToolCall call : answer.toolCalls()) {
        stdio.out().println(Json.line(GenerateCommand.object(call)));
      }
      if (!answer.toolCalls().isEmpty()) {
        stdio.note("what you type next is the result of " + answer.toolCalls().get(0).name());
      }
      // Of an answer that was stopped, what can be read has been said.
      if (answer.finishReason() != FinishReason.CANCELLED || !answer.text().isEmpty()) {
        conversation.add(said, answer.toMessage());
      }
      Statistics.cut(answer).ifPresent(stdio::note);
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
      case RESET -> {
        conversation.reset();
        results.clear();
      }
      case SYSTEM -> system(call.argument());
      case RETRY -> retry(input);
      case UNDO -> {
        takeBack("there is no message to take back");
        stdio.note("taken back");
      }
      case SET -> set(call);
      case SHOW -> show();
      case MODEL -> changeModel(call.argument());
      case THINK -> think(call);
      case TOOLS -> offerTools(call);
      case SAVE -> {
        Transcript.save(file(call), conversation.messages(), call.forced());
        stdio.note("saved " + Units.count(conversation.messages().size(), "message"));
      }
      case LOAD -> {
        List<ChatMessage> messages = Transcript.load(file(call));
        conversation.replace(messages);
        results.clear();
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
    String message = takeBack("there is no message to answer again");
    answer(List.of(ChatMessage.user(message)), input);
  }

  private String takeBack(String otherwise) {
    results.clear();
    String message = conversation.takeBack();
    if (message == null) {
      throw new CommandException(ExitCode.USAGE, otherwise);
    }
    return message;
  }

  private void set(SlashCommand.Call call) {
    if (call.argument().isEmpty()) {
      throw new CommandException(
          ExitCode.USAGE, call.word() + " needs a name and a value, such as temperature 0.7");
    }
    settings.set(call.argument());
  }

  private void think(SlashCommand.Call call) {
    try {
      settings.think(call.argument());
    } catch (TypeConversionException e) {
      throw new CommandException(ExitCode.USAGE, call.word() + ": " + e.getMessage(), e);
    }
  }

  private void changeModel(String name) {
    if (name.isEmpty()) {
      stdio.out().println(model.model().info().path().toString());
      return;
    }
    model.change(name);
    stdio.note("talking to " + model.model().info().path());
  }

  private void offerTools(SlashCommand.Call call) {
    switch (call.argument()) {
      case "" -> {
        if (settings.tools().isEmpty()) {
          stdio.out().println("(no tools)");
        }
        settings.tools().forEach(t -> stdio.out().println(t.name() + "  " + t.description()));
      }
      case "-" -> settings.offerNone();
      default -> settings.offer(file(call));
    }
  }

  private void show() {
    ModelInfo info = model.model().info();
    String system = conversation.system();
    stdio.out().println("model     " + info.path());
    stdio
        .out()
        .println(
            "          %s, %s, on %s, context of %d tokens"
                .formatted(
                    info.architecture(),
                    info.precision(),
                    Json.word(info.device()),
                    info.contextLength()));
    stdio.out().println("options   " + settings.options());
    stdio.out().println("system    " + (system == null ? "(no instructions)" : system));
    stdio.out().println("messages  " + conversation.messages().size());
    stdio
        .out()
        .println(
            "tools     "
                + settings.tools().stream().map(Tool::name).collect(Collectors.joining(", ")));
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
