package io.candle4j.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;

import java.io.ByteArrayOutputStream;
import java.io.InputStream;
import java.lang.System.Logger.Level;
import java.nio.charset.StandardCharsets;
import java.util.Map;
import java.util.Set;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class LogOutputTest {
  private static final System.Logger LOGGER = System.getLogger("io.candle4j");

  @ParameterizedTest
  @CsvSource({
    "false, false, 'candle: warning: two lines\n'",
    "false, true,  'candle: fact 7\ncandle: warning: two lines\n'",
    "true,  false, ''",
    "true,  true,  ''"
  })
  void warningsAreOneLineAndTheRestIsForWhoAsks(boolean quiet, boolean verbose, String told) {
    ByteArrayOutputStream err = new ByteArrayOutputStream();
    Stdio stdio =
        new Stdio(
            InputStream.nullInputStream(), new ByteArrayOutputStream(), err, Set.of(), Map.of());
    stdio.tell(quiet, verbose);
    LogOutput.install(stdio);
    LOGGER.log(Level.INFO, "fact {0}", 7);
    LOGGER.log(Level.WARNING, "two\n lines");
    assertEquals(told, err.toString(StandardCharsets.UTF_8));
  }
}
