package io.candle4j.spark;

import io.candle4j.CandleRuntime;
import org.apache.spark.SparkConf;
import org.apache.spark.SparkEnv;

/**
 * How many threads compute in this executor: as many as it has cores, so that executors of a node
 * do not take each other's.
 */
final class ExecutorThreads {
  private static final String THREADS = "spark.candle.threads";
  private static final String CORES = "spark.executor.cores";

  private static boolean isSet;

  private ExecutorThreads() {}

  /**
   * Sets them, the first time.
   *
   * @throws IllegalArgumentException for a number of threads that cannot be
   */
  static synchronized void set() {
    SparkEnv environment = SparkEnv.get();
    if (isSet || environment == null) {
      return;
    }
    SparkConf conf = environment.conf();
    if (conf.contains(THREADS)) {
      CandleRuntime.setThreads(conf.getInt(THREADS, 0));
    } else if (conf.contains(CORES) && System.getenv("CANDLE_NUM_THREADS") == null) {
      CandleRuntime.setThreads(
          Math.min(conf.getInt(CORES, 1), Runtime.getRuntime().availableProcessors()));
    }
    isSet = true;
  }
}
