package io.candle4j.internal;

import com.fasterxml.jackson.annotation.JsonTypeInfo;
import io.candle4j.Description;
import java.lang.reflect.Type;
import org.jspecify.annotations.Nullable;
import tools.jackson.core.JacksonException;
import tools.jackson.databind.DeserializationFeature;
import tools.jackson.databind.JavaType;
import tools.jackson.databind.MapperFeature;
import tools.jackson.databind.cfg.DateTimeFeature;
import tools.jackson.databind.cfg.EnumFeature;
import tools.jackson.databind.cfg.MapperConfig;
import tools.jackson.databind.introspect.Annotated;
import tools.jackson.databind.introspect.AnnotatedClass;
import tools.jackson.databind.introspect.JacksonAnnotationIntrospector;
import tools.jackson.databind.json.JsonMapper;

/**
 * A Java type as JSON: its schema, and its values. Both follow Jackson's reading of the type, so
 * that what the schema allows can be read.
 *
 * @param <T> the type
 */
public final class TypedJson<T> {
  /** What tells the kinds of a sealed type apart that says nothing else. */
  static final String KIND = "type";

  static final JsonMapper MAPPER =
      JsonMapper.builder()
          .annotationIntrospector(new Introspector())
          .disable(MapperFeature.SORT_PROPERTIES_ALPHABETICALLY)
          .disable(EnumFeature.READ_ENUMS_USING_TO_STRING)
          .disable(EnumFeature.WRITE_ENUMS_USING_TO_STRING)
          .enable(DeserializationFeature.FAIL_ON_NULL_FOR_PRIMITIVES)
          .disable(DateTimeFeature.ADJUST_DATES_TO_CONTEXT_TIME_ZONE)
          .enable(DeserializationFeature.USE_BIG_DECIMAL_FOR_FLOATS)
          .addModule(FiniteNumbers.module())
          .build();

  private final JavaType type;
  private final String schema;

  private TypedJson(JavaType type) {
    this.type = type;
    this.schema = SchemaWriter.write(type).toString();
  }

  /**
   * Reads a type.
   *
   * @param <T> the type
   * @param type a class, or a type with parameters
   * @return the type as JSON
   * @throws IllegalArgumentException for a type that no schema can describe; it names the place
   */
  public static <T> TypedJson<T> of(Type type) {
    StackGuard.check();
    return new TypedJson<>(MAPPER.constructType(type));
  }

  /**
   * The JSON schema.
   *
   * @return the schema
   */
  public String schema() {
    return schema;
  }

  /**
   * Checks that the values are JSON objects, as the arguments of tools are.
   *
   * @param name what the type is for
   * @return this
   * @throws IllegalArgumentException when they are something else
   */
  public TypedJson<T> ofObjects(String name) {
    if (!SchemaWriter.isObject(SchemaWriter.write(type))) {
      throw new IllegalArgumentException(
          name + ": expected a record or a class with properties, got " + type.toCanonical());
    }
    return this;
  }

  /**
   * Reads a value.
   *
   * @param json a document that the schema describes
   * @return the value
   * @throws IllegalArgumentException when the type does not take it; it names the place
   */
  public T read(String json) {
    StackGuard.check();
    try {
      return MAPPER.readValue(json, type);
    } catch (JacksonException e) {
      throw new IllegalArgumentException(place(e) + e.getOriginalMessage(), e);
    }
  }

  private static String place(JacksonException e) {
    StringBuilder place = new StringBuilder();
    for (JacksonException.Reference step : e.getPath()) {
      if (step.getPropertyName() == null) {
        place.append('[').append(step.getIndex()).append(']');
      } else {
        place.append(place.isEmpty() ? "" : ".").append(step.getPropertyName());
      }
    }
    return place.isEmpty() ? "" : place + ": ";
  }

  /**
   * Writes a value, as tools return them.
   *
   * @param value the value
   * @return a JSON document
   * @throws IllegalArgumentException when it cannot be written
   */
  public static String write(@Nullable Object value) {
    StackGuard.check();
    try {
      return MAPPER.writeValueAsString(value);
    } catch (JacksonException e) {
      throw new IllegalArgumentException(e.getOriginalMessage(), e);
    }
  }

  /** Jackson's annotations, and where there are none, ours and what sealed types say. */
  private static final class Introspector extends JacksonAnnotationIntrospector {
    private static final long serialVersionUID = 1L;

    /** Made from an annotation, which is the way that all versions of Jackson's have. */
    private static final JsonTypeInfo.Value OF_SEALED =
        JsonTypeInfo.Value.from(Sealed.class.getAnnotation(JsonTypeInfo.class));

    @JsonTypeInfo(use = JsonTypeInfo.Id.NAME, property = KIND)
    private interface Sealed {}

    @Override
    public JsonTypeInfo.@Nullable Value findPolymorphicTypeInfo(
        MapperConfig<?> config, Annotated annotated) {
      JsonTypeInfo.Value said = super.findPolymorphicTypeInfo(config, annotated);
      if (said != null
          || !(annotated instanceof AnnotatedClass)
          || !annotated.getRawType().isSealed()
          // Enums whose constants have bodies are sealed.
          || Enum.class.isAssignableFrom(annotated.getRawType())
          || annotated.getRawType().getName().startsWith("java.")) {
        return said;
      }
      return OF_SEALED;
    }

    @Override
    public @Nullable String findTypeName(MapperConfig<?> config, AnnotatedClass annotated) {
      String said = super.findTypeName(config, annotated);
      return said == null || said.isEmpty() ? annotated.getRawType().getSimpleName() : said;
    }

    @Override
    public @Nullable String findPropertyDescription(MapperConfig<?> config, Annotated annotated) {
      Description description = annotated.getAnnotation(Description.class);
      return description != null
          ? description.value()
          : super.findPropertyDescription(config, annotated);
    }

    @Override
    public @Nullable String findClassDescription(MapperConfig<?> config, AnnotatedClass annotated) {
      Description description = annotated.getAnnotation(Description.class);
      return description != null
          ? description.value()
          : super.findClassDescription(config, annotated);
    }
  }
}
