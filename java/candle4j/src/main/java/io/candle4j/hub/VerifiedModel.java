package io.candle4j.hub;

import java.util.List;
import java.util.Optional;

/**
 * What hashing a cached model found.
 *
 * @param commit the commit whose files were hashed
 * @param files the files
 */
public record VerifiedModel(String commit, List<File> files) {

  /** Copies the parts. */
  public VerifiedModel {
    files = List.copyOf(files);
  }

  /**
   * Whether no file is corrupt or missing.
   *
   * @return whether so
   */
  public boolean isIntact() {
    return files.stream()
        .noneMatch(f -> f.verdict() == Verdict.CORRUPT || f.verdict() == Verdict.MISSING);
  }

  /** What a file turned out to be. */
  public enum Verdict {
    /** Its hash is right. */
    INTACT,
    /** Its hash or its size is wrong. */
    CORRUPT,
    /** It was fetched once and is not there. */
    MISSING,
    /** Nobody knows its hash; its size is right as far as that is known. */
    UNKNOWN
  }

  /**
   * One file.
   *
   * @param name its name in the repository
   * @param size bytes
   * @param verdict what it turned out to be
   * @param expected the promised hash or size of a corrupt file
   * @param got what a corrupt file has instead
   */
  public record File(
      String name, long size, Verdict verdict, Optional<String> expected, Optional<String> got) {}
}
