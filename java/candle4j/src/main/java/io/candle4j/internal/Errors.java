package io.candle4j.internal;

import static io.candle4j.bindings.candle4j_h.*;

import io.candle4j.ChatTemplateException;
import io.candle4j.ChecksumException;
import io.candle4j.ContextFullException;
import io.candle4j.DeviceUnavailableException;
import io.candle4j.DiskFullException;
import io.candle4j.GatedModelException;
import io.candle4j.HubUnavailableException;
import io.candle4j.InsufficientMemoryException;
import io.candle4j.InvalidModelException;
import io.candle4j.ModelFileNotFoundException;
import io.candle4j.ModelNotCachedException;
import io.candle4j.ModelNotFoundException;
import io.candle4j.NativeFailureException;
import io.candle4j.NumericException;
import io.candle4j.QueueFullException;
import io.candle4j.RevisionNotFoundException;
import io.candle4j.SessionBusyException;
import io.candle4j.TokenizerException;
import io.candle4j.UnauthorizedException;
import io.candle4j.UnsupportedModelException;
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
              Map.entry(C4J_INVALID_MODEL(), InvalidModelException::new),
              Map.entry(C4J_UNSUPPORTED_MODEL(), UnsupportedModelException::new),
              Map.entry(C4J_NUMERIC(), NumericException::new),
              Map.entry(C4J_OUT_OF_MEMORY(), InsufficientMemoryException::new),
              Map.entry(C4J_QUEUE_FULL(), QueueFullException::new),
              Map.entry(C4J_CONTEXT_FULL(), Errors::contextFull),
              Map.entry(C4J_DEVICE_UNAVAILABLE(), DeviceUnavailableException::new),
              Map.entry(C4J_TOKENIZER(), TokenizerException::new),
              Map.entry(C4J_CHAT_TEMPLATE(), ChatTemplateException::new),
              Map.entry(C4J_MODEL_NOT_FOUND(), ModelNotFoundException::new),
              Map.entry(C4J_REVISION_NOT_FOUND(), RevisionNotFoundException::new),
              Map.entry(C4J_FILE_NOT_FOUND(), ModelFileNotFoundException::new),
              Map.entry(C4J_GATED_MODEL(), GatedModelException::new),
              Map.entry(C4J_UNAUTHORIZED(), UnauthorizedException::new),
              Map.entry(C4J_MODEL_NOT_CACHED(), ModelNotCachedException::new),
              Map.entry(C4J_CHECKSUM(), ChecksumException::new),
              Map.entry(C4J_DISK_FULL(), DiskFullException::new),
              Map.entry(C4J_HUB_UNAVAILABLE(), HubUnavailableException::new));

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
