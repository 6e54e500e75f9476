package io.candle4j.langchain4j;

import dev.langchain4j.exception.UnsupportedFeatureException;
import dev.langchain4j.model.chat.request.json.JsonAnyOfSchema;
import dev.langchain4j.model.chat.request.json.JsonArraySchema;
import dev.langchain4j.model.chat.request.json.JsonBooleanSchema;
import dev.langchain4j.model.chat.request.json.JsonEnumSchema;
import dev.langchain4j.model.chat.request.json.JsonIntegerSchema;
import dev.langchain4j.model.chat.request.json.JsonNullSchema;
import dev.langchain4j.model.chat.request.json.JsonNumberSchema;
import dev.langchain4j.model.chat.request.json.JsonObjectSchema;
import dev.langchain4j.model.chat.request.json.JsonRawSchema;
import dev.langchain4j.model.chat.request.json.JsonReferenceSchema;
import dev.langchain4j.model.chat.request.json.JsonSchemaElement;
import dev.langchain4j.model.chat.request.json.JsonStringSchema;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;
import tools.jackson.core.JacksonException;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.json.JsonMapper;

/** LangChain4j's schemas as JSON Schema. */
final class Schemas {
  private Schemas() {}

  /** The document of an element; of none, an object without properties. */
  static String json(@Nullable JsonSchemaElement element) {
    if (element instanceof JsonRawSchema raw) {
      return raw.schema();
    }
    Object document = element == null ? map("object", null) : element(element);
    return JsonMapper.shared().writeValueAsString(document);
  }

  private static Object element(JsonSchemaElement element) {
    return switch (element) {
      case JsonStringSchema schema -> map("string", schema.description());
      case JsonIntegerSchema schema -> map("integer", schema.description());
      case JsonNumberSchema schema -> map("number", schema.description());
      case JsonBooleanSchema schema -> map("boolean", schema.description());
      case JsonNullSchema schema -> map("null", null);
      case JsonEnumSchema schema -> {
        Map<String, Object> map = map("string", schema.description());
        map.put("enum", schema.enumValues());
        yield map;
      }
      case JsonArraySchema schema -> {
        Map<String, Object> map = map("array", schema.description());
        if (schema.items() != null) {
          map.put("items", element(schema.items()));
        }
        yield map;
      }
      case JsonAnyOfSchema schema -> {
        Map<String, Object> map = map(null, schema.description());
        map.put("anyOf", schema.anyOf().stream().map(Schemas::element).toList());
        yield map;
      }
      case JsonReferenceSchema schema -> {
        Map<String, Object> map = map(null, schema.description());
        map.put("$ref", "#/$defs/" + schema.reference());
        yield map;
      }
      case JsonObjectSchema schema -> object(schema);
      case JsonRawSchema schema -> raw(schema.schema());
      default ->
          throw new UnsupportedFeatureException(
              "schemas of the kind " + element.getClass().getSimpleName() + " are not supported");
    };
  }

  /** A schema is an object, or true or false. */
  private static Object raw(String schema) {
    JsonNode node;
    try {
      node = JsonMapper.shared().readTree(schema);
    } catch (JacksonException e) {
      throw new IllegalArgumentException("schema: expected JSON: " + e.getOriginalMessage(), e);
    }
    if (!node.isObject() && !node.isBoolean()) {
      throw new IllegalArgumentException("schema: expected a JSON object, got " + schema);
    }
    return node;
  }

  private static Map<String, Object> object(JsonObjectSchema schema) {
    Map<String, Object> map = map("object", schema.description());
    map.put("properties", elements(schema.properties()));
    List<String> required = schema.required();
    map.put("required", required == null ? List.of() : required);
    if (schema.additionalProperties() != null) {
      map.put("additionalProperties", schema.additionalProperties());
    } else if (!schema.properties().isEmpty()) {
      // Without properties it stands for a map, whose names are not known.
      map.put("additionalProperties", false);
    }
    if (schema.definitions() != null && !schema.definitions().isEmpty()) {
      map.put("$defs", elements(schema.definitions()));
    }
    return map;
  }

  private static Map<String, Object> elements(Map<String, JsonSchemaElement> elements) {
    Map<String, Object> map = new LinkedHashMap<>();
    elements.forEach((name, element) -> map.put(name, element(element)));
    return map;
  }

  private static Map<String, Object> map(@Nullable String type, @Nullable String description) {
    Map<String, Object> map = new LinkedHashMap<>();
    if (type != null) {
      map.put("type", type);
    }
    if (description != null) {
      map.put("description", description);
    }
    return map;
  }
}
