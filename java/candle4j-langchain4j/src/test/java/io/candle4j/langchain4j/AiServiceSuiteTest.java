package io.candle4j.langchain4j;

import dev.langchain4j.model.chat.ChatModel;
import dev.langchain4j.service.common.AbstractAiServiceIT;
import java.util.List;

/** LangChain4j's own tests of services on a chat model. */
class AiServiceSuiteTest extends AbstractAiServiceIT {
  @Override
  protected List<ChatModel> models() {
    return List.of(CandleChatModel.builder().engine(new ScriptedEngine()).build());
  }

  /** Answers are either calls or of a format. */
  @Override
  protected boolean supportsToolsAndJsonResponseFormatWithSchema() {
    return false;
  }
}
