package io.candle4j;

import io.candle4j.internal.NativeTokenizer;
import java.nio.file.Path;
import java.util.Objects;

/**
 * Text to tokens and back. Any number of threads may use one.
 *
 * <p>That of a model lives as long as the model, and closing it does nothing; one that was loaded
 * by itself is closed by itself.
 */
public final class CandleTokenizer implements AutoCloseable {
  private final NativeTokenizer tokenizer;
  private final boolean borrowed;

  /**
   * A tokenizer.
   *
   * @param borrowed whether somebody else closes it
   */
  CandleTokenizer(NativeTokenizer tokenizer, boolean borrowed) {
    this.tokenizer = tokenizer;
    this.borrowed = borrowed;
  }

  /**
   * Reads a {@code tokenizer.json}, without any model.
   *
   * @param file the file
   * @return the tokenizer
   * @throws ModelException.Invalid when the file is not a tokenizer
   * @throws java.io.UncheckedIOException when it cannot be read
   */
  public static CandleTokenizer load(Path file) {
    return new CandleTokenizer(NativeTokenizer.load(file), false);
  }

  /**
   * Encodes a text. Special tokens in it are taken for what they mean; nothing is added.
   *
   * @param text the text
   * @return token ids
   * @throws IllegalArgumentException when the text holds half of a surrogate pair
   */
  public TokenIds encode(String text) {
    return encode(text, false);
  }

  /**
   * Encodes a text. Special tokens in it are taken for what they mean.
   *
   * @param text the text
   * @param addSpecial whether to add the tokens that the tokenizer puts around every text, such as
   *     one that begins a sequence
   * @return token ids
   * @throws IllegalArgumentException when the text holds half of a surrogate pair
   */
  public TokenIds encode(String text, boolean addSpecial) {
    return TokenIds.of(tokenizer.encode(Objects.requireNonNull(text, "text"), addSpecial));
  }

  /**
   * Decodes tokens; special tokens leave no text.
   *
   * @param ids token ids
   * @return the text
   */
  public String decode(TokenIds ids) {
    return decode(ids, true);
  }

  /**
   * Decodes tokens.
   *
   * @param ids token ids
   * @param skipSpecial whether special tokens leave no text
   * @return the text
   */
  public String decode(TokenIds ids, boolean skipSpecial) {
    return tokenizer.decode(ids.toIntArray(), skipSpecial);
  }

  /**
   * The number of tokens of a text, nothing added.
   *
   * @param text the text
   * @return the number
   */
  public int count(String text) {
    return encode(text).size();
  }

  /** Frees a tokenizer that was loaded by itself. Does nothing to that of a model. */
  @Override
  public void close() {
    if (!borrowed) {
      tokenizer.close();
    }
  }
}
