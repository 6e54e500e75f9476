package io.candle4j;

/**
 * A document, and how well it fits a query.
 *
 * @param index its number among the documents that were given
 * @param document the document
 * @param score more for one that fits better
 */
public record RankedDocument(int index, String document, double score) {}
