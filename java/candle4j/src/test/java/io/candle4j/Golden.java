package io.candle4j;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.stream.Stream;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.json.JsonMapper;

/** The golden checkpoints, with what transformers computes for them. */
final class Golden {
  private static final Path MODELS = Path.of(System.getProperty("candle4j.test.models"));

  private Golden() {}

  /** The names of all cases. */
  static List<String> cases() {
    try (Stream<Path> folders = Files.list(MODELS)) {
      return folders
          .filter(Files::isDirectory)
          .map(folder -> folder.getFileName().toString())
          .sorted()
          .toList();
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  static Path folder(String name) {
    return MODELS.resolve(name);
  }

  static CandleModel load(String name) {
    return CandleModel.builder().path(folder(name)).load();
  }

  static JsonNode expected(String name) {
    return JsonMapper.shared().readTree(folder(name).resolve("expected.json"));
  }

  static int[] ids(JsonNode list) {
    int[] ids = new int[list.size()];
    for (int i = 0; i < ids.length; i++) {
      ids[i] = list.get(i).asInt();
    }
    return ids;
  }

  /** A prompt of a case, the first of 5 tokens. */
  static int[] prompt(String name) {
    return ids(expected(name).get("sequences").get(0).get("prompt"));
  }

  /** The greedy continuation of {@link #prompt}. */
  static List<Integer> greedy(String name) {
    return list(ids(expected(name).get("sequences").get(0).get("greedy")));
  }

  static List<Integer> list(int[] ids) {
    return java.util.Arrays.stream(ids).boxed().toList();
  }

  /** Greedy, past any end-of-sequence token. */
  static GenerateOptions greedy(int maxTokens) {
    return GenerateOptions.greedy().toBuilder().maxTokens(maxTokens).ignoreEos(true).build();
  }

  /** Receives the results of a batch that nobody looks at. */
  static final BatchListener IGNORED = (index, result, done, total) -> {};

  static Request request(String text, GenerateOptions options) {
    return Request.of(text, options);
  }

  static Request request(int[] tokens, GenerateOptions options) {
    return Request.builder().tokens(tokens).options(options).build();
  }

  static Request request(List<ChatMessage> messages, GenerateOptions options) {
    return Request.builder().messages(messages).options(options).build();
  }

  /** A text that is taken as it stands. */
  static Request raw(String text, GenerateOptions options) {
    return Request.builder().rawText(text).options(options).build();
  }

  static List<Request> requests(List<String> texts, GenerateOptions options) {
    return texts.stream().map(text -> Request.of(text, options)).toList();
  }
}
