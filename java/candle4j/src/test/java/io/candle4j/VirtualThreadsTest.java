package io.candle4j;

import static org.junit.jupiter.api.Assertions.assertEquals;

import java.time.Duration;
import org.junit.jupiter.api.Test;

/** Virtual threads call, and their carriers stay free. In a JVM that has a single carrier. */
class VirtualThreadsTest {
  @Test
  void h6NoCallHoldsACarrier() throws Exception {
    ChildJvm.Result result =
        new ChildJvm()
            .option("--enable-native-access=ALL-UNNAMED")
            .option("-Dcandle4j.cache=" + System.getProperty("candle4j.cache"))
            .option("-Dcandle4j.test.models=" + Golden.folder(""))
            .option("-Djdk.virtualThreadScheduler.parallelism=1")
            .option("-Djdk.virtualThreadScheduler.maxPoolSize=1")
            .timeout(Duration.ofMinutes(3))
            .run("-cp", ChildJvm.classPath(), VirtualThreadsProbe.class.getName());
    assertEquals(0, result.exit(), result.out() + result.err());
    assertEquals("done", result.out().strip(), result.err());
  }
}
