package io.candle4j.internal;

import io.candle4j.NativeLibraryException;
import io.candle4j.bindings.LoadedLibrary;
import io.candle4j.bindings.candle4j_h;
import java.io.IOException;
import java.io.InputStream;
import java.io.UncheckedIOException;
import java.lang.foreign.Arena;
import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.Linker;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.SymbolLookup;
import java.lang.foreign.ValueLayout;
import java.lang.invoke.MethodHandle;
import java.net.URL;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;

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
   * Loads the library and gives its symbols to the bindings.
   *
   * @return the file that was loaded
   * @throws NativeLibraryException if there is no library for this platform, or it cannot be loaded
   *     or has another ABI
   */
  @SuppressWarnings("restricted")
  static Path load() {
    List<String> tried = new ArrayList<>();
    Path file = find(Platform.current(), tried);
    SymbolLookup symbols;
    int abi;
    try {
      // By path, since System.load refuses a library that another class loader has loaded. In the
      // global arena, since threads of the library may outlive any other.
      symbols = SymbolLookup.libraryLookup(file, Arena.global());
      abi = abiVersion(symbols, file);
    } catch (IllegalArgumentException | IllegalCallerException e) {
      throw failure("cannot load " + file + ": " + e.getMessage() + hint(file), file, e);
    }
    if (abi != candle4j_h.C4J_ABI_VERSION()) {
      throw failure(
          file + " has ABI " + abi + ", expected " + candle4j_h.C4J_ABI_VERSION(), file, null);
    }
    checkFunctions(symbols, file);
    LoadedLibrary.use(symbols);
    StackGuard.libraryIsLoaded();
    return file;
  }

  /**
   * The generated class looks up each function in a class of its own, which is lost for good when
   * that fails.
   */
  private static void checkFunctions(SymbolLookup symbols, Path file) {
    for (Class<?> function : candle4j_h.class.getDeclaredClasses()) {
      String name = function.getSimpleName();
      if (name.startsWith("c4j_") && symbols.find(name).isEmpty()) {
        throw failure(file + " lacks the function " + name, file, null);
      }
    }
  }

  /** Not by the generated class, which would keep the function of a library that is refused. */
  @SuppressWarnings("restricted")
  private static int abiVersion(SymbolLookup symbols, Path file) {
    MemorySegment function =
        symbols
            .find("c4j_abi_version")
            .orElseThrow(() -> failure(file + " is not a library of candle4j", file, null));
    MethodHandle version =
        Linker.nativeLinker().downcallHandle(function, FunctionDescriptor.of(ValueLayout.JAVA_INT));
    try {
      return (int) version.invokeExact();
    } catch (Throwable t) {
      throw failure("cannot call " + file + ": " + t.getMessage(), file, t);
    }
  }

  private static NativeLibraryException failure(
      String message, Path file, @Nullable Throwable cause) {
    return new NativeLibraryException(message, Map.of("file", file.toString()), cause);
  }

  /** What may be wrong with a file that is there and cannot be loaded. */
  private static String hint(Path file) {
    String mount = Mounts.noexec(file);
    return mount == null
        ? ""
        : "; the file system "
            + mount
            + " is mounted noexec, so no library can be loaded from it: the system property "
            + CacheFolder.PROPERTY
            + " names another folder";
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
      return CacheFolder.unpack(
          "native",
          platform.libraryFile(),
          library::openStream,
          expected,
          file -> Mounts.noexec(file) == null);
    } catch (IOException | UncheckedIOException | IllegalStateException e) {
      throw new NativeLibraryException(
          "cannot extract " + resource + ": " + e.getMessage(), Map.of("resource", resource), e);
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
