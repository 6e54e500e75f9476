package io.candle4j;

import java.nio.file.Path;
import java.time.Duration;
import java.util.List;
import java.util.Optional;

/**
 * What there is to know about a model for embeddings.
 *
 * @param path the folder or the file that it came from
 * @param architecture such as {@code bert}
 * @param precision the type of its weights in memory
 * @param dimensions numbers of a vector
 * @param maxTokens the most tokens of a text, those around it included
 * @param vocabSize token ids are below this number
 * @param layers number of layers
 * @param parameters number of weights
 * @param pooling how the states of a text's tokens become its vector, such as {@code mean}; vectors
 *     of several ways stand beside each other
 * @param similarity how its vectors are compared
 * @param prompts the names of what can be put before texts
 * @param defaultPrompt the one that is used where nothing else is said
 * @param loadTime how long loading took
 * @param ignoredKeys keys of the configuration that nothing reads, because they change nothing
 */
public record EmbedderInfo(
    Path path,
    String architecture,
    String precision,
    int dimensions,
    int maxTokens,
    int vocabSize,
    int layers,
    long parameters,
    List<String> pooling,
    Similarity similarity,
    List<String> prompts,
    Optional<String> defaultPrompt,
    Duration loadTime,
    List<String> ignoredKeys) {}
