package io.candle4j.server;

import org.jspecify.annotations.Nullable;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.json.JsonMapper;
import tools.jackson.databind.node.ArrayNode;
import tools.jackson.databind.node.JsonNodeFactory;
import tools.jackson.databind.node.ObjectNode;

/** JSON documents that are put together. */
final class Json {
  private static final JsonMapper MAPPER = JsonMapper.shared();

  private Json() {}

  static ObjectNode object() {
    return JsonNodeFactory.instance.objectNode();
  }

  static ArrayNode array() {
    return JsonNodeFactory.instance.arrayNode();
  }

  static JsonNode text(String text) {
    return JsonNodeFactory.instance.stringNode(text);
  }

  /** Sets a field that there is. */
  static void put(ObjectNode object, String name, @Nullable JsonNode value) {
    if (value != null && !value.isNull()) {
      object.set(name, value);
    }
  }

  /** A node as Java's own types. */
  static Object value(JsonNode node) {
    return MAPPER.convertValue(node, Object.class);
  }

  /** A text as a document; the text itself when it is none. */
  static JsonNode parsedOrText(String text) {
    try {
      return MAPPER.readTree(text);
    } catch (tools.jackson.core.JacksonException e) {
      return text(text);
    }
  }

  static byte[] bytes(JsonNode node) {
    return MAPPER.writeValueAsBytes(node);
  }
}
