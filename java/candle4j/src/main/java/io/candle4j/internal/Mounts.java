package io.candle4j.internal;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.regex.Pattern;
import org.jspecify.annotations.Nullable;

/** The file systems that Linux has mounted. */
final class Mounts {
  private static final Path TABLE = Path.of("/proc/self/mounts");

  /** How the table writes spaces and the like. */
  private static final Pattern OCTAL = Pattern.compile("\\\\([0-7]{3})");

  private Mounts() {}

  /**
   * Where the file system of a file is mounted, if programs and libraries cannot be run from it.
   *
   * @return null where they can, and where the system does not tell
   */
  static @Nullable String noexec(Path file) {
    try {
      return noexec(file.toRealPath(), Files.readAllLines(TABLE));
    } catch (IOException | SecurityException e) {
      return null;
    }
  }

  /** Of several file systems on the way to the file the deepest counts, and of those the last. */
  static @Nullable String noexec(Path file, List<String> table) {
    Path deepest = null;
    boolean isNoexec = false;
    for (String line : table) {
      String[] fields = line.split(" ", -1);
      if (fields.length < 4) {
        continue;
      }
      Path mount =
          Path.of(
              OCTAL
                  .matcher(fields[1])
                  .replaceAll(code -> "" + (char) Integer.parseInt(code.group(1), 8)));
      if (file.startsWith(mount)
          && (deepest == null || mount.getNameCount() >= deepest.getNameCount())) {
        deepest = mount;
        isNoexec = Arrays.asList(fields[3].split(",")).contains("noexec");
      }
    }
    return isNoexec ? String.valueOf(deepest) : null;
  }
}
