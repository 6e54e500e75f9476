package io.candle4j.server;

import io.candle4j.CandleEmbedder;
import io.candle4j.CandleModel;
import io.candle4j.CandleReranker;
import java.time.Duration;
import java.time.Instant;
import java.util.List;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;

/**
 * One model that is served. What is asked of it decides how it is loaded: to generate, for
 * embeddings or for scores.
 */
final class ServedModel {
  private final String name;
  private final Instant since = Instant.now();
  private final Places places;
  private final Resident<ChatResident> chat;
  private final Resident<CandleEmbedder> embedder;
  private final Resident<CandleReranker> reranker;

  ServedModel(String name, Places places, Duration keepAlive) {
    this.name = name;
    this.places = places;
    this.chat = new Resident<>(() -> ChatResident.of(CandleModel.load(name)), keepAlive);
    this.embedder = new Resident<>(() -> CandleEmbedder.load(name), keepAlive);
    this.reranker = new Resident<>(() -> CandleReranker.load(name), keepAlive);
  }

  String name() {
    return name;
  }

  /** When it began to be served. */
  Instant since() {
    return since;
  }

  /**
   * Uses the model in one of the three ways, for a client that may leave while it waits.
   *
   * @param <T> the way
   * @param count how many places the request takes
   */
  <T extends AutoCloseable> Resident.Lease<T> use(Resident<T> way, int count, ClientWatch watch) {
    // One that is refused loads nothing.
    Places.Place place = places.take(count, watch);
    try {
      return way.use(place);
    } catch (Throwable e) {
      place.close();
      throw e;
    }
  }

  Resident<ChatResident> chat() {
    return chat;
  }

  Resident<CandleEmbedder> embedder() {
    return embedder;
  }

  Resident<CandleReranker> reranker() {
    return reranker;
  }

  /** Whether it is in memory, in any way. */
  boolean isLoaded() {
    return all().anyMatch(resident -> resident.loaded().isPresent());
  }

  void unloadIdle() {
    all().forEach(Resident::unloadIdle);
  }

  void keepAlive(@Nullable Duration time) {
    all().forEach(resident -> resident.keepAlive(time));
  }

  void close() {
    all().forEach(Resident::close);
  }

  private Stream<Resident<?>> all() {
    return List.<Resident<?>>of(chat, embedder, reranker).stream();
  }
}
