package io.candle4j.internal;

import static io.candle4j.bindings.candle4j_h.*;

import io.candle4j.bindings.candle4j_h;
import java.lang.foreign.MemorySegment;
import java.nio.file.Path;

/** A tokenizer behind the border. Any thread may use it. */
public final class NativeTokenizer implements AutoCloseable {
  /** Bytes of a text that is encoded sooner than another thread begins. */
  private static final int SHORT = 1024;

  private final NativeHandle handle;

  NativeTokenizer(MemorySegment pointer) {
    handle = new NativeHandle("tokenizer", pointer, candle4j_h::c4j_tokenizer_free);
  }

  /**
   * Reads a {@code tokenizer.json}.
   *
   * @param file the file
   * @return the tokenizer
   */
  public static NativeTokenizer load(Path file) {
    NativeRuntime.library();
    StackGuard.check();
    byte[] path = Utf8.encode("file", file.toAbsolutePath().toString());
    return BlockingCalls.runOrAbandon(() -> load(path));
  }

  private static NativeTokenizer load(byte[] path) {
    try (Call call = new Call()) {
      MemorySegment place = call.handlePlace();
      call.check(c4j_tokenizer_load(call.bytes(path), path.length, place, call.error()));
      return Call.own(place, NativeTokenizer::new, candle4j_h::c4j_tokenizer_free);
    }
  }

  /**
   * Encodes.
   *
   * @param text the text
   * @param addSpecial whether to add the tokens around every text
   * @return ids
   */
  public int[] encode(String text, boolean addSpecial) {
    StackGuard.check();
    byte[] bytes = Utf8.encode("text", text);
    if (bytes.length <= SHORT) {
      return encode(bytes, addSpecial);
    }
    return BlockingCalls.run(() -> encode(bytes, addSpecial));
  }

  private int[] encode(byte[] bytes, boolean addSpecial) {
    return handle.call(tokenizer -> {
      try (Call call = new Call()) {
        call.check(
            c4j_tokenizer_encode(
                tokenizer,
                call.bytes(bytes),
                bytes.length,
                addSpecial ? 1 : 0,
                call.buffer(),
                call.error()));
        return call.ids();
      }
    });
  }

  /**
   * Decodes.
   *
   * @param ids the ids
   * @param skipSpecial whether special tokens leave no text
   * @return the text
   */
  public String decode(int[] ids, boolean skipSpecial) {
    StackGuard.check();
    return handle.call(tokenizer -> {
      try (Call call = new Call()) {
        call.check(
            c4j_tokenizer_decode(
                tokenizer,
                call.ids(ids),
                ids.length,
                skipSpecial ? 1 : 0,
                call.buffer(),
                call.error()));
        return call.text();
      }
    });
  }

  @Override
  public void close() {
    handle.close();
  }
}
