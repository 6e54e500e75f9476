package io.candle4j.internal;

import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.charset.StandardCharsets;

/** Native memory by pointer and length: the one place that trusts what the native side says. */
final class Memory {
  private Memory() {}

  /** The {@code length} bytes at {@code pointer}, which the native side promises are there. */
  @SuppressWarnings("restricted")
  static MemorySegment at(MemorySegment pointer, long length) {
    return pointer.reinterpret(length);
  }

  /** The UTF-8 text at the address {@code pointer}. */
  static String text(long pointer, long length) {
    return text(MemorySegment.ofAddress(pointer), length);
  }

  /** The UTF-8 text at {@code pointer}. */
  static String text(MemorySegment pointer, long length) {
    if (length == 0) {
      return "";
    }
    return new String(at(pointer, length).toArray(ValueLayout.JAVA_BYTE), StandardCharsets.UTF_8);
  }
}
