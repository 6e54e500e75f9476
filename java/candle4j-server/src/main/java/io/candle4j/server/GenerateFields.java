package io.candle4j.server;

import io.candle4j.ChatMessage;
import io.candle4j.GenerateOptions;
import io.candle4j.Request;
import io.candle4j.ResponseFormat;
import io.candle4j.Thinking;
import io.candle4j.Tool;
import io.candle4j.ToolChoice;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import org.jspecify.annotations.Nullable;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.node.ArrayNode;
import tools.jackson.databind.node.ObjectNode;

/** How OpenAI's API, and what grew around it, says what to generate. */
final class GenerateFields {
  /** What chat templates get from the request itself. */
  private static final Set<String> OF_TEMPLATES =
      Set.of("messages", "tools", "documents", "add_generation_prompt", "bos_token", "eos_token");

  private GenerateFields() {}

  /** The options that chats and completions share. */
  static GenerateOptions.Builder options(Fields fields) {
    GenerateOptions.Builder options = GenerateOptions.builder();
    fields.number("temperature", options::temperature);
    fields.number("top_p", options::topP);
    fields.integer("top_k", options::topK);
    fields.number("min_p", options::minP);
    fields.number("typical_p", options::typicalP);
    fields.number("presence_penalty", options::presencePenalty);
    fields.number("frequency_penalty", options::frequencyPenalty);
    fields.number("repetition_penalty", options::repeatPenalty);
    fields.integer("min_tokens", options::minTokens);
    fields.longInteger("seed", options::seed);
    options.ignoreEos(fields.flag("ignore_eos", false));
    List<String> stop = fields.texts("stop");
    if (stop.stream().anyMatch(String::isEmpty)) {
      throw fields.wrong("stop", "texts that are not empty");
    }
    if (!stop.isEmpty()) {
      options.stop(stop);
    }
    fields.object("logit_bias").ifPresent(bias -> options.logitBias(bias(bias)));
    return options;
  }

  private static Map<Integer, Double> bias(Fields fields) {
    Map<Integer, Double> bias = new LinkedHashMap<>();
    fields
        .entries()
        .forEach(entry -> {
          int token;
          try {
            token = Integer.parseInt(entry.getKey());
          } catch (NumberFormatException e) {
            throw fields.wrong(entry.getKey(), "a token id as its name");
          }
          fields.number(entry.getKey(), value -> bias.put(token, value));
        });
    return bias;
  }

  /** A chat: messages, tools, the form of the answer, and options. */
  static Request.Builder chat(Fields fields) {
    for (String old : List.of("functions", "function_call")) {
      fields.refuse(old, "not supported; tools and tool_choice take its place");
    }
    fields.refuse("audio", "these models write text");
    GenerateOptions.Builder options = options(fields);
    if (fields.has("max_completion_tokens")) {
      fields.integer("max_completion_tokens", options::maxTokens);
    } else {
      fields.integer("max_tokens", options::maxTokens);
    }
    if (fields.flag("logprobs", false)) {
      int top = fields.integer("top_logprobs").orElse(0);
      if (top < 0 || top > 20) {
        throw fields.wrong("top_logprobs", "0 to 20");
      }
      options.logprobs(top);
    } else if (fields.has("top_logprobs")) {
      throw ApiException.invalid("top_logprobs", "top_logprobs: expected logprobs with it");
    }
    Request.Builder request = Request.builder();
    thinking(fields, options, request);
    request.messages(messages(fields)).options(options.build());
    toolsAndChoice(fields, request);
    responseFormat(fields, request);
    return request;
  }

  /** Thinking, by the names that servers have for it. */
  private static void thinking(
      Fields fields, GenerateOptions.Builder options, Request.Builder request) {
    fields
        .text("reasoning_effort")
        .ifPresent(effort -> options.thinking(effort.equals("none") ? Thinking.OFF : Thinking.ON));
    fields
        .object("chat_template_kwargs")
        .ifPresent(kwargs -> {
          if (kwargs.has("enable_thinking")) {
            options.thinking(kwargs.flag("enable_thinking", true) ? Thinking.ON : Thinking.OFF);
          }
          Map<String, Object> variables = new LinkedHashMap<>();
          for (Map.Entry<String, JsonNode> entry : kwargs.entries()) {
            if (OF_TEMPLATES.contains(entry.getKey())) {
              throw kwargs.wrong(entry.getKey(), "a name that the request does not set itself");
            }
            if (!entry.getKey().equals("enable_thinking")) {
              variables.put(entry.getKey(), Json.value(entry.getValue()));
            }
          }
          if (!variables.isEmpty()) {
            request.variables(variables);
          }
        });
  }

