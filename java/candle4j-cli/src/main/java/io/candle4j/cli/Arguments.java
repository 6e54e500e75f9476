package io.candle4j.cli;

import java.nio.charset.Charset;

/** What the JVM made of the command line. */
final class Arguments {
  private Arguments() {}

  /**
   * Refuses arguments that the JVM could not decode. It decodes by the locale, and what that cannot
   * express is lost for good.
   *
   * @throws CommandException when an argument is not what was typed
   */
  static void check(String[] args) {
    String encoding = System.getProperty("sun.jnu.encoding");
    if (encoding == null || Charset.forName(encoding).name().equals("UTF-8")) {
      return;
    }
    for (String arg : args) {
      if (arg.indexOf('\uFFFD') >= 0) {
        throw new CommandException(
            ExitCode.USAGE,
            "an argument has characters that the locale's encoding "
                + encoding
                + " lacks; set LC_ALL=C.UTF-8 or another UTF-8 locale");
      }
    }
  }
}
