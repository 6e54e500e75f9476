package io.candle4j;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.List;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.condition.EnabledOnOs;
import org.junit.jupiter.api.condition.OS;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

/** Programs that ended a JVM once, or might: each in a JVM of its own, which must survive it. */
@EnabledOnOs(value = OS.LINUX, disabledReason = "programs read /proc")
class SurvivalTest {
  private static int tried;
  private static int survived;

  @TempDir Path folder;

  static List<Survival.Case> cases() {
    return Survival.cases();
  }

  @ParameterizedTest(name = "{0}")
  @MethodSource("cases")
  void survives(Survival.Case program) throws Exception {
    tried++;
    ChildJvm child =
        new ChildJvm()
            .option("--enable-native-access=ALL-UNNAMED")
            .option("-Dcandle4j.cache=" + System.getProperty("candle4j.cache"))
            .option("-Dcandle4j.test.models=" + Golden.folder(""))
            .option("-XX:ErrorFile=" + folder.resolve("crash.log"))
            .option("-XX:-CreateCoredumpOnCrash")
            .timeout(Duration.ofMinutes(4));
    program.options().forEach(child::option);
    ChildJvm.Result result =
        child.run("-cp", ChildJvm.classPath(), Survival.class.getName(), program.name());
    try (Stream<Path> reports = Files.list(folder)) {
      assertEquals(List.of(), reports.toList(), result.out() + result.err());
    }
    assertEquals(program.exit(), result.exit(), result.out() + result.err());
    if (program.exit() == 0) {
      assertTrue(result.out().strip().endsWith(Survival.SURVIVED), result.out() + result.err());
    }
    survived++;
  }

  @AfterAll
  static void tell() {
    System.out.println("JVMs that survived: " + survived + " of " + tried);
  }
}
