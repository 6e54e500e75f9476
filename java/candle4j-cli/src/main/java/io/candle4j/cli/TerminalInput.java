package io.candle4j.cli;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.util.List;
import org.jline.reader.Candidate;
import org.jline.reader.EOFError;
import org.jline.reader.EndOfFileException;
import org.jline.reader.LineReader;
import org.jline.reader.LineReaderBuilder;
import org.jline.reader.ParsedLine;
import org.jline.reader.Parser;
import org.jline.reader.UserInterruptException;
import org.jline.terminal.Size;
import org.jline.terminal.Terminal;
import org.jline.terminal.Terminal.Signal;
import org.jline.terminal.TerminalBuilder;
import org.jline.utils.AttributedString;
import org.jline.utils.AttributedStyle;
import org.jline.utils.Signals;
import org.jspecify.annotations.Nullable;

/** Messages that a person types, with line editing and history. */
final class TerminalInput implements ChatInput {
  private final Interruption interruption;
  private final Terminal terminal;
  private final LineReader reader;
  private final String prompt;
  private final Object previousHandler;

  /**
   * Opens the terminal.
   *
   * @param interruption what Ctrl-C stops from now on, instead of ending the program
   * @param keepHistory whether what is typed is kept in a file
   */
  TerminalInput(Interruption interruption, boolean keepHistory) {
    this.interruption = interruption;
    try {
      terminal =
          TerminalBuilder.builder()
              .system(true)
              .dumb(false)
              // JLine's own handlers run Java code inside the operating system's signal handler,
              // on any thread, those of the native library included. The JVM's are safe.
              .nativeSignals(false)
              // To find out whether it has this, the terminal would be asked, and what was typed
              // ahead be lost.
              .graphemeCluster(false)
              .build();
      if (terminal.getSize().getColumns() == 0) {
        terminal.setSize(Size.of(80, 24));
      }
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
    LineReaderBuilder builder =
        LineReaderBuilder.builder()
            .terminal(terminal)
            .appName("candle")
            .parser(new MessageParser())
            .completer((line, cursor, candidates) -> complete(cursor, candidates))
            // ! is not a way to quote history here.
            .option(LineReader.Option.DISABLE_EVENT_EXPANSION, true)
            .option(LineReader.Option.HISTORY_IGNORE_SPACE, true)
            .option(LineReader.Option.HISTORY_IGNORE_DUPS, true)
            .variable(LineReader.SECONDARY_PROMPT_PATTERN, "... ");
    if (keepHistory) {
      ChatHistory.file().ifPresent(file -> builder.variable(LineReader.HISTORY_FILE, file));
    }
    reader = builder.build();
    prompt = coloured(">>> ");
    previousHandler = Signals.register("INT", this::onInterrupt);
    Signals.register("WINCH", () -> terminal.raise(Signal.WINCH));
  }

  private static String coloured(String text) {
    return System.getenv().getOrDefault("NO_COLOR", "").isEmpty()
        ? new AttributedString(text, AttributedStyle.BOLD.foreground(AttributedStyle.GREEN))
            .toAnsi()
        : text;
  }

  /** Stops the answer under way, or else the line that is edited. */
  private void onInterrupt() {
    if (!interruption.stop()) {
      terminal.raise(Signal.INT);
    }
  }

  @Override
  public @Nullable String next() {
    while (true) {
      try {
        return reader.readLine(prompt);
      } catch (UserInterruptException e) {
        if (e.getPartialLine().isEmpty()) {
          terminal.writer().println("(Ctrl-D or /bye leaves)");
        }
      } catch (EndOfFileException e) {
        return null;
      }
    }
  }

  /**
   * What is typed during an answer is for the next prompt and must not be mixed into the answer.
   */
  @Override
  public void answering(boolean begun) {
    terminal.echo(!begun);
  }

  @Override
  public boolean isInteractive() {
    return true;
  }

  @Override
  public void close() {
    Signals.unregister("INT", previousHandler);
    try {
      terminal.close();
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  private static void complete(ParsedLine line, List<Candidate> candidates) {
    if (line.line().startsWith("/")) {
      SlashCommand.names().forEach(name -> candidates.add(new Candidate(name)));
    }
  }

  /** A message is one word, whatever quotes it has. */
  private static final class MessageParser implements Parser {
    @Override
    public ParsedLine parse(String line, int cursor, ParseContext context) {
      if (context == ParseContext.ACCEPT_LINE && MultiLine.goesOn(line)) {
        throw new EOFError(-1, cursor, "the message goes on");
      }
      return new Message(line, cursor);
    }
  }

  private record Message(String line, int cursor) implements ParsedLine {
    @Override
    public String word() {
      return line;
    }

    @Override
    public int wordCursor() {
      return cursor;
    }

    @Override
    public int wordIndex() {
      return 0;
    }

    @Override
    public List<String> words() {
      return List.of(line);
    }
  }
}
