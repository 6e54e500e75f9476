package io.candle4j.cli;

import java.util.Arrays;
import java.util.List;
import java.util.function.ToDoubleFunction;

/**
 * How fast some prompts at a time were answered, in tokens a second over all of them.
 *
 * @param parallel how many at a time
 * @param prefill tokens of the prompts, by the time until the last prompt had its first token
 * @param decode tokens after that, by the time from there to the end; 0 when there are none
 * @param total tokens of prompts and answers, by all the time
 */
record Measurement(int parallel, double prefill, double decode, double total) {

  /** The median of each rate. */
  static Measurement median(List<Measurement> all) {
    return new Measurement(
        all.getFirst().parallel,
        median(all, Measurement::prefill),
        median(all, Measurement::decode),
        median(all, Measurement::total));
  }

  private static double median(List<Measurement> all, ToDoubleFunction<Measurement> rate) {
    double[] rates = all.stream().mapToDouble(rate).sorted().toArray();
    int middle = rates.length / 2;
    return rates.length % 2 == 1
        ? rates[middle]
        : Arrays.stream(rates, middle - 1, middle + 1).average().orElseThrow();
  }

  /**
   * Computes the rates of one run.
   *
   * @param promptTokens tokens of each prompt
   * @param start when all prompts were started
   * @param tokens when each prompt got each of its tokens
   */
  static Measurement of(int promptTokens, long start, List<long[]> tokens) {
    int parallel = tokens.size();
    long prefilled = tokens.stream().mapToLong(times -> times[0]).max().orElseThrow();
    long end = tokens.stream().mapToLong(times -> times[times.length - 1]).max().orElseThrow();
    long generated = tokens.stream().mapToLong(times -> times.length).sum();
    // Tokens that some prompts got while others were still prefilled belong to no decoding that
    // could be timed.
    long decoded =
        tokens.stream().flatMapToLong(Arrays::stream).filter(time -> time - prefilled > 0).count();
    long read = (long) parallel * promptTokens;
    return new Measurement(
        parallel,
        rate(read, prefilled - start),
        rate(decoded, end - prefilled),
        rate(read + generated, end - start));
  }

  private static double rate(long tokens, long nanos) {
    return tokens == 0 ? 0 : tokens / (nanos / 1e9);
  }
}