  /** The messages, with the fields that count. */
  static List<ChatMessage> messages(Fields fields) {
    JsonNode messages = fields.array("messages");
    if (messages == null) {
      throw fields.wrong("messages", "an array of at least one message");
    }
    ArrayNode known = Json.array();
    Map<String, String> called = new LinkedHashMap<>();
    for (JsonNode message : messages) {
      known.add(message.isObject() ? message((ObjectNode) message, called) : message);
    }
    try {
      return ChatMessage.parse(known.toString());
    } catch (IllegalArgumentException e) {
      throw ApiException.invalid("messages", String.valueOf(e.getMessage()));
    }
  }

  /** The fields of a message that chat templates know, by one name each. */
  private static ObjectNode message(ObjectNode message, Map<String, String> called) {
    ObjectNode known = Json.object();
    String role = message.path("role").asString("");
    // What OpenAI's newer models call it.
    Json.put(known, "role", role.equals("developer") ? Json.text("system") : message.get("role"));
    Json.put(known, "content", message.get("content"));
    switch (role) {
      case "assistant" -> {
        for (String name : List.of("reasoning_content", "reasoning", "thinking")) {
          if (message.path(name).isString()) {
            Json.put(known, "reasoning_content", message.get(name));
            break;
          }
        }
        JsonNode calls = message.get("tool_calls");
        if (calls != null && !calls.isNull() && !calls.isArray()) {
          throw ApiException.invalid("messages", "messages: expected tool_calls to be an array");
        }
        if (calls != null && !calls.isEmpty()) {
          known.set("tool_calls", toolCalls(calls, called));
        } else if (!known.has("content")) {
          known.put("content", "");
        }
      }
      case "tool" -> {
        JsonNode id = message.get("tool_call_id");
        JsonNode name = message.hasNonNull("name") ? message.get("name") : message.get("tool_name");
        Json.put(known, "tool_call_id", id);
        if (name == null && id != null && called.containsKey(id.asString(""))) {
          known.put("name", called.get(id.asString("")));
        } else {
          Json.put(known, "name", name);
        }
      }
      default -> {}
    }
    return known;
  }

  /** Calls with ids, types and arguments as text, which Ollama's have not. */
  private static ArrayNode toolCalls(JsonNode calls, Map<String, String> called) {
    ArrayNode all = Json.array();
    for (JsonNode call : calls) {
      JsonNode function = call.path("function");
      JsonNode arguments = function.path("arguments");
      String id = call.path("id").asString("call_" + called.size());
      called.put(id, function.path("name").asString(""));
      ObjectNode one = Json.object().put("id", id).put("type", "function");
      ObjectNode made = one.putObject("function");
      Json.put(made, "name", function.get("name"));
      made.put("arguments", arguments.isString() ? arguments.stringValue() : arguments.toString());
      all.add(one);
    }
    return all;
  }

  /** Tells of the tools, and whether there are any. */
  static boolean tools(Fields fields, Request.Builder request) {
    JsonNode tools = fields.array("tools");
    if (tools == null) {
      return false;
    }
    try {
      request.tools(Tool.parse(tools.toString()));
      return true;
    } catch (IllegalArgumentException e) {
      throw ApiException.invalid("tools", String.valueOf(e.getMessage()));
    }
  }

  private static void toolsAndChoice(Fields fields, Request.Builder request) {
    ToolChoice choice = toolChoice(fields);
    if (!tools(fields, request)) {
      if (choice != null
          && choice.mode() != ToolChoice.Mode.AUTO
          && choice.mode() != ToolChoice.Mode.NONE) {
        throw ApiException.invalid("tool_choice", "tool_choice: expected tools with it");
      }
      return;
    }
    if (choice != null) {
      request.toolChoice(choice);
    }
  }

  private static @Nullable ToolChoice toolChoice(Fields fields) {
    JsonNode choice = fields.get("tool_choice");
    if (choice == null) {
      return null;
    }
    if (choice.isObject() && choice.path("function").path("name").isString()) {
      return ToolChoice.of(choice.get("function").get("name").stringValue());
    }
    return switch (choice.asString("")) {
      case "auto" -> ToolChoice.AUTO;
      case "none" -> ToolChoice.NONE;
      case "required" -> ToolChoice.REQUIRED;
      default -> throw fields.wrong("tool_choice", "auto, none, required or a function");
    };
  }

  private static void responseFormat(Fields fields, Request.Builder request) {
    fields
        .object("response_format")
        .ifPresent(format -> {
          switch (format.text("type").orElse("")) {
            case "text" -> {}
            case "json_object" ->
                request.responseFormat(ResponseFormat.jsonSchema("{\"type\":\"object\"}"));
            case "json_schema" -> {
              JsonNode schema =
                  format
                      .object("json_schema")
                      .map(named -> named.get("schema"))
                      .orElseThrow(() -> format.wrong("json_schema", "an object with a schema"));
              request.responseFormat(ResponseFormat.jsonSchema(schema.toString()));
            }
            default -> throw format.wrong("type", "text, json_object or json_schema");
          }
        });
  }
}
