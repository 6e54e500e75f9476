package io.candle4j.springai.autoconfigure;

import io.candle4j.CandleModel;
import io.candle4j.Device;
import io.candle4j.Engine;
import io.candle4j.Precision;
import io.candle4j.Quantization;
import io.candle4j.springai.CandleChatOptions;
import java.util.List;
import org.jspecify.annotations.Nullable;
import org.springframework.boot.context.properties.ConfigurationProperties;
import org.springframework.boot.context.properties.bind.DefaultValue;
import org.springframework.util.unit.DataSize;

/**
 * The model for chats, and how it answers.
 *
 * @param model a Hub id, folder, GGUF file or alias; the built-in model when left out
 * @param revision branch, tag or commit of a Hub model
 * @param engine which implementation runs
 * @param device where it runs
 * @param precision the type of its weights
 * @param quantize what its weights become
 * @param contextLength tokens that prompt and answer may have together
 * @param maxRequests requests at a time; one more fails
 * @param kvCache memory for the keys and values of all requests
 * @param options how answers are generated
 */
@ConfigurationProperties("spring.ai.candle.chat")
public record CandleChatProperties(
    @DefaultValue(CandleModel.BUILT_IN) String model,
    @Nullable String revision,
    @Nullable Engine engine,
    @Nullable Device device,
    @Nullable Precision precision,
    @Nullable Quantization quantize,
    @Nullable Integer contextLength,
    @Nullable Integer maxRequests,
    @Nullable DataSize kvCache,
    @DefaultValue Options options) {

  /**
   * How answers are generated; what is left out is the model's own.
   *
   * @param temperature 0 for the most probable token
   * @param topP share of probability that is drawn from
   * @param topK number of tokens that are drawn from
   * @param minP least share of the most probable token's probability
   * @param maxTokens most tokens of an answer
   * @param seed start of the random sequence
   * @param repeatPenalty divides logits of tokens that were there
   * @param frequencyPenalty taken off for each time that a token was there
   * @param presencePenalty taken off once a token was there
   * @param stop texts that end an answer
   * @param thinking whether the model thinks first
   */
  public record Options(
      @Nullable Double temperature,
      @Nullable Double topP,
      @Nullable Integer topK,
      @Nullable Double minP,
      @Nullable Integer maxTokens,
      @Nullable Long seed,
      @Nullable Double repeatPenalty,
      @Nullable Double frequencyPenalty,
      @Nullable Double presencePenalty,
      @Nullable List<String> stop,
      @Nullable Boolean thinking) {

    CandleChatOptions toOptions() {
      return CandleChatOptions.builder()
          .temperature(temperature)
          .topP(topP)
          .topK(topK)
          .minP(minP)
          .maxTokens(maxTokens)
          .seed(seed)
          .repeatPenalty(repeatPenalty)
          .frequencyPenalty(frequencyPenalty)
          .presencePenalty(presencePenalty)
          .stopSequences(stop)
          .thinking(thinking)
          .build();
    }
  }

  CandleModel load() {
    CandleModel.Builder builder = CandleModel.builder().source(model);
    if (revision != null) {
      builder.revision(revision);
    }
    if (engine != null) {
      builder.engine(engine);
    }
    if (device != null) {
      builder.device(device);
    }
    if (precision != null) {
      builder.precision(precision);
    }
    if (quantize != null) {
      builder.quantize(quantize);
    }
    if (contextLength != null) {
      builder.contextLength(contextLength);
    }
    if (maxRequests != null) {
      builder.maxRequests(maxRequests);
    }
    if (kvCache != null) {
      builder.kvCacheBytes(kvCache.toBytes());
    }
    return builder.load();
  }
}
