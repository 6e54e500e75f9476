package io.candle4j.cli;

import io.candle4j.CandleModel;
import io.candle4j.ModelInfo;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;

/** Measures how fast a model is on this machine. */
@Command(
    name = "bench",
    description = {
      "Measure a model's speed on random prompts, in tokens a second over all sequences.",
      "",
      "prefill is from the start until the last of them has its first token, decode from there to the"
          + " end, total all tokens in all the time. Each is the median of the repetitions; one more"
          + " before them warms up."
    })
final class BenchCommand extends BaseCommand {
  @Option(
      names = "--prompt-tokens",
      paramLabel = "N",
      description = "Tokens per prompt (default: 256).")
  private int promptTokens = 256;

  @Option(names = "--generate", paramLabel = "N", description = "Tokens per answer (default: 64).")
  private int generate = 64;

  @Option(
      names = "--parallel",
      paramLabel = "1,4",
      split = ",",
      description = "Number of prompts to run in parallel (default: 1).")
  private List<Integer> parallel = List.of(1);

  @Option(
      names = "--repetitions",
      paramLabel = "R",
      description = "Number of measurements (default: 5).")
  private int repetitions = 5;

  @Option(names = "--seed", paramLabel = "S", description = "Random seed for the prompts.")
  private long seed;

  @Option(
      names = "--json",
      description = "Print a JSON array with one object per value of --parallel.")
  private boolean json;

  @Mixin private ModelOptions models;

  BenchCommand(Stdio stdio, Interruption interruption) {
    super(stdio, interruption);
  }

  @Override
  int run() {
    atLeastOne("--prompt-tokens", promptTokens);
    atLeastOne("--generate", generate);
    atLeastOne("--repetitions", repetitions);
    for (int number : parallel) {
      String fault = Workers.fault(number);
      if (fault != null) {
        throw usage(fault);
      }
    }
    try (CandleModel model = models.load(stdio(), interruption())) {
      ModelInfo info = model.info();
      if (promptTokens + generate > info.contextLength()) {
        throw usage(
            "--prompt-tokens and --generate exceed the model's context of "
                + info.contextLength()
                + " tokens");
      }
      List<Measurement> medians = new ArrayList<>();
      for (int number : parallel) {
        try (Benchmark benchmark = new Benchmark(model, number, promptTokens, generate, seed)) {
          medians.add(interruption().during(benchmark::stop, () -> benchmark.median(repetitions)));
        }
      }
      print(medians);
    }
    return ExitCode.OK;
  }

  private void print(List<Measurement> medians) {
    if (json) {
      stdio().out().println(Json.line(medians.stream().map(BenchCommand::object).toList()));
      return;
    }
    Table table =
        new Table()
            .column("PARALLEL", Table.Side.RIGHT)
            .column("PREFILL/S", Table.Side.RIGHT)
            .column("DECODE/S", Table.Side.RIGHT)
            .column("TOTAL/S", Table.Side.RIGHT);
    for (Measurement median : medians) {
      table.row(
          Integer.toString(median.parallel()),
          number(median.prefill()),
          number(median.decode()),
          number(median.total()));
    }
    table.print(stdio().out());
  }

  private static Map<String, Object> object(Measurement median) {
    return Json.object(
        "parallel", median.parallel(),
        "prefill_tokens_per_second", Json.rounded(median.prefill()),
        "decode_tokens_per_second", Json.rounded(median.decode()),
        "total_tokens_per_second", Json.rounded(median.total()));
  }

  private static String number(double rate) {
    return String.format(Locale.ROOT, "%.1f", rate);
  }

  private void atLeastOne(String name, int value) {
    if (value < 1) {
      throw usage(name + ": expected at least 1, got " + value);
    }
  }
}
