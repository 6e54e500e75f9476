package io.candle4j.server;

import io.candle4j.CandleEmbedder;
import io.candle4j.CandleModel;
import io.candle4j.CandleReranker;
import java.time.Duration;
import java.time.Instant;
import java.util.List;
import java.util.function.Function;
import java.util.stream.Stream;

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

  ServedModel(String name, Places places, Duration keepAlive, Function<CandleModel, Chats> chats) {
    this.name = name;
    this.places = places;
    this.chat = new Resident<>(() -> load(name, chats), keepAlive);
    this.embedder = new Resident<>(() -> CandleEmbedder.load(name), keepAlive);
    this.reranker = new Resident<>(() -> CandleReranker.load(name), keepAlive);
  }

  private static ChatResident load(String name, Function<CandleModel, Chats> chats) {
    CandleModel model = CandleModel.load(name);
    return new ChatResident(model, chats.apply(model));
  }

  String name() {
    return name;
  }

  /** When it began to be served. */
  Instant since() {
    return since;
  }

  /**
   * Uses the model in one of the three ways. While it is loaded the request waits outside the
   * places, so that other models are not held up.
   *
   * @param <T> the way
   * @param count how many places the request takes
   * @throws ClientLeftException when the client leaves meanwhile
   */
  <T extends AutoCloseable> Use<T> use(Resident<T> way, int count, ClientWatch watch) {
    Places.Place place = places.enter(count);
    try {
      Resident<T>.Lease lease = way.use(watch);
      try {
        place.take(watch);
        return new Use<>(lease, place);
      } catch (Throwable e) {
        lease.close();
        throw e;
      }
    } catch (Throwable e) {
      place.close();
      throw e;
    }
  }

  /** Uses it for a request whose texts may be read afterwards. */
  <T extends AutoCloseable> Use<T> use(Resident<T> way, int count, Exchange exchange) {
    Use<T> use = use(way, count, exchange.watch());
    try {
      exchange.awaitReading();
      return use;
    } catch (Throwable e) {
      use.close();
      throw e;
    }
  }

  /**
   * A model in use by a request that has its places, until it is closed.
   *
   * @param <T> the way
   */
  record Use<T extends AutoCloseable>(Resident<T>.Lease lease, Places.Place place)
      implements AutoCloseable {
    T model() {
      return lease.model();
    }

    @Override
    public void close() {
      lease.close();
      place.close();
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

  void close() {
    all().forEach(Resident::close);
  }

  private Stream<Resident<?>> all() {
    return List.<Resident<?>>of(chat, embedder, reranker).stream();
  }
}
