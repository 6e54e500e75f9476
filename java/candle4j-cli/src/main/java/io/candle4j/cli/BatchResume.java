package io.candle4j.cli;

import java.io.BufferedReader;
import java.io.IOException;
import java.io.Writer;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.util.HashMap;
import java.util.Map;
import org.jspecify.annotations.Nullable;
import tools.jackson.core.JacksonException;
import tools.jackson.databind.JsonNode;

/** What an interrupted batch has left. */
final class BatchResume {
  private BatchResume() {}

  /**
   * Cuts an output down to its answers, so that the others can be written behind them.
   *
   * @return how many answers there are for each id, which is written as JSON
   */
  static Map<String, Integer> prepare(Path output) {
    Map<String, Integer> done = new HashMap<>();
    if (!Files.exists(output)) {
      return done;
    }
    Path part = output.resolveSibling(output.getFileName() + ".part");
    try {
      try (BufferedReader reader = Files.newBufferedReader(output);
          Writer writer = Files.newBufferedWriter(part, StandardCharsets.UTF_8)) {
        for (String line; (line = reader.readLine()) != null; ) {
          String id = idOfAnswer(line);
          if (id != null) {
            done.merge(id, 1, Integer::sum);
            writer.write(line + "\n");
          }
        }
      }
      Files.move(part, output, StandardCopyOption.ATOMIC_MOVE, StandardCopyOption.REPLACE_EXISTING);
      return done;
    } catch (IOException e) {
      throw new CommandException(
          ExitCode.USAGE, "cannot go on with " + output + ": " + e.getMessage(), e);
    }
  }

  /** The id of a line that has an answer; null for failures, and for a line that was cut. */
  private static @Nullable String idOfAnswer(String line) {
    try {
      JsonNode document = BatchInput.MAPPER.readTree(line);
      return document.has("id") && document.has("text") ? document.get("id").toString() : null;
    } catch (JacksonException e) {
      return null;
    }
  }
}
