package io.candle4j.server;

import io.candle4j.GenerateOptions;
import io.candle4j.Request;
import io.candle4j.ResponseFormat;
import io.candle4j.Thinking;
import io.candle4j.Tool;
import java.time.Duration;
import java.util.List;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import tools.jackson.databind.JsonNode;

/** How Ollama's API says what to generate. */
final class OllamaFields {
  private static final Pattern DURATION = Pattern.compile("(-?\\d+(?:\\.\\d+)?)(ms|s|m|h)");

  private OllamaFields() {}

  /** The model, whose name may end with the tag that Ollama's names have. */
  static ServedModel model(Fields fields, ServedModels models) {
    String name =
        fields
            .text("model")
            .or(() -> fields.text("name"))
            .orElseThrow(() -> fields.wrong("model", "the name of a model"));
    ServedModel served =
        models
            .find(name)
            .or(() -> models.find(name.replaceFirst(":latest$", "")))
            .orElseThrow(() -> ApiException.noModel(name));
    keepAlive(fields, served);
    return served;
  }

  private static void keepAlive(Fields fields, ServedModel served) {
    JsonNode time = fields.get("keep_alive");
    if (time == null) {
      return;
    }
    double seconds;
    if (time.isNumber()) {
      seconds = time.doubleValue();
    } else {
      Matcher matcher = DURATION.matcher(time.asString(""));
      if (!matcher.matches()) {
        throw fields.wrong("keep_alive", "seconds, or a duration such as 5m");
      }
      double factor =
          switch (matcher.group(2)) {
            case "ms" -> 0.001;
            case "s" -> 1;
            case "m" -> 60;
            default -> 3600;
          };
      seconds = Double.parseDouble(matcher.group(1)) * factor;
    }
    served.keepAlive(seconds < 0 ? null : Duration.ofMillis((long) (seconds * 1000)));
  }

  /** Options, thinking and the form of the answer, for chats and single prompts alike. */
  static Request.Builder request(Fields fields) {
    GenerateOptions.Builder options = GenerateOptions.builder();
    fields.object("options").ifPresent(given -> options(given, options));
    JsonNode think = fields.get("think");
    if (think != null) {
      boolean on = think.isBoolean() ? think.booleanValue() : !think.asString("").isEmpty();
      options.thinking(on ? Thinking.ON : Thinking.OFF);
    }
    fields.refuse("logprobs", "not supported here; /v1/chat/completions has them");
    Request.Builder request = Request.builder().options(options.build());
    JsonNode format = fields.get("format");
    if (format != null && format.isObject()) {
      request.responseFormat(ResponseFormat.jsonSchema(format.toString()));
    } else if (format != null && format.asString("").equals("json")) {
      request.responseFormat(ResponseFormat.jsonSchema("{\"type\":\"object\"}"));
    } else if (format != null && !format.asString("?").isEmpty()) {
      throw fields.wrong("format", "json or a schema");
    }
    return request;
  }

  /** Tools of a chat. */
  static void tools(Fields fields, Request.Builder request) {
    JsonNode tools = fields.get("tools");
    if (tools != null && !tools.isEmpty()) {
      try {
        request.tools(Tool.parse(tools.toString()));
      } catch (IllegalArgumentException e) {
        throw ApiException.invalid("tools", String.valueOf(e.getMessage()));
      }
    }
  }

  private static void options(Fields given, GenerateOptions.Builder options) {
    given.number("temperature", options::temperature);
    given.number("top_p", options::topP);
    given.number("min_p", options::minP);
    given.number("typical_p", options::typicalP);
    given.integer("top_k", options::topK);
    given.number("repeat_penalty", options::repeatPenalty);
    given.number("presence_penalty", options::presencePenalty);
    given.number("frequency_penalty", options::frequencyPenalty);
    given.longInteger("seed", options::seed);
    given.integer("repeat_last_n", last -> options.repeatWindow(Math.max(0, last)));
    // Below 0 there is no limit.
    given.integer(
        "num_predict",
        most -> {
          if (most > 0) {
            options.maxTokens(most);
          }
        });
    List<String> stop = given.texts("stop");
    if (!stop.isEmpty()) {
      options.stop(stop);
    }
  }
}
