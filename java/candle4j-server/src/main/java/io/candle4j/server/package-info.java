/**
 * Models over HTTP: OpenAI's API and Ollama's, a page to chat, health and metrics.
 *
 * <p>{@link io.candle4j.server.CandleServer} is all that programs need. Arrows go down: routes
 * ({@code OpenAiApi}, {@code OllamaApi}) know the handlers of endpoints, those know how requests
 * are read and answers written, and what runs ({@code ServedModel}, {@code Generator}).
 */
@NullMarked
package io.candle4j.server;

import org.jspecify.annotations.NullMarked;
