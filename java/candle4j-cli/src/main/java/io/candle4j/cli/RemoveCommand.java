package io.candle4j.cli;

import io.candle4j.hub.CachedModel;
import io.candle4j.hub.CandleHub;
import io.candle4j.hub.RemovedModel;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.util.Locale;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;

/** Removes a model from the cache. */
@Command(
    name = "rm",
    description = {
      "Remove a model, or one revision of it, from the cache.",
      "",
      "Asks first in a terminal. Files that other revisions share stay."
    })
final class RemoveCommand extends HubCommand {
  @Mixin private HubId id;

  @Option(
      names = {"-y", "--yes"},
      description = "Do not ask for confirmation.")
  private boolean yes;

  RemoveCommand(Stdio stdio, Interruption interruption) {
    super(stdio, interruption);
  }

  @Override
  int run(CandleHub hub) {
    String model = id.withRevision();
    if (!yes && stdio().inIsTerminal() && !isAgreed(hub, model)) {
      return ExitCode.OK;
    }
    RemovedModel removed = hub.remove(model);
    stdio()
        .out()
        .println(
            "removed "
                + model
                + ": "
                + Units.count(removed.files(), "file")
                + ", "
                + Units.bytes(removed.bytes())
                + " reclaimed");
    return ExitCode.OK;
  }

  /** Asks where the question is seen even if the output goes elsewhere. */
  private boolean isAgreed(CandleHub hub, String model) {
    String size =
        hub.list().stream()
            .filter(cached -> cached.id().equals(model))
            .map(CachedModel::sizeOnDisk)
            .map(bytes -> " (" + Units.bytes(bytes) + ")")
            .findFirst()
            .orElse("");
    stdio().err().print("remove " + model + size + "? [y/N] ");
    String answer = readLine().strip().toLowerCase(Locale.ROOT);
    return answer.equals("y") || answer.equals("yes");
  }

  private String readLine() {
    try {
      byte[] line = new byte[256];
      int length = stdio().in().read(line);
      return new String(line, 0, Math.max(0, length), StandardCharsets.UTF_8);
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }
}
