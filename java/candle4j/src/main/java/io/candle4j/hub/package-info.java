/**
 * The Hugging Face Hub and its cache: fetching, listing, verifying and removing models. {@link
 * io.candle4j.CandleModel#load} fetches what it needs by itself; this package is for programs that
 * manage models.
 */
@NullMarked
package io.candle4j.hub;

import org.jspecify.annotations.NullMarked;
