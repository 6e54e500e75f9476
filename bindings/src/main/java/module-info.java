/** What jextract makes of candle4j.h. Not an API: it changes with the native library. */
@SuppressWarnings("module") // the library is compiled after this
module io.candle4j.bindings {
  exports io.candle4j.bindings to
      io.candle4j;
}
