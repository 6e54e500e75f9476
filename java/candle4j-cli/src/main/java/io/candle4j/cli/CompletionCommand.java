package io.candle4j.cli;

import picocli.AutoComplete;
import picocli.CommandLine.Command;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Spec;

/** Prints a script by which a shell completes commands and options. */
@Command(
    name = "completion",
    description = {
      "Prints a script for bash and zsh: source <(candle completion)",
      "",
      "With it, the Tab key completes commands, options and file names."
    })
final class CompletionCommand extends BaseCommand {
  @Spec private CommandSpec command;

  CompletionCommand(Stdio stdio, Interruption interruption) {
    super(stdio, interruption);
  }

  @Override
  int run() {
    stdio().out().print(AutoComplete.bash("candle", command.root().commandLine()));
    return ExitCode.OK;
  }
}
