package io.candle4j.spark;

import io.candle4j.CandleRuntime;
import org.apache.spark.SparkEnv;

/**
 * How many threads compute in this executor: as many as it has cores, so that executors of a node
 * do not take each other's.
 */
final class ExecutorThreads {
  private static final String THREADS = "spark.candle.threads";
  private static final String CORES = "spark.executor.cores";

  static {
    SparkEnv environment = SparkEnv.get();
    if (environment != null) {
      int threads = environment.conf().getInt(THREADS, 0);
      if (threads == 0 && System.getenv("CANDLE_NUM_THREADS") == null) {
        int cores = environment.conf().getInt(CORES, 0);
        threads = Math.min(cores, Runtime.getRuntime().availableProcessors());
      }
      if (threads > 0) {
        CandleRuntime.setThreads(threads);
      }
    }
  }

  private ExecutorThreads() {}

  /** Sets them, the first time. */
  static void set() {}
}
