package io.candle4j.langchain4j;

import io.candle4j.ChatMessage;
import io.candle4j.FinishReason;
import io.candle4j.Generation;
import io.candle4j.Request;
import io.candle4j.Request.Prompt;
import io.candle4j.ResponseFormat;
import io.candle4j.Token;
import io.candle4j.TokenIds;
import io.candle4j.TokenListener;
import io.candle4j.ToolCall;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.Optional;
import java.util.concurrent.atomic.AtomicInteger;

/**
 * Answers what LangChain4j's tests ask, which a small model does not know: what is tested with it
 * is how requests are read and answers are told. It is as a model is: words are tokens, the limit
 * of tokens, stop texts, tools and formats of a request count.
 */
final class ScriptedEngine implements ChatEngine {
  /** Calls that have begun and not ended. */
  final AtomicInteger open = new AtomicInteger();

  /** Tokens of all calls. */
  final AtomicInteger tokens = new AtomicInteger();

  @Override
  public Call begin() {
    open.incrementAndGet();
    return new ScriptedCall();
  }

  private final class ScriptedCall implements Call {
    private volatile boolean cancelled;

    @Override
    public Generation generate(Request request, TokenListener listener) {
      List<ChatMessage> messages = ((Prompt.Chat) request.prompt()).messages();
      List<ToolCall> calls = calls(request, messages);
      return calls.isEmpty()
          ? say(answer(request, messages), request, listener)
          : call(calls, listener);
    }

    private Generation call(List<ToolCall> calls, TokenListener listener) {
      for (ToolCall call : calls) {
        tell("", List.of(call), Token.Kind.TOOL_CALL, listener);
      }
      return generation("", calls, calls.size(), FinishReason.TOOL_CALLS);
    }

    private Generation say(String answer, Request request, TokenListener listener) {
      StringBuilder text = new StringBuilder();
      int most = request.options().maxTokens().orElse(Integer.MAX_VALUE);
      int count = 0;
      for (String word : answer.split("(?<= )")) {
        if (cancelled) {
          return generation(text.toString(), List.of(), count, FinishReason.CANCELLED);
        }
        if (count == most) {
          return generation(text.toString(), List.of(), count, FinishReason.LENGTH);
        }
        count++;
        if (request.options().stop().stream().anyMatch(word::contains)) {
          return generation(text.toString(), List.of(), count, FinishReason.STOP_STRING);
        }
        text.append(word);
        tell(word, List.of(), Token.Kind.TEXT, listener);
      }
      return generation(text.toString(), List.of(), count, FinishReason.STOP);
    }

    private void tell(String text, List<ToolCall> calls, Token.Kind kind, TokenListener listener) {
      tokens.incrementAndGet();
      listener.onToken(new Token(0, kind, text, "", calls, Optional.empty()));
    }

    @Override
    public void cancel() {
      cancelled = true;
    }

    @Override
    public void close() {
      open.decrementAndGet();
    }
  }

  private static Generation generation(
      String text, List<ToolCall> calls, int tokens, FinishReason reason) {
    return new Generation(
        text,
        Optional.empty(),
        calls,
        TokenIds.of(new int[tokens]),
        reason,
        10,
        0,
        0,
        List.of(),
        0,
        List.of(),
        new Generation.Timings(Duration.ZERO, Duration.ZERO, 0, 0));
  }

  /** A call that follows a question, when so many tools have answered since. */
  private record Step(String question, int results, String tool, String arguments) {}

