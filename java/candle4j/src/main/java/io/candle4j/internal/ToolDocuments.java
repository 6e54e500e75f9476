package io.candle4j.internal;

import java.util.ArrayList;
import java.util.List;
import org.jspecify.annotations.Nullable;
import tools.jackson.databind.JsonNode;

/** Tools as JSON. */
public final class ToolDocuments {
  private ToolDocuments() {}

  /**
   * A tool as a document has it.
   *
   * @param name its name
   * @param description what it does, may be empty
   * @param parameters a JSON schema of its arguments
   */
  public record Document(String name, String description, String parameters) {}

  /**
   * Checks a schema of arguments.
   *
   * @param schema the schema
   * @return the schema
   * @throws IllegalArgumentException when it is no JSON object
   */
  public static String checkedSchema(String schema) {
    if (!Json.parse("schema", schema).isObject()) {
      throw new IllegalArgumentException("schema: expected a JSON object");
    }
    return schema;
  }

  /**
   * Reads tools as OpenAI's API writes them.
   *
   * @param json an array
   * @return the tools
   * @throws IllegalArgumentException that names the place of what is wrong
   */
  public static List<Document> parse(String json) {
    JsonNode document = Json.parse("tools", json);
    if (!document.isArray()) {
      throw new IllegalArgumentException("tools: expected an array");
    }
    List<Document> tools = new ArrayList<>();
    for (JsonNode tool : document) {
      String place = "tools[" + tools.size() + "]";
      JsonNode type = tool.get("type");
      if (type != null && !(type.isString() && type.stringValue().equals("function"))) {
        throw new IllegalArgumentException(place + ".type: expected \"function\"");
      }
      // Some write the function itself.
      JsonNode function = tool.has("function") ? tool.get("function") : tool;
      if (!function.isObject()) {
        throw new IllegalArgumentException(place + ".function: expected an object");
      }
      String name = text(place + ".function.name", function.get("name"));
      if (name == null) {
        throw new IllegalArgumentException(place + ".function.name: expected a text");
      }
      String description = text(place + ".function.description", function.get("description"));
      JsonNode parameters = function.get("parameters");
      boolean absent = parameters == null || parameters.isNull();
      if (!absent && !parameters.isObject()) {
        throw new IllegalArgumentException(place + ".function.parameters: expected an object");
      }
      tools.add(
          new Document(
              name,
              description == null ? "" : description,
              absent ? "{\"type\":\"object\",\"properties\":{}}" : parameters.toString()));
    }
    return tools;
  }

  private static @Nullable String text(String place, @Nullable JsonNode value) {
    if (value == null || value.isNull()) {
      return null;
    }
    if (!value.isString()) {
      throw new IllegalArgumentException(place + ": expected a text");
    }
    return value.stringValue();
  }
}
