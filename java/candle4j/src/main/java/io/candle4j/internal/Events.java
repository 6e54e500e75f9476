package io.candle4j.internal;

import io.candle4j.Generation;
import io.candle4j.ModelInfo;
import java.nio.file.Path;
import jdk.jfr.Category;
import jdk.jfr.DataAmount;
import jdk.jfr.Description;
import jdk.jfr.Event;
import jdk.jfr.Label;
import jdk.jfr.Name;
import jdk.jfr.Period;
import jdk.jfr.StackTrace;
import jdk.jfr.Timespan;
import org.jspecify.annotations.Nullable;

/** The events for JDK Flight Recorder. They cost nothing where none is recording. */
final class Events {
  private Events() {}

  @Name("io.candle4j.ModelLoad")
  @Label("Model Load")
  @Description("A model was read into memory")
  @Category("candle4j")
  @StackTrace(false)
  static final class ModelLoad extends Event {
    @Label("Path")
    @Nullable String path;

    @Label("Architecture")
    @Nullable String architecture;

    @Label("Engine")
    @Nullable String engine;

    @Label("Device")
    @Nullable String device;

    @Label("Precision")
    @Nullable String precision;

    @Label("Parameters")
    long parameters;

    void end(Path source, ModelInfo info) {
      end();
      if (shouldCommit()) {
        path = source.toString();
        architecture = info.architecture();
        engine = info.engine().name();
        device = info.device().name();
        precision = info.precision();
        parameters = info.parameters();
        commit();
      }
    }
  }

  @Name("io.candle4j.QueueWait")
  @Label("Queue Wait")
  @Description("A request waited for a place among the requests of its model")
  @Category("candle4j")
  @StackTrace(false)
  static final class QueueWait extends Event {
    @Label("Waited")
    @Timespan
    long waited;
  }

  @Name("io.candle4j.Prefill")
  @Label("Prefill")
  @Description("A prompt was computed, from the call to the first new token")
  @Category("candle4j")
  @StackTrace(false)
  static final class Prefill extends Event {
    @Label("Prompt Tokens")
    int promptTokens;

    @Label("Cached Tokens")
    int cachedTokens;

    @Label("Tokens per Second")
    double tokensPerSecond;
  }

  @Name("io.candle4j.Decode")
  @Label("Decode")
  @Description("An answer was generated, from its first token on")
  @Category("candle4j")
  @StackTrace(false)
  static final class Decode extends Event {
    @Label("Tokens")
    int tokens;

    @Label("Tokens per Second")
    double tokensPerSecond;

    @Label("Tool Calls")
    int toolCalls;

    @Label("Finish Reason")
    @Nullable String finishReason;
  }

  @Name("io.candle4j.BatchPass")
  @Label("Batch Passes")
  @Description("The forward passes of a model since the last of these events")
  @Category("candle4j")
  @StackTrace(false)
  @Period("1 s")
  static final class BatchPass extends Event {
    @Label("Model")
    @Nullable String model;

    @Label("Passes")
    long passes;

    @Label("Sequences per Pass")
    double sequencesPerPass;

    @Label("Tokens per Pass")
    double tokensPerPass;

    @Label("Time per Pass")
    @Timespan
    long timePerPass;
  }

  @Name("io.candle4j.ModelStatistics")
  @Label("Model Statistics")
  @Description("What a model has done since it was loaded")
  @Category("candle4j")
  @StackTrace(false)
  @Period("1 s")
  static final class ModelStatistics extends Event {
    @Label("Model")
    @Nullable String model;

    @Label("Requests")
    long requests;

    @Label("Failed Requests")
    long failed;

    @Label("Rejected Requests")
    long rejected;

    @Label("Active Requests")
    int active;

    @Label("Waiting Requests")
    int waiting;

    @Label("Prompt Tokens")
    long promptTokens;

    @Label("Cached Tokens")
    long cachedTokens;

    @Label("Generated Tokens")
    long generatedTokens;

    @Label("Keys and Values")
    @DataAmount
    long kvCacheUsed;
  }

  @Name("io.candle4j.HubFetch")
  @Label("Hub Fetch")
  @Description("A model was fetched from the Hub, or found in its cache")
  @Category("candle4j")
  @StackTrace(false)
  static final class HubFetch extends Event {
    @Label("Id")
    @Nullable String id;

    @Label("Commit")
    @Nullable String commit;

    @Label("Files")
    int files;

    @Label("Bytes Received")
    @DataAmount
    long received;

    @Label("Error")
    @Nullable String error;
  }

  /** The events of one generation. */
  static final class OfGeneration {
    private final Prefill prefill = new Prefill();
    private final Decode decode = new Decode();
    private boolean began;

    OfGeneration() {
      prefill.begin();
    }

    /** Called with each token. */
    void onToken() {
      if (!began) {
        began = true;
        prefill.end();
        decode.begin();
      }
    }

    void end(Generation generation, long waitedNanos) {
      if (!began) {
        prefill.end();
      }
      if (prefill.shouldCommit()) {
        prefill.promptTokens = generation.promptTokens();
        prefill.cachedTokens = generation.cachedTokens();
        prefill.tokensPerSecond = generation.timings().prefillTokensPerSecond();
        prefill.commit();
      }
      if (began) {
        decode.end();
      }
      if (began && decode.shouldCommit()) {
        decode.tokens = generation.completionTokens();
        decode.tokensPerSecond = generation.timings().decodeTokensPerSecond();
        decode.toolCalls = generation.toolCalls().size();
        decode.finishReason = generation.finishReason().name();
        decode.commit();
      }
      QueueWait wait = new QueueWait();
      if (wait.shouldCommit()) {
        wait.waited = waitedNanos;
        wait.commit();
      }
    }
  }
}
