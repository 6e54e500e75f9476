package io.candle4j.internal;

import io.candle4j.bindings.c4j_buffer;
import io.candle4j.bindings.c4j_error;
import io.candle4j.bindings.candle4j_h;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.Objects;
import java.util.function.Consumer;
import java.util.function.Function;
import org.jspecify.annotations.Nullable;

/**
 * The arguments and results of one downcall, in memory that ends with it.
 *
 * <p>Used as {@code try (Call call = new Call()) { call.check(c4j_…(…, call.buffer(),
 * call.error())); return call.text(); }}.
 */
final class Call implements AutoCloseable {
  private final Arena arena = Arena.ofConfined();
  private final MemorySegment error = arena.allocate(ValueLayout.ADDRESS);
  private @Nullable MemorySegment buffer;

  /** Where the function writes its error. */
  MemorySegment error() {
    return error;
  }

  /** Where the function writes bytes. */
  MemorySegment buffer() {
    if (buffer == null) {
      buffer = c4j_buffer.allocate(arena);
      buffer.fill((byte) 0);
    }
    return buffer;
  }

  /** A place for a handle. */
  MemorySegment handlePlace() {
    return arena.allocate(ValueLayout.ADDRESS);
  }

  /**
   * Makes an object of the handle that a function wrote to {@code place}, and frees the handle when
   * that fails.
   */
  static <T> T own(
      MemorySegment place, Function<MemorySegment, T> make, Consumer<MemorySegment> free) {
    MemorySegment handle = place.get(ValueLayout.ADDRESS, 0);
    try {
      return make.apply(handle);
    } catch (Throwable t) {
      free.accept(handle);
      throw t;
    }
  }

  /** Bytes for the function to read. */
  MemorySegment bytes(byte[] bytes) {
    return arena.allocateFrom(ValueLayout.JAVA_BYTE, bytes);
  }

  /** Token ids for the function to read. */
  MemorySegment ids(int[] ids) {
    return arena.allocateFrom(ValueLayout.JAVA_INT, ids);
  }

  /**
   * Throws what a status other than success stands for.
   *
   * @param status what the function returned
   */
  void check(int status) {
    if (status == candle4j_h.C4J_OK()) {
      return;
    }
    MemorySegment pointer = error.get(ValueLayout.ADDRESS, 0);
    if (pointer.equals(MemorySegment.NULL)) {
      throw Errors.of(status, "status " + status, "{}");
    }
    MemorySegment struct = Memory.at(pointer, c4j_error.layout().byteSize());
    try {
      throw Errors.of(
          c4j_error.code(struct), text(c4j_error.message(struct)), text(c4j_error.detail(struct)));
    } finally {
      candle4j_h.c4j_error_free(pointer);
    }
  }

  /** The text that the function returned. */
  String text() {
    return text(filled());
  }

  /** The token ids that the function returned. */
  int[] ids() {
    MemorySegment filled = filled();
    return Memory.at(c4j_buffer.data(filled), c4j_buffer.len(filled))
        .toArray(ValueLayout.JAVA_INT_UNALIGNED);
  }

  /** The floating point numbers that the function returned. */
  float[] floats() {
    MemorySegment filled = filled();
    return Memory.at(c4j_buffer.data(filled), c4j_buffer.len(filled))
        .toArray(ValueLayout.JAVA_FLOAT_UNALIGNED);
  }

  private MemorySegment filled() {
    return Objects.requireNonNull(buffer, "a buffer was given to the function");
  }

  private static String text(MemorySegment buffer) {
    return Memory.text(c4j_buffer.data(buffer), c4j_buffer.len(buffer));
  }

  @Override
  public void close() {
    if (buffer != null) {
      candle4j_h.c4j_buffer_free(buffer);
    }
    arena.close();
  }
}
