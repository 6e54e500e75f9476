package io.candle4j;

import java.util.Arrays;
import java.util.Objects;
import org.jspecify.annotations.Nullable;

/** The vector of a text. */
public final class Embedding {
  private static final int INT8_MOST = 127;

  private final float[] vector;
  private final int tokens;
  private final int leftOut;

  /**
   * Made by the library, and by tests.
   *
   * @param vector the numbers
   * @param tokens tokens of the text that were read, those of a prompt and around the text included
   * @param leftOut tokens at its end that did not fit
   */
  public Embedding(float[] vector, int tokens, int leftOut) {
    this.vector = vector.clone();
    this.tokens = tokens;
    this.leftOut = leftOut;
  }

  /**
   * The numbers.
   *
   * @return a copy
   */
  public float[] vector() {
    return vector.clone();
  }

  /**
   * How many numbers there are.
   *
   * @return at least 1
   */
  public int dimensions() {
    return vector.length;
  }

  /**
   * How many tokens of the text were read, those of a prompt and around the text included.
   *
   * @return at least 1
   */
  public int tokens() {
    return tokens;
  }

  /**
   * How many tokens at the text's end were left out, because it was too long.
   *
   * @return 0 for a text that was read as a whole
   */
  public int leftOut() {
    return leftOut;
  }

  /**
   * How alike two texts are: the cosine of the angle between their vectors.
   *
   * @param other a vector of the same model
   * @return from -1 to 1; 0 where one has no length
   * @throws IllegalArgumentException when the other has another number of dimensions
   */
  public double cosine(Embedding other) {
    double length = Math.sqrt(dot(this) * other.dot(other));
    return length == 0 ? 0 : Math.clamp(dot(other) / length, -1.0, 1.0);
  }

  /**
   * The scalar product of two vectors, which is the cosine where both have the length 1.
   *
   * @param other a vector of the same model
   * @return the product
   * @throws IllegalArgumentException when the other has another number of dimensions
   */
  public double dot(Embedding other) {
    check(other);
    double sum = 0;
    for (int i = 0; i < vector.length; i++) {
      sum += (double) vector[i] * other.vector[i];
    }
    return sum;
  }

  /**
   * The distance between the ends of two vectors.
   *
   * @param other a vector of the same model
   * @return at least 0
   * @throws IllegalArgumentException when the other has another number of dimensions
   */
  public double distance(Embedding other) {
    check(other);
    double sum = 0;
    for (int i = 0; i < vector.length; i++) {
      double difference = (double) vector[i] - other.vector[i];
      sum += difference * difference;
    }
    return Math.sqrt(sum);
  }

  /** The sum of the differences in all places. */
  double manhattan(Embedding other) {
    check(other);
    double sum = 0;
    for (int i = 0; i < vector.length; i++) {
      sum += Math.abs((double) vector[i] - other.vector[i]);
    }
    return sum;
  }

  private void check(Embedding other) {
    if (vector.length != other.vector.length) {
      throw new IllegalArgumentException(
          "other: expected " + vector.length + " dimensions, got " + other.vector.length);
    }
  }

  /**
   * The vector in a byte a number, for a quarter of the room: each is scaled so that the greatest
   * becomes 127 or -127. Directions stay, so cosines of such vectors are nearly those of the
   * vectors.
   *
   * @return as many bytes as there are dimensions
   */
  public byte[] toInt8() {
    float most = 0;
    for (float number : vector) {
      most = Math.max(most, Math.abs(number));
    }
    byte[] bytes = new byte[vector.length];
    for (int i = 0; i < bytes.length; i++) {
      bytes[i] = most == 0 ? 0 : (byte) Math.round(vector[i] / most * INT8_MOST);
    }
    return bytes;
  }

  /**
   * The vector in a bit a number, for a thirty-second of the room: whether it is above 0. Such
   * vectors are compared by the number of bits that differ. The first number is the highest bit of
   * the first byte, as in numpy's {@code packbits}.
   *
   * @return an eighth as many bytes as there are dimensions, rounded up
   */
  public byte[] toBinary() {
    byte[] bytes = new byte[(vector.length + Byte.SIZE - 1) / Byte.SIZE];
    for (int i = 0; i < vector.length; i++) {
      if (vector[i] > 0) {
        bytes[i / Byte.SIZE] |= (byte) (1 << (Byte.SIZE - 1 - i % Byte.SIZE));
      }
    }
    return bytes;
  }

  @Override
  public boolean equals(@Nullable Object other) {
    return other instanceof Embedding same
        && Arrays.equals(vector, same.vector)
        && tokens == same.tokens
        && leftOut == same.leftOut;
  }

  @Override
  public int hashCode() {
    return Objects.hash(Arrays.hashCode(vector), tokens, leftOut);
  }

  @Override
  public String toString() {
    return "Embedding of " + vector.length + " numbers, from " + tokens + " tokens";
  }
}
