package io.candle4j.internal;

import io.candle4j.BatchResult;
import io.candle4j.Device;
import io.candle4j.DocumentScores;
import io.candle4j.EmbedResult;
import io.candle4j.EmbedderInfo;
import io.candle4j.Embedding;
import io.candle4j.Engine;
import io.candle4j.FinishReason;
import io.candle4j.Generation;
import io.candle4j.ModelInfo;
import io.candle4j.ModelMetrics;
import io.candle4j.Progress;
import io.candle4j.RerankerInfo;
import io.candle4j.Score;
import io.candle4j.Similarity;
import io.candle4j.TokenIds;
import io.candle4j.TokenLogprob;
import io.candle4j.ToolCall;
import java.math.BigInteger;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Locale;
import java.util.Objects;
import java.util.Optional;
import java.util.OptionalLong;
import org.jspecify.annotations.Nullable;
import tools.jackson.databind.JsonNode;

/** Results as the native side writes them, and what they become. */
final class Results {
  private Results() {}

  record Generated(
      String text,
      @Nullable String reasoning,
      @Nullable List<ToolCall> toolCalls,
      int[] tokenIds,
      FinishReason finishReason,
      int promptTokens,
      int cachedTokens,
      BigInteger seed,
      @Nullable List<Logprob> logprobs,
      @Nullable List<String> warnings,
      double waitMs,
      double prefillMs,
      double decodeMs) {

    Generation toGeneration() {
      int computed = promptTokens - cachedTokens;
      int decoded = tokenIds.length - 1;
      return new Generation(
          text,
          Optional.ofNullable(reasoning),
          toolCalls == null ? List.of() : toolCalls,
          TokenIds.of(tokenIds),
          finishReason,
          promptTokens,
          cachedTokens,
          seed.longValue(),
          toLogprobs(logprobs),
          0,
          warnings == null ? List.of() : warnings,
          new Generation.Timings(
              duration(prefillMs),
              duration(decodeMs),
              rate(computed, prefillMs),
              rate(decoded, decodeMs)));
    }
  }

  /** What a call has that ended before it began. */
  static Generation nothing(FinishReason reason) {
    return new Generation(
        "",
        Optional.empty(),
        List.of(),
        TokenIds.of(),
        reason,
        0,
        0,
        0,
        List.of(),
        0,
        List.of(),
        new Generation.Timings(Duration.ZERO, Duration.ZERO, 0, 0));
  }

  record LoadProgress(long bytes, long total) {
    Progress toProgress() {
      return new Progress(
          Progress.Phase.LOAD,
          "",
          bytes,
          OptionalLong.of(total),
          bytes,
          OptionalLong.of(total),
          0,
          0);
    }
  }

  record Metrics(
      long requests,
      long failed,
      long rejected,
      int active,
      int waiting,
      long promptTokens,
      long cachedTokens,
      long generatedTokens,
      double waitMs,
      double prefillMs,
      double decodeMs,
      long passes,
      long passSequences,
      long passTokens,
      double passMs,
      @Nullable Long kvCacheUsed,
      @Nullable Long kvCacheLimit) {

    ModelMetrics toMetrics() {
      return new ModelMetrics(
          requests,
          failed,
          rejected,
          active,
          waiting,
          promptTokens,
          cachedTokens,
          generatedTokens,
          duration(waitMs),
          duration(prefillMs),
          duration(decodeMs),
          passes,
          passSequences,
          passTokens,
          duration(passMs),
          optional(kvCacheUsed),
          optional(kvCacheLimit));
    }

    private static OptionalLong optional(@Nullable Long value) {
      return value == null ? OptionalLong.empty() : OptionalLong.of(value);
    }
  }

  record Failure(int code, String message, JsonNode detail) {
    RuntimeException toException() {
      return Errors.of(code, message, detail.toString());
    }
  }

  record Outcome(@Nullable Generated result, @Nullable Failure error) {
    BatchResult toBatchResult() {
      if (result != null) {
        return new BatchResult.Completed(result.toGeneration());
      }
      Failure failure = Objects.requireNonNull(error, "either a result or an error");
      return new BatchResult.Failed(failure.toException());
    }
  }

  record BatchProgress(int done, int total, @Nullable Integer index, @Nullable Outcome outcome) {}

