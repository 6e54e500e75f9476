package io.candle4j.internal;

import io.candle4j.ProgressListener;
import java.lang.foreign.MemorySegment;
import java.nio.file.Path;
import java.util.concurrent.CancellationException;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.function.Consumer;
import java.util.function.Function;
import org.jspecify.annotations.Nullable;

/** Loading something from a folder or a file, which may take a while. */
final class WatchedLoad {
  /** A generated function that loads. */
  interface Load {
    int call(
        MemorySegment path,
        long pathLength,
        MemorySegment options,
        long optionsLength,
        MemorySegment progress,
        MemorySegment userData,
        MemorySegment out,
        MemorySegment error);
  }

  private WatchedLoad() {}

  /**
   * Loads on a thread of the library. An interrupt of this one ends it with its next report.
   *
   * @param source the folder or the file
   * @param options written as JSON
   * @param listener told how far it is, or null
   * @param load the function
   * @param free frees what it made
   * @param make makes an object of that
   * @return the object
   */
  static <T extends AutoCloseable> T run(
      Path source,
      Object options,
      @Nullable ProgressListener listener,
      Load load,
      Consumer<MemorySegment> free,
      Function<MemorySegment, T> make) {
    NativeRuntime.library();
    StackGuard.check();
    byte[] path = Utf8.encode("path", source.toAbsolutePath().toString());
    byte[] json = Json.write(options);
    AtomicBoolean abandoned = new AtomicBoolean();
    Consumer<String> reports =
        report -> {
          if (abandoned.get()) {
            throw BlockingCalls.interrupted();
          }
          if (listener != null) {
            listener.onProgress(Json.read(report, Results.LoadProgress.class).toProgress());
          }
        };
    try {
      return BlockingCalls.runOrAbandon(() -> run(path, json, reports, load, free, make));
    } catch (CancellationException e) {
      abandoned.set(true);
      throw e;
    }
  }

  private static <T> T run(
      byte[] path,
      byte[] options,
      Consumer<String> reports,
      Load load,
      Consumer<MemorySegment> free,
      Function<MemorySegment, T> make) {
    try (Call call = new Call();
        ProgressUpcall upcall = new ProgressUpcall(reports)) {
      MemorySegment place = call.handlePlace();
      int status =
          load.call(
              call.bytes(path),
              path.length,
              call.bytes(options),
              options.length,
              upcall.stub(),
              MemorySegment.NULL,
              place,
              call.error());
      upcall.rethrow();
      call.check(status);
      return Call.own(place, make, free);
    }
  }
}
