package io.candle4j.langchain4j;

import io.candle4j.CandleModel;
import java.nio.file.Path;

/** The models that tests share. */
final class TestModels {
  /** Loaded once; its process ends with the tests. */
  static final CandleModel SMOLLM2 = CandleModel.load("smollm2");

  private TestModels() {}

  /** The folder of a tiny encoder. */
  static Path encoder(String name) {
    return Path.of(System.getProperty("candle4j.test.models"))
        .resolveSibling("encoders")
        .resolve(name);
  }

  /** A tiny model of its own, which says nothing that makes sense. */
  static CandleModel tiny() {
    return CandleModel.builder()
        .path(Path.of(System.getProperty("candle4j.test.models")).resolve("llama-eos-list"))
        .load();
  }
}
