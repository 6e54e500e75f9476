package io.candle4j;

import java.nio.file.Path;
import java.time.Duration;
import java.util.List;

/**
 * What there is to know about a reranker.
 *
 * @param path the folder or the file that it came from
 * @param architecture such as {@code bert}
 * @param precision the type of its weights in memory
 * @param maxTokens the most tokens of a query and a document together, those around them included
 * @param layers number of layers
 * @param parameters number of weights
 * @param labels what its scores stand for; one for a plain reranker
 * @param activation what scores go through: {@code sigmoid}, {@code tanh} or {@code identity}
 * @param loadTime how long loading took
 * @param ignoredKeys keys of the configuration that nothing reads, because they change nothing
 */
public record RerankerInfo(
    Path path,
    String architecture,
    String precision,
    int maxTokens,
    int layers,
    long parameters,
    List<String> labels,
    String activation,
    Duration loadTime,
    List<String> ignoredKeys) {}
