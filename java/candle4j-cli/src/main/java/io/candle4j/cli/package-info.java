/** The command candle: what it takes, does and prints. */
@NullMarked
package io.candle4j.cli;

import org.jspecify.annotations.NullMarked;
