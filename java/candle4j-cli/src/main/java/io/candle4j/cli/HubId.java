package io.candle4j.cli;

import org.jspecify.annotations.Nullable;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.ParameterException;
import picocli.CommandLine.Parameters;
import picocli.CommandLine.Spec;
import picocli.CommandLine.Spec.Target;

/** A model on the Hub. */
final class HubId {
  @Parameters(
      index = "0",
      paramLabel = "ID",
      description = "Model id, such as Qwen/Qwen2.5-0.5B-Instruct or ID@REVISION.")
  private String id = ""; // picocli asks for it

  @Option(
      names = "--revision",
      paramLabel = "REV",
      description = "Branch, tag or commit, instead of @REVISION.")
  private @Nullable String revision;

  @Spec(Target.MIXEE)
  private CommandSpec command;

  /** The id with its revision, which stands before the name of a quantisation. */
  String withRevision() {
    if (revision == null) {
      return id;
    }
    if (id.contains("@")) {
      throw new ParameterException(command.commandLine(), "--revision: the id has one already");
    }
    int colon = id.indexOf(':');
    return colon < 0
        ? id + "@" + revision
        : id.substring(0, colon) + "@" + revision + id.substring(colon);
  }
}