  private static final List<Step> STEPS =
      List.of(
          new Step("weather in Munich", 0, "getWeather", "{\"city\":\"Munich\"}"),
          new Step("I live in Munich", 0, "getWeather", "{\"city\":\"Munich\"}"),
          new Step("time in France", 0, "getTime", "{\"country\":\"France\"}"),
          new Step("time now? Use", 0, "get_current_time", "{}"),
          new Step("time now? Respond", 0, "currentTime", "{}"),
          new Step("date today", 0, "currentDate", "{}"),
          new Step("37 plus 87", 0, "add", "{\"arg0\":37,\"arg1\":87}"),
          new Step("73 plus 78", 0, "add", "{\"arg0\":73,\"arg1\":78}"),
          new Step("Now add 47", 0, "add", "{\"arg0\":124,\"arg1\":47}"),
          new Step("First add 2 and 3", 0, "add", "{\"arg0\":2,\"arg1\":3}"),
          new Step("First add 2 and 3", 1, "multiply", "{\"arg0\":5,\"arg1\":4}"),
          new Step(
              "Klaus is 37 years old",
              0,
              "process",
              "{\"arg0\":{\"name\":\"Klaus\",\"age\":37,\"height\":1.78,\"married\":false}}"),
          new Step(
              "Klaus lives in Langley Falls",
              0,
              "process",
              "{\"arg0\":{\"name\":\"Klaus\",\"address\":{\"city\":\"Langley Falls\"}}}"),
          new Step(
              "Francine has 2 children",
              0,
              "process",
              "{\"arg0\":{\"name\":\"Francine\",\"children\":[{\"name\":\"Steve\",\"children\":[]},"
                  + "{\"name\":\"Hayley\",\"children\":[]}]}}"),
          new Step(
              "temperature in Munich",
              0,
              "currentTemperature",
              "{\"arg0\":\"Munich\",\"arg1\":\"CELSIUS\"}"),
          new Step(
              "Klaus is 42 years old", 0, "process", "{\"arg0\":{\"Klaus\":42,\"Francine\":47}}"),
          new Step("names: Klaus", 0, "processNames", "{\"arg0\":[\"Klaus\",\"Franny\"]}"),
          new Step("colors: RED", 0, "process", "{\"arg0\":[\"RED\",\"GREEN\"]}"),
          new Step("integers: 37", 0, "processNumbers", "{\"arg0\":[37,73]}"),
          new Step(
              "people: Klaus",
              0,
              "process",
              "{\"arg0\":[{\"name\":\"Klaus\"},{\"name\":\"Franny\"}]}"),
          new Step(
              "username with ID",
              0,
              "getUsernameFromId",
              "{\"arg0\":\"62dbcc27-aaf3-449a-b12d-5a904271a57f\"}"),
          new Step("Call tool 'modify'", 0, "modify", "{\"arg0\":7}"),
          new Step("Take a photo", 0, "takePhoto", "{}"));

  private static List<ToolCall> calls(Request request, List<ChatMessage> messages) {
    List<ToolCall> calls = new ArrayList<>();
    int last = messages.size() - 1;
    while (last > 0 && !(messages.get(last) instanceof ChatMessage.User)) {
      last--;
    }
    String question = messages.get(last).text();
    long results =
        messages.subList(last, messages.size()).stream()
            .filter(ChatMessage.ToolResult.class::isInstance)
            .count();
    for (Step step : STEPS) {
      boolean offered = request.tools().stream().anyMatch(tool -> tool.name().equals(step.tool));
      if (offered && step.results == results && question.contains(step.question)) {
        calls.add(new ToolCall("call_" + (calls.size() + 1), step.tool, step.arguments));
      }
    }
    return calls;
  }

  private static String answer(Request request, List<ChatMessage> messages) {
    String said = String.join("\n", messages.stream().map(ChatMessage::text).toList());
    String all = said.toLowerCase(Locale.ROOT);
    if (request.responseFormat().orElse(null) instanceof ResponseFormat.JsonSchema format) {
      return ScriptedJson.answer(said, format.schema());
    }
    if (messages.getLast() instanceof ChatMessage.ToolResult) {
      return "The tools say: " + said.substring(said.indexOf('\n') + 1).replace('\n', ' ');
    }
    if (all.contains("i love you")) {
      return "Ich liebe dich";
    }
    if (all.contains("favorite color")) {
      return "Your favorite color is green.";
    }
    if (all.contains("hello world")) {
      return "Hello World, and more";
    }
    if (all.contains("story")) {
      return "once upon a time there was a fox ".repeat(1000);
    }
    return "The capital of Germany is the city of Berlin.";
  }
}
