package io.candle4j.server;

import io.candle4j.GenerateOptions;
import io.candle4j.Generation;
import io.candle4j.Request;
import io.candle4j.TokenIds;
import io.candle4j.TokenLogprob;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import org.jspecify.annotations.Nullable;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.node.ArrayNode;
import tools.jackson.databind.node.JsonNodeFactory;
import tools.jackson.databind.node.ObjectNode;

/** OpenAI's {@code /v1/completions}: texts that go on, without a chat template. */
final class Completions {
  private static final int MOST_PROMPTS = 64;

  private final ServedModels models;
  private final ServerMetrics metrics;

  Completions(ServedModels models, ServerMetrics metrics) {
    this.models = models;
    this.metrics = metrics;
  }

  void answer(Exchange exchange) {
    Fields fields = exchange.fields();
    ServedModel served = models.get(fields.text("model").orElse(null));
    if (!fields.text("suffix").orElse("").isEmpty()) {
      throw ApiException.unsupported("suffix", "filling in is not supported");
    }
    List<Request.Prompt> prompts = prompts(fields);
    int each = Answers.count(fields);
    if (fields.has("best_of") && fields.integer("best_of").orElse(each) != each) {
      throw ApiException.unsupported("best_of", "expected n, since no answer is thrown away");
    }
    boolean echo = fields.flag("echo", false);
    GenerateOptions.Builder options = GenerateFields.options(fields);
    options.maxTokens(16);
    fields.integer("max_tokens", options::maxTokens);
    fields.integer("logprobs", options::logprobs);
    if (echo && fields.has("logprobs")) {
      throw ApiException.unsupported("logprobs", "not supported for a prompt that is echoed");
    }
    boolean streams = fields.flag("stream", false);
    boolean usage =
        fields.object("stream_options").map(o -> o.flag("include_usage", false)).orElse(false);
    if (streams) {
      exchange.beginEvents();
    }
    int answers = prompts.size() * each;
    try (Generator generator = new Generator(served, answers, metrics, exchange)) {
      OpenAiAnswer answer = OpenAiAnswer.of("cmpl-", served.name());
      Logprobs logprobs = new Logprobs(generator.resident().model(), fields.has("logprobs"));
      Response response = new Response(exchange, answer, logprobs, streams, answers);
      List<Generation> made =
          Answers.all(
              Request.builder().rawText("any").options(options.build()).build(),
              answers,
              (one, index) -> {
                Request.Prompt prompt = prompts.get(index / each);
                String before = echo ? text(prompt, generator) : "";
                return response.make(generator, with(one, prompt), index, before);
              });
      response.end(made, usage, each);
    }
  }

  private static Request with(Request request, Request.Prompt prompt) {
    Request.Builder builder = request.toBuilder();
    switch (prompt) {
      case Request.Prompt.Text text -> builder.rawText(text.text());
      case Request.Prompt.Tokens tokens -> builder.tokens(tokens.ids());
      case Request.Prompt.Chat chat -> builder.messages(chat.messages());
    }
    return builder.build();
  }

  private static String text(Request.Prompt prompt, Generator generator) {
    return prompt instanceof Request.Prompt.Tokens tokens
        ? generator.resident().model().tokenizer().decode(tokens.ids())
        : ((Request.Prompt.Text) prompt).text();
  }

  /** A text or tokens, or an array of either. */
  private static List<Request.Prompt> prompts(Fields fields) {
    JsonNode prompt = fields.get("prompt");
    List<Request.Prompt> prompts = new ArrayList<>();
    if (prompt != null && prompt.isArray() && !prompt.isEmpty() && !prompt.get(0).isNumber()) {
      prompt.forEach(one -> prompts.add(prompt(fields, one)));
    } else {
      prompts.add(prompt(fields, prompt));
    }
    if (prompts.size() > MOST_PROMPTS) {
      throw fields.wrong("prompt", "at most " + MOST_PROMPTS);
    }
    return prompts;
  }

  private static Request.Prompt prompt(Fields fields, @Nullable JsonNode prompt) {
    if (prompt != null && prompt.isString() && !prompt.stringValue().isEmpty()) {
      return new Request.Prompt.Text(prompt.stringValue(), true);
    }
    return new Request.Prompt.Tokens(tokens(fields, "prompt", prompt));
  }

