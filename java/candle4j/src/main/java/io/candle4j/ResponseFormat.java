package io.candle4j;

import io.candle4j.internal.TypedJson;
import java.io.Serializable;
import java.lang.reflect.Type;
import java.util.List;
import java.util.Objects;

/**
 * A form that an answer has to have. The model chooses among the tokens that the form allows, so
 * that an answer that is not cut always has it. What a model thinks before its answer is free.
 *
 * <p>It helps to tell the model, too: a model that does not know what is wanted fills a form with
 * what comes to its mind.
 */
public sealed interface ResponseFormat extends Serializable {
  /**
   * A JSON document that a schema describes, on one line.
   *
   * @param schema the schema, as JSON
   */
  record JsonSchema(String schema) implements ResponseFormat {
    /** Checks that there is one. */
    public JsonSchema {
      Objects.requireNonNull(schema, "schema");
    }
  }

  /**
   * A text that a regular expression describes as a whole.
   *
   * @param regex the expression, in the syntax of Rust's crate regex
   */
  record Regex(String regex) implements ResponseFormat {
    /** Checks that there is one. */
    public Regex {
      Objects.requireNonNull(regex, "regex");
    }
  }

  /**
   * A text that a context-free grammar describes.
   *
   * @param grammar the grammar in Lark's notation, as llguidance reads it; it begins with {@code
   *     start}
   */
  record Lark(String grammar) implements ResponseFormat {
    /** Checks that there is one. */
    public Lark {
      Objects.requireNonNull(grammar, "grammar");
    }
  }

  /**
   * One of several texts.
   *
   * @param texts the texts, none of them empty
   */
  record OneOf(List<String> texts) implements ResponseFormat {
    /** Checks and copies the texts. */
    public OneOf {
      texts = List.copyOf(texts);
      if (texts.isEmpty() || texts.contains("")) {
        throw new IllegalArgumentException("oneOf: expected texts to choose from, none empty");
      }
    }
  }

  /**
   * Any JSON object.
   *
   * @return the format
   */
  static ResponseFormat json() {
    return new JsonSchema("{\"type\": \"object\"}");
  }

  /**
   * A JSON document that a schema describes.
   *
   * @param schema the schema, as JSON. What of it is not supported, such as {@code uniqueItems}, is
   *     an {@link IllegalArgumentException} of the request
   * @return the format
   */
  static ResponseFormat jsonSchema(String schema) {
    return new JsonSchema(schema);
  }

  /**
   * A JSON document for a value of a type, as {@link CandleSession#generate(Request, Class)} asks
   * for it.
   *
   * @param type a class, or a type with parameters
   * @return the format
   * @throws IllegalArgumentException for a type that no schema describes; the message names the
   *     place
   */
  static ResponseFormat jsonSchema(Type type) {
    return new JsonSchema(TypedJson.of(type).schema());
  }

  /**
   * A text that a regular expression describes as a whole.
   *
   * @param regex the expression
   * @return the format
   */
  static ResponseFormat regex(String regex) {
    return new Regex(regex);
  }

  /**
   * A text that a context-free grammar describes.
   *
   * @param grammar the grammar in Lark's notation
   * @return the format
   */
  static ResponseFormat lark(String grammar) {
    return new Lark(grammar);
  }

  /**
   * One of several texts.
   *
   * @param texts the texts, none of them empty
   * @return the format
   */
  static ResponseFormat oneOf(String... texts) {
    return new OneOf(List.of(texts));
  }
}
