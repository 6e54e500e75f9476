package io.candle4j.internal;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.ByteArrayInputStream;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.FileTime;
import java.nio.file.attribute.PosixFilePermissions;
import java.time.Duration;
import java.time.Instant;
import java.util.HexFormat;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.condition.DisabledOnOs;
import org.junit.jupiter.api.condition.OS;
import org.junit.jupiter.api.io.TempDir;

/** Files that are unpacked: believed only where nobody else can write, shared, and pruned. */
@DisabledOnOs(value = OS.WINDOWS, disabledReason = "it has no modes of files")
class CacheFolderTest {
  private static final byte[] CONTENT = "library".getBytes(StandardCharsets.UTF_8);
  private static final String HASH = HexFormat.of().formatHex(CacheFolder.sha256().digest(CONTENT));

  @TempDir Path root;

  private Path target() {
    return root.resolve("native").resolve(HASH.substring(0, 16)).resolve("lib.so");
  }

  private void ensure() throws IOException {
    CacheFolder.ensure(target(), root, () -> new ByteArrayInputStream(CONTENT), HASH);
  }

  private static void chmod(Path path, String mode) throws IOException {
    Files.setPosixFilePermissions(path, PosixFilePermissions.fromString(mode));
  }

  /** Something of the same size and time, so that the stamp fits. */
  private void forge() throws IOException {
    FileTime time = Files.getLastModifiedTime(target());
    Files.writeString(target(), "LIBRARY");
    Files.setLastModifiedTime(target(), time);
  }

  @Test
  void h10AStampIsBelievedOnlyWhereNobodyElseCanWrite() throws IOException {
    chmod(root, "rwx------");
    ensure();
    forge();
    ensure();
    // Nobody else could have written that: it is the owner's business.
    assertEquals("LIBRARY", Files.readString(target()));
    for (Path open : new Path[] {root, root.resolve("native"), target().getParent()}) {
      chmod(open, "rwxrwxrwx");
      assertFalse(CachePermissions.isTrusted(target().getParent(), root));
      forge();
      ensure();
      assertEquals("library", Files.readString(target()), open.toString());
      chmod(open, "rwx------");
    }
  }

  @Test
  void h10ALinkIsNotFollowed() throws IOException {
    chmod(root, "rwx------");
    ensure();
    Path folder = target().getParent();
    Path elsewhere = Files.move(folder, root.resolve("elsewhere"));
    Files.createSymbolicLink(folder, elsewhere);
    assertFalse(CachePermissions.isTrusted(folder, root));
    forge();
    ensure();
    assertEquals("library", Files.readString(target()));
  }

  @Test
  void h10WhoMayReadTheFolderMayReadWhatIsInIt() throws IOException {
    chmod(root, "rwxr-xr-x");
    ensure();
    assertEquals(
        "rw-r--r--", PosixFilePermissions.toString(Files.getPosixFilePermissions(target())));
    assertEquals(
        "rwxr-xr-x",
        PosixFilePermissions.toString(Files.getPosixFilePermissions(target().getParent())));
    Path own = root.resolve("own");
    CacheFolder.ensure(
        own.resolve("native").resolve("x").resolve("lib.so"),
        own,
        () -> new ByteArrayInputStream(CONTENT),
        HASH);
    assertEquals("rwx------", PosixFilePermissions.toString(Files.getPosixFilePermissions(own)));
  }

  @Test
  void h12VersionsThatNobodyUsesArePruned() throws IOException {
    chmod(root, "rwx------");
    Path old = Files.createDirectories(root.resolve("native").resolve("0123456789abcdef"));
    Path recent = Files.createDirectories(root.resolve("native").resolve("fedcba9876543210"));
    Path other = Files.createDirectories(root.resolve("native").resolve("mine"));
    FileTime longAgo = FileTime.from(Instant.now().minus(Duration.ofDays(31)));
    for (Path folder : new Path[] {old, recent, other}) {
      Path file = Files.writeString(folder.resolve("lib.so"), "x");
      Files.setLastModifiedTime(file, longAgo);
    }
    Files.writeString(recent.resolve("lib.so.checked"), "used");
    ensure();
    assertFalse(Files.exists(old));
    assertTrue(Files.exists(recent.resolve("lib.so")));
    assertTrue(Files.exists(other.resolve("lib.so")));
    // Use is noted, at most once a day.
    Path stamp = target().resolveSibling("lib.so.checked");
    Files.setLastModifiedTime(stamp, longAgo);
    ensure();
    assertNotEquals(longAgo, Files.getLastModifiedTime(stamp));
  }
}
