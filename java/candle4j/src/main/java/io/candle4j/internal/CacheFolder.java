package io.candle4j.internal;

import java.io.IOException;
import java.io.InputStream;
import java.io.UncheckedIOException;
import java.nio.channels.FileChannel;
import java.nio.file.Files;
import java.nio.file.InvalidPathException;
import java.nio.file.LinkOption;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.nio.file.StandardOpenOption;
import java.nio.file.attribute.FileTime;
import java.security.DigestInputStream;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.time.Duration;
import java.time.Instant;
import java.util.ArrayList;
import java.util.HexFormat;
import java.util.List;
import java.util.Locale;
import java.util.Objects;
import java.util.function.Predicate;
import java.util.function.Supplier;
import org.jspecify.annotations.Nullable;

/**
 * Files that come inside jars and must lie on disk to be used: the native library and the built-in
 * model.
 *
 * <p>Each lies in a per-user folder that carries its hash in its name, so versions do not meet. It
 * is written beside its place and moved there, so nobody ever sees a part of it; whether it is
 * still what it was is checked before it is used again, and it is never deleted at exit, since
 * other processes may use it. A version that nobody has used for 30 days is removed.
 */
final class CacheFolder {
  /** Where the folder lies; by default where the system keeps a user's caches. */
  static final String PROPERTY = "candle4j.cache";

  private static @Nullable Path privateFolder;

  private CacheFolder() {}

  /**
   * The folders to try in turn, as absolute paths: one where the user says which. The last may be
   * made when it is asked for.
   */
  private static List<Supplier<Path>> roots() {
    String override = System.getProperty(PROPERTY);
    if (override != null && !override.isBlank()) {
      return List.of(() -> Path.of(override).toAbsolutePath());
    }
    Path usual = usual();
    return usual == null
        ? List.of(CacheFolder::temporary)
        : List.of(usual::toAbsolutePath, CacheFolder::temporary);
  }

  /** For a home that is read-only, or a user who is unknown to the system. */
  private static Path temporary() {
    String user = System.getProperty("user.name").replaceAll("[^A-Za-z0-9._-]", "_");
    Path folder =
        Path.of(System.getProperty("java.io.tmpdir"), "candle4j-" + user).toAbsolutePath();
    return isSomebodyElses(folder) ? privateFolder() : folder;
  }

  /** Anybody may have made a folder in the temporary one. */
  private static boolean isSomebodyElses(Path folder) {
    return Files.exists(folder, LinkOption.NOFOLLOW_LINKS)
        && !CachePermissions.isTrusted(folder, folder);
  }

  /** A folder for this process alone, where there is no other. */
  private static synchronized Path privateFolder() {
    Path folder = privateFolder;
    if (folder == null) {
      try {
        folder = Files.createTempDirectory("candle4j-");
      } catch (IOException e) {
        throw new UncheckedIOException(e);
      }
      privateFolder = folder;
    }
    return folder;
  }

  /** Where the system keeps a user's caches; null for a user without a home. */
  private static @Nullable Path usual() {
    String system = System.getProperty("os.name").toLowerCase(Locale.ROOT);
    Path home = Path.of(System.getProperty("user.home"));
    if (system.startsWith("windows")) {
      String local = System.getenv("LOCALAPPDATA");
      return (local == null ? home.resolve("AppData").resolve("Local") : Path.of(local))
          .resolve("candle4j");
    }
    String xdg = System.getenv("XDG_CACHE_HOME");
    if (!system.startsWith("mac") && xdg != null && !xdg.isBlank()) {
      return Path.of(xdg).resolve("candle4j");
    }
    // A user without an entry has "?" for a home.
    if (!home.isAbsolute() || !Files.isDirectory(home)) {
      return null;
    }
    return system.startsWith("mac")
        ? home.resolve("Library").resolve("Caches").resolve("candle4j")
        : home.resolve(".cache").resolve("candle4j");
  }

