package io.candle4j.server;

import io.candle4j.GenerateOptions;
import io.candle4j.Request;
import io.candle4j.ResponseFormat;
import io.candle4j.Thinking;
import java.time.Duration;
import java.util.List;
import java.util.OptionalDouble;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import tools.jackson.databind.JsonNode;

/** How Ollama's API says what to generate. */
final class OllamaFields {
  private static final Pattern PART = Pattern.compile("(\\d+(?:\\.\\d+)?)(ms|s|m|h)");
  private static final Pattern DURATION = Pattern.compile("-?(?:" + PART + ")+");

  /** Seconds, above which a model stays for ever. */
  private static final double LONGEST = 1e9;

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
    // One that is wrong is refused before the model is loaded.
    keepAlive(fields);
    return served;
  }

  /** Tells a model how long it stays when it is idle, where a request says so. */
  static void keepAlive(Fields fields, ServedModel.Use<?> use) {
    OptionalDouble seconds = keepAlive(fields);
    if (seconds.isPresent()) {
      boolean always = seconds.getAsDouble() < 0 || seconds.getAsDouble() > LONGEST;
      use.lease()
          .keepAlive(always ? null : Duration.ofMillis((long) (seconds.getAsDouble() * 1000)));
    }
  }

  /** Whether a request wants the model unloaded at its end. */
  static boolean unloads(Fields fields) {
    OptionalDouble seconds = keepAlive(fields);
    return seconds.isPresent() && seconds.getAsDouble() == 0;
  }

  /** Seconds; below 0 for ever. */
  private static OptionalDouble keepAlive(Fields fields) {
    JsonNode time = fields.get("keep_alive");
    if (time == null) {
      return OptionalDouble.empty();
    }
    if (time.isNumber()) {
      double[] seconds = new double[1];
      fields.number("keep_alive", value -> seconds[0] = value);
      return OptionalDouble.of(seconds[0]);
    }
    String text = time.asString("");
    if (!DURATION.matcher(text).matches()) {
      throw fields.wrong("keep_alive", "seconds, or a duration such as 5m");
    }
    double seconds = 0;
    Matcher parts = PART.matcher(text);
    while (parts.find()) {
      double unit =
          switch (parts.group(2)) {
            case "ms" -> 0.001;
            case "s" -> 1;
            case "m" -> 60;
            default -> 3600;
          };
      seconds += Double.parseDouble(parts.group(1)) * unit;
    }
    return OptionalDouble.of(text.startsWith("-") ? -seconds : seconds);
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
    // -1 is the whole context, which is what leaving it out means here.
    given.integer(
        "repeat_last_n",
        last -> {
          if (last != -1) {
            options.repeatWindow(last);
          }
        });
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
