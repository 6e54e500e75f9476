package io.candle4j;

import java.lang.reflect.ParameterizedType;
import java.lang.reflect.Type;

/**
 * A type with its parameters, which a {@link Class} cannot say: {@code new TypeRef<List<Person>>()
 * {}}.
 *
 * @param <T> the type
 */
public abstract class TypeRef<T> {
  private final Type type;

  /**
   * Takes the type from the subclass.
   *
   * @throws IllegalArgumentException when the subclass does not say it
   */
  protected TypeRef() {
    if (!(getClass().getGenericSuperclass() instanceof ParameterizedType parameterized)
        || parameterized.getRawType() != TypeRef.class) {
      throw new IllegalArgumentException("type: expected new TypeRef<…>() {} with a type");
    }
    this.type = parameterized.getActualTypeArguments()[0];
  }

  /**
   * The type.
   *
   * @return the type
   */
  public final Type type() {
    return type;
  }
}
