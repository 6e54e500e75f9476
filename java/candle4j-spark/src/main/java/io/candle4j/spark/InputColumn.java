package io.candle4j.spark;

import java.util.List;
import org.apache.spark.sql.Column;
import org.apache.spark.sql.types.ArrayType;
import org.apache.spark.sql.types.DataType;
import org.apache.spark.sql.types.LongType;
import org.apache.spark.sql.types.StringType;

/**
 * What a model reads of a row.
 *
 * @param name what it is, for errors
 * @param expression its values
 * @param types which of them the column may have
 */
record InputColumn(String name, Column expression, List<Type> types) {
  /** Types that inputs may have. */
  enum Type {
    TEXT("string"),
    TEXTS("array of strings"),
    NUMBER("bigint");

    private final String label;

    Type(String label) {
      this.label = label;
    }

    boolean has(DataType type) {
      return switch (this) {
        case TEXT -> type instanceof StringType;
        case TEXTS -> type instanceof ArrayType array && array.elementType() instanceof StringType;
        case NUMBER -> type instanceof LongType;
      };
    }
  }

  /**
   * Checks the type that the column has in a dataset.
   *
   * @throws IllegalArgumentException for another one
   */
  void check(DataType type) {
    if (types.stream().noneMatch(expected -> expected.has(type))) {
      String expected = String.join(" or ", types.stream().map(each -> each.label).toList());
      throw new IllegalArgumentException(
          name + ": expected a column of " + expected + ", got " + type.simpleString());
    }
  }
}
