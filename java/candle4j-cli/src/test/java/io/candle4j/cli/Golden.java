package io.candle4j.cli;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.json.JsonMapper;

/** The golden checkpoints: tiny random models, and what transformers computes for them. */
final class Golden {
  private static final Path MODELS = Path.of(System.getProperty("candle4j.test.models"));

  /** One with a chat template. */
  static final String LLAMA = folder("llama-plain").toString();

  /** One without. */
  static final String MISTRAL = folder("mistral-plain").toString();

  private Golden() {}

  static Path folder(String name) {
    return MODELS.resolve(name);
  }

  static JsonNode expected(String name) {
    return JsonMapper.shared().readTree(folder(name).resolve("expected.json"));
  }

  /** The shortest of a case's sequences. */
  static JsonNode sequence(String name) {
    return expected(name).get("sequences").get(0);
  }

  static List<Integer> ids(JsonNode list) {
    List<Integer> ids = new ArrayList<>();
    list.forEach(id -> ids.add(id.intValue()));
    return ids;
  }

  /** Ids as {@code --tokens} takes them. */
  static String joined(JsonNode list) {
    return ids(list).stream().map(String::valueOf).collect(Collectors.joining(","));
  }

  /**
   * A copy of a checkpoint in which every occurrence of a text in its configuration is replaced.
   */
  static Path copy(String name, Path target, String text, String replacement) {
    try (Stream<Path> files = Files.list(folder(name))) {
      Files.createDirectories(target);
      for (Path file : files.toList()) {
        Path copy = target.resolve(file.getFileName());
        if (file.endsWith("config.json") || file.endsWith("generation_config.json")) {
          Files.writeString(copy, Files.readString(file).replace(text, replacement));
        } else {
          Files.copy(file, copy);
        }
      }
      return target;
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  /** A copy whose context is so long that it takes many seconds to fill. */
  static String endless(Path target) {
    return copy(
            "llama-plain",
            target,
            "\"max_position_embeddings\": 512",
            "\"max_position_embeddings\": 200000")
        .toString();
  }
}
