package io.candle4j;

/**
 * One token while it is generated.
 *
 * @param id its number in the vocabulary
 * @param text the text that became certain with it; often empty, since a character can take several
 *     tokens and what may be the beginning of a stop text is held back. The texts of all tokens
 *     joined are the text of the answer.
 */
public record Token(int id, String text) {}
