package io.candle4j.cli;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.charset.CharacterCodingException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import tools.jackson.core.JacksonException;
import tools.jackson.databind.DeserializationFeature;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.json.JsonMapper;

/** A file that an option names. What is wrong with it is an error of the command line. */
final class InputFile {
  private static final JsonMapper MAPPER =
      JsonMapper.builder().enable(DeserializationFeature.FAIL_ON_TRAILING_TOKENS).build();

  private InputFile() {}

  /** The text of a UTF-8 file. */
  static String text(String option, Path file) {
    try {
      return StandardCharsets.UTF_8
          .newDecoder()
          .decode(ByteBuffer.wrap(Files.readAllBytes(file)))
          .toString();
    } catch (NoSuchFileException e) {
      throw failure(option, file, "no such file", e);
    } catch (CharacterCodingException e) {
      throw failure(option, file, "not UTF-8", e);
    } catch (IOException e) {
      throw failure(option, file, "cannot be read: " + e.getMessage(), e);
    }
  }

  /** The JSON document in a file. */
  static JsonNode json(String option, Path file) {
    try {
      return MAPPER.readTree(text(option, file));
    } catch (JacksonException e) {
      throw failure(option, file, "not JSON: " + e.getOriginalMessage(), e);
    }
  }

  /** What is wrong with a file. */
  static CommandException failure(String option, Path file, String reason, Throwable cause) {
    return new CommandException(ExitCode.USAGE, option + ": " + file + ": " + reason, cause);
  }
}
