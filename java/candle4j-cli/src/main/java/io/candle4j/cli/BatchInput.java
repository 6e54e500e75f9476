package io.candle4j.cli;

import java.io.BufferedInputStream;
import java.io.IOException;
import java.io.InputStream;
import java.io.UncheckedIOException;
import java.nio.charset.CharacterCodingException;
import java.util.HashMap;
import java.util.Map;
import org.jspecify.annotations.Nullable;
import tools.jackson.core.JacksonException;
import tools.jackson.databind.DeserializationFeature;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.cfg.JsonNodeFeature;
import tools.jackson.databind.json.JsonMapper;
import tools.jackson.databind.node.LongNode;
import tools.jackson.databind.node.NullNode;

/** The prompts of a batch, read one at a time: there may be more than memory holds. */
final class BatchInput {
  /** Ids come out as they went in, so numbers keep every digit. */
  static final JsonMapper MAPPER =
      JsonMapper.builder()
          .enable(DeserializationFeature.USE_BIG_DECIMAL_FOR_FLOATS)
          .enable(DeserializationFeature.FAIL_ON_TRAILING_TOKENS)
          .disable(JsonNodeFeature.STRIP_TRAILING_BIGDECIMAL_ZEROES)
          .build();

  private final InputStream in;
  private final Map<String, Integer> done;
  private long line;
  private long index;

  /**
   * Reads from a stream.
   *
   * @param done ids, as JSON, that are left out, and how often each
   */
  BatchInput(InputStream in, Map<String, Integer> done) {
    this.in = new BufferedInputStream(in, 1 << 16);
    this.done = new HashMap<>(done);
  }

  /** The number of lines of a stream, its end counted as the end of a line. */
  static long countLines(InputStream in) throws IOException {
    long lines = 0;
    byte last = '\n';
    byte[] buffer = new byte[1 << 16];
    for (int n; (n = in.read(buffer)) > 0; ) {
      for (int i = 0; i < n; i++) {
        lines += buffer[i] == '\n' ? 1 : 0;
      }
      last = buffer[n - 1];
    }
    return last == '\n' ? lines : lines + 1;
  }

  /**
   * Reads on.
   *
   * @return the next item that is to be answered, or null at the end
   * @throws UncheckedIOException when the input cannot be read
   */
  @Nullable BatchItem next() {
    while (true) {
      BatchItem item;
      try {
        byte[] bytes = InputLines.read(in);
        if (bytes == null) {
          return null;
        }
        line++;
        item = bytes.length > InputLines.LONGEST ? bad("too long") : parse(bytes);
      } catch (IOException e) {
        throw new UncheckedIOException(
            new IOException("cannot read the input: " + e.getMessage(), e));
      }
      if (item != null && !isDone(item)) {
        index++;
        return item;
      }
    }
  }

  /** An item, or null for a blank line. */
  private @Nullable BatchItem parse(byte[] bytes) {
    try {
      String text = StandardInput.decode(bytes);
      if (line == 1 && text.startsWith("\uFEFF")) {
        text = text.substring(1);
      }
      if (text.isBlank()) {
        return null;
      }
      JsonNode document = MAPPER.readTree(text);
      if (!document.isObject()) {
        return bad("expected a JSON object");
      }
      JsonNode id = document.hasNonNull("id") ? document.get("id") : LongNode.valueOf(line);
      if (!id.isString() && !id.isNumber()) {
        return bad(id, "id: expected a string or a number");
      }
      JsonNode prompt = document.get("prompt");
      if (prompt == null || prompt.isNull()) {
        return bad(id, "prompt: missing");
      }
      if (!prompt.isString()) {
        return bad(id, "prompt: expected a string");
      }
      return new BatchItem(index, id, prompt.stringValue(), null);
    } catch (CharacterCodingException e) {
      return bad("not UTF-8");
    } catch (JacksonException e) {
      return bad("not JSON: " + e.getOriginalMessage());
    }
  }

  private BatchItem bad(String reason) {
    return bad(NullNode.getInstance(), reason);
  }

  private BatchItem bad(JsonNode id, String reason) {
    return new BatchItem(index, id, null, "line " + line + ": " + reason);
  }

  private boolean isDone(BatchItem item) {
    String id = item.id().toString();
    int times = done.getOrDefault(id, 0);
    done.put(id, times - 1);
    return times > 0;
  }
}
