package io.candle4j.cli;

import java.util.Arrays;
import java.util.List;
import java.util.Optional;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/** What a line of a chat that begins with a slash asks for. */
enum SlashCommand {
  HELP("/help", "", "this list"),
  RESET("/reset", "", "forget what was said"),
  SYSTEM("/system", "[TEXT]", "show the instructions, or set them; - removes them"),
  UNDO("/undo", "", "take back the last message and its answer"),
  RETRY("/retry", "", "answer the last message again"),
  SET("/set", "NAME VALUE", "set an option, such as temperature 0.7"),
  SHOW("/show", "", "show the model and how it answers"),
  MODEL("/model", "[NAME]", "show the model, or talk to another one"),
  THINK("/think", "[on|off|N]", "let the model think, or not, or for at most N tokens"),
  TOOLS(
      "/tools", "[FILE|-]", "show the tools that the model may call, or read them; - removes them"),
  SAVE("/save", "FILE", "write the conversation as JSON; /save! overwrites a file"),
  LOAD("/load", "FILE", "go on with a conversation that was saved"),
  BYE("/bye", "", "leave, as Ctrl-D does");

  /** A command is a slash and a word. What has a second slash is rather the path of a file. */
  private static final Pattern LINE = Pattern.compile("(/[a-z]*)(!?)(?:\\s+(.*))?", Pattern.DOTALL);

  private final String word;
  private final String argument;
  private final String meaning;

  SlashCommand(String word, String argument, String meaning) {
    this.word = word;
    this.argument = argument;
    this.meaning = meaning;
  }

  /**
   * A command line, taken apart.
   *
   * @param command the command, if there is one of that name
   * @param word what was typed
   * @param forced whether there is an exclamation mark behind it
   * @param argument the rest of the line, maybe empty
   */
  record Call(Optional<SlashCommand> command, String word, boolean forced, String argument) {}

  /** Takes a line for a command, unless it is a message. */
  static Optional<Call> parse(String text) {
    Matcher line = LINE.matcher(text.strip());
    if (!line.matches()) {
      return Optional.empty();
    }
    String word = line.group(1);
    String argument = line.group(3) == null ? "" : line.group(3).strip();
    boolean forced = !line.group(2).isEmpty();
    Optional<SlashCommand> command =
        Arrays.stream(values())
            .filter(c -> c.word.equals(word) && (!forced || c == SAVE))
            .findFirst();
    return Optional.of(new Call(command, word + line.group(2), forced, argument));
  }

  /** The words of all commands. */
  static List<String> names() {
    return Arrays.stream(values()).map(command -> command.word).toList();
  }

  /** All commands, a line each. */
  static String help() {
    StringBuilder help = new StringBuilder();
    for (SlashCommand command : values()) {
      help.append(
          String.format("  %-18s %s%n", command.word + " " + command.argument, command.meaning));
    }
    return help
        + "  \"\"\"                begin and end a message of several lines; or end a line with \\\n";
  }
}
