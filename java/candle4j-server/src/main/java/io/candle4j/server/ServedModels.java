package io.candle4j.server;

import io.candle4j.CandleModel;
import java.time.Duration;
import java.util.Collection;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.function.Function;
import org.jspecify.annotations.Nullable;

/** The models that are served, by their names. */
final class ServedModels implements AutoCloseable {
  private static final Duration PERIOD = Duration.ofMillis(500);

  private final Map<String, ServedModel> models = new LinkedHashMap<>();
  private final Thread unloading;

  ServedModels(
      List<String> names, Places places, Duration keepAlive, Function<CandleModel, Chats> chats) {
    for (String name : names) {
      models.putIfAbsent(name, new ServedModel(name, places, keepAlive, chats));
    }
    unloading = Thread.ofVirtual().name("candle4j-unloading").start(this::unloadIdle);
  }

  Collection<ServedModel> all() {
    return models.values();
  }

  Optional<ServedModel> find(String name) {
    return Optional.ofNullable(models.get(name));
  }

  /** The one of this name; of none, the first. */
  ServedModel get(@Nullable String name) {
    if (name == null) {
      return models.values().iterator().next();
    }
    return find(name).orElseThrow(() -> ApiException.noModel(name));
  }

  private void unloadIdle() {
    try {
      while (true) {
        Thread.sleep(PERIOD);
        all().forEach(ServedModel::unloadIdle);
      }
    } catch (InterruptedException e) {
      // Closed.
    }
  }

  @Override
  public void close() {
    unloading.interrupt();
    all().forEach(ServedModel::close);
  }
}
