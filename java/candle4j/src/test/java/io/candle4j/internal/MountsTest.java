package io.candle4j.internal;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNull;

import java.nio.file.Path;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.condition.DisabledOnOs;
import org.junit.jupiter.api.condition.OS;

@DisabledOnOs(value = OS.WINDOWS, disabledReason = "has no such table")
class MountsTest {
  private static final List<String> TABLE =
      List.of(
          "overlay / overlay rw,relatime 0 0",
          "tmpfs /tmp tmpfs rw,nosuid,noexec 0 0",
          "tmpfs /tmp/run tmpfs rw 0 0",
          "tmpfs /home/my\\040user tmpfs rw,noexec 0 0",
          "tmpfs /mnt tmpfs rw,noexec 0 0",
          "tmpfs /mnt tmpfs rw 0 0",
          "damaged");

  @Test
  void theDeepestFileSystemCounts() {
    assertEquals("/tmp", Mounts.noexec(Path.of("/tmp/a/lib.so"), TABLE));
    assertEquals("/home/my user", Mounts.noexec(Path.of("/home/my user/lib.so"), TABLE));
    assertNull(Mounts.noexec(Path.of("/tmp/run/lib.so"), TABLE));
    assertNull(Mounts.noexec(Path.of("/tmpfile/lib.so"), TABLE));
    assertNull(Mounts.noexec(Path.of("/usr/lib.so"), TABLE));
  }

  @Test
  void ofTwoAtOnePlaceTheLaterCounts() {
    assertNull(Mounts.noexec(Path.of("/mnt/lib.so"), TABLE));
  }
}
