package io.candle4j.cli;

import io.candle4j.ChatMessage;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;
import tools.jackson.core.JacksonException;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.json.JsonMapper;

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
    List<Map<String, Object>> document = new ArrayList<>();
    for (ChatMessage message : messages) {
      document.add(Json.object("role", message.role(), "content", message.content()));
    }
    try {
      Files.writeString(
          file,
          JsonMapper.shared().writerWithDefaultPrettyPrinter().writeValueAsString(document) + "\n",
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
      JsonNode document = JsonMapper.shared().readTree(Files.readString(file));
      List<ChatMessage> messages = new ArrayList<>();
      if (!document.isArray()) {
        throw notOne(file, null);
      }
      for (JsonNode message : document) {
        JsonNode role = message.get("role");
        JsonNode content = message.get("content");
        if (role == null || !role.isString() || content == null || !content.isString()) {
          throw notOne(file, null);
        }
        messages.add(new ChatMessage(role.stringValue(), content.stringValue(), Map.of()));
      }
      return messages;
    } catch (JacksonException e) {
      throw notOne(file, e);
    } catch (IOException e) {
      throw new CommandException(ExitCode.USAGE, "cannot read " + file + reason(e), e);
    }
  }

  private static CommandException notOne(Path file, @Nullable Exception cause) {
    return new CommandException(
        ExitCode.USAGE, file + " is not a JSON array of messages with role and content", cause);
  }

  /** File system exceptions have the file's name for a message, and their class for a reason. */
  private static String reason(IOException e) {
    return e instanceof NoSuchFileException ? ": no such file or folder" : ": " + e.getMessage();
  }
}
