package io.candle4j.cli;

import picocli.CommandLine.ITypeConverter;
import picocli.CommandLine.TypeConversionException;

/**
 * Token ids written as {@code 1,2,3}. A type of its own: several values of one option are something
 * else to the parser.
 */
final class TokenIds {
  private final int[] ids;

  private TokenIds(int[] ids) {
    this.ids = ids;
  }

  /** The ids; not a copy. */
  int[] toArray() {
    return ids;
  }

  /** Reads them. */
  static final class Converter implements ITypeConverter<TokenIds> {
    @Override
    public TokenIds convert(String text) {
      String[] parts = text.split(",", -1);
      int[] ids = new int[parts.length];
      for (int i = 0; i < ids.length; i++) {
        try {
          ids[i] = Integer.parseInt(parts[i].strip());
        } catch (NumberFormatException e) {
          throw new TypeConversionException("'" + parts[i] + "' is not a token id");
        }
      }
      return new TokenIds(ids);
    }
  }
}
