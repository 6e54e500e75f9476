package io.candle4j.hub;

import java.nio.file.Path;
import java.util.List;
import java.util.Optional;

/**
 * A model's files in the cache.
 *
 * @param folder where they lie, by their names in the repository
 * @param commit the commit that they belong to
 * @param files the files that loading needs
 * @param gguf the GGUF file to open, if the model is one
 */
public record Snapshot(Path folder, String commit, List<File> files, Optional<Path> gguf) {

  /** Copies the parts. */
  public Snapshot {
    files = List.copyOf(files);
  }

  /**
   * One file.
   *
   * @param name its name in the repository
   * @param size bytes
   */
  public record File(String name, long size) {}
}
