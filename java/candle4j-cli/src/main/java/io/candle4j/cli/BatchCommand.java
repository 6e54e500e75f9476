package io.candle4j.cli;

import io.candle4j.CandleModel;
import io.candle4j.ChatMessage;
import io.candle4j.GenerateOptions;
import io.candle4j.Request;
import java.io.FileNotFoundException;
import java.io.IOException;
import java.io.InputStream;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.util.Map;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;

/** Many prompts from a file, their answers into another. */
@Command(
    name = "batch",
    description = {
      "Answer many prompts in parallel.",
      "",
      "Each line of the input is a JSON object with a prompt and an id, which is a string or a number;"
          + " without an id it gets its line's number. Each becomes a line of the output, in the same"
          + " order: {\"id\", \"text\", \"finish_reason\"}, or {\"id\", \"error\"} when it cannot be"
          + " answered, which stops no other; the exit code is 1 then. The id is null when the line"
          + " cannot be read; the error has its number.",
      "",
      "A line is written as soon as it and all before it are done, straight into the output, which is"
          + " emptied when the run begins. When the run is interrupted, what is done is kept: --resume"
          + " goes on from there, keeps the answers that the output has, and tries again what failed."
    })
final class BatchCommand extends BaseCommand {
  @Option(
      names = {"-i", "--input"},
      paramLabel = "F.jsonl",
      description = "Input file (default: standard input, also -).")
  private String input = "-";

  @Option(
      names = {"-o", "--output"},
      paramLabel = "G.jsonl",
      description = "Output file (default: standard output, also -).")
  private String output = "-";

  @Option(
      names = "--parallel",
      paramLabel = "N",
      description = "Number of prompts to run in parallel (default: CANDLE_NUM_PARALLEL, else 4).")
  private @Nullable Integer parallel;

  @Option(names = "--resume", description = "Resume an interrupted run.")
  private boolean resume;

  @Option(
      names = "--system",
      paramLabel = "TEXT|@FILE",
      converter = SystemText.class,
      description = "System message for each prompt.")
  private @Nullable String system;

  @Option(names = "--raw", description = "Use prompts as they are, without the chat template.")
  private boolean raw;

  @Mixin private ModelOptions models;

  @Mixin private SamplingOptions sampling;

  BatchCommand(Stdio stdio, Interruption interruption) {
    super(stdio, interruption);
  }

  @Override
  int run() {
    if (system != null && raw) {
      throw usage("--system needs a chat template, which --raw leaves out");
    }
    if (resume && isStandard(output)) {
      throw usage("--resume needs an --output file to go on with");
    }
    if (!isStandard(input) && !isStandard(output) && isSameFile()) {
      throw usage("--input and --output are the same file");
    }
    int workers = parallel == null ? Workers.ofEnvironment() : parallel;
    String fault = Workers.fault(workers);
    if (fault != null) {
      throw usage(fault);
    }
    GenerateOptions options = sampling.toOptions();
    try (InputStream in = openInput();
        CandleModel model = models.load(stdio(), interruption())) {
      if (system != null && !model.info().hasChatTemplate()) {
        throw new CommandException(
            ExitCode.MODEL, "this model has no chat template, which --system needs");
      }
      // Only now: a model that cannot be loaded costs no earlier output.
      Map<String, Integer> done = resume ? BatchResume.prepare(Path.of(output)) : Map.of();
      try (BatchOutput results =
          isStandard(output)
              ? BatchOutput.to(stdio().out())
              : BatchOutput.to(Path.of(output), resume)) {
        BatchProgress progress =
            new BatchProgress(
                progressLines(), lines() - done.values().stream().mapToInt(n -> n).sum());
        BatchRun run = new BatchRun(model, this::request, options, workers, results, progress);
        return interruption().during(run::stop, () -> answer(run, new BatchInput(in, done)));
      }
    } catch (IOException e) {
      throw new CommandException(
          ExitCode.FAILURE, "cannot close " + input + ": " + e.getMessage(), e);
    }
  }

  private Request request(String prompt, GenerateOptions options) {
    Request.Builder request = Request.builder().options(options);
    if (system != null) {
      return request.messages(ChatMessage.system(system), ChatMessage.user(prompt)).build();
    }
    return (raw ? request.rawText(prompt) : request.text(prompt)).build();
  }

  private int answer(BatchRun run, BatchInput prompts) {
    BatchRun.Outcome outcome = run.run(prompts);
    if (interruption().isRequested()) {
      stdio()
          .warn(
              "interrupted after "
                  + Units.count(outcome.answered(), "answer")
                  + (isStandard(output) ? "" : ", which are kept; --resume goes on from there"));
      return ExitCode.INTERRUPTED;
    }
    if (outcome.failed() > 0) {
      stdio()
          .warn(
              outcome.failed()
                  + " of "
                  + Units.count(outcome.answered() + outcome.failed(), "prompt")
                  + " failed; their lines say why");
      return ExitCode.FAILURE;
    }
    return ExitCode.OK;
  }

  /** Changing lines would be torn apart by answers on the same terminal. */
  private LiveLines progressLines() {
    return isStandard(output) && stdio().out().isTerminal() ? LiveLines.NONE : stdio().live();
  }

  private InputStream openInput() {
    if (isStandard(input)) {
      return stdio().in();
    }
    try {
      Path file = Path.of(input);
      if (Files.isDirectory(file)) {
        throw new CommandException(ExitCode.USAGE, input + " is a folder");
      }
      return Files.newInputStream(file);
    } catch (NoSuchFileException | FileNotFoundException e) {
      throw new CommandException(ExitCode.USAGE, input + ": no such file", e);
    } catch (IOException e) {
      throw new CommandException(ExitCode.USAGE, "cannot read " + input + ": " + e.getMessage(), e);
    }
  }

  private boolean isSameFile() {
    try {
      return Files.exists(Path.of(output)) && Files.isSameFile(Path.of(input), Path.of(output));
    } catch (IOException e) {
      // Opening them says it better.
      return false;
    }
  }

  /** How many lines the input has; negative when that is known only at its end. */
  private long lines() {
    if (isStandard(input) || !Files.isRegularFile(Path.of(input))) {
      return Long.MIN_VALUE;
    }
    try (InputStream in = Files.newInputStream(Path.of(input))) {
      return BatchInput.countLines(in);
    } catch (IOException e) {
      return Long.MIN_VALUE;
    }
  }

  private static boolean isStandard(String name) {
    return name.equals("-");
  }
}
