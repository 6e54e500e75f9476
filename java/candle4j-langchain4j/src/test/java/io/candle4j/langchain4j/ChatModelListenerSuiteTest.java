package io.candle4j.langchain4j;

import dev.langchain4j.model.chat.ChatModel;
import dev.langchain4j.model.chat.common.AbstractChatModelListenerIT;
import dev.langchain4j.model.chat.listener.ChatModelListener;
import dev.langchain4j.model.chat.request.ChatRequestParameters;
import io.candle4j.CandleModel;
import java.util.List;

/** LangChain4j's own tests of listeners, on the real model. */
class ChatModelListenerSuiteTest extends AbstractChatModelListenerIT {
  @Override
  protected ChatModel createModel(ChatModelListener listener) {
    return model(TestModels.SMOLLM2, listener);
  }

  @Override
  protected ChatModel createFailingModel(ChatModelListener listener) {
    try (CandleModel closed = TestModels.tiny()) {
      return model(closed, listener);
    }
  }

  private ChatModel model(CandleModel model, ChatModelListener listener) {
    return CandleChatModel.builder()
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
