package io.candle4j.cli;

import java.io.IOException;
import java.nio.file.FileAlreadyExistsException;
import java.nio.file.FileSystems;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.FileAttribute;
import java.nio.file.attribute.PosixFilePermissions;
import java.util.Optional;

/** The file of what was typed in chats, which only its owner can read. */
final class ChatHistory {
  private ChatHistory() {}

  /** The file, which exists; or nothing where it cannot be kept. */
  static Optional<Path> file() {
    Path folder = folder();
    Path file = folder.resolve("chat_history");
    try {
      Files.createDirectories(folder, permissions("rwx------"));
      Files.createFile(file, permissions("rw-------"));
      return Optional.of(file);
    } catch (FileAlreadyExistsException e) {
      return Optional.of(file);
    } catch (IOException e) {
      return Optional.empty();
    }
  }

  private static Path folder() {
    String system = System.getProperty("os.name").toLowerCase(java.util.Locale.ROOT);
    Path home = Path.of(System.getProperty("user.home"));
    if (system.startsWith("windows")) {
      return variable("LOCALAPPDATA", home.resolve("AppData").resolve("Local")).resolve("candle4j");
    }
    if (system.startsWith("mac")) {
      return home.resolve("Library").resolve("Application Support").resolve("candle4j");
    }
    return variable("XDG_STATE_HOME", home.resolve(".local").resolve("state")).resolve("candle4j");
  }

  private static Path variable(String name, Path otherwise) {
    String value = System.getenv(name);
    return value == null || value.isBlank() ? otherwise : Path.of(value);
  }

  private static FileAttribute<?>[] permissions(String permissions) {
    return FileSystems.getDefault().supportedFileAttributeViews().contains("posix")
        ? new FileAttribute<?>[] {
          PosixFilePermissions.asFileAttribute(PosixFilePermissions.fromString(permissions))
        }
        : new FileAttribute<?>[0];
  }
}
