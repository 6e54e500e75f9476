package io.candle4j.internal;

import io.candle4j.GenerateOptions;
import io.candle4j.NativeLibraryException;
import io.candle4j.bindings.candle4j_h;
import java.lang.System.Logger.Level;
import java.nio.file.Path;
import java.util.List;
import org.jspecify.annotations.Nullable;

/** The native library, loaded when it is first asked for and never unloaded. */
public final class NativeRuntime {
  /**
   * The loaded library's file; null until loading succeeds, so that a failed attempt can be
   * repeated.
   */
  private static @Nullable Path loaded;

  private NativeRuntime() {}

  /**
   * Loads the library unless that was done.
   *
   * @return its file
   * @throws NativeLibraryException if it cannot be loaded; a later call tries again
   */
  public static synchronized Path library() {
    Path library = loaded;
    if (library == null) {
      // Wherever on its stack the caller is, there must be room for all that this initialises.
      library = Threads.call("candle4j-load", NativeRuntime::load);
      loaded = library;
    }
    return library;
  }

  private static Path load() {
    adviseNativeAccess();
    Path library = NativeLoader.load();
    // Every later call begins with this one, and callers use these before.
    StackGuard.check();
    GenerateOptions.defaults();
    return library;
  }

  /** What the library says of itself and of the machine. */
  public record Info(
      String version,
      String candle,
      String target,
      int threads,
      List<String> instructionSets,
      String instructions,
      String defaultDevice,
      List<String> devices) {}

  /**
   * Asks the library.
   *
   * @return the answer
   */
  public static Info info() {
    library();
    StackGuard.check();
    try (Call call = new Call()) {
      call.check(candle4j_h.c4j_runtime_info(call.buffer(), call.error()));
      return Json.read(call.text(), Info.class);
    }
  }

  /**
   * Changes the number of threads.
   *
   * @param count at least 1
   */
  public static void setThreads(int count) {
    if (count < 1) {
      throw new IllegalArgumentException("threads: expected 1 to 1024, got " + count);
    }
    library();
    StackGuard.check();
    try (Call call = new Call()) {
      call.check(candle4j_h.c4j_runtime_set_threads(count, call.error()));
    }
  }

  /** The JDK warns, and later refuses, unless native access is allowed; this says how, once. */
  private static void adviseNativeAccess() {
    Module own = NativeRuntime.class.getModule();
    if (!own.isNativeAccessEnabled()) {
      String modules = own.isNamed() ? "io.candle4j,io.candle4j.bindings" : "ALL-UNNAMED";
      System.getLogger("io.candle4j")
          .log(
              Level.INFO,
              "candle4j calls native code: start java with --enable-native-access={0}",
              modules);
    }
  }
}
