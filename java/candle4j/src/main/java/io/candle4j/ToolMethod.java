package io.candle4j;

import java.lang.annotation.Documented;
import java.lang.annotation.ElementType;
import java.lang.annotation.Retention;
import java.lang.annotation.RetentionPolicy;
import java.lang.annotation.Target;

/**
 * A method that a model may call, for {@link Tool#methodsOf}. Its parameters are the arguments;
 * {@link Description} on one tells the model what it means.
 */
@Documented
@Retention(RetentionPolicy.RUNTIME)
@Target(ElementType.METHOD)
public @interface ToolMethod {
  /**
   * What it does, for the model.
   *
   * @return a sentence
   */
  String value();

  /**
   * What the model calls it.
   *
   * @return the name; that of the method when left out
   */
  String name() default "";
}
