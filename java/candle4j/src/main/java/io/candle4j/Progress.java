package io.candle4j;

import java.util.OptionalLong;

/**
 * How far a download or a check is.
 *
 * @param phase what is going on
 * @param file the file that this report is about, relative to the repository; empty for none
 * @param bytes bytes of the file that are done, those found on disk included
 * @param total size of the file, when it is known
 * @param overallBytes bytes of all files together that are done
 * @param overallTotal size of all files together, when it is known
 * @param filesDone files that are complete
 * @param filesTotal files in all
 */
public record Progress(
    Phase phase,
    String file,
    long bytes,
    OptionalLong total,
    long overallBytes,
    OptionalLong overallTotal,
    int filesDone,
    int filesTotal) {

  /** What an operation is doing. */
  public enum Phase {
    /** Asking the Hub which commit and which files there are. */
    RESOLVE,
    /** Receiving bytes. */
    DOWNLOAD,
    /** Hashing what lies on disk. */
    VERIFY,
    /** Reading weights into memory. */
    LOAD
  }
}
