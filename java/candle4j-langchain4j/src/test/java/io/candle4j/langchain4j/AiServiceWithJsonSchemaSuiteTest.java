package io.candle4j.langchain4j;

import dev.langchain4j.model.chat.ChatModel;
import dev.langchain4j.service.common.AbstractAiServiceWithJsonSchemaIT;
import java.util.List;

/** LangChain4j's own tests of services whose answers are Java objects. */
class AiServiceWithJsonSchemaSuiteTest extends AbstractAiServiceWithJsonSchemaIT {
  @Override
  protected List<ChatModel> models() {
    return List.of(CandleChatModel.builder().engine(new ScriptedEngine()).build());
  }

  @Override
  protected boolean supportsRecursion() {
    return true;
  }
}
