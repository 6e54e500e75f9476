package io.candle4j;

import java.nio.file.Path;
import java.util.List;

/**
 * What the library runs on.
 *
 * @param library the native library's file
 * @param version its version
 * @param candleVersion the version of Candle in it
 * @param target the platform that it was built for
 * @param threads threads that a forward pass uses on the CPU
 * @param instructionSets instruction sets beyond the platform's baseline that the processor has
 * @param instructions the instruction set whose kernels compute, such as {@code avx2}; {@code
 *     portable} for none, see {@link CandleModel.Builder#instructions}
 * @param defaultDevice the device that {@link Device#AUTO} means
 * @param devices devices that the library can use
 */
public record RuntimeInfo(
    Path library,
    String version,
    String candleVersion,
    String target,
    int threads,
    List<String> instructionSets,
    String instructions,
    String defaultDevice,
    List<String> devices) {}
