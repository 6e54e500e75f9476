package io.candle4j;

import io.candle4j.internal.MethodTools;
import io.candle4j.internal.ToolDocuments;
import io.candle4j.internal.TypedJson;
import java.util.List;
import java.util.Objects;
import java.util.Optional;
import org.jspecify.annotations.Nullable;

/**
 * A function that a model may call: what it is called, what it does, what arguments it takes, and
 * maybe the code behind it. Immutable.
 *
 * {@snippet :
 * record City(String name) {}
 *
 * Tool weather =
 *     Tool.of("weather", "The weather in a city.", City.class, city -> lookUp(city.name()));
 * }
 *
 * <p>A {@link CandleChat} runs tools that have code, and hands out calls of those that have none.
 */
public final class Tool {
  private final String name;
  private final String description;
  private final String parameters;
  private final @Nullable Runner runner;

  private Tool(String name, String description, String parameters, @Nullable Runner runner) {
    this.name = Objects.requireNonNull(name, "name");
    this.description = Objects.requireNonNull(description, "description");
    this.parameters = parameters;
    this.runner = runner;
  }

  /**
   * The code behind a tool. It may be called by any thread that uses a chat.
   *
   * @param <P> the arguments' type
   */
  @FunctionalInterface
  public interface Handler<P> {
    /**
     * Does what the tool does.
     *
     * @param arguments the arguments
     * @return the result: a text is told to the model as it is, anything else as JSON
     * @throws Exception when it fails, of which the model is told
     */
    @Nullable Object call(P arguments) throws Exception;
  }

  /** The code behind a tool, over JSON. */
  private interface Runner {
    @Nullable Object run(String arguments) throws Exception;
  }

  /**
   * A tool with code behind it.
   *
   * @param <P> the arguments' type
   * @param name its name: letters, digits, {@code _}, {@code -} and {@code .}
   * @param description what it does, for the model
   * @param parameters a record or class whose components are the arguments, as for {@link
   *     CandleSession#generate(Request, Class)}
   * @param handler the code
   * @return the tool
   * @throws IllegalArgumentException for a type that no schema describes; the message names the
   *     place
   */
  public static <P> Tool of(
      String name, String description, Class<P> parameters, Handler<? super P> handler) {
    TypedJson<P> json = TypedJson.<P>of(parameters).ofObjects("parameters");
    Objects.requireNonNull(handler, "handler");
    return new Tool(
        name, description, json.schema(), arguments -> handler.call(json.read(arguments)));
  }

  /**
   * A tool without code, whose calls are handed out.
   *
   * @param name its name: letters, digits, {@code _}, {@code -} and {@code .}
   * @param description what it does, for the model
   * @param schema a JSON schema of its arguments, which are an object
   * @return the tool
   * @throws IllegalArgumentException when the schema is no JSON object
   */
  public static Tool of(String name, String description, String schema) {
    return new Tool(name, description, ToolDocuments.checkedSchema(schema), null);
  }

  /**
   * The methods of an object that {@link ToolMethod} marks, in the order of their names.
   *
   * @param target the object
   * @return the tools
   * @throws IllegalArgumentException when there is none, for types that no schema describes, and
   *     when the class was compiled without the names of parameters ({@code javac -parameters})
   */
  public static List<Tool> methodsOf(Object target) {
    return MethodTools.of(target).stream()
        .map(m -> new Tool(m.name(), m.description(), m.schema(), m::call))
        .toList();
  }

  /**
   * Reads tools without code as OpenAI's API writes them.
   *
   * @param json a JSON array of objects with {@code type} {@code function} and a {@code function}
   *     of {@code name}, {@code description} and {@code parameters}
   * @return the tools
   * @throws IllegalArgumentException when it is not that; the message names the place
   */
  public static List<Tool> parse(String json) {
    return ToolDocuments.parse(json).stream()
        .map(tool -> new Tool(tool.name(), tool.description(), tool.parameters(), null))
        .toList();
  }

  /**
   * What it is called.
   *
   * @return the name
   */
  public String name() {
    return name;
  }

  /**
   * What it does.
   *
   * @return the description; empty when there is none
   */
  public String description() {
    return description;
  }

  /**
   * The JSON schema of its arguments.
   *
   * @return the schema
   */
  public String parameters() {
    return parameters;
  }

  /**
   * Whether there is code behind it.
   *
   * @return whether {@link #run} works
   */
  public boolean isRunnable() {
    return runner != null;
  }

  /**
   * Runs a call.
   *
   * @param call a call of this tool
   * @return the result for the model: what the code returns, or what is wrong with the arguments or
   *     went wrong in the code
   * @throws IllegalStateException when there is no code behind it
   * @throws java.util.concurrent.CancellationException when the code was interrupted
   */
  public ChatMessage.ToolResult run(ToolCall call) {
    if (runner == null) {
      throw new IllegalStateException("tool " + name + ": there is no code behind it");
    }
    return new ChatMessage.ToolResult(call.id(), call.name(), result(runner, call.arguments()));
  }

  private static String result(Runner runner, String arguments) {
    try {
      Object result = runner.run(arguments);
      return result instanceof String text ? text : TypedJson.write(result);
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
      throw interrupted();
    } catch (java.util.concurrent.CancellationException e) {
      throw e;
    } catch (Exception e) {
      String reason = Optional.ofNullable(e.getMessage()).orElse(e.getClass().getSimpleName());
      return "Error: " + reason;
    }
  }

  private static java.util.concurrent.CancellationException interrupted() {
    return new java.util.concurrent.CancellationException("the tool was interrupted");
  }

  /** The name. */
  @Override
  public String toString() {
    return "Tool[" + name + "]";
  }
}
