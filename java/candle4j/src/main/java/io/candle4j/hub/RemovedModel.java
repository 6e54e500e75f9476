package io.candle4j.hub;

import java.util.List;

/**
 * What removing a model from the cache reclaimed.
 *
 * @param bytes bytes that the disk has back
 * @param files contents that were deleted
 * @param commits the commits that are gone
 */
public record RemovedModel(long bytes, int files, List<String> commits) {

  /** Copies the parts. */
  public RemovedModel {
    commits = List.copyOf(commits);
  }
}
