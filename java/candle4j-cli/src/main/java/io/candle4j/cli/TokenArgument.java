package io.candle4j.cli;

import io.candle4j.TokenIds;
import picocli.CommandLine.ITypeConverter;
import picocli.CommandLine.TypeConversionException;

/**
 * Token ids written as {@code 1,2,3}. No list, which the parser takes for several values of one
 * option.
 *
 * @param ids the ids
 */
record TokenArgument(TokenIds ids) {

  /** Reads them. */
  static final class Converter implements ITypeConverter<TokenArgument> {
    @Override
    public TokenArgument convert(String text) {
      String[] parts = text.split(",", -1);
      int[] ids = new int[parts.length];
      for (int i = 0; i < ids.length; i++) {
        try {
          ids[i] = Integer.parseInt(parts[i].strip());
        } catch (NumberFormatException e) {
          throw new TypeConversionException("'" + parts[i] + "' is not a token id");
        }
      }
      try {
        return new TokenArgument(TokenIds.of(ids));
      } catch (IllegalArgumentException e) {
        throw new TypeConversionException(e.getMessage());
      }
    }
  }
}
