package io.candle4j.cli;

import java.io.Console;
import java.io.File;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.BasicFileAttributes;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.stream.Stream;

/**
 * What the three standard streams are connected to. Asked without native code, which takes time.
 */
final class Descriptors {
  static final int IN = 0;
  static final int OUT = 1;
  static final int ERR = 2;

  private static final int TYPE = 0170000;
  private static final int CHARACTER_DEVICE = 0020000;
  private static final int FIFO = 0010000;
  private static final int SOCKET = 0140000;

  private Descriptors() {}

  /** Whether a person sits at the other end. */
  static boolean isTerminal(int descriptor) {
    try {
      Map<String, Object> stream = attributes(Path.of("/dev/fd/" + descriptor));
      return type(stream) == CHARACTER_DEVICE
          && !Objects.equals(stream.get("rdev"), attributes(Path.of("/dev/null")).get("rdev"));
    } catch (UnsupportedOperationException windows) {
      Console console = System.console();
      return console != null && console.isTerminal();
    } catch (IOException e) {
      return false;
    }
  }

  /** Whether another program sits at the other end. */
  static boolean isPipe(int descriptor) {
    try {
      int type = type(attributes(Path.of("/dev/fd/" + descriptor)));
      return type == FIFO || type == SOCKET;
    } catch (UnsupportedOperationException | IOException e) {
      return false;
    }
  }

  /**
   * Whether nobody gave this descriptor, so that a file of the JVM's own got its number. Such a
   * file must not be read as input.
   */
  static boolean isOfTheJvm(int descriptor) {
    try {
      Path stream = Path.of("/dev/fd/" + descriptor);
      Object key = Files.readAttributes(stream, BasicFileAttributes.class).fileKey();
      if (key == null) {
        return false;
      }
      for (Path file : filesOfTheJvm()) {
        if (Files.isRegularFile(file)
            && key.equals(Files.readAttributes(file, BasicFileAttributes.class).fileKey())) {
          return true;
        }
      }
      return false;
    } catch (IOException e) {
      // It is not open at all, or this is Windows.
      return false;
    }
  }

  private static List<Path> filesOfTheJvm() throws IOException {
    List<Path> files = new ArrayList<>();
    Path lib = Path.of(System.getProperty("java.home"), "lib");
    files.add(lib.resolve("modules"));
    if (Files.isDirectory(lib.resolve("server"))) {
      try (Stream<Path> archives = Files.list(lib.resolve("server"))) {
        archives.forEach(files::add);
      }
    }
    for (String entry : System.getProperty("java.class.path").split(File.pathSeparator, -1)) {
      files.add(Path.of(entry));
    }
    return files;
  }

  private static int type(Map<String, Object> attributes) {
    return (Integer) Objects.requireNonNull(attributes.get("mode")) & TYPE;
  }

  private static Map<String, Object> attributes(Path path) throws IOException {
    return Files.readAttributes(path, "unix:mode,rdev");
  }
}
