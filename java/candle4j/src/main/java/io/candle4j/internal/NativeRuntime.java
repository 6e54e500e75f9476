package io.candle4j.internal;

import io.candle4j.NativeLibraryException;
import io.candle4j.bindings.candle4j_h;
import java.lang.System.Logger;
import java.lang.System.Logger.Level;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;

/** The native library, loaded at the first use of this class. */
public final class NativeRuntime {
  private static final Logger LOGGER = System.getLogger("io.candle4j");

  /** Exactly one of the two is set. */
  private sealed interface Outcome {
    record Loaded(Path library) implements Outcome {}

    record Failed(String message, Map<String, String> detail) implements Outcome {}
  }

  // What an initialiser throws is wrapped the first time and hidden the second, so it is kept.
  private static final Outcome OUTCOME = load();

  private NativeRuntime() {}

  private static Outcome load() {
    adviseNativeAccess();
    // The library tells Candle the number of threads by variables of its environment. The JVM
    // copies
    // its own when it is first asked for, and from now on programs that it starts do not see them.
    var unused = System.getenv();
    try {
      Path library = NativeLoader.load();
      int abi = candle4j_h.c4j_abi_version();
      if (abi != candle4j_h.C4J_ABI_VERSION()) {
        throw new NativeLibraryException(
            library + " has ABI " + abi + ", expected " + candle4j_h.C4J_ABI_VERSION(),
            Map.of("file", library.toString()));
      }
      return new Outcome.Loaded(library);
    } catch (NativeLibraryException e) {
      return new Outcome.Failed(String.valueOf(e.getMessage()), e.detail());
    }
  }

  /**
   * The library's file.
   *
   * @return its path
   * @throws NativeLibraryException when there is no library, every time
   */
  public static Path library() {
    return switch (OUTCOME) {
      case Outcome.Loaded loaded -> loaded.library();
      case Outcome.Failed failed ->
          throw new NativeLibraryException(failed.message(), failed.detail());
    };
  }

  /** What the library says of itself and of the machine. */
  public record Info(
      String version,
      String candle,
      String target,
      int threads,
      List<String> instructionSets,
      String defaultDevice,
      List<String> devices) {}

  /**
   * Asks the library.
   *
   * @return the answer
   */
  public static Info info() {
    library();
    try (Call call = new Call()) {
      call.check(candle4j_h.c4j_runtime_info(call.buffer(), call.error()));
      return Json.read(call.text(), Info.class);
    }
  }

  /**
   * Fixes the number of threads, before anything was computed.
   *
   * @param count at least 1
   */
  public static void setThreads(int count) {
    library();
    try (Call call = new Call()) {
      call.check(candle4j_h.c4j_runtime_set_threads(count, call.error()));
    }
  }

  /** The JDK warns, and later refuses, unless native access is allowed; this says how, once. */
  private static void adviseNativeAccess() {
    Module own = NativeRuntime.class.getModule();
    if (!own.isNativeAccessEnabled()) {
      String modules = own.isNamed() ? "io.candle4j,io.candle4j.bindings" : "ALL-UNNAMED";
      LOGGER.log(
          Level.INFO,
          "candle4j calls native code: start java with --enable-native-access={0}",
          modules);
    }
  }
}
