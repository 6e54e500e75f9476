/** The only code that knows {@link java.lang.foreign}. Not part of the API. */
@NullMarked
package io.candle4j.internal;

import org.jspecify.annotations.NullMarked;
