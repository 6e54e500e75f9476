package io.candle4j.hub;

import io.candle4j.CandleException;
import java.util.Map;

/**
 * What can go wrong with the Hugging Face Hub and its cache. Each kind is a class of its own;
 * {@code switch} over them can be complete.
 */
public abstract sealed class HubException extends CandleException {
  private static final long serialVersionUID = 1L;

  private HubException(String message, Map<String, String> detail) {
    super(message, detail);
  }

  /** The Hub has no such repository, or hides it from this token. */
  public static final class ModelNotFound extends HubException {
    private static final long serialVersionUID = 1L;

    /**
     * Made by the library.
     *
     * @param message what is wrong, and what was expected
     * @param detail the things that the message names
     */
    public ModelNotFound(String message, Map<String, String> detail) {
      super(message, detail);
    }
  }

  /** The repository has no such branch, tag or commit. */
  public static final class RevisionNotFound extends HubException {
    private static final long serialVersionUID = 1L;

    /**
     * Made by the library.
     *
     * @param message what is wrong, and what was expected
     * @param detail the things that the message names
     */
    public RevisionNotFound(String message, Map<String, String> detail) {
      super(message, detail);
    }
  }

  /** The repository lacks a file that is needed. */
  public static final class FileNotFound extends HubException {
    private static final long serialVersionUID = 1L;

    /**
     * Made by the library.
     *
     * @param message what is wrong, and what was expected
     * @param detail the things that the message names
     */
    public FileNotFound(String message, Map<String, String> detail) {
      super(message, detail);
    }
  }

  /** Access to the repository must be asked for first; the message says where. */
  public static final class Gated extends HubException {
    private static final long serialVersionUID = 1L;

    /**
     * Made by the library.
     *
     * @param message what is wrong, and what was expected
     * @param detail the things that the message names
     */
    public Gated(String message, Map<String, String> detail) {
      super(message, detail);
    }
  }

  /** The Hub wants a token, or refuses the one it got. */
  public static final class Unauthorized extends HubException {
    private static final long serialVersionUID = 1L;

    /**
     * Made by the library.
     *
     * @param message what is wrong, and what was expected
     * @param detail the things that the message names
     */
    public Unauthorized(String message, Map<String, String> detail) {
      super(message, detail);
    }
  }

  /** The model is not in the cache, and the Hub may not be asked because of offline mode. */
  public static final class NotCached extends HubException {
    private static final long serialVersionUID = 1L;

    /**
     * Made by the library.
     *
     * @param message what is wrong, and what was expected
     * @param detail the things that the message names
     */
    public NotCached(String message, Map<String, String> detail) {
      super(message, detail);
    }
  }

  /** Downloaded bytes do not have the promised hash or size. Nothing of them is kept. */
  public static final class Checksum extends HubException {
    private static final long serialVersionUID = 1L;

    /**
     * Made by the library.
     *
     * @param message what is wrong, and what was expected
     * @param detail the things that the message names
     */
    public Checksum(String message, Map<String, String> detail) {
      super(message, detail);
    }
  }

  /** There is no room left where the cache lies. */
  public static final class DiskFull extends HubException {
    private static final long serialVersionUID = 1L;

    /**
     * Made by the library.
     *
     * @param message what is wrong, and what was expected
     * @param detail the things that the message names
     */
    public DiskFull(String message, Map<String, String> detail) {
      super(message, detail);
    }
  }

  /** The Hub cannot be reached, does not answer in time, or answers nonsense. */
  public static final class Unavailable extends HubException {
    private static final long serialVersionUID = 1L;

    /**
     * Made by the library.
     *
     * @param message what is wrong, and what was expected
     * @param detail the things that the message names
     */
    public Unavailable(String message, Map<String, String> detail) {
      super(message, detail);
    }
  }
}
