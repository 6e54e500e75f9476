package io.candle4j;

import java.util.Objects;
import java.util.Optional;

/**
 * Whether a model calls tools.
 *
 * @param mode whether it does
 * @param name the tool that it calls; for {@link Mode#NAMED} only
 */
public record ToolChoice(Mode mode, Optional<String> name) {
  /** The model may call tools. A call that it begins becomes one of a tool that is offered. */
  public static final ToolChoice AUTO = new ToolChoice(Mode.AUTO, Optional.empty());

  /** The model calls one tool or more, and says nothing else. */
  public static final ToolChoice REQUIRED = new ToolChoice(Mode.REQUIRED, Optional.empty());

  /** The model calls no tool, and is told of none. */
  public static final ToolChoice NONE = new ToolChoice(Mode.NONE, Optional.empty());

  /** Whether a model calls tools. */
  public enum Mode {
    /** It may. */
    AUTO,
    /** It does. */
    REQUIRED,
    /** It does not. */
    NONE,
    /** It calls one that is named, once. */
    NAMED
  }

  /** Checks that there is a name where one is needed. */
  public ToolChoice {
    Objects.requireNonNull(mode, "mode");
    if (name.isPresent() != (mode == Mode.NAMED)) {
      throw new IllegalArgumentException("name: expected one for NAMED, and for nothing else");
    }
  }

  /**
   * The model calls this tool.
   *
   * @param name the tool's name
   * @return the choice
   */
  public static ToolChoice of(String name) {
    return new ToolChoice(Mode.NAMED, Optional.of(name));
  }
}
