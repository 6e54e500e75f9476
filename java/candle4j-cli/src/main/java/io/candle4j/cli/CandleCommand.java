package io.candle4j.cli;

import java.util.Collection;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.function.BiFunction;
import picocli.CommandLine;
import picocli.CommandLine.Command;
import picocli.CommandLine.Help;
import picocli.CommandLine.IVersionProvider;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.ParseResult;
import picocli.CommandLine.PicocliException;
import picocli.CommandLine.ScopeType;
import picocli.CommandLine.Spec;

/** The program as a whole: its commands, its help, and what becomes of failures. */
@Command(
    name = "candle",
    description = "Run language models locally.",
    mixinStandardHelpOptions = true,
    versionProvider = CandleCommand.Version.class,
    scope = ScopeType.INHERIT,
    sortOptions = false,
    synopsisSubcommandLabel = "COMMAND",
    exitCodeListHeading = "%nExit codes:%n",
    exitCodeList = {
      "  0:success",
      "  1:something failed inside",
      "  2:bad argument or input",
      "  3:the model cannot be used: damaged, unsupported, too big for the memory or the device",
      "  4:the Hub: not found, gated, offline, wrong checksum, no room on the disk",
      "130:interrupted by Ctrl-C (143: by SIGTERM)"
    })
final class CandleCommand implements Runnable {
  private static final String COMPLETION = "completion";

  private static final Map<String, BiFunction<Stdio, Interruption, BaseCommand>> COMMANDS =
      new LinkedHashMap<>();

  static {
    COMMANDS.put("generate", GenerateCommand::new);
    COMMANDS.put("chat", ChatCommand::new);
    COMMANDS.put("run", RunCommand::new);
    COMMANDS.put("serve", ServeCommand::new);
    COMMANDS.put("batch", BatchCommand::new);
    COMMANDS.put("embed", EmbedCommand::new);
    COMMANDS.put("similar", SimilarCommand::new);
    COMMANDS.put("rerank", RerankCommand::new);
    COMMANDS.put("pull", PullCommand::new);
    COMMANDS.put("ls", ListCommand::new);
    COMMANDS.put("rm", RemoveCommand::new);
    COMMANDS.put("verify", VerifyCommand::new);
    COMMANDS.put("info", InfoCommand::new);
    COMMANDS.put("score", ScoreCommand::new);
    COMMANDS.put("bench", BenchCommand::new);
    COMMANDS.put(COMPLETION, CompletionCommand::new);
  }

  @Spec private CommandSpec spec;

  private CandleCommand() {}

  /** Runs a command line and answers with the exit code. Whatever fails is reported in one line. */
  static int run(Stdio stdio, Interruption interruption, String... args) {
    Failures failures = new Failures(stdio, interruption);
    try {
      Arguments.check(args);
      return commandLine(stdio, interruption, failures, args).execute(args);
    } catch (Throwable t) {
      return failures.report(t);
    }
  }

  private static CommandLine commandLine(
      Stdio stdio, Interruption interruption, Failures failures, String[] args) {
    CommandLine line = new CommandLine(new CandleCommand());
    for (BaseCommand command : commands(stdio, interruption, args)) {
      line.addSubcommand(command);
    }
    // A prompt may begin with @.
    line.setExpandAtFiles(false);
    line.setCaseInsensitiveEnumValuesAllowed(true);
    line.setOut(stdio.out().writer());
    line.setErr(stdio.err().writer());
    line.setParameterExceptionHandler(failures);
    line.setExecutionExceptionHandler(failures);
    line.setExecutionStrategy(parsed -> execute(stdio, failures, parsed));
    return line;
  }

  /**
   * The command that is called. All of them, which takes its time, when that is not clear, or when
   * it is about all.
   */
  private static List<BaseCommand> commands(Stdio stdio, Interruption interruption, String[] args) {
    BiFunction<Stdio, Interruption, BaseCommand> called =
        args.length == 0 || args[0].equals(COMPLETION) ? null : COMMANDS.get(args[0]);
    Collection<BiFunction<Stdio, Interruption, BaseCommand>> makers =
        called == null ? COMMANDS.values() : List.of(called);
    return makers.stream().map(maker -> maker.apply(stdio, interruption)).toList();
  }

  private static int execute(Stdio stdio, Failures failures, ParseResult parsed) {
    CommandLine line = parsed.commandSpec().commandLine();
    line.setColorScheme(
        Help.defaultColorScheme(stdio.out().isColoured() ? Help.Ansi.ON : Help.Ansi.OFF));
    try {
      return new CommandLine.RunLast().execute(parsed);
    } catch (PicocliException e) {
      // For the handlers.
      throw e;
    } catch (RuntimeException e) {
      // Help that cannot be written.
      return failures.report(e);
    }
  }

  /** Without a command, helps. */
  @Override
  public void run() {
    CommandLine line = spec.commandLine();
    line.usage(line.getOut(), line.getColorScheme());
  }

  /** The version that the build wrote. */
  static final class Version implements IVersionProvider {
    @Override
    public String[] getVersion() throws java.io.IOException {
      try (java.io.InputStream in = Version.class.getResourceAsStream("version.txt")) {
        String version =
            new String(in.readAllBytes(), java.nio.charset.StandardCharsets.UTF_8).strip();
        return new String[] {"candle " + version};
      }
    }
  }
}
