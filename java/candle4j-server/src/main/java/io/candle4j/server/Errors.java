package io.candle4j.server;

import io.candle4j.ContextFullException;
import io.candle4j.EmbeddingException;
import io.candle4j.ModelException;
import io.candle4j.QueueFullException;
import io.candle4j.hub.HubException;
import org.jspecify.annotations.Nullable;

/** What failures of the library are over HTTP. */
final class Errors {
  private static final System.Logger LOGGER = System.getLogger("io.candle4j.server");

  private Errors() {}

  /** The answer to a failure. Failures inside are logged. */
  static ApiException of(Throwable failure) {
    return switch (failure) {
      case ApiException known -> known;
      case ContextFullException full -> badRequest("context_length_exceeded", full);
      case QueueFullException full -> ApiException.full(message(full));
      case EmbeddingException text -> badRequest(null, text);
      case ModelException.Invalid model -> inside("model_invalid", model);
      case ModelException.Unsupported model -> badRequest("model_unsupported", model);
      case ModelException.InsufficientMemory memory -> unavailable("insufficient_memory", memory);
      case HubException.ModelNotFound none -> notFound(none);
      case HubException.RevisionNotFound none -> notFound(none);
      case HubException.FileNotFound none -> notFound(none);
      case HubException hub -> unavailable("hub_unavailable", hub);
      case IllegalArgumentException wrong -> badRequest(null, wrong);
      default -> inside(null, failure);
    };
  }

  private static ApiException badRequest(@Nullable String code, Throwable e) {
    String message = message(e);
    int end = message.indexOf(':');
    String param =
        end > 0 && message.substring(0, end).matches("[\\w.\\[\\]]+")
            ? message.substring(0, end)
            : null;
    return new ApiException(400, "invalid_request_error", code, param, message, e);
  }

  private static ApiException notFound(Throwable e) {
    return new ApiException(
        404, "invalid_request_error", "model_not_found", "model", message(e), e);
  }

  private static ApiException unavailable(String code, Throwable e) {
    LOGGER.log(System.Logger.Level.WARNING, message(e));
    return new ApiException(503, "server_error", code, null, message(e), e);
  }

  private static ApiException inside(@Nullable String code, Throwable e) {
    LOGGER.log(System.Logger.Level.ERROR, "a request failed", e);
    return new ApiException(500, "server_error", code, null, message(e), e);
  }

  private static String message(Throwable e) {
    return e.getMessage() == null ? e.getClass().getSimpleName() : e.getMessage();
  }
}
