package io.candle4j.cli;

import io.candle4j.hub.CandleHub;
import io.candle4j.hub.Snapshot;
import java.util.concurrent.CancellationException;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;

/** Fetches a model. */
@Command(
    name = "pull",
    description = {
      "Download or update a model from the Hugging Face Hub, and print its folder.",
      "",
      "Interrupted downloads are resumed."
    })
final class PullCommand extends HubCommand {
  @Mixin private HubId id;

  PullCommand(Stdio stdio, Interruption interruption) {
    super(stdio, interruption);
  }

  @Override
  int run(CandleHub hub) {
    Snapshot snapshot;
    try (ProgressBars bars = new ProgressBars(stdio().live())) {
      String model = id.withRevision();
      snapshot = interruption().during(() -> hub.pull(model, bars));
    } catch (CancellationException e) {
      stdio().note("interrupted; the next pull goes on from there");
      throw e;
    }
    stdio()
        .note(
            Units.count(snapshot.files().size(), "file")
                + ", "
                + Units.bytes(snapshot.files().stream().mapToLong(Snapshot.File::size).sum())
                + ", commit "
                + snapshot.commit());
    stdio().out().println(snapshot.folder().toString());
    return ExitCode.OK;
  }
}
