package io.candle4j;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Set;
import java.util.concurrent.CancellationException;
import java.util.stream.Collectors;
import jdk.jfr.Recording;
import jdk.jfr.consumer.RecordedEvent;
import jdk.jfr.consumer.RecordingFile;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** What can be seen of a model from outside. */
class ObservingTest {
  private static final String NAME = "llama-plain";

  @TempDir Path folder;

  @Test
  void countsGrowWithWhatIsDone() {
    try (CandleModel model = Golden.load(NAME);
        CandleSession session = model.newSession()) {
      ModelMetrics none = model.metrics();
      assertEquals(0, none.requests());
      assertEquals(0, none.cacheHitRate());
      Request request = Golden.raw("Who keeps the lantern?", Golden.greedy(8));
      Generation first = session.generate(request);
      Generation second = session.generate(request);
      ModelMetrics metrics = model.metrics();
      assertEquals(2, metrics.requests());
      assertEquals(first.promptTokens() + second.promptTokens(), metrics.promptTokens());
      assertEquals(second.cachedTokens(), metrics.cachedTokens());
      assertTrue(metrics.cacheHitRate() > 0.3);
      assertEquals(16, metrics.generatedTokens());
      assertEquals(0, metrics.active());
      assertEquals(0, metrics.waiting());
      assertTrue(metrics.decodeTokensPerSecond() > 0);
      assertTrue(metrics.prefillTokensPerSecond() > 0);
      assertTrue(metrics.passes() >= 16 && metrics.passSequences() >= metrics.passes());
      assertTrue(metrics.passTime().compareTo(Duration.ZERO) > 0);
      assertTrue(metrics.kvCacheUsed().orElseThrow() > 0);

      assertThrows(ContextFullException.class, () -> session.generate(tooLong(model)));
      assertEquals(1, model.metrics().failed());
      List<BatchResult> all = model.generateAll(List.of(request, request, request));
      assertEquals(3, all.size());
      assertEquals(5, model.metrics().requests());
    }
  }

  private static Request tooLong(CandleModel model) {
    int[] tokens = new int[model.info().contextLength() + 1];
    java.util.Arrays.fill(tokens, 1);
    return Golden.request(tokens, Golden.greedy(1));
  }

  @Test
  void refusalsAndWaitingAreCounted() throws Exception {
    try (CandleModel model = CandleModel.builder().path(Golden.folder(NAME)).maxRequests(1).load();
        CandleSession one = model.newSession();
        CandleSession other = model.newSession()) {
      Request request = Golden.raw("Who keeps the lantern?", Golden.greedy(20));
      List<Integer> active = new ArrayList<>();
      var unused =
          one.generate(
              request,
              token -> {
                if (active.isEmpty()) {
                  active.add(model.metrics().active());
                  assertThrows(QueueFullException.class, () -> other.generate(request));
                }
              });
      assertEquals(List.of(1), active);
      assertEquals(1, model.metrics().rejected());
    }
  }

  @Test
  void loadingTellsHowFarItIsAndIsStopped() {
    List<Progress> told = new ArrayList<>();
    try (CandleModel model =
        CandleModel.builder().source(CandleModel.BUILT_IN).progress(told::add).load()) {
      List<Progress> loading = told.stream().filter(p -> p.phase() == Progress.Phase.LOAD).toList();
      assertTrue(loading.size() >= 2, told.toString());
      assertEquals(loading.getLast().total().orElseThrow(), loading.getLast().bytes());
      for (int i = 1; i < loading.size(); i++) {
        assertTrue(loading.get(i).bytes() >= loading.get(i - 1).bytes());
      }
      assertTrue(model.info().parameters() > 0);
    }
    CancellationException enough = new CancellationException("enough");
    CandleModel.Builder builder =
        CandleModel.builder()
            .source(CandleModel.BUILT_IN)
            .progress(p -> {
              throw enough;
            });
    assertEquals(enough, assertThrows(CancellationException.class, builder::load));
  }

  @Test
  void flightRecorderSeesWhatHappens() throws IOException {
    Path file = folder.resolve("candle.jfr");
    try (Recording recording = new Recording()) {
      for (String event :
          List.of("ModelLoad", "Prefill", "Decode", "QueueWait", "ModelStatistics", "BatchPass")) {
        recording.enable("io.candle4j." + event).withPeriod(Duration.ofMillis(20));
      }
      recording.start();
      try (CandleModel model = Golden.load(NAME);
          CandleSession session = model.newSession()) {
        Request request = Golden.raw("Who keeps the lantern?", Golden.greedy(8));
        long end = System.nanoTime() + Duration.ofMillis(2500).toNanos();
        while (System.nanoTime() < end) {
          assertEquals(8, session.generate(request).completionTokens());
        }
      }
      recording.stop();
      recording.dump(file);
    }
    List<RecordedEvent> events = RecordingFile.readAllEvents(file);
    Set<String> names =
        events.stream().map(event -> event.getEventType().getName()).collect(Collectors.toSet());
    assertTrue(
        names.containsAll(
            Set.of(
                "io.candle4j.ModelLoad",
                "io.candle4j.Prefill",
                "io.candle4j.Decode",
                "io.candle4j.QueueWait",
                "io.candle4j.ModelStatistics",
                "io.candle4j.BatchPass")),
        names.toString());
    RecordedEvent load = first(events, "io.candle4j.ModelLoad");
    assertTrue(load.getString("path").endsWith(NAME));
    assertTrue(load.getDuration().toNanos() > 0);
    RecordedEvent decode = first(events, "io.candle4j.Decode");
    assertEquals(8, decode.getInt("tokens"));
    assertEquals("LENGTH", decode.getString("finishReason"));
    assertTrue(first(events, "io.candle4j.Prefill").getInt("promptTokens") > 0);
    assertTrue(first(events, "io.candle4j.BatchPass").getDouble("tokensPerPass") >= 1);
  }

  private static RecordedEvent first(List<RecordedEvent> events, String name) {
    return events.stream()
        .filter(event -> event.getEventType().getName().equals(name))
        .findFirst()
        .orElseThrow();
  }
}