  /** Token ids, at least one. */
  static TokenIds tokens(Fields fields, String name, @Nullable JsonNode array) {
    if (array == null || !array.isArray() || array.isEmpty()) {
      throw fields.wrong(
          name, "a text that is not empty, an array of token ids, or an array of those");
    }
    int[] ids = new int[array.size()];
    for (int i = 0; i < ids.length; i++) {
      if (!array.get(i).isInt()) {
        throw fields.wrong(
            name, "a text that is not empty, an array of token ids, or an array of those");
      }
      ids[i] = array.get(i).intValue();
    }
    return TokenIds.of(ids);
  }

  /** A response at once or in chunks. */
  private static final class Response {
    private final Exchange exchange;
    private final OpenAiAnswer answer;
    private final Logprobs logprobs;
    private final boolean streams;
    private final List<@Nullable ObjectNode> choices;

    private Response(
        Exchange exchange, OpenAiAnswer answer, Logprobs logprobs, boolean streams, int answers) {
      this.exchange = exchange;
      this.answer = answer;
      this.logprobs = logprobs;
      this.streams = streams;
      this.choices = new ArrayList<>(Collections.nCopies(answers, null));
    }

    private Generation make(Generator generator, Request request, int index, String before) {
      List<TokenLogprob> probable = new ArrayList<>();
      Logprobs.Trail trail = logprobs.new Trail();
      int[] offset = new int[1];
      if (streams && !before.isEmpty()) {
        event(choice(index, before, List.of(), offset));
      }
      Generation generation =
          generator.generate(
              request,
              token -> {
                List<TokenLogprob> entries = trail.take(token);
                if (!streams) {
                  probable.addAll(entries);
                } else if (!token.text().isEmpty() || !entries.isEmpty()) {
                  event(choice(index, token.text(), entries, offset));
                }
                return true;
              });
      probable.addAll(trail.rest(generation.finishReason()));
      String text = streams ? "" : before + generation.text();
      ObjectNode choice = choice(index, text, probable, offset);
      choice.put("finish_reason", OpenAiAnswer.finishReason(generation));
      if (streams) {
        event(choice);
      } else {
        synchronized (choices) {
          choices.set(index, choice);
        }
      }
      return generation;
    }

    /** A choice whose tokens begin at an offset, which goes on behind them. */
    private ObjectNode choice(int index, String text, List<TokenLogprob> probable, int[] offset) {
      ObjectNode choice = Json.object().put("index", index).put("text", text);
      if (logprobs.areWanted()) {
        tokens(choice.putObject("logprobs"), probable, offset);
      } else {
        choice.putNull("logprobs");
      }
      return choice.putNull("finish_reason");
    }

    private void tokens(ObjectNode object, List<TokenLogprob> probable, int[] offset) {
      ArrayNode tokens = object.putArray("tokens");
      ArrayNode values = object.putArray("token_logprobs");
      ArrayNode tops = object.putArray("top_logprobs");
      ArrayNode offsets = object.putArray("text_offset");
      for (TokenLogprob token : probable) {
        String text = logprobs.text(token.id());
        tokens.add(text);
        values.add(token.logprob());
        ObjectNode top = tops.addObject();
        // Of parts of characters, which look alike, the most probable one.
        token.top().forEach(other -> top.putIfAbsent(logprobs.text(other.id()), number(other)));
        offsets.add(offset[0]);
        offset[0] += text.length();
      }
    }

    private static JsonNode number(TokenLogprob token) {
      return JsonNodeFactory.instance.numberNode(token.logprob());
    }

    private void event(ObjectNode choice) {
      ObjectNode chunk = answer.object("text_completion");
      chunk.putArray("choices").add(choice);
      exchange.event(chunk.toString());
    }

    private void end(List<Generation> made, boolean usage, int each) {
      if (!streams) {
        ObjectNode response = answer.object("text_completion");
        ArrayNode array = response.putArray("choices");
        choices.forEach(array::add);
        response.set("usage", usage(made, each));
        exchange.send(response);
        return;
      }
      if (usage) {
        ObjectNode chunk = answer.object("text_completion");
        chunk.putArray("choices");
        chunk.set("usage", usage(made, each));
        exchange.event(chunk.toString());
      }
      exchange.event("[DONE]");
    }

    /** Each prompt counts once. */
    private static ObjectNode usage(List<Generation> made, int each) {
      ObjectNode usage = OpenAiAnswer.usage(made);
      int prompts = 0;
      for (int i = 0; i < made.size(); i += each) {
        prompts += made.get(i).promptTokens();
      }
      int completion = usage.path("completion_tokens").intValue();
      return usage.put("prompt_tokens", prompts).put("total_tokens", prompts + completion);
    }
  }
}
