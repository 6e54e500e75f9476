package io.candle4j.spark;

import io.candle4j.CandleModel;
import io.candle4j.CandleSession;
import io.candle4j.ChatMessage;
import io.candle4j.GenerateOptions;
import io.candle4j.Generation;
import io.candle4j.PrefixCache;
import io.candle4j.Request;
import io.candle4j.ResponseFormat;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.time.Duration;
import java.util.concurrent.CompletableFuture;
import org.apache.spark.sql.Row;
import org.apache.spark.sql.types.DataTypes;
import org.apache.spark.sql.types.StructType;
import org.jspecify.annotations.Nullable;

/** Answers prompts. The inputs are the prompt and, if there is one, the seed. */
final class GenerateRows extends RowWork<GenerateRows.Generator> {
  private static final long serialVersionUID = 1L;

  /** Sessions that are kept for prompts which begin alike, such as with a system message. */
  private static final int KEPT = 8;

  private final GenerateOptions options;
  private final @Nullable String system;
  private final boolean isRaw;
  private final @Nullable ResponseFormat responseFormat;
  private final @Nullable Duration timeout;

  GenerateRows(
      SparkModel model,
      GenerateOptions options,
      @Nullable String system,
      boolean isRaw,
      @Nullable ResponseFormat responseFormat,
      @Nullable Duration timeout) {
    super(model);
    this.options = options;
    this.system = system;
    this.isRaw = isRaw;
    this.responseFormat = responseFormat;
    this.timeout = timeout;
  }

  /** A model, and what its prompts have in common. */
  record Generator(CandleModel model, PrefixCache prefixes) implements AutoCloseable {
    @Override
    public void close() {
      prefixes.close();
      model.close();
    }
  }

  @Override
  StructType fields() {
    return new StructType()
        .add("text", DataTypes.StringType, true)
        .add("reasoning", DataTypes.StringType, true)
        .add("finish_reason", DataTypes.StringType, true)
        .add("prompt_tokens", DataTypes.IntegerType, true)
        .add("completion_tokens", DataTypes.IntegerType, true)
        .add("seed", DataTypes.LongType, true);
  }

  @Override
  Generator load(SparkModel model) {
    return new Generator(model.configure(CandleModel.builder()).load(), new PrefixCache(KEPT));
  }

  @Override
  CompletableFuture<Object[]> start(Generator generator, Row inputs) {
    Request request = request(inputs);
    CandleSession session = generator.model().newSession();
    return session
        .submit(request)
        .whenComplete((generation, failure) -> generator.prefixes().keep(session))
        .thenApply(GenerateRows::values);
  }

  private Request request(Row inputs) {
    String prompt = text(inputs, 0, "prompt");
    Request.Builder request =
        Request.builder()
            .options(options.toBuilder().seed(seed(inputs, prompt)).build())
            .waitWhenFull(true);
    if (isRaw) {
      request.rawText(prompt);
    } else if (system == null) {
      request.text(prompt);
    } else {
      request.messages(ChatMessage.system(system), ChatMessage.user(prompt));
    }
    if (responseFormat != null) {
      request.responseFormat(responseFormat);
    }
    if (timeout != null) {
      request.timeout(timeout);
    }
    return request.build();
  }

  private long seed(Row inputs, String prompt) {
    if (inputs.size() == 1) {
      return seed(options.seed().orElse(0), prompt);
    }
    // A function of SQL takes what it is given; 1.5 is no seed.
    return switch (inputs.get(1)) {
      case Long seed -> seed;
      case Integer seed -> seed;
      case Short seed -> seed;
      case Byte seed -> seed;
      case null, default ->
          throw new IllegalArgumentException("seed: expected a whole number, got " + inputs.get(1));
    };
  }

  /**
   * From what belongs to the row alone, not from its place, which may change in another attempt.
   */
  private static long seed(long base, String prompt) {
    try {
      MessageDigest digest = MessageDigest.getInstance("SHA-256");
      digest.update(ByteBuffer.allocate(Long.BYTES).putLong(0, base));
      byte[] hash = digest.digest(prompt.getBytes(StandardCharsets.UTF_8));
      return ByteBuffer.wrap(hash).getLong() & Long.MAX_VALUE;
    } catch (NoSuchAlgorithmException e) {
      throw new AssertionError("every JDK has SHA-256", e);
    }
  }

  private static Object[] values(Generation generation) {
    return new Object[] {
      generation.text(),
      generation.reasoning().orElse(null),
      generation.finishReason().name(),
      generation.promptTokens(),
      generation.completionTokens(),
      generation.seed()
    };
  }
}
