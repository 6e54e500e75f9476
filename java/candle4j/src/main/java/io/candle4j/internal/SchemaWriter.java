package io.candle4j.internal;

import com.fasterxml.jackson.annotation.JsonCreator;
import com.fasterxml.jackson.annotation.JsonTypeInfo;
import com.fasterxml.jackson.annotation.JsonTypeInfo.As;
import java.util.ArrayDeque;
import java.util.Deque;
import java.util.HashMap;
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalDouble;
import java.util.OptionalInt;
import java.util.OptionalLong;
import java.util.Set;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;
import tools.jackson.databind.AnnotationIntrospector;
import tools.jackson.databind.BeanDescription;
import tools.jackson.databind.DeserializationConfig;
import tools.jackson.databind.JavaType;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.introspect.Annotated;
import tools.jackson.databind.introspect.AnnotatedClass;
import tools.jackson.databind.introspect.AnnotatedMember;
import tools.jackson.databind.introspect.BeanPropertyDefinition;
import tools.jackson.databind.introspect.ClassIntrospector;
import tools.jackson.databind.jsontype.NamedType;
import tools.jackson.databind.node.ArrayNode;
import tools.jackson.databind.node.JsonNodeFactory;
import tools.jackson.databind.node.ObjectNode;

/**
 * Writes the JSON schema of a Java type, as Jackson reads it. A type is written where it occurs;
 * one that contains itself becomes a definition.
 */
final class SchemaWriter {
  private static final int DEPTH = 64;

  private final DeserializationConfig config = TypedJson.MAPPER.deserializationConfig();
  private final AnnotationIntrospector annotations = config.getAnnotationIntrospector();
  private final ClassIntrospector classes = config.classIntrospectorInstance();

  /** Where in the type this is, for errors. */
  private final Deque<String> place = new ArrayDeque<>();

  /** Types that are being written, and what they are called where they contain themselves. */
  private final Map<JavaType, Optional<String>> open = new LinkedHashMap<>();

  /** For each of them, how many ways out there were before it. */
  private final Map<JavaType, Integer> opened = new HashMap<>();

  /** Lists, maps, options and kinds around the place, by which a value may end. */
  private int ways;

  private final Map<String, JavaType> names = new HashMap<>();
  private final ObjectNode definitions = JsonNodeFactory.instance.objectNode();

  private SchemaWriter() {}

  /**
   * Writes the schema of a type.
   *
   * @throws IllegalArgumentException for what no schema can describe; it names the place
   */
  static ObjectNode write(JavaType type) {
    SchemaWriter writer = new SchemaWriter();
    writer.place.add(type.getRawClass().getSimpleName());
    ObjectNode schema = writer.any(type);
    if (!writer.definitions.isEmpty()) {
      schema.set("$defs", writer.definitions);
    }
    return schema;
  }

  /**
   * Writes the schema of an object with a property for each parameter of a method.
   *
   * @throws IllegalArgumentException for what no schema can describe; it names the place
   */
  static ObjectNode write(
      String method, Map<String, JavaType> parameters, Map<String, String> descriptions) {
    SchemaWriter writer = new SchemaWriter();
    writer.place.add(method);
    ObjectNode schema = ScalarSchemas.typed("object");
    ObjectNode properties = schema.putObject("properties");
    ArrayNode required = schema.putArray("required");
    parameters.forEach((name, type) -> {
      ObjectNode property = writer.at("." + name, type);
      String description = descriptions.get(name);
      if (description != null && !property.has("$ref")) {
        property.put("description", description);
      }
      properties.set(name, property);
      required.add(name);
    });
    schema.put("additionalProperties", false);
    if (!writer.definitions.isEmpty()) {
      schema.set("$defs", writer.definitions);
    }
    return schema;
  }

  private ObjectNode any(JavaType type) {
    if (place.size() > DEPTH) {
      throw refused(type, "is nested too deeply");
    }
    Class<?> raw = type.getRawClass();
    ObjectNode scalar = ScalarSchemas.of(raw);
    if (scalar != null) {
      return scalar;
    }
    if (raw == Object.class || JsonNode.class.isAssignableFrom(raw)) {
      return JsonNodeFactory.instance.objectNode();
    }
    if (raw == OptionalInt.class) {
      return orNull(any(config.constructType(int.class)));
    }
    if (raw == OptionalLong.class) {
      return orNull(any(config.constructType(long.class)));
    }
    if (raw == OptionalDouble.class) {
      return orNull(any(config.constructType(double.class)));
    }
    if (raw == Optional.class) {
      return orNull(part("<>", type.getReferencedType()));
    }
    if (type.isEnumType()) {
      return constants(type);
    }
    if (type.isMapLikeType()) {
      return map(type);
    }
    if (type.isContainerType()) {
      return ScalarSchemas.typed("array").set("items", part("[]", type.getContentType()));
    }
    return object(type);
  }

  private ObjectNode at(String step, JavaType type) {
    place.addLast(step);
    ObjectNode schema = any(type);
    place.removeLast();
    return schema;
  }

