/**
 * LangChain4j's models on candle4j: chat, streaming chat, embeddings, scores and token counts, in
 * this process.
 *
 * <p>Each adapter uses a model that somebody else loaded and closes, so several share the weights.
 * All are safe for use by several threads, whose requests go through the model together.
 */
@NullMarked
package io.candle4j.langchain4j;

import org.jspecify.annotations.NullMarked;
