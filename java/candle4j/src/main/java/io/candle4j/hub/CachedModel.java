package io.candle4j.hub;

import java.nio.file.Path;
import java.time.Instant;
import java.util.List;
import java.util.Optional;

/**
 * A model in the cache.
 *
 * @param id its id on the Hub
 * @param folder its folder in the cache
 * @param sizeOnDisk bytes that it takes, contents that revisions share counted once
 * @param lastUsed when it was last read, as far as the file system notes that
 * @param revisions its revisions, the one that changed last first
 */
public record CachedModel(
    String id, Path folder, long sizeOnDisk, Optional<Instant> lastUsed, List<Revision> revisions) {

  /** Copies the parts. */
  public CachedModel {
    revisions = List.copyOf(revisions);
  }

  /**
   * One revision.
   *
   * @param commit the commit
   * @param refs branches and tags that stood for it when they were last asked for
   * @param size bytes of all its files
   * @param files the files that are there
   */
  public record Revision(String commit, List<String> refs, long size, List<Snapshot.File> files) {

    /** Copies the parts. */
    public Revision {
      refs = List.copyOf(refs);
      files = List.copyOf(files);
    }
  }
}
