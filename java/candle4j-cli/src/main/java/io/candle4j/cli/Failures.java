package io.candle4j.cli;

import io.candle4j.ContextFullException;
import io.candle4j.ModelException;
import io.candle4j.hub.HubException;
import java.io.UncheckedIOException;
import java.util.List;
import java.util.Locale;
import java.util.Objects;
import java.util.concurrent.CancellationException;
import picocli.CommandLine;
import picocli.CommandLine.IExecutionExceptionHandler;
import picocli.CommandLine.IParameterExceptionHandler;
import picocli.CommandLine.ParameterException;
import picocli.CommandLine.ParseResult;
import picocli.CommandLine.UnmatchedArgumentException;

/** Turns whatever goes wrong into one line on standard error and an exit code. */
final class Failures implements IExecutionExceptionHandler, IParameterExceptionHandler {
  private final Stdio stdio;
  private final Interruption interruption;

  Failures(Stdio stdio, Interruption interruption) {
    this.stdio = stdio;
    this.interruption = interruption;
  }

  @Override
  public int handleExecutionException(Exception e, CommandLine line, ParseResult parsed) {
    return report(e);
  }

  @Override
  public int handleParseException(ParameterException e, String[] args) {
    String help = "see " + e.getCommandLine().getCommandSpec().qualifiedName() + " --help";
    stdio.error(message(e) + "; " + help, e);
    return ExitCode.USAGE;
  }

  private static String message(ParameterException e) {
    if (e instanceof UnmatchedArgumentException unmatched && !unmatched.getUnmatched().isEmpty()) {
      String what;
      if (unmatched.isUnknownOption()) {
        what = "unknown option ";
      } else if (e.getCommandLine().getParent() == null) {
        what = "there is no command ";
      } else {
        what = "unexpected argument, unless quotes are missing around words: ";
      }
      List<String> similar = unmatched.getSuggestions();
      return what
          + unmatched.getUnmatched().getFirst()
          + (similar.isEmpty() ? "" : "; did you mean " + String.join(" or ", similar) + "?");
    }
    String message = Objects.requireNonNull(e.getMessage());
    // The parser's own messages are sentences.
    return message.matches("[A-Z][a-z].*")
        ? message.substring(0, 1).toLowerCase(Locale.ROOT) + message.substring(1)
        : message;
  }

  /** Reports a failure and answers with its exit code. */
  int report(Throwable t) {
    if (t instanceof SinkClosedException) {
      // Who reads the output has enough of it.
      return ExitCode.OK;
    }
    if (interruption.isRequested()) {
      return ExitCode.INTERRUPTED;
    }
    stdio.error(message(t), t);
    return code(t);
  }

  /** What a failure says, for one that has no words of its own the name of its class. */
  static String message(Throwable t) {
    Throwable told = t instanceof UncheckedIOException && t.getCause() != null ? t.getCause() : t;
    String message = told.getMessage();
    return message == null || message.isBlank() ? t.getClass().getSimpleName() : message;
  }

  private static int code(Throwable t) {
    return switch (t) {
      case CommandException e -> e.code();
      case HubException e -> ExitCode.HUB;
      case ModelException.Invalid e -> ExitCode.MODEL;
      case ModelException.Unsupported e -> ExitCode.MODEL;
      case ModelException.InsufficientMemory e -> ExitCode.MODEL;
      case ModelException.DeviceUnavailable e -> ExitCode.MODEL;
      case ModelException.Numeric e -> ExitCode.MODEL;
      case ModelException.Tokenizer e -> ExitCode.MODEL;
      case ModelException.ChatTemplate e -> ExitCode.MODEL;
      case IllegalArgumentException e -> ExitCode.USAGE;
      case ContextFullException e -> ExitCode.USAGE;
      case CancellationException e -> ExitCode.INTERRUPTED;
      default -> ExitCode.FAILURE;
    };
  }
}
