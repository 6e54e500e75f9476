package io.candle4j.server;

import io.candle4j.Generation;
import io.candle4j.Request;
import io.candle4j.Token;
import io.candle4j.TokenLogprob;
import io.candle4j.ToolCall;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import tools.jackson.databind.node.ArrayNode;
import tools.jackson.databind.node.ObjectNode;

/** OpenAI's {@code /v1/chat/completions}. */
final class ChatCompletions {
  private final ServedModels models;
  private final ServerMetrics metrics;

  ChatCompletions(ServedModels models, ServerMetrics metrics) {
    this.models = models;
    this.metrics = metrics;
  }

  void answer(Exchange exchange) {
    Fields fields = exchange.fields();
    ServedModel served = models.get(fields.text("model").orElse(null));
    Request request = GenerateFields.chat(fields).build();
    int answers = Answers.count(fields);
    boolean severalCalls = fields.flag("parallel_tool_calls", true);
    boolean streams = fields.flag("stream", false);
    boolean usage =
        fields.object("stream_options").map(o -> o.flag("include_usage", false)).orElse(false);
    if (streams) {
      exchange.beginEvents();
    }
    try (Generator generator = new Generator(served, answers, metrics, exchange)) {
      OpenAiAnswer answer = OpenAiAnswer.of("chatcmpl-", served.name());
      Logprobs logprobs =
          new Logprobs(generator.resident().model(), request.options().logprobs().isPresent());
      if (streams) {
        Chunks chunks = new Chunks(exchange, answer, logprobs, severalCalls);
        List<Generation> made =
            Answers.all(request, answers, (one, index) -> chunks.stream(generator, one, index));
        chunks.end(made, usage);
      } else {
        exchange.send(whole(generator, request, answers, answer, logprobs, severalCalls));
      }
    }
  }

  private static ObjectNode whole(
      Generator generator,
      Request request,
      int answers,
      OpenAiAnswer answer,
      Logprobs logprobs,
      boolean severalCalls) {
    Map<Integer, ArrayNode> probable = new ConcurrentHashMap<>();
    List<Generation> made =
        Answers.all(
            request,
            answers,
            (one, index) -> {
              ArrayNode all = Json.array();
              probable.put(index, all);
              Logprobs.Trail trail = logprobs.new Trail();
              Generation generation =
                  generator.generate(
                      one,
                      token -> {
                        logprobs.add(all, trail.take(token));
                        return severalCalls || token.toolCalls().isEmpty();
                      });
              logprobs.add(all, trail.rest(generation.finishReason()));
              return generation;
            });
    ObjectNode response = answer.object("chat.completion");
    ArrayNode choices = response.putArray("choices");
    for (int index = 0; index < made.size(); index++) {
      Generation generation = made.get(index);
      ObjectNode choice = choices.addObject().put("index", index);
      ObjectNode message = choice.putObject("message").put("role", "assistant");
      List<ToolCall> calls = calls(generation, severalCalls);
      if (generation.text().isEmpty() && !calls.isEmpty()) {
        message.putNull("content");
      } else {
        message.put("content", generation.text());
      }
      message.putNull("refusal");
      generation.reasoning().ifPresent(text -> message.put("reasoning_content", text));
      if (!calls.isEmpty()) {
        ArrayNode array = message.putArray("tool_calls");
        calls.forEach(call -> array.add(OpenAiAnswer.toolCall(call)));
      }
      if (logprobs.areWanted()) {
        choice.putObject("logprobs").set("content", probable.get(index));
      } else {
        choice.putNull("logprobs");
      }
      choice.put("finish_reason", OpenAiAnswer.finishReason(generation));
    }
    response.set("usage", OpenAiAnswer.usage(made));
    return response;
  }

  private static List<ToolCall> calls(Generation generation, boolean several) {
    List<ToolCall> calls = generation.toolCalls();
    return several || calls.isEmpty() ? calls : calls.subList(0, 1);
  }

  /** A response in chunks, whose choices come as they are made. */
  private record Chunks(
      Exchange exchange, OpenAiAnswer answer, Logprobs logprobs, boolean severalCalls) {

    private Generation stream(Generator generator, Request request, int index) {
      int[] calls = new int[1];
      boolean[] begun = new boolean[1];
      Logprobs.Trail trail = logprobs.new Trail();
      Generation generation =
          generator.generate(
              request,
              token -> {
                if (!begun[0]) {
                  begun[0] = true;
                  begin(index);
                }
                tell(token, index, calls, trail.take(token));
                return severalCalls || calls[0] == 0;
              });
      if (!begun[0]) {
        begin(index);
      }
      ObjectNode last = choice(index, Json.object(), trail.rest(generation.finishReason()));
      event(last.put("finish_reason", OpenAiAnswer.finishReason(generation)));
      return generation;
    }

    private void begin(int index) {
      ObjectNode delta = Json.object().put("role", "assistant").put("content", "");
      event(choice(index, delta, List.of()));
    }

    private void tell(Token token, int index, int[] calls, List<TokenLogprob> probable) {
      ObjectNode delta = Json.object();
      if (!token.reasoning().isEmpty()) {
        delta.put("reasoning_content", token.reasoning());
      }
      if (!token.text().isEmpty()) {
        delta.put("content", token.text());
      }
      if (!token.toolCalls().isEmpty()) {
        ArrayNode array = delta.putArray("tool_calls");
        for (ToolCall call : token.toolCalls()) {
          if (severalCalls || calls[0] == 0) {
            array.add(OpenAiAnswer.toolCall(call).put("index", calls[0]++));
          }
        }
      }
      if (delta.isEmpty() && probable.isEmpty()) {
        return;
      }
      event(choice(index, delta, probable));
    }

    private void end(List<Generation> made, boolean usage) {
      if (usage) {
        ObjectNode chunk = answer.object("chat.completion.chunk");
        chunk.putArray("choices");
        chunk.set("usage", OpenAiAnswer.usage(made));
        exchange.event(chunk.toString());
      }
      exchange.event("[DONE]");
    }

    private ObjectNode choice(int index, ObjectNode delta, List<TokenLogprob> probable) {
      ObjectNode choice = Json.object().put("index", index);
      choice.set("delta", delta);
      if (probable.isEmpty()) {
        choice.putNull("logprobs");
      } else {
        logprobs.add(choice.putObject("logprobs").putArray("content"), probable);
      }
      return choice.putNull("finish_reason");
    }

    private void event(ObjectNode choice) {
      ObjectNode chunk = answer.object("chat.completion.chunk");
      chunk.putArray("choices").add(choice);
      exchange.event(chunk.toString());
    }
  }
}
