package io.candle4j.internal;

import io.candle4j.NativeLibraryException;
import java.io.IOException;
import java.io.InputStream;
import java.io.UncheckedIOException;
import java.net.URL;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;

/**
 * Finds the native library and loads it, in this order:
 *
 * <ol>
 *   <li>the file that the system property {@value #PROPERTY} names,
 *   <li>the platform jar on the class path or the module path, extracted to the cache folder.
 * </ol>
 *
 * When neither yields a library, the error lists everything that was tried.
 */
final class NativeLoader {
  /** Names a library file to load instead of that of the platform jar. */
  static final String PROPERTY = "candle4j.library";

  private NativeLoader() {}

  /**
   * Loads the library into this class's loader.
   *
   * @return the file that was loaded
   */
  static Path load() {
    List<String> tried = new ArrayList<>();
    Path file = find(Platform.current(), tried);
    try {
      System.load(file.toString());
    } catch (UnsatisfiedLinkError e) {
      throw new NativeLibraryException(
          "cannot load " + file + ": " + e.getMessage(), Map.of("file", file.toString()));
    }
    return file;
  }

  private static Path find(Platform platform, List<String> tried) {
    String override = System.getProperty(PROPERTY);
    if (override != null) {
      Path file = Path.of(override).toAbsolutePath();
      if (!Files.isRegularFile(file)) {
        throw new NativeLibraryException(
            "the system property " + PROPERTY + " names " + file + ", which is not a file",
            Map.of("file", file.toString()));
      }
      return file;
    }
    tried.add("system property " + PROPERTY + ": not set");
    String resource = "io/candle4j/native/" + platform.name() + "/" + platform.libraryFile();
    URL library = Resources.find(resource);
    URL hash = Resources.find(resource + ".sha256");
    if (library == null || hash == null) {
      tried.add("resource " + resource + ": not found");
      throw new NativeLibraryException(
          "no native library for "
              + platform.name()
              + "; tried "
              + String.join(", ", tried)
              + ". Add the dependency io.candle4j:candle4j-native with the classifier "
              + platform.name()
              + ", and on the module path --add-modules io.candle4j.platform",
          Map.of("platform", platform.name(), "resource", resource));
    }
    try {
      String expected = readText(hash);
      Path file =
          CacheFolder.root()
              .resolve("native")
              .resolve(expected.substring(0, 16))
              .resolve(platform.libraryFile());
      CacheFolder.ensure(file, library::openStream, expected);
      return file;
    } catch (IOException | UncheckedIOException | IllegalStateException e) {
      throw new NativeLibraryException(
          "cannot extract "
              + resource
              + " to "
              + CacheFolder.root()
              + " ("
              + e.getMessage()
              + "); the system property "
              + CacheFolder.PROPERTY
              + " names another folder",
          Map.of("resource", resource, "folder", CacheFolder.root().toString()));
    }
  }

  private static String readText(URL url) throws IOException {
    try (InputStream in = url.openStream()) {
      String text = new String(in.readAllBytes(), StandardCharsets.UTF_8).strip();
      if (!text.matches("[0-9a-f]{64}")) {
        throw new IOException(url + " does not hold a SHA-256");
      }
      return text;
    }
  }
}
