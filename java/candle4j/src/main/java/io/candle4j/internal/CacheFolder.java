package io.candle4j.internal;

import java.io.IOException;
import java.io.InputStream;
import java.io.UncheckedIOException;
import java.nio.channels.FileChannel;
import java.nio.file.FileSystems;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.nio.file.StandardOpenOption;
import java.nio.file.attribute.PosixFilePermissions;
import java.security.DigestInputStream;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.HexFormat;
import java.util.Locale;
import java.util.Objects;

/**
 * Files that come inside jars and must lie on disk to be used: the native library and the built-in
 * model.
 *
 * <p>Each lies in a per-user folder that carries its hash in its name, so versions do not meet. It
 * is written beside its place and moved there, so nobody ever sees a part of it; whether it is
 * still what it was is checked before it is used again, and it is never deleted at exit, since
 * other processes may use it.
 */
final class CacheFolder {
  /** Where the folder lies; by default where the system keeps a user's caches. */
  static final String PROPERTY = "candle4j.cache";

  private CacheFolder() {}

  /** The folder, as an absolute path. It need not exist. */
  static Path root() {
    return configured().toAbsolutePath();
  }

  private static Path configured() {
    String override = System.getProperty(PROPERTY);
    if (override != null && !override.isBlank()) {
      return Path.of(override);
    }
    String system = System.getProperty("os.name").toLowerCase(Locale.ROOT);
    Path home = Path.of(System.getProperty("user.home"));
    if (system.startsWith("windows")) {
      String local = System.getenv("LOCALAPPDATA");
      return (local == null ? home.resolve("AppData").resolve("Local") : Path.of(local))
          .resolve("candle4j");
    }
    if (system.startsWith("mac")) {
      return home.resolve("Library").resolve("Caches").resolve("candle4j");
    }
    String xdg = System.getenv("XDG_CACHE_HOME");
    return (xdg == null || xdg.isBlank() ? home.resolve(".cache") : Path.of(xdg))
        .resolve("candle4j");
  }

  /** Something that can be opened again and again. */
  interface Source {
    InputStream open() throws IOException;
  }

  /**
   * Makes sure that {@code target} holds what {@code source} does, whose SHA-256 is {@code hash}.
   * Once that was seen to be so, size and time of the last change tell whether the file is still
   * the same: to hash a library of 30 MB would take longer than all else at the start of a JVM.
   *
   * @throws UncheckedIOException when it cannot be written
   * @throws IllegalStateException when the source does not have the hash
   */
  static void ensure(Path target, Source source, String hash) {
    try {
      Path stamp = target.resolveSibling(target.getFileName() + ".checked");
      if (Files.isRegularFile(target)
          && Files.isRegularFile(stamp)
          && Files.readString(stamp).equals(stamp(target, hash))) {
        return;
      }
      if (!(Files.isRegularFile(target) && hash(target).equals(hash))) {
        copy(source, target, hash);
      }
      String checked = stamp(target, hash);
      try {
        put(stamp, part -> Files.writeString(part, checked));
      } catch (IOException e) {
        // In a folder that others filled, and that cannot be written, it is hashed each time.
      }
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  private static void copy(Source source, Path target, String hash) throws IOException {
    createPrivate(Objects.requireNonNull(target.getParent(), "a file in a folder"));
    try {
      put(
          target,
          part -> {
            MessageDigest digest = sha256();
            try (InputStream in = new DigestInputStream(source.open(), digest)) {
              Files.copy(in, part, StandardCopyOption.REPLACE_EXISTING);
            }
            String found = HexFormat.of().formatHex(digest.digest());
            if (!found.equals(hash)) {
              throw new IllegalStateException(
                  target.getFileName() + " has SHA-256 " + found + " instead of " + hash);
            }
            try (FileChannel channel = FileChannel.open(part, StandardOpenOption.WRITE)) {
              channel.force(true);
            }
          });
    } catch (IOException e) {
      // On Windows a library that another process has loaded cannot be replaced.
      if (!(Files.isRegularFile(target) && hash(target).equals(hash))) {
        throw e;
      }
    }
  }

  /** What fills a file. */
  private interface Filling {
    void fill(Path part) throws IOException;
  }

  /** Fills a file beside {@code target} and moves it there. */
  private static void put(Path target, Filling filling) throws IOException {
    Path part = Files.createTempFile(target.getParent(), target.getFileName().toString(), ".part");
    try {
      filling.fill(part);
      Files.move(part, target, StandardCopyOption.ATOMIC_MOVE, StandardCopyOption.REPLACE_EXISTING);
    } finally {
      Files.deleteIfExists(part);
    }
  }

  private static String stamp(Path file, String hash) throws IOException {
    return hash + " " + Files.size(file) + " " + Files.getLastModifiedTime(file).toMillis();
  }

  /** A folder that only its owner can write to, since code is loaded from it. */
  private static void createPrivate(Path folder) throws IOException {
    if (FileSystems.getDefault().supportedFileAttributeViews().contains("posix")) {
      Files.createDirectories(
          folder,
          PosixFilePermissions.asFileAttribute(PosixFilePermissions.fromString("rwx------")));
    } else {
      Files.createDirectories(folder);
    }
  }

  static String hash(Path file) throws IOException {
    MessageDigest digest = sha256();
    try (InputStream in = new DigestInputStream(Files.newInputStream(file), digest)) {
      in.transferTo(java.io.OutputStream.nullOutputStream());
    }
    return HexFormat.of().formatHex(digest.digest());
  }

  static MessageDigest sha256() {
    try {
      return MessageDigest.getInstance("SHA-256");
    } catch (NoSuchAlgorithmException e) {
      throw new AssertionError("every JVM has SHA-256", e);
    }
  }
}
