package io.candle4j.internal;

import java.io.IOException;
import java.nio.file.FileSystems;
import java.nio.file.Files;
import java.nio.file.LinkOption;
import java.nio.file.Path;
import java.nio.file.attribute.PosixFileAttributes;
import java.nio.file.attribute.PosixFilePermission;
import java.nio.file.attribute.PosixFilePermissions;
import java.nio.file.attribute.UserPrincipal;
import java.util.EnumSet;
import java.util.Set;
import org.jspecify.annotations.Nullable;

/** Who may read and write the cache folder. Code is loaded from it, so that matters. */
final class CachePermissions {
  private static final boolean POSIX =
      FileSystems.getDefault().supportedFileAttributeViews().contains("posix");

  private static final Set<PosixFilePermission> OF_OTHERS =
      EnumSet.of(PosixFilePermission.GROUP_WRITE, PosixFilePermission.OTHERS_WRITE);

  private static @Nullable UserPrincipal ownUser;

  private CachePermissions() {}

  /**
   * Whether nobody else can have changed what lies in a folder: it and those above it up to {@code
   * root} are folders and no links, belong to this user or to root, and others cannot write to
   * them.
   */
  static boolean isTrusted(Path folder, Path root) {
    if (!POSIX) {
      // Folders of a user are his own on Windows.
      return true;
    }
    try {
      UserPrincipal own = ownUser();
      for (Path path = folder; path != null && path.startsWith(root); path = path.getParent()) {
        PosixFileAttributes attributes =
            Files.readAttributes(path, PosixFileAttributes.class, LinkOption.NOFOLLOW_LINKS);
        boolean safe =
            attributes.isDirectory()
                && (attributes.owner().equals(own) || isRoot(path))
                && attributes.permissions().stream().noneMatch(OF_OTHERS::contains);
        if (!safe) {
          return false;
        }
      }
      return true;
    } catch (IOException | UnsupportedOperationException e) {
      return false;
    }
  }

  private static boolean isRoot(Path path) throws IOException {
    return Integer.valueOf(0)
        .equals(Files.getAttribute(path, "unix:uid", LinkOption.NOFOLLOW_LINKS));
  }

  /** The owner of what this process makes; a user name need not be known. Asked for once. */
  private static synchronized UserPrincipal ownUser() throws IOException {
    UserPrincipal owner = ownUser;
    if (owner == null) {
      Path probe = Files.createTempFile("candle4j", ".owner");
      try {
        owner = Files.getOwner(probe);
      } finally {
        Files.delete(probe);
      }
      ownUser = owner;
    }
    return owner;
  }

  /**
   * Makes a folder below {@code root}, which others may read if they may read that. A root that is
   * made too is private.
   */
  static void createFolders(Path folder, Path root) throws IOException {
    if (!POSIX) {
      Files.createDirectories(folder);
      return;
    }
    Files.createDirectories(
        root, PosixFilePermissions.asFileAttribute(PosixFilePermissions.fromString("rwx------")));
    Path path = root;
    for (Path name : root.relativize(folder)) {
      path = path.resolve(name);
      if (!Files.isDirectory(path)) {
        Set<PosixFilePermission> readers = readers(root, true);
        Files.createDirectories(path, PosixFilePermissions.asFileAttribute(readers));
        // The process's mask may have taken some of them.
        Files.setPosixFilePermissions(path, readers);
      }
    }
  }

  /** Lets those read a file who may read {@code root}. */
  static void letRead(Path file, Path root) throws IOException {
    if (POSIX) {
      Files.setPosixFilePermissions(file, readers(root, false));
    }
  }

  private static Set<PosixFilePermission> readers(Path root, boolean folder) throws IOException {
    Set<PosixFilePermission> allowed = Files.getPosixFilePermissions(root);
    Set<PosixFilePermission> permissions =
        EnumSet.of(PosixFilePermission.OWNER_READ, PosixFilePermission.OWNER_WRITE);
    if (allowed.contains(PosixFilePermission.GROUP_READ)) {
      permissions.add(PosixFilePermission.GROUP_READ);
    }
    if (allowed.contains(PosixFilePermission.OTHERS_READ)) {
      permissions.add(PosixFilePermission.OTHERS_READ);
    }
    if (folder) {
      permissions.add(PosixFilePermission.OWNER_EXECUTE);
      if (permissions.contains(PosixFilePermission.GROUP_READ)) {
        permissions.add(PosixFilePermission.GROUP_EXECUTE);
      }
      if (permissions.contains(PosixFilePermission.OTHERS_READ)) {
        permissions.add(PosixFilePermission.OTHERS_EXECUTE);
      }
    }
    return permissions;
  }
}
