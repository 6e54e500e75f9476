package io.candle4j.langchain4j;

import dev.langchain4j.model.chat.StreamingChatModel;
import dev.langchain4j.service.common.AbstractStreamingAiServiceIT;
import java.util.List;

/** LangChain4j's own tests of services on a streaming chat model. */
class StreamingAiServiceSuiteTest extends AbstractStreamingAiServiceIT {
  @Override
  protected List<StreamingChatModel> models() {
    return List.of(CandleStreamingChatModel.builder().engine(new ScriptedEngine()).build());
  }
}
