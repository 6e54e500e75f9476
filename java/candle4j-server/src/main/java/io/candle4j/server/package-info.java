/**
 * Models over HTTP: OpenAI's API and Ollama's, a page to chat, health and metrics.
 *
 * <p>{@link io.candle4j.server.CandleServer} is all that programs need. Arrows go down: {@code
 * Routes} says which path leads where; endpoints ({@code ChatCompletions}, {@code OllamaGenerate})
 * know how requests are read ({@code GenerateFields}, {@code OllamaFields}) and answers written;
 * they run on {@code Generator}, {@code ServedModel} and {@code Places}; {@code Exchange}, {@code
 * ClientWatch} and {@code WatchedConnection} are one request and its client.
 */
@NullMarked
package io.candle4j.server;

import org.jspecify.annotations.NullMarked;
