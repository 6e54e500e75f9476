package io.candle4j.cli;

import io.candle4j.hub.CachedModel;
import io.candle4j.hub.CandleHub;
import io.candle4j.hub.Snapshot;
import java.time.Instant;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import picocli.CommandLine.Command;
import picocli.CommandLine.Option;

/** Lists what is cached. */
@Command(name = "ls", description = "List the models in the cache, one revision per line.")
final class ListCommand extends HubCommand {
  private static final int SHORT_COMMIT = 12;

  @Option(names = "--json", description = "Print a JSON array.")
  private boolean json;

  ListCommand(Stdio stdio, Interruption interruption) {
    super(stdio, interruption);
  }

  @Override
  int run(CandleHub hub) {
    List<CachedModel> models = hub.list();
    if (json) {
      stdio().out().println(Json.line(models.stream().map(ListCommand::object).toList()));
    } else if (models.isEmpty()) {
      stdio().note("the cache has no models; candle pull ID fetches one");
    } else {
      table(models).print(stdio().out());
    }
    return ExitCode.OK;
  }

  private static Table table(List<CachedModel> models) {
    Table table =
        new Table()
            .column("MODEL", Table.Side.LEFT)
            .column("REVISION", Table.Side.LEFT)
            .column("COMMIT", Table.Side.LEFT)
            .column("SIZE", Table.Side.RIGHT)
            .column("LAST USED", Table.Side.LEFT);
    Instant now = Instant.now();
    for (CachedModel model : models) {
      String used = model.lastUsed().map(then -> Units.ago(then, now)).orElse("-");
      for (CachedModel.Revision revision : model.revisions()) {
        String refs = revision.refs().isEmpty() ? "-" : String.join(",", revision.refs());
        String commit = revision.commit();
        table.row(
            model.id(),
            refs,
            commit.substring(0, Math.min(SHORT_COMMIT, commit.length())),
            Units.bytes(revision.size()),
            used);
      }
      if (model.revisions().isEmpty()) {
        // What an interrupted download left takes room too.
        table.row(model.id(), "-", "-", Units.bytes(model.sizeOnDisk()), used);
      }
    }
    return table;
  }

  private static Map<String, Object> object(CachedModel model) {
    List<Map<String, Object>> revisions = new ArrayList<>();
    for (CachedModel.Revision revision : model.revisions()) {
      List<Map<String, Object>> files = new ArrayList<>();
      for (Snapshot.File file : revision.files()) {
        files.add(Json.object("name", file.name(), "size", file.size()));
      }
      revisions.add(
          Json.object(
              "commit", revision.commit(),
              "refs", revision.refs(),
              "size", revision.size(),
              "files", files));
    }
    return Json.object(
        "id", model.id(),
        "folder", model.folder().toString(),
        "size_on_disk", model.sizeOnDisk(),
        "last_used", model.lastUsed().map(Instant::toString).orElse(null),
        "revisions", revisions);
  }
}
