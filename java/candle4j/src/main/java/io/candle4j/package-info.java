/**
 * Local language models in the process. {@link io.candle4j.CandleSession#generate(String)} is the
 * shortest program; {@link io.candle4j.CandleModel} loads models, {@link io.candle4j.CandleSession}
 * generates, {@link io.candle4j.GenerateOptions} says how.
 */
@NullMarked
package io.candle4j;

import org.jspecify.annotations.NullMarked;
