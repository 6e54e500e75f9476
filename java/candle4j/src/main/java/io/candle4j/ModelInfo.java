package io.candle4j;

import java.nio.file.Path;
import java.time.Duration;
import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * What a loaded model says of itself.
 *
 * @param path the folder or the file that it was loaded from
 * @param architecture such as {@code llama}
 * @param engine which implementation runs
 * @param device where it runs
 * @param precision the type of its weights, such as {@code f32}
 * @param contextLength tokens that prompt and answer may have together
 * @param vocabSize token ids are below this number
 * @param layers number of layers
 * @param hiddenSize width of the residual stream
 * @param parameters number of weights
 * @param eosTokenIds any of these ends an answer
 * @param hasChatTemplate whether it can chat
 * @param kvCacheUsed bytes that the keys and values of all sessions use now, what they share
 *     counted once; null where they are not counted
 * @param kvCacheLimit bytes that they may use
 * @param loadTime how long loading took
 * @param warnings what the user should know, such as a precision that had to be changed
 * @param ignoredKeys keys of the model's configuration that change nothing, so that nothing reads
 *     them
 */
public record ModelInfo(
    Path path,
    String architecture,
    Engine engine,
    Device device,
    String precision,
    int contextLength,
    int vocabSize,
    int layers,
    int hiddenSize,
    long parameters,
    TokenIds eosTokenIds,
    boolean hasChatTemplate,
    @Nullable Long kvCacheUsed,
    @Nullable Long kvCacheLimit,
    Duration loadTime,
    List<String> warnings,
    List<String> ignoredKeys) {}
