package io.candle4j.cli;

import io.candle4j.ChatMessage;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.List;

/** A conversation in a file: a JSON array of messages with {@code role} and {@code content}. */
final class Transcript {
  private Transcript() {}

  /**
   * Writes a conversation.
   *
   * @param overwrite whether a file that is there is replaced
   * @throws CommandException when it is there, or cannot be written
   */
  static void save(Path file, List<ChatMessage> messages, boolean overwrite) {
    try {
      Files.writeString(
          file,
          ChatMessage.toJson(messages) + "\n",
          StandardOpenOption.WRITE,
          StandardOpenOption.TRUNCATE_EXISTING,
          overwrite ? StandardOpenOption.CREATE : StandardOpenOption.CREATE_NEW);
    } catch (java.nio.file.FileAlreadyExistsException e) {
      throw new CommandException(
          ExitCode.USAGE, file + " is there already; /save! overwrites it", e);
    } catch (IOException e) {
      throw new CommandException(ExitCode.USAGE, "cannot write " + file + reason(e), e);
    }
  }

  /**
   * Reads a conversation.
   *
   * @throws CommandException when the file is not one
   */
  static List<ChatMessage> load(Path file) {
    try {
      return ChatMessage.parse(Files.readString(file));
    } catch (IllegalArgumentException e) {
      throw new CommandException(
          ExitCode.USAGE,
          file + " is not a JSON array of messages with role and content: " + e.getMessage(),
          e);
    } catch (IOException e) {
      throw new CommandException(ExitCode.USAGE, "cannot read " + file + reason(e), e);
    }
  }

  /** File system exceptions have the file's name for a message, and their class for a reason. */
  private static String reason(IOException e) {
    return e instanceof NoSuchFileException ? ": no such file or folder" : ": " + e.getMessage();
  }
}
