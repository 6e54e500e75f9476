package io.candle4j.langchain4j;

import dev.langchain4j.model.chat.StreamingChatModel;
import dev.langchain4j.model.chat.common.AbstractStreamingChatModelListenerIT;
import dev.langchain4j.model.chat.listener.ChatModelListener;
import dev.langchain4j.model.chat.request.ChatRequestParameters;
import io.candle4j.CandleModel;
import java.util.List;

/** LangChain4j's own tests of listeners, on the real model. */
class StreamingChatModelListenerSuiteTest extends AbstractStreamingChatModelListenerIT {
  @Override
  protected StreamingChatModel createModel(ChatModelListener listener) {
    return model(TestModels.SMOLLM2, listener);
  }

  @Override
  protected StreamingChatModel createFailingModel(ChatModelListener listener) {
    try (CandleModel closed = TestModels.tiny()) {
      return model(closed, listener);
    }
  }

  private StreamingChatModel model(CandleModel model, ChatModelListener listener) {
    return CandleStreamingChatModel.builder()
        .model(model)
        .modelName(modelName())
        .defaultRequestParameters(
            ChatRequestParameters.builder()
                .temperature(temperature())
                .topP(topP())
                .maxOutputTokens(maxTokens())
                .build())
        .listeners(List.of(listener))
        .build();
  }

  @Override
  protected String modelName() {
    return "smollm2";
  }

  @Override
  protected Class<? extends Exception> expectedExceptionClass() {
    return IllegalStateException.class;
  }
}
