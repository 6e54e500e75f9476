package io.candle4j.cli;

import io.candle4j.GenerateOptions;
import io.candle4j.Thinking;
import io.candle4j.Tool;
import java.nio.file.Path;
import java.util.List;
import picocli.CommandLine;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.ParameterException;

/** How a chat answers, which can be changed on the way. */
final class ChatSettings {
  private GenerateOptions options;
  private List<Tool> tools = List.of();

  ChatSettings(GenerateOptions options) {
    this.options = options;
  }

  GenerateOptions options() {
    return options;
  }

  List<Tool> tools() {
    return tools;
  }

  /** Only there to be parsed. */
  @Command
  private static final class Holder {
    @Mixin private SamplingOptions sampling;
  }

  /** Sets an option by its name on the command line, with or without its dashes. */
  void set(String setting) {
    String[] words = setting.split("\\s+", 2);
    String name = "--" + words[0].replaceFirst("^--", "").replace('_', '-');
    Holder holder = new Holder();
    CommandLine line = new CommandLine(holder).setExpandAtFiles(false);
    if (!line.getCommandSpec().optionsMap().containsKey(name)) {
      throw new CommandException(
          ExitCode.USAGE,
          "there is no option " + words[0] + "; candle chat --help lists those there are");
    }
    try {
      if (words.length == 1) {
        line.parseArgs(name);
      } else {
        line.parseArgs(name, words[1]);
      }
      options = holder.sampling.over(options);
    } catch (ParameterException e) {
      throw new CommandException(ExitCode.USAGE, Failures.message(e), e);
    }
  }

  /** Turns thinking on or off, or bounds it. */
  void think(String argument) {
    Thinking thinking =
        argument.isEmpty()
            ? Thinking.ON
            : new SamplingOptions.ThinkingConverter().convert(argument);
    options = options.toBuilder().thinking(thinking).build();
  }

  /** Offers the tools of a file. */
  void offer(Path file) {
    try {
      tools = Tool.parse(InputFile.text("/tools", file));
    } catch (IllegalArgumentException e) {
      throw InputFile.failure("/tools", file, Failures.message(e), e);
    }
  }

  /** Offers no tools any more. */
  void offerNone() {
    tools = List.of();
  }
}
