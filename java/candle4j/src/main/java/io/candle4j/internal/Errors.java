package io.candle4j.internal;

import static io.candle4j.bindings.candle4j_h.*;

import io.candle4j.ContextFullException;
import io.candle4j.ModelException;
import io.candle4j.NativeFailureException;
import io.candle4j.QueueFullException;
import io.candle4j.SessionBusyException;
import io.candle4j.hub.HubException;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.concurrent.CancellationException;
import java.util.function.BiFunction;
import tools.jackson.databind.JsonNode;

/** The exception class of each status of the C ABI. */
final class Errors {
  private static final Map<Integer, BiFunction<String, Map<String, String>, RuntimeException>>
      CLASSES =
          Map.ofEntries(
              Map.entry(C4J_INVALID_ARGUMENT(), (m, d) -> new IllegalArgumentException(m)),
              Map.entry(C4J_BUSY(), SessionBusyException::new),
              Map.entry(C4J_CANCELLED(), (m, d) -> new CancellationException(m)),
              Map.entry(C4J_NOT_SUPPORTED(), (m, d) -> new UnsupportedOperationException(m)),
              Map.entry(C4J_IO(), (m, d) -> new UncheckedIOException(new IOException(m))),
              Map.entry(C4J_INVALID_MODEL(), ModelException.Invalid::new),
              Map.entry(C4J_UNSUPPORTED_MODEL(), ModelException.Unsupported::new),
              Map.entry(C4J_NUMERIC(), ModelException.Numeric::new),
              Map.entry(C4J_OUT_OF_MEMORY(), ModelException.InsufficientMemory::new),
              Map.entry(C4J_QUEUE_FULL(), QueueFullException::new),
              Map.entry(C4J_CONTEXT_FULL(), Errors::contextFull),
              Map.entry(C4J_DEVICE_UNAVAILABLE(), ModelException.DeviceUnavailable::new),
              Map.entry(C4J_TOKENIZER(), ModelException.Tokenizer::new),
              Map.entry(C4J_CHAT_TEMPLATE(), ModelException.ChatTemplate::new),
              Map.entry(C4J_MODEL_NOT_FOUND(), HubException.ModelNotFound::new),
              Map.entry(C4J_REVISION_NOT_FOUND(), HubException.RevisionNotFound::new),
              Map.entry(C4J_FILE_NOT_FOUND(), HubException.FileNotFound::new),
              Map.entry(C4J_GATED_MODEL(), HubException.Gated::new),
              Map.entry(C4J_UNAUTHORIZED(), HubException.Unauthorized::new),
              Map.entry(C4J_MODEL_NOT_CACHED(), HubException.NotCached::new),
              Map.entry(C4J_CHECKSUM(), HubException.Checksum::new),
              Map.entry(C4J_DISK_FULL(), HubException.DiskFull::new),
              Map.entry(C4J_HUB_UNAVAILABLE(), HubException.Unavailable::new));

  private Errors() {}

  /**
   * The exception that a failure stands for. Codes without a class of their own (panics, poisoned
   * handles, a failed forward pass) are {@link NativeFailureException}.
   */
  static RuntimeException of(int code, String message, String detailJson) {
    Map<String, String> detail = new LinkedHashMap<>();
    for (Map.Entry<String, JsonNode> entry : Json.tree(detailJson).properties()) {
      JsonNode value = entry.getValue();
      detail.put(entry.getKey(), value.isString() ? value.stringValue() : value.toString());
    }
    return CLASSES
        .getOrDefault(code, (m, d) -> new NativeFailureException(m, d))
        .apply(message, detail);
  }

  private static RuntimeException contextFull(String message, Map<String, String> detail) {
    return new ContextFullException(
        message, Integer.parseInt(detail.get("needed")), Integer.parseInt(detail.get("limit")));
  }
}
