package io.candle4j;

import static org.junit.jupiter.api.Assertions.assertEquals;

import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.condition.EnabledOnOs;
import org.junit.jupiter.api.condition.OS;

/**
 * How many threads compute: what the program says, the environment, or what the process may use.
 * None of them is Candle's.
 */
@EnabledOnOs(value = OS.LINUX, disabledReason = "only Linux tells the names of threads")
class ThreadsTest {
  /** A GGUF model, since quantised matrices are what Candle has threads for. */
  private static final String MODEL = CandleModel.BUILT_IN;

  private static String threads(ChildJvm child, String... more) throws Exception {
    List<String> command =
        new ArrayList<>(List.of("-cp", ChildJvm.classPath(), ThreadsProbe.class.getName(), MODEL));
    command.addAll(List.of(more));
    ChildJvm.Result result =
        child
            .option("--enable-native-access=ALL-UNNAMED")
            .option("-Dcandle4j.cache=" + System.getProperty("candle4j.cache"))
            .option("-Dcandle4j.test.models=" + Golden.folder(""))
            .run(command.toArray(String[]::new));
    assertEquals(0, result.exit(), result.err());
    return result.out().strip();
  }

  @Test
  void theProgramSaysHowMany() throws Exception {
    assertEquals("3 3 0", threads(new ChildJvm(), "3"));
    assertEquals("3 3 0", threads(new ChildJvm().environment("CANDLE_NUM_THREADS", "5"), "3"));
  }

  @Test
  void orTheEnvironment() throws Exception {
    assertEquals("4 4 0", threads(new ChildJvm().environment("CANDLE_NUM_THREADS", "4")));
  }

  @Test
  void orWhatTheProcessMayUse() throws Exception {
    // The JVM counts affinity and quotas as well.
    int processors = Runtime.getRuntime().availableProcessors();
    assertEquals(processors + " " + processors + " 0", threads(new ChildJvm()));
    assertEquals("1 1 0", threads(new ChildJvm().onProcessors("0")));
  }
}
