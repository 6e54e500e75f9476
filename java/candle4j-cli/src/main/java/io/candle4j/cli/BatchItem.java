package io.candle4j.cli;

import java.util.Map;
import java.util.Objects;
import org.jspecify.annotations.Nullable;
import tools.jackson.databind.JsonNode;

/**
 * One line of a batch's input.
 *
 * @param index its place among those that become lines of the output
 * @param id its id, as it was written
 * @param prompt the prompt, or null when the line has none that could be answered
 * @param error what is wrong with the line, or null
 */
record BatchItem(long index, JsonNode id, @Nullable String prompt, @Nullable String error) {

  /** The prompt of a line without an error. */
  String answerable() {
    return Objects.requireNonNull(prompt, "prompt");
  }

  /** The line of the output for an answer. */
  Map<String, Object> answered(String text, String finishReason) {
    return Json.object("id", id, "text", text, "finish_reason", finishReason);
  }

  /** The line of the output for a failure. */
  Map<String, Object> failed(String message) {
    return Json.object("id", id, "error", message);
  }
}