  record Logprob(int id, float logprob, @Nullable List<Logprob> top) {}

  record Scored(float[] logprobs, List<Logprob> top) {

    /** The score of the tokens that were asked about. */
    Score toScore(int[] tokens) {
      List<TokenLogprob> given = new ArrayList<>();
      for (int i = 0; i < logprobs.length; i++) {
        given.add(new TokenLogprob(tokens[i + 1], logprobs[i], List.of()));
      }
      return new Score(given, toLogprobs(top));
    }
  }

  record Description(
      Path path,
      String architecture,
      String engine,
      String device,
      String precision,
      int contextLength,
      int vocabSize,
      int layers,
      int hiddenSize,
      long parameters,
      int[] eosTokenIds,
      boolean hasChatTemplate,
      @Nullable Long kvCacheUsed,
      @Nullable Long kvCacheLimit,
      double loadMs,
      List<String> warnings,
      List<String> ignoredKeys) {

    ModelInfo toModelInfo() {
      return new ModelInfo(
          path,
          architecture,
          Engine.valueOf(engine.toUpperCase(Locale.ROOT)),
          Device.valueOf(device.toUpperCase(Locale.ROOT)),
          precision,
          contextLength,
          vocabSize,
          layers,
          hiddenSize,
          parameters,
          TokenIds.of(eosTokenIds),
          hasChatTemplate,
          kvCacheUsed,
          kvCacheLimit,
          duration(loadMs),
          warnings,
          ignoredKeys);
    }
  }

  private static List<TokenLogprob> toLogprobs(@Nullable List<Logprob> logprobs) {
    return logprobs == null
        ? List.of()
        : logprobs.stream()
            .map(token -> new TokenLogprob(token.id, token.logprob, toLogprobs(token.top)))
            .toList();
  }

  private static Duration duration(double milliseconds) {
    return Duration.ofNanos(Math.round(milliseconds * 1e6));
  }

  private static double rate(int tokens, double milliseconds) {
    return tokens <= 0 || milliseconds <= 0 ? 0 : tokens / milliseconds * 1e3;
  }

  record Embedded(int dimensions, List<EmbeddedText> results) {
    /** What became of each text, whose vectors stand behind each other. */
    List<EmbedResult> toResults(float[] vectors) {
      List<EmbedResult> all = new ArrayList<>(results.size());
      int start = 0;
      for (EmbeddedText text : results) {
        if (text.error != null) {
          all.add(new EmbedResult.Failed(text.error.toException()));
          continue;
        }
        float[] vector = Arrays.copyOfRange(vectors, start, start + dimensions);
        start += dimensions;
        all.add(new EmbedResult.Completed(new Embedding(vector, text.tokens, text.leftOut)));
      }
      return all;
    }
  }

  record EmbeddedText(int tokens, int leftOut, @Nullable Failure error) {}

  record Reranked(List<Float> scores, int tokens, int leftOut, @Nullable Failure error) {
    DocumentScores toScores() {
      if (error != null) {
        throw error.toException();
      }
      return new DocumentScores(scores, tokens, leftOut);
    }
  }

  record EmbedderDescription(
      Path path,
      String architecture,
      String precision,
      int dimensions,
      int maxTokens,
      int vocabSize,
      int layers,
      long parameters,
      List<String> pooling,
      String similarity,
      List<String> prompts,
      @Nullable String defaultPrompt,
      double loadMs,
      List<String> ignoredKeys) {
    EmbedderInfo toInfo() {
      return new EmbedderInfo(
          path,
          architecture,
          precision,
          dimensions,
          maxTokens,
          vocabSize,
          layers,
          parameters,
          pooling,
          Similarity.valueOf(similarity.toUpperCase(Locale.ROOT)),
          prompts,
          Optional.ofNullable(defaultPrompt),
          duration(loadMs),
          ignoredKeys);
    }
  }

  record RerankerDescription(
      Path path,
      String architecture,
      String precision,
      int maxTokens,
      int layers,
      long parameters,
      List<String> labels,
      String activation,
      double loadMs,
      List<String> ignoredKeys) {
    RerankerInfo toInfo() {
      return new RerankerInfo(
          path,
          architecture,
          precision,
          maxTokens,
          layers,
          parameters,
          labels,
          activation,
          duration(loadMs),
          ignoredKeys);
    }
  }
}
