package io.candle4j.internal;

import java.lang.foreign.MemorySegment;
import java.util.concurrent.CancellationException;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.function.Consumer;

/**
 * Downcalls that take bytes, report progress and give a text. One ends with its next report when
 * the thread that waits for it is interrupted, or its handle is closed.
 */
final class ReportedCall {
  /** A generated function of that shape. */
  interface Function {
    int call(
        MemorySegment handle,
        MemorySegment request,
        long length,
        MemorySegment progress,
        MemorySegment userData,
        MemorySegment out,
        MemorySegment error);
  }

  private ReportedCall() {}

  /**
   * Runs a call.
   *
   * @param handle what on
   * @param function the function
   * @param request what for
   * @param listener gets each report as JSON
   * @return what the function wrote
   */
  static String run(
      NativeHandle handle, Function function, byte[] request, Consumer<String> listener) {
    AtomicBoolean interrupted = new AtomicBoolean();
    Consumer<String> reports =
        json -> {
          if (handle.isClosed()) {
            throw new CancellationException("the " + handle.name() + " was closed");
          }
          if (interrupted.get()) {
            throw BlockingCalls.interrupted();
          }
          listener.accept(json);
        };
    return BlockingCalls.run(
        () -> handle.call(pointer -> run(pointer, function, request, reports)),
        () -> interrupted.set(true));
  }

  private static String run(
      MemorySegment pointer, Function function, byte[] request, Consumer<String> reports) {
    try (Call call = new Call();
        ProgressUpcall upcall = new ProgressUpcall(reports)) {
      int status =
          function.call(
              pointer,
              call.bytes(request),
              request.length,
              upcall.stub(),
              MemorySegment.NULL,
              call.buffer(),
              call.error());
      upcall.rethrow();
      call.check(status);
      return call.text();
    }
  }
}
