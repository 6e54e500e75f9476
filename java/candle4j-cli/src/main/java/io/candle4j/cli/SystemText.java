package io.candle4j.cli;

import java.nio.file.Path;
import picocli.CommandLine.ITypeConverter;
import picocli.CommandLine.TypeConversionException;

/** A system message on the command line: a text, or @ and the name of a file that has it. */
final class SystemText implements ITypeConverter<String> {
  @Override
  public String convert(String text) {
    if (!text.startsWith("@")) {
      return text;
    }
    if (text.startsWith("@@")) {
      return text.substring(1);
    }
    try {
      // The line break at the end is that of the file.
      return InputFile.text("--system", Path.of(text.substring(1))).stripTrailing();
    } catch (CommandException e) {
      throw new TypeConversionException(Failures.message(e).replaceFirst("^--system: ", ""));
    }
  }
}
