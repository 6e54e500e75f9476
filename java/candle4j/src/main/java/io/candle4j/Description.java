package io.candle4j;

import java.lang.annotation.Documented;
import java.lang.annotation.ElementType;
import java.lang.annotation.Retention;
import java.lang.annotation.RetentionPolicy;
import java.lang.annotation.Target;

/**
 * Says to the model what a type, or a component of a record, means. It becomes the {@code
 * description} in the JSON schema. Jackson's {@code JsonPropertyDescription} and {@code
 * JsonClassDescription} do the same.
 */
@Documented
@Retention(RetentionPolicy.RUNTIME)
@Target({
  ElementType.TYPE,
  ElementType.RECORD_COMPONENT,
  ElementType.FIELD,
  ElementType.METHOD,
  ElementType.PARAMETER
})
public @interface Description {
  /**
   * What it means.
   *
   * @return a sentence
   */
  String value();
}
