package io.candle4j.internal;

/** Throwing what was caught as it was. */
final class Throwables {
  private Throwables() {}

  /** Throws {@code t} itself, also when it is checked (a Kotlin or Scala listener may do that). */
  @SuppressWarnings("unchecked")
  static <T extends Throwable> void sneak(Throwable t) throws T {
    throw (T) t;
  }
}
