package io.candle4j.cli;

import io.candle4j.hub.CandleHub;
import io.candle4j.hub.VerifiedModel;
import io.candle4j.hub.VerifiedModel.Verdict;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;

/** Hashes a cached model once more. */
@Command(
    name = "verify",
    description = {
      "Hash the files of a cached model, and list those that are damaged or missing.",
      "",
      "Exits with 4 if any is; candle pull repairs it."
    })
final class VerifyCommand extends HubCommand {
  @Mixin private HubId id;

  @Option(names = "--json", description = "Print a JSON object with all files.")
  private boolean json;

  VerifyCommand(Stdio stdio, Interruption interruption) {
    super(stdio, interruption);
  }

  @Override
  int run(CandleHub hub) {
    String model = id.withRevision();
    VerifiedModel verified;
    try (ProgressBars bars = new ProgressBars(stdio().live())) {
      verified = interruption().during(() -> hub.verify(model, bars));
    }
    if (json) {
      stdio().out().println(Json.line(object(model, verified)));
    } else {
      list(model, verified);
    }
    if (!verified.isIntact()) {
      throw new CommandException(
          ExitCode.HUB, model + " is not intact; candle pull " + model + " repairs it");
    }
    return ExitCode.OK;
  }

  private void list(String model, VerifiedModel verified) {
    long intact = 0;
    for (VerifiedModel.File file : verified.files()) {
      if (file.verdict() == Verdict.INTACT) {
        intact++;
      } else {
        stdio().out().println(lowerCase(file.verdict()) + "  " + file.name() + reason(file));
      }
    }
    stdio()
        .out()
        .println(
            model
                + ": "
                + intact
                + " of "
                + Units.count(verified.files().size(), "file")
                + " intact, commit "
                + verified.commit());
  }

  private static String reason(VerifiedModel.File file) {
    return file.expected().isPresent() && file.got().isPresent()
        ? ": expected " + file.expected().get() + ", got " + file.got().get()
        : "";
  }

  private static Map<String, Object> object(String model, VerifiedModel verified) {
    List<Map<String, Object>> files = new ArrayList<>();
    for (VerifiedModel.File file : verified.files()) {
      files.add(
          Json.object(
              "name", file.name(),
              "size", file.size(),
              "verdict", lowerCase(file.verdict()),
              "expected", file.expected().orElse(null),
              "got", file.got().orElse(null)));
    }
    return Json.object(
        "id", model, "commit", verified.commit(), "intact", verified.isIntact(), "files", files);
  }

  private static String lowerCase(Verdict verdict) {
    return verdict.name().toLowerCase(Locale.ROOT);
  }
}
