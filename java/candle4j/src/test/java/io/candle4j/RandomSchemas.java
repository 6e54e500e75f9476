package io.candle4j;

import java.util.Random;
import tools.jackson.databind.json.JsonMapper;
import tools.jackson.databind.node.ArrayNode;
import tools.jackson.databind.node.ObjectNode;

/** JSON schemas of every kind that answers may have to follow, the same ones for the same seed. */
final class RandomSchemas {
  private static final String[] NAMES = {"name", "colour", "größe", "a key", "items", "x", "next"};
  private static final String[] PATTERNS = {
    "^[a-z]{2,5}$",
    "^[A-Z]{3}-\\d{2,4}$",
    "^(ja|nein|vielleicht)$",
    "^\\w+@[a-z]+\\.(org|com)$",
    "^$"
  };
  private static final String[] FORMATS = {"date", "date-time", "uuid", "time", "ipv4"};

  private final Random random;
  private final ObjectNode definitions = JsonMapper.shared().createObjectNode();

  private RandomSchemas(long seed) {
    this.random = new Random(seed);
  }

  /** A schema whose top is an object. */
  static ObjectNode schema(long seed) {
    RandomSchemas schemas = new RandomSchemas(seed);
    schemas.definitions.set("leaf", schemas.leaf());
    schemas.definitions.set("node", schemas.list());
    ObjectNode schema = schemas.object(2);
    schema.set("$defs", schemas.definitions);
    return schema;
  }

  /** A list by itself, as recursive types have them. */
  private ObjectNode list() {
    ObjectNode node = typed("object");
    ObjectNode properties = node.putObject("properties");
    properties.set("value", leaf());
    ArrayNode next = properties.putObject("next").putArray("anyOf");
    next.addObject().put("type", "null");
    next.addObject().put("$ref", "#/$defs/node");
    node.putArray("required").add("value").add("next");
    node.put("additionalProperties", false);
    return node;
  }

  private ObjectNode any(int depth) {
    int kind = depth == 0 ? 9 : random.nextInt(10);
    return switch (kind) {
      case 0, 1 -> object(depth - 1);
      case 2, 3 -> array(depth - 1);
      case 4 -> choice(depth - 1);
      case 5 -> JsonMapper.shared().createObjectNode().put("$ref", "#/$defs/leaf");
      case 6 -> JsonMapper.shared().createObjectNode().put("$ref", "#/$defs/node");
      default -> leaf();
    };
  }

  private ObjectNode object(int depth) {
    ObjectNode object = typed("object");
    ObjectNode properties = object.putObject("properties");
    ArrayNode required = object.putArray("required");
    int first = random.nextInt(NAMES.length);
    for (int i = 0; i < 1 + random.nextInt(4); i++) {
      String name = NAMES[(first + i) % NAMES.length];
      properties.set(name, any(depth));
      if (random.nextInt(3) > 0) {
        required.add(name);
      }
    }
    if (random.nextInt(4) > 0) {
      object.put("additionalProperties", false);
    } else {
      object.set("additionalProperties", leaf());
    }
    return object;
  }

  private ObjectNode array(int depth) {
    ObjectNode array = typed("array");
    int least = random.nextInt(3);
    array.put("minItems", least).put("maxItems", least + random.nextInt(3));
    if (random.nextInt(4) == 0) {
      array.putArray("prefixItems").add(leaf()).add(leaf());
    }
    array.set("items", any(depth));
    return array;
  }

  private ObjectNode choice(int depth) {
    ObjectNode choice = JsonMapper.shared().createObjectNode();
    ArrayNode cases = choice.putArray("anyOf");
    for (int i = 0; i < 2 + random.nextInt(2); i++) {
      cases.add(any(depth));
    }
    return choice;
  }

  private ObjectNode leaf() {
    return switch (random.nextInt(10)) {
      case 0 -> typed("boolean");
      case 1 -> typed("null");
      case 2 -> JsonMapper.shared().createObjectNode().put("const", "so \"it\" is\n");
      case 3 -> {
        ObjectNode oneOf = JsonMapper.shared().createObjectNode();
        oneOf.putArray("enum").add("red").add("grün").add(7).addNull().add(true);
        yield oneOf;
      }
      case 4 ->
          typed("integer")
              .put("minimum", -random.nextInt(20))
              .put("maximum", 1 + random.nextInt(500));
      case 5 ->
          typed("number").put("exclusiveMinimum", -1.5).put("maximum", random.nextInt(9) + 0.25);
      case 6 -> typed("integer").put("minimum", 0).put("maximum", 100).put("multipleOf", 5);
      case 7 -> typed("string").put("pattern", PATTERNS[random.nextInt(PATTERNS.length)]);
      case 8 -> typed("string").put("format", FORMATS[random.nextInt(FORMATS.length)]);
      default ->
          typed("string")
              .put("minLength", random.nextInt(3))
              .put("maxLength", 3 + random.nextInt(20));
    };
  }

  private static ObjectNode typed(String type) {
    return JsonMapper.shared().createObjectNode().put("type", type);
  }
}