  /** A part that a value may do without. */
  private ObjectNode part(String step, JavaType type) {
    ways++;
    ObjectNode schema = at(step, type);
    ways--;
    return schema;
  }

  /** Whether a schema describes objects only. */
  static boolean isObject(JsonNode schema) {
    if (schema.has("anyOf")) {
      return schema.get("anyOf").valueStream().allMatch(SchemaWriter::isObject);
    }
    JsonNode type = schema.get("type");
    return schema.has("$ref") || (type != null && type.asString().equals("object"));
  }

  private static ObjectNode orNull(ObjectNode schema) {
    ObjectNode either = JsonNodeFactory.instance.objectNode();
    either.putArray("anyOf").add(schema).add(ScalarSchemas.typed("null"));
    return either;
  }

  private ObjectNode constants(JavaType type) {
    Object[] constants = type.getRawClass().getEnumConstants();
    if (constants == null || constants.length == 0) {
      throw refused(type, "has no constants");
    }
    ObjectNode schema = JsonNodeFactory.instance.objectNode();
    ArrayNode values = schema.putArray("enum");
    Set<JsonNode> different = new HashSet<>();
    for (Object constant : constants) {
      JsonNode value = TypedJson.MAPPER.valueToTree(constant);
      if (!different.add(value)) {
        throw refused(type, "has two constants that are written " + value);
      }
      values.add(value);
    }
    return schema;
  }

  private ObjectNode map(JavaType type) {
    JavaType key = type.getKeyType();
    ObjectNode values = part("{}", type.getContentType());
    ObjectNode schema = ScalarSchemas.typed("object");
    if (key.isEnumType()) {
      ObjectNode properties = schema.putObject("properties");
      for (JsonNode name : constants(key).get("enum")) {
        if (!name.isString()) {
          throw refused(key, "cannot be the key of a map: a constant is written " + name);
        }
        properties.set(name.stringValue(), values.deepCopy());
      }
      return schema.put("additionalProperties", false);
    }
    if (key.hasRawClass(String.class) || key.hasRawClass(Object.class)) {
      return schema.set("additionalProperties", values);
    }
    throw refused(key, "cannot be the key of a map; expected a String or an enum");
  }

  private ObjectNode object(JavaType type) {
    Optional<String> name = open.get(type);
    if (name != null) {
      if (opened.getOrDefault(type, 0) == ways) {
        throw refused(type, "contains itself without end; a list or an Optional would end it");
      }
      String definition = name.orElseGet(() -> newName(type));
      open.put(type, Optional.of(definition));
      return reference(definition);
    }
    open.put(type, Optional.empty());
    opened.put(type, ways);
    AnnotatedClass annotated = classes.introspectClassAnnotations(type);
    JsonTypeInfo.Value kinds = annotations.findPolymorphicTypeInfo(config, annotated);
    ObjectNode schema =
        JsonTypeInfo.Value.isEnabled(kinds)
            ? kinds(type, annotated, kinds)
            : properties(type, null, "");
    Optional<String> definition = open.remove(type);
    if (definition.isEmpty()) {
      return schema;
    }
    definitions.set(definition.get(), schema);
    return reference(definition.get());
  }

  private String newName(JavaType type) {
    String simple = type.getRawClass().getSimpleName();
    String name = simple;
    for (int i = 2; names.containsKey(name); i++) {
      name = simple + i;
    }
    names.put(name, type);
    return name;
  }

  private static ObjectNode reference(String definition) {
    return JsonNodeFactory.instance.objectNode().put("$ref", "#/$defs/" + definition);
  }

  /** A type with several kinds, each told by a property. */
  private ObjectNode kinds(JavaType type, AnnotatedClass annotated, JsonTypeInfo.Value kinds) {
    if (kinds.getInclusionType() != As.PROPERTY
        && kinds.getInclusionType() != As.EXISTING_PROPERTY) {
      throw refused(type, "has kinds that no property tells apart");
    }
    if (kinds.getIdType() != JsonTypeInfo.Id.NAME
        && kinds.getIdType() != JsonTypeInfo.Id.SIMPLE_NAME) {
      throw refused(type, "has kinds that are not told by names");
    }
    String key = kinds.getPropertyName();
    ObjectNode schema = JsonNodeFactory.instance.objectNode();
    ArrayNode cases = schema.putArray("anyOf");
    Set<String> names = new HashSet<>();
    List<NamedType> all =
        config.getSubtypeResolver().collectAndResolveSubtypesByClass(config, annotated).stream()
            .filter(kind -> type.getRawClass().isAssignableFrom(kind.getType()))
            .toList();
    if (all.size() > 1) {
      ways++;
    }
    for (NamedType kind : all) {
      JavaType exact = config.getTypeFactory().constructSpecializedType(type, kind.getType());
      if (exact.isConcrete()) {
        String name = nameOf(kind, exact);
        if (!names.add(name)) {
          throw refused(type, "has two kinds that are called " + name);
        }
        place.addLast("(" + name + ")");
        if (exact.isEnumType()) {
          throw refused(exact, "is an enum, which cannot be a kind");
        }
        cases.add(properties(exact, key, name));
        place.removeLast();
      }
    }
    if (all.size() > 1) {
      ways--;
    }
    if (cases.isEmpty()) {
      throw refused(type, "has no kinds; expected a sealed type, or one with @JsonSubTypes");
    }
    return cases.size() == 1 ? (ObjectNode) cases.get(0) : schema;
  }

