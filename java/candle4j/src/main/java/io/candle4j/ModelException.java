package io.candle4j;

import java.util.Map;

/**
 * What can go wrong with a model: its files, the machine that it is to run on, its numbers. Each
 * kind is a class of its own; {@code switch} over them can be complete.
 */
public abstract sealed class ModelException extends CandleException {
  private static final long serialVersionUID = 1L;

  private ModelException(String message, Map<String, String> detail) {
    super(message, detail);
  }

  /**
   * The model's files contradict each other, are damaged, or lack something. The message names the
   * file, key or tensor, what was expected and what was found.
   */
  public static final class Invalid extends ModelException {
    private static final long serialVersionUID = 1L;

    /**
     * Made by the library.
     *
     * @param message what is wrong, and what was expected
     * @param detail the things that the message names
     */
    public Invalid(String message, Map<String, String> detail) {
      super(message, detail);
    }
  }

  /**
   * The model is well formed, but this library would not compute it rightly, so it is refused. The
   * message names the configuration key and its value.
   */
  public static final class Unsupported extends ModelException {
    private static final long serialVersionUID = 1L;

    /**
     * Made by the library.
     *
     * @param message what is wrong, and what was expected
     * @param detail the things that the message names
     */
    public Unsupported(String message, Map<String, String> detail) {
      super(message, detail);
    }
  }

  /** NaN or infinity in weights or logits. */
  public static final class Numeric extends ModelException {
    private static final long serialVersionUID = 1L;

    /**
     * Made by the library.
     *
     * @param message what is wrong, and what was expected
     * @param detail the things that the message names
     */
    public Numeric(String message, Map<String, String> detail) {
      super(message, detail);
    }
  }

  /**
   * The model would not fit into the memory that is available. Nothing was allocated; the message
   * has both sizes.
   */
  public static final class InsufficientMemory extends ModelException {
    private static final long serialVersionUID = 1L;

    /**
     * Made by the library.
     *
     * @param message what is wrong, and what was expected
     * @param detail the things that the message names
     */
    public InsufficientMemory(String message, Map<String, String> detail) {
      super(message, detail);
    }
  }

  /** The device is not there, or this build of the native library cannot use it. */
  public static final class DeviceUnavailable extends ModelException {
    private static final long serialVersionUID = 1L;

    /**
     * Made by the library.
     *
     * @param message what is wrong, and what was expected
     * @param detail the things that the message names
     */
    public DeviceUnavailable(String message, Map<String, String> detail) {
      super(message, detail);
    }
  }

  /** The tokenizer cannot encode or decode. */
  public static final class Tokenizer extends ModelException {
    private static final long serialVersionUID = 1L;

    /**
     * Made by the library.
     *
     * @param message what is wrong, and what was expected
     * @param detail the things that the message names
     */
    public Tokenizer(String message, Map<String, String> detail) {
      super(message, detail);
    }
  }

  /** The model has no chat template, or its template cannot render these messages. */
  public static final class ChatTemplate extends ModelException {
    private static final long serialVersionUID = 1L;

    /**
     * Made by the library.
     *
     * @param message what is wrong, and what was expected
     * @param detail the things that the message names
     */
    public ChatTemplate(String message, Map<String, String> detail) {
      super(message, detail);
    }
  }
}
