package io.candle4j.internal;

import io.candle4j.ModelMetrics;
import java.time.Duration;
import java.util.Collections;
import java.util.Map;
import java.util.WeakHashMap;
import jdk.jfr.FlightRecorder;
import jdk.jfr.FlightRecorderListener;

/**
 * What JDK Flight Recorder asks of all models once a second. Models are held weakly, and nothing is
 * asked of the recorder before somebody uses it.
 */
final class ModelEvents {
  /** The models, and what each had done the last time. */
  private static final Map<NativeModel, ModelMetrics> MODELS =
      Collections.synchronizedMap(new WeakHashMap<>());

  private static final Runnable HOOK = ModelEvents::emit;

  private static final FlightRecorderListener LISTENER =
      new FlightRecorderListener() {
        @Override
        public void recorderInitialized(FlightRecorder recorder) {
          FlightRecorder.addPeriodicEvent(Events.ModelStatistics.class, HOOK);
        }
      };

  private static boolean listening;

  private ModelEvents() {}

  /** Adds a model. */
  static synchronized void add(NativeModel model) {
    MODELS.put(model, model.metrics());
    if (!listening) {
      listening = true;
      if (FlightRecorder.isInitialized()) {
        FlightRecorder.addPeriodicEvent(Events.ModelStatistics.class, HOOK);
      } else {
        FlightRecorder.addListener(LISTENER);
      }
    }
  }

  /**
   * Takes a model out. With the last one the recorder forgets all, so that it holds no class
   * loader.
   */
  static synchronized void remove(NativeModel model) {
    MODELS.remove(model);
    if (listening && MODELS.isEmpty()) {
      listening = false;
      FlightRecorder.removeListener(LISTENER);
      if (FlightRecorder.isInitialized()) {
        FlightRecorder.removePeriodicEvent(HOOK);
      }
    }
  }

  private static void emit() {
    for (NativeModel model : Map.copyOf(MODELS).keySet()) {
      try {
        ModelMetrics now = model.metrics();
        ModelMetrics before = MODELS.replace(model, now);
        if (before != null) {
          emit(model.name(), before, now);
        }
      } catch (IllegalStateException closed) {
        remove(model);
      }
    }
  }

  private static void emit(String name, ModelMetrics before, ModelMetrics now) {
    Events.ModelStatistics statistics = new Events.ModelStatistics();
    statistics.model = name;
    statistics.requests = now.requests();
    statistics.failed = now.failed();
    statistics.rejected = now.rejected();
    statistics.active = now.active();
    statistics.waiting = now.waiting();
    statistics.promptTokens = now.promptTokens();
    statistics.cachedTokens = now.cachedTokens();
    statistics.generatedTokens = now.generatedTokens();
    statistics.kvCacheUsed = now.kvCacheUsed().orElse(0);
    statistics.commit();

    long passes = now.passes() - before.passes();
    if (passes > 0) {
      Events.BatchPass pass = new Events.BatchPass();
      pass.model = name;
      pass.passes = passes;
      pass.sequencesPerPass = (double) (now.passSequences() - before.passSequences()) / passes;
      pass.tokensPerPass = (double) (now.passTokens() - before.passTokens()) / passes;
      Duration took = now.passTime().minus(before.passTime());
      pass.timePerPass = took.toNanos() / passes;
      pass.commit();
    }
  }
}
