package io.candle4j.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertInstanceOf;
import static org.junit.jupiter.api.Assertions.assertThrows;

import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.OutputStream;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import org.junit.jupiter.api.Test;

class SinkTest {
  private static final String STEERING = "a\033[31mb\rc\u009bd\te\nf\u0007";

  private static String printed(boolean terminal, boolean coloured, String text) {
    ByteArrayOutputStream bytes = new ByteArrayOutputStream();
    new Sink(bytes, StandardCharsets.UTF_8, 9, terminal, coloured).print(Style.ANSWER, text);
    return bytes.toString(StandardCharsets.UTF_8);
  }

  private static Sink failing(String message) {
    OutputStream stream =
        new OutputStream() {
          @Override
          public void write(int b) throws IOException {
            throw new IOException(message);
          }
        };
    return new Sink(stream, StandardCharsets.UTF_8, 9, false, false);
  }

  @Test
  void pipesGetTheTextAsItIs() {
    assertEquals(STEERING, printed(false, false, STEERING));
  }

  @Test
  void terminalsAreNotSteered() {
    assertEquals("a\uFFFD[31mb\uFFFDc\uFFFDd\te\nf\uFFFD", printed(true, false, STEERING));
  }

  @Test
  void coloursStandAroundTheText() {
    assertEquals("\033[36mfox\033[0m", printed(true, true, "fox"));
    assertEquals("", printed(true, true, ""));
  }

  @Test
  void aReaderThatLeftIsToldFromADiskThatIsFull() {
    assertThrows(SinkClosedException.class, () -> failing("Broken pipe").print("x"));
    assertThrows(SinkClosedException.class, () -> failing("The pipe has been ended").print("x"));
    UncheckedIOException full =
        assertThrows(UncheckedIOException.class, () -> failing("No space left").print("x"));
    assertFalse(full instanceof SinkClosedException);
    assertInstanceOf(IOException.class, full.getCause());
    assertEquals("cannot write the output: No space left", full.getCause().getMessage());
  }
}
