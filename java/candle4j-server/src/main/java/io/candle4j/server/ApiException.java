package io.candle4j.server;

import java.util.Optional;
import org.jspecify.annotations.Nullable;

/** A request that is answered with an error: its status, and what OpenAI's API says beside it. */
final class ApiException extends RuntimeException {
  private static final long serialVersionUID = 1L;

  private final int status;
  private final String type;
  private final @Nullable String code;
  private final @Nullable String param;

  ApiException(
      int status,
      String type,
      @Nullable String code,
      @Nullable String param,
      String message,
      @Nullable Throwable cause) {
    super(message, cause);
    this.status = status;
    this.type = type;
    this.code = code;
    this.param = param;
  }

  /** A request that is none; {@code param} is the field that is wrong. */
  static ApiException invalid(@Nullable String param, String message) {
    return new ApiException(400, "invalid_request_error", null, param, message, null);
  }

  /** A field that these models have no answer to. */
  static ApiException unsupported(String param, String message) {
    return new ApiException(
        400, "invalid_request_error", "unsupported_parameter", param, param + ": " + message, null);
  }

  /** A model that is not served. */
  static ApiException noModel(String model) {
    return new ApiException(
        404,
        "invalid_request_error",
        "model_not_found",
        "model",
        "the model " + model + " is not served here; /v1/models has those that are",
        null);
  }

  /** Too many requests. */
  static ApiException full(String message) {
    return new ApiException(429, "rate_limit_error", "queue_full", null, message, null);
  }

  /** A server that is about to end. */
  static ApiException ending() {
    return new ApiException(503, "server_error", "shutting_down", null, "shutting down", null);
  }

  int status() {
    return status;
  }

  String type() {
    return type;
  }

  Optional<String> code() {
    return Optional.ofNullable(code);
  }

  Optional<String> param() {
    return Optional.ofNullable(param);
  }

  /** The message, which there always is. */
  String text() {
    return String.valueOf(getMessage());
  }
}
