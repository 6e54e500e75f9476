package io.candle4j.langchain4j;

import dev.langchain4j.model.chat.response.ChatResponse;
import dev.langchain4j.model.chat.response.CompleteToolCall;
import dev.langchain4j.model.chat.response.PartialResponse;
import dev.langchain4j.model.chat.response.PartialResponseContext;
import dev.langchain4j.model.chat.response.PartialThinking;
import dev.langchain4j.model.chat.response.PartialThinkingContext;
import dev.langchain4j.model.chat.response.PartialToolCall;
import dev.langchain4j.model.chat.response.PartialToolCallContext;
import dev.langchain4j.model.chat.response.StreamingChatResponseHandler;
import dev.langchain4j.model.chat.response.StreamingHandle;
import io.candle4j.Generation;
import io.candle4j.Request;
import io.candle4j.Token;
import io.candle4j.ToolCall;
import org.jspecify.annotations.Nullable;

/** One streamed answer. */
final class Streaming implements StreamingHandle {
  private final ChatSettings settings;
  private final StreamingChatResponseHandler handler;
  private volatile ChatEngine.@Nullable Call running;
  private volatile boolean cancelled;
  private int calls;

  Streaming(ChatSettings settings, StreamingChatResponseHandler handler) {
    this.settings = settings;
    this.handler = handler;
  }

  void run(Request request) {
    ChatResponse response;
    try (ChatEngine.Call call = settings.engine().begin()) {
      running = call;
      Generation generation = call.generate(request, this::tell);
      response = Responses.of(generation, settings.modelName());
    } catch (RuntimeException e) {
      tellError(Responses.error(e));
      return;
    } catch (Throwable e) {
      tellError(e);
      return;
    }
    tell(() -> handler.onCompleteResponse(response));
  }

  private void tell(Token token) {
    if (!token.reasoning().isEmpty()) {
      PartialThinking partial = new PartialThinking(token.reasoning());
      tell(() -> handler.onPartialThinking(partial, new PartialThinkingContext(this)));
    }
    if (!token.text().isEmpty()) {
      PartialResponse partial = new PartialResponse(token.text());
      tell(() -> handler.onPartialResponse(partial, new PartialResponseContext(this)));
    }
    for (ToolCall toolCall : token.toolCalls()) {
      tell(toolCall, calls++);
    }
  }

  /** A call is known when it is whole, so its arguments come at once. */
  private void tell(ToolCall toolCall, int index) {
    PartialToolCall partial =
        PartialToolCall.builder()
            .index(index)
            .id(toolCall.id())
            .name(toolCall.name())
            .partialArguments(toolCall.arguments())
            .build();
    tell(() -> handler.onPartialToolCall(partial, new PartialToolCallContext(this)));
    CompleteToolCall complete = new CompleteToolCall(index, Responses.call(toolCall));
    tell(() -> handler.onCompleteToolCall(complete));
  }

  private void tell(Runnable callback) {
    if (cancelled) {
      return;
    }
    try {
      callback.run();
    } catch (Throwable e) {
      // Also what a callback does not declare, as those written in Kotlin may throw anything.
      tellError(e);
    }
  }

  private void tellError(Throwable error) {
    if (cancelled) {
      return;
    }
    try {
      handler.onError(error);
    } catch (Throwable e) {
      System.getLogger(Streaming.class.getName())
          .log(System.Logger.Level.WARNING, "onError failed", e);
    }
  }

  @Override
  public void cancel() {
    cancelled = true;
    ChatEngine.Call call = running;
    if (call != null) {
      call.cancel();
    }
  }

  @Override
  public boolean isCancelled() {
    return cancelled;
  }
}
