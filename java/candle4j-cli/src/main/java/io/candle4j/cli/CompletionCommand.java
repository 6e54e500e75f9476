package io.candle4j.cli;

import picocli.AutoComplete;
import picocli.CommandLine.Command;

/** Prints a script by which a shell completes commands and options. */
@Command(
    name = "completion",
    description = {
      "Prints a script for bash and zsh: source <(candle completion)",
      "",
      "With it, the Tab key completes commands, options and file names."
    })
final class CompletionCommand extends BaseCommand {
  CompletionCommand(Stdio stdio, Interruption interruption) {
    super(stdio, interruption);
  }

  @Override
  int run() {
    stdio().out().print(AutoComplete.bash("candle", spec().root().commandLine()));
    return ExitCode.OK;
  }
}
