/** Beans of Spring AI's models from properties that begin with {@code spring.ai.candle}. */
@NullMarked
package io.candle4j.springai.autoconfigure;

import org.jspecify.annotations.NullMarked;