  /**
   * Makes sure that a file lies in a folder of {@link #roots} and holds what {@code source} does,
   * whose SHA-256 is {@code hash}.
   *
   * @param kind of files, such as {@code native}
   * @param name of the file
   * @param usable whether a file can be used where it lies; if not, the next folder is tried
   * @return the file
   * @throws UncheckedIOException when it cannot be written to any; it names the property
   * @throws IllegalStateException when the source does not have the hash
   */
  static Path unpack(String kind, String name, Source source, String hash, Predicate<Path> usable) {
    List<String> failures = new ArrayList<>();
    Path last = null;
    for (Supplier<Path> candidate : roots()) {
      Path root = candidate.get();
      Path target = root.resolve(kind).resolve(hash.substring(0, 16)).resolve(name);
      try {
        ensure(target, root, source, hash);
      } catch (IOException | InvalidPathException e) {
        failures.add(root + " (" + e + ")");
        continue;
      }
      last = target;
      if (usable.test(target)) {
        return target;
      }
    }
    if (last != null) {
      // What is wrong with it shows when it is used.
      return last;
    }
    throw new UncheckedIOException(
        new IOException(
            "cannot write "
                + name
                + " to "
                + String.join(" or ", failures)
                + "; the system property "
                + PROPERTY
                + " names another folder"));
  }

  /** Something that can be opened again and again. */
  interface Source {
    InputStream open() throws IOException;
  }

  /**
   * Makes sure that {@code target} holds what {@code source} does, whose SHA-256 is {@code hash}.
   * Once that was seen to be so, size and time of the last change tell whether the file is still
   * the same: to hash a library of 30 MB would take longer than all else at the start of a JVM.
   * That counts only in a folder that nobody else can write to.
   *
   * @param root the cache folder
   * @throws IOException when it cannot be written
   * @throws IllegalStateException when the source does not have the hash
   */
  static void ensure(Path target, Path root, Source source, String hash) throws IOException {
    Path folder = Objects.requireNonNull(target.getParent(), "a file in a folder");
    Path stamp = target.resolveSibling(target.getFileName() + ".checked");
    boolean trusted = CachePermissions.isTrusted(folder, root);
    if (trusted
        && Files.isRegularFile(target, LinkOption.NOFOLLOW_LINKS)
        && Files.isRegularFile(stamp, LinkOption.NOFOLLOW_LINKS)
        && Files.readString(stamp).equals(stamp(target, hash))) {
      touch(stamp);
      return;
    }
    if (!(Files.isRegularFile(target) && hash(target).equals(hash))) {
      copy(source, target, root, hash);
    }
    String checked = stamp(target, hash);
    try {
      put(stamp, root, part -> Files.writeString(part, checked));
      if (CachePermissions.isTrusted(folder, root)) {
        CachePruning.prune(folder);
      }
    } catch (IOException e) {
      // In a folder that others filled, and that cannot be written, it is hashed each time.
    }
  }

  /** Notes that a version is used, so that it is not pruned. Once a day is enough. */
  private static void touch(Path stamp) {
    try {
      FileTime now = FileTime.from(Instant.now());
      FileTime before = Files.getLastModifiedTime(stamp);
      if (now.toMillis() - before.toMillis() > Duration.ofDays(1).toMillis()) {
        Files.setLastModifiedTime(stamp, now);
      }
    } catch (IOException e) {
      // It is in use all the same.
    }
  }

  private static void copy(Source source, Path target, Path root, String hash) throws IOException {
    CachePermissions.createFolders(
        Objects.requireNonNull(target.getParent(), "a file in a folder"), root);
    try {
      put(
          target,
          root,
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
  private static void put(Path target, Path root, Filling filling) throws IOException {
    Path part = Files.createTempFile(target.getParent(), target.getFileName().toString(), ".part");
    try {
      filling.fill(part);
      CachePermissions.letRead(part, root);
      Files.move(part, target, StandardCopyOption.ATOMIC_MOVE, StandardCopyOption.REPLACE_EXISTING);
    } finally {
      Files.deleteIfExists(part);
    }
  }

  private static String stamp(Path file, String hash) throws IOException {
    return hash + " " + Files.size(file) + " " + Files.getLastModifiedTime(file).toMillis();
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
