package io.candle4j;

import java.util.AbstractList;
import java.util.Arrays;
import java.util.Collection;
import java.util.List;
import java.util.Objects;
import java.util.RandomAccess;
import org.jspecify.annotations.Nullable;

/**
 * Token ids: an immutable list of numbers below the size of a vocabulary, kept as an array.
 *
 * <p>It is a {@link List}, so it equals any other list of the same ids.
 */
public final class TokenIds extends AbstractList<Integer> implements RandomAccess {
  private static final TokenIds EMPTY = new TokenIds(new int[0]);

  private final int[] ids;

  private TokenIds(int[] ids) {
    this.ids = ids;
  }

  /**
   * Ids.
   *
   * @param ids the ids, which are copied
   * @return the value
   * @throws IllegalArgumentException when one is negative
   */
  public static TokenIds of(int... ids) {
    for (int id : ids) {
      if (id < 0) {
        throw new IllegalArgumentException("tokens: " + id + " is not a token id");
      }
    }
    return ids.length == 0 ? EMPTY : new TokenIds(ids.clone());
  }

  /**
   * Ids out of another collection.
   *
   * @param ids the ids
   * @return the value
   * @throws IllegalArgumentException when one is negative
   */
  public static TokenIds copyOf(Collection<Integer> ids) {
    return ids instanceof TokenIds same
        ? same
        : of(ids.stream().mapToInt(Objects::requireNonNull).toArray());
  }

  /**
   * The ids.
   *
   * @return a new array
   */
  public int[] toIntArray() {
    return ids.clone();
  }

  @Override
  public Integer get(int index) {
    return ids[index];
  }

  @Override
  public int size() {
    return ids.length;
  }

  @Override
  public TokenIds subList(int fromIndex, int toIndex) {
    Objects.checkFromToIndex(fromIndex, toIndex, ids.length);
    return new TokenIds(Arrays.copyOfRange(ids, fromIndex, toIndex));
  }

  @Override
  public boolean equals(@Nullable Object other) {
    return other instanceof TokenIds same ? Arrays.equals(ids, same.ids) : super.equals(other);
  }

  @Override
  public int hashCode() {
    return Arrays.hashCode(ids);
  }

  @Override
  public String toString() {
    return Arrays.toString(ids);
  }
}
