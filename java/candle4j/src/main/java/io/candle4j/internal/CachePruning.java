package io.candle4j.internal;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.LinkOption;
import java.nio.file.Path;
import java.time.Duration;
import java.time.Instant;
import java.util.List;
import java.util.stream.Stream;

/** Removes unpacked versions that nobody has used for a while. */
final class CachePruning {
  private static final Duration UNUSED = Duration.ofDays(30);

  private CachePruning() {}

  /**
   * Removes the folders beside {@code used} that are named by a hash and hold nothing that was used
   * within 30 days. What cannot be removed stays.
   */
  static void prune(Path used) {
    Path parent = used.getParent();
    if (parent == null) {
      return;
    }
    Instant since = Instant.now().minus(UNUSED);
    try (Stream<Path> folders = Files.list(parent)) {
      folders
          .filter(folder -> !folder.equals(used))
          .filter(folder -> folder.getFileName().toString().matches("[0-9a-f]{16}"))
          .filter(folder -> Files.isDirectory(folder, LinkOption.NOFOLLOW_LINKS))
          .forEach(folder -> prune(folder, since));
    } catch (IOException e) {
      // The next start tries again.
    }
  }

  private static void prune(Path folder, Instant since) {
    try {
      List<Path> files;
      try (Stream<Path> list = Files.list(folder)) {
        files = list.toList();
      }
      for (Path file : files) {
        if (Files.getLastModifiedTime(file).toInstant().isAfter(since)) {
          return;
        }
      }
      for (Path file : files) {
        Files.delete(file);
      }
      Files.delete(folder);
    } catch (IOException e) {
      // In use on Windows, or of somebody else.
    }
  }
}
