/**
 * Spring AI's models on candle4j. {@link io.candle4j.springai.CandleChatModel} and {@link
 * io.candle4j.springai.CandleEmbeddingModel} are Spring AI's interfaces over models in this
 * process; {@code autoconfigure} makes beans of them from properties.
 */
@NullMarked
package io.candle4j.springai;

import org.jspecify.annotations.NullMarked;
