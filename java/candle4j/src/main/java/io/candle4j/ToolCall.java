package io.candle4j;

import java.util.Objects;

/**
 * A tool that a model wants called.
 *
 * @param id tells calls of one conversation apart
 * @param name the tool's name
 * @param arguments the arguments as a JSON object
 */
public record ToolCall(String id, String name, String arguments) {
  /** Checks the parts. */
  public ToolCall {
    Objects.requireNonNull(id, "id");
    Objects.requireNonNull(name, "name");
    Objects.requireNonNull(arguments, "arguments");
  }
}