  private String nameOf(NamedType kind, JavaType exact) {
    if (kind.getName() != null) {
      return kind.getName();
    }
    String name = annotations.findTypeName(config, classes.introspectClassAnnotations(exact));
    return name == null ? exact.getRawClass().getSimpleName() : name;
  }

  /**
   * A type with properties.
   *
   * @param key the property that tells the type's kind; null for none
   */
  private ObjectNode properties(JavaType type, @Nullable String key, String kind) {
    AnnotatedClass annotated = classes.introspectClassAnnotations(type);
    refuseWhatIsReadOtherwise(type, annotated);
    BeanDescription description = classes.introspectForDeserialization(type, annotated);
    if (description.getObjectIdInfo() != null) {
      throw refused(type, "has references to other objects");
    }
    JavaType single = single(description);
    if (single == null && isDelegating(description)) {
      throw refused(type, "is made from one value, but does not say as which it is written");
    }
    if (single != null && key == null) {
      return at("", single);
    }
    if (type.isAbstract()
        || type.isPrimitive()
        || type.getRawClass().getName().startsWith("java.")) {
      throw refused(type, "is not supported");
    }
    ObjectNode schema = ScalarSchemas.typed("object");
    String meaning = annotations.findClassDescription(config, annotated);
    if (meaning != null) {
      schema.put("description", meaning);
    }
    ObjectNode properties = schema.putObject("properties");
    ArrayNode required = schema.putArray("required");
    if (key != null) {
      properties.putObject(key).put("const", kind);
      required.add(key);
    }
    for (BeanPropertyDefinition property : description.findProperties()) {
      if (!property.couldDeserialize()
          || description.getIgnoredPropertyNames().contains(property.getName())) {
        continue;
      }
      if (key != null && property.getName().equals(key)) {
        if (property.isTypeId() || annotationsSay(annotated, key)) {
          continue;
        }
        throw refused(
            type,
            "has a property '"
                + key
                + "', which tells kinds apart; name another one with"
                + " @JsonTypeInfo");
      }
      properties.set(property.getName(), property(property));
      required.add(property.getName());
    }
    if (properties.isEmpty() && !type.getRawClass().isRecord()) {
      throw refused(type, "has no properties that Jackson can set");
    }
    return schema.put("additionalProperties", false);
  }

  /** Whether the property that tells the kind is a component, too, by an annotation. */
  private boolean annotationsSay(AnnotatedClass annotated, String key) {
    JsonTypeInfo.Value kinds = annotations.findPolymorphicTypeInfo(config, annotated);
    return kinds != null
        && key.equals(kinds.getPropertyName())
        && (kinds.getIdVisible() || kinds.getInclusionType() == As.EXISTING_PROPERTY);
  }

  private ObjectNode property(BeanPropertyDefinition property) {
    place.addLast("." + property.getName());
    AnnotatedMember mutator = property.getMutator();
    JavaType type = property.getPrimaryType();
    if (annotations.findUnwrappingNameTransformer(config, mutator) != null) {
      throw refused(type, "is unwrapped");
    }
    refuseWhatIsReadOtherwise(type, mutator);
    ObjectNode schema = any(type);
    String meaning = property.getMetadata().getDescription();
    if (meaning != null && !schema.has("$ref")) {
      schema.put("description", meaning);
    }
    place.removeLast();
    return schema;
  }

  /** The type of a value that stands for the whole type, if one does. */
  private static @Nullable JavaType single(BeanDescription description) {
    AnnotatedMember value = description.findJsonValueAccessor();
    return value == null ? null : value.getType();
  }

  private static boolean isDelegating(BeanDescription description) {
    return Stream.concat(
            description.getConstructorsWithMode().stream(),
            description.getFactoryMethodsWithMode().stream())
        .anyMatch(creator -> creator.metadata == JsonCreator.Mode.DELEGATING);
  }

  private void refuseWhatIsReadOtherwise(JavaType type, Annotated annotated) {
    boolean own =
        annotations.findDeserializer(config, annotated) != null
            || annotations.findDeserializationConverter(config, annotated) != null;
    if (own) {
      throw refused(type, "has a deserializer of its own");
    }
    var format = annotations.findFormat(config, annotated);
    if (format != null && (format.hasPattern() || format.hasShape())) {
      throw refused(type, "has a format of its own");
    }
  }

  private IllegalArgumentException refused(JavaType type, String reason) {
    String place = String.join("", List.copyOf(this.place));
    return new IllegalArgumentException(
        "type: " + place + ": " + type.toCanonical() + " " + reason);
  }
}
