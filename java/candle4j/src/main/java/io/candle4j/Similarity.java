package io.candle4j;

/** How the vectors of a model are compared, as its files say. More is more alike. */
public enum Similarity {
  /** The cosine of the angle between them. */
  COSINE,
  /** Their scalar product. */
  DOT,
  /** Their distance, negative. */
  EUCLIDEAN,
  /** The sum of their differences in all places, negative. */
  MANHATTAN;

  /**
   * Compares two vectors.
   *
   * @param a a vector
   * @param b another of the same model
   * @return more for vectors that are more alike
   * @throws IllegalArgumentException when they have different numbers of dimensions
   */
  public double of(Embedding a, Embedding b) {
    return switch (this) {
      case COSINE -> a.cosine(b);
      case DOT -> a.dot(b);
      case EUCLIDEAN -> -a.distance(b);
      case MANHATTAN -> -a.manhattan(b);
    };
  }
}
