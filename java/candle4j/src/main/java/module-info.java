import org.jspecify.annotations.NullMarked;

/** Local language models in the process, of a dozen families, on the Rust Candle crate. */
@NullMarked
module io.candle4j {
  requires io.candle4j.bindings;
  requires jdk.jfr;
  requires static transitive org.jspecify;
  requires tools.jackson.databind;

  exports io.candle4j;
  exports io.candle4j.hub;

  // Records that cross the border as JSON.
  opens io.candle4j.hub to
      tools.jackson.databind;
  opens io.candle4j.internal to
      tools.jackson.databind;
}
