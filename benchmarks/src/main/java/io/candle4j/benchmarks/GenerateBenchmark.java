package io.candle4j.benchmarks;

import io.candle4j.BatchResult;
import io.candle4j.CandleModel;
import io.candle4j.CandleSession;
import io.candle4j.GenerateOptions;
import io.candle4j.Generation;
import io.candle4j.Request;
import java.nio.file.Path;
import java.util.List;
import java.util.concurrent.TimeUnit;
import java.util.stream.IntStream;
import org.openjdk.jmh.annotations.Benchmark;
import org.openjdk.jmh.annotations.BenchmarkMode;
import org.openjdk.jmh.annotations.Fork;
import org.openjdk.jmh.annotations.Measurement;
import org.openjdk.jmh.annotations.Mode;
import org.openjdk.jmh.annotations.OperationsPerInvocation;
import org.openjdk.jmh.annotations.OutputTimeUnit;
import org.openjdk.jmh.annotations.Param;
import org.openjdk.jmh.annotations.Scope;
import org.openjdk.jmh.annotations.Setup;
import org.openjdk.jmh.annotations.State;
import org.openjdk.jmh.annotations.TearDown;
import org.openjdk.jmh.annotations.Warmup;

/**
 * Prefill, decode, parallel decode and loading: through Java, and the same without it.
 *
 * <p>Each pair does the same work: {@code decodeJava} and {@code decodeRust}, and so on. What Java
 * costs is the quotient of the two.
 */
@State(Scope.Benchmark)
@BenchmarkMode(Mode.AverageTime)
@OutputTimeUnit(TimeUnit.MILLISECONDS)
@Fork(value = 1, jvmArgsAppend = "--enable-native-access=ALL-UNNAMED")
@Warmup(iterations = 2, time = 2)
@Measurement(iterations = 5, time = 2)
public class GenerateBenchmark {
  private static final int PREFILL = 256;
  private static final int DECODE_PROMPT = 4;
  static final int DECODE = 64;
  private static final int PARALLEL = 4;

  /** So many that the cost of the call itself does not count. */
  static final int MANY = 512;

  /** The folder of the model. */
  @Param("")
  public String model;

  private CandleModel loaded;
  private CandleSession session;
  private RustDriver rust;

  /** Loads the model on both sides. */
  @Setup
  public void setup() {
    loaded = CandleModel.builder().path(Path.of(model)).load();
    session = loaded.newSession();
    rust = new RustDriver(model);
  }

  /** Lets go of both. */
  @TearDown
  public void tearDown() {
    rust.close();
    session.close();
    loaded.close();
  }

  private static Request request(int promptTokens, int newTokens) {
    return Request.builder()
        .tokens(IntStream.rangeClosed(1, promptTokens).toArray())
        .options(options(newTokens))
        .build();
  }

  private static GenerateOptions options(int tokens) {
    return GenerateOptions.greedy().toBuilder()
        .maxTokens(tokens)
        .ignoreEos(true)
        .promptLookup(false)
        .build();
  }

  /** A prompt of 256 tokens, and one new token. */
  @Benchmark
  public Generation prefillJava() {
    session.reset();
    return session.generate(request(PREFILL, 1), token -> {});
  }

  /** As {@link #prefillJava}, without Java. */
  @Benchmark
  public void prefillRust() {
    rust.run("generate " + PREFILL + " 1");
  }

  /** 64 new tokens, each reported to a listener. */
  @Benchmark
  public Generation decodeJava() {
    session.reset();
    return session.generate(request(DECODE_PROMPT, DECODE), token -> {});
  }

  /** As {@link #decodeJava}, without Java. */
  @Benchmark
  public void decodeRust() {
    rust.run("generate " + DECODE_PROMPT + " " + DECODE);
  }

  /** 512 new tokens, each with its text and an upcall to a listener. */
  @Benchmark
  @OperationsPerInvocation(MANY)
  @OutputTimeUnit(TimeUnit.MICROSECONDS)
  public Generation tokenJava() {
    session.reset();
    return session.generate(request(DECODE_PROMPT, MANY), token -> {});
  }

  /**
   * As {@link #tokenJava}, without Java, text and callback: the difference is the cost of a token's
   * text and upcall.
   */
  @Benchmark
  @OperationsPerInvocation(MANY)
  @OutputTimeUnit(TimeUnit.MICROSECONDS)
  public void tokenRust() {
    rust.run("tokens " + DECODE_PROMPT + " " + MANY);
  }

  /** Four times 64 new tokens at once. */
  @Benchmark
  public List<BatchResult> parallelJava() {
    return loaded.generateAll(
        java.util.Collections.nCopies(
            PARALLEL, Request.builder().rawText("abcd").options(options(DECODE)).build()),
        PARALLEL,
        (index, result, done, total) -> {});
  }

  /** As {@link #parallelJava}, without Java. */
  @Benchmark
  public void parallelRust() {
    rust.run("batch " + DECODE_PROMPT + " " + DECODE + " " + PARALLEL);
  }

  /** Loading from files that the operating system has in memory. */
  @Benchmark
  public void loadJava() {
    CandleModel.builder().path(Path.of(model)).load().close();
  }

  /** As {@link #loadJava}, without Java. */
  @Benchmark
  public void loadRust() {
    rust.run("load");
  }
}
