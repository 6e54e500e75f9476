package io.candle4j.cli;

import java.util.concurrent.Callable;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.ParameterException;
import picocli.CommandLine.Spec;

/** What all commands have in common. */
abstract class BaseCommand implements Callable<Integer> {
  @Option(
      names = {"-v", "--verbose"},
      description = "Print timings, and the stack trace of a failure.")
  private boolean verbose;

  @Option(
      names = {"-q", "--quiet"},
      description = "Print the answer and errors, nothing else.")
  private boolean quiet;

  @Spec private CommandSpec spec;

  private final Stdio stdio;
  private final Interruption interruption;

  BaseCommand(Stdio stdio, Interruption interruption) {
    this.stdio = stdio;
    this.interruption = interruption;
  }

  /** Whether more is to be told. */
  boolean isVerbose() {
    return verbose;
  }

  /** Does what the command is for, and answers with the exit code. */
  abstract int run();

  @Override
  public final Integer call() {
    stdio.tell(quiet, verbose);
    LogOutput.install(stdio);
    return run();
  }

  final Stdio stdio() {
    return stdio;
  }

  final Interruption interruption() {
    return interruption;
  }

  final CommandSpec spec() {
    return spec;
  }

  /** The failure that a wrong combination of arguments is. */
  final ParameterException usage(String message) {
    return new ParameterException(spec.commandLine(), message);
  }
}
