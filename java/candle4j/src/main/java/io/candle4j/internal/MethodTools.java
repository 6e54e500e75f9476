package io.candle4j.internal;

import io.candle4j.Description;
import io.candle4j.ToolMethod;
import java.lang.reflect.InvocationTargetException;
import java.lang.reflect.Method;
import java.lang.reflect.Modifier;
import java.lang.reflect.Parameter;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Comparator;
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import org.jspecify.annotations.Nullable;
import tools.jackson.core.JacksonException;
import tools.jackson.databind.JavaType;
import tools.jackson.databind.JsonNode;

/** Methods that models may call. */
public final class MethodTools {
  private final Object target;
  private final Method method;
  private final ToolMethod annotation;
  private final Map<String, JavaType> parameters = new LinkedHashMap<>();
  private final String schema;

  private MethodTools(Object target, Method method, ToolMethod annotation) {
    this.target = target;
    this.method = method;
    this.annotation = annotation;
    Map<String, String> descriptions = new LinkedHashMap<>();
    for (Parameter parameter : method.getParameters()) {
      if (!parameter.isNamePresent()) {
        throw new IllegalArgumentException(
            method + ": the names of its parameters are unknown; compile with javac -parameters");
      }
      JavaType type = TypedJson.MAPPER.constructType(parameter.getParameterizedType());
      parameters.put(parameter.getName(), type);
      Description description = parameter.getAnnotation(Description.class);
      if (description != null) {
        descriptions.put(parameter.getName(), description.value());
      }
    }
    this.schema = SchemaWriter.write(method.getName(), parameters, descriptions).toString();
  }

  /**
   * The methods of an object that are marked, in the order of their names.
   *
   * @param target the object
   * @return the methods
   * @throws IllegalArgumentException when there is none, or one cannot be a tool
   */
  public static List<MethodTools> of(Object target) {
    List<MethodTools> tools = new ArrayList<>();
    // Of a method that is overridden, the last one counts.
    Set<String> seen = new HashSet<>();
    for (Class<?> type = target.getClass(); type != null; type = type.getSuperclass()) {
      for (Method method : type.getDeclaredMethods()) {
        ToolMethod annotation = method.getAnnotation(ToolMethod.class);
        String signature = method.getName() + Arrays.toString(method.getParameterTypes());
        if (annotation != null && !method.isBridge() && seen.add(signature)) {
          if (!Modifier.isPublic(method.getModifiers())
              || !Modifier.isPublic(type.getModifiers())) {
            method.setAccessible(true);
          }
          tools.add(new MethodTools(target, method, annotation));
        }
      }
    }
    if (tools.isEmpty()) {
      throw new IllegalArgumentException(
          "target: " + target.getClass().getName() + " has no method with @ToolMethod");
    }
    tools.sort(Comparator.comparing(MethodTools::name));
    for (int i = 1; i < tools.size(); i++) {
      if (tools.get(i).name().equals(tools.get(i - 1).name())) {
        throw new IllegalArgumentException(
            "target: two methods are called " + tools.get(i).name() + "; @ToolMethod takes a name");
      }
    }
    return tools;
  }

  /**
   * What the model calls it.
   *
   * @return the name
   */
  public String name() {
    return annotation.name().isEmpty() ? method.getName() : annotation.name();
  }

  /**
   * What it does.
   *
   * @return the description
   */
  public String description() {
    return annotation.value();
  }

  /**
   * The JSON schema of its parameters.
   *
   * @return the schema
   */
  public String schema() {
    return schema;
  }

  /**
   * Calls it.
   *
   * @param arguments a JSON object
   * @return what it returns
   * @throws Exception what it throws, or {@link IllegalArgumentException} for other arguments
   */
  public @Nullable Object call(String arguments) throws Exception {
    JsonNode document = Json.parse("arguments", arguments);
    if (!document.isObject()) {
      throw new IllegalArgumentException("arguments: expected a JSON object");
    }
    List<@Nullable Object> values = new ArrayList<>();
    for (Map.Entry<String, JavaType> parameter : parameters.entrySet()) {
      values.add(value(parameter.getKey(), parameter.getValue(), document));
    }
    try {
      return method.invoke(target, values.toArray());
    } catch (InvocationTargetException e) {
      if (e.getCause() instanceof Exception cause) {
        throw cause;
      }
      Throwables.sneak(e.getCause() == null ? e : e.getCause());
      throw e;
    }
  }

  private static @Nullable Object value(String name, JavaType type, JsonNode document) {
    JsonNode value = document.get(name);
    try {
      return TypedJson.MAPPER.treeToValue(
          value == null ? TypedJson.MAPPER.nullNode() : value, type);
    } catch (JacksonException e) {
      throw new IllegalArgumentException(name + ": " + e.getOriginalMessage(), e);
    }
  }
}
