package io.candle4j.langchain4j;

import dev.langchain4j.model.chat.Capability;
import dev.langchain4j.model.chat.ChatModel;
import dev.langchain4j.service.common.AbstractAiServiceWithJsonSchemaIT;
import java.util.List;

/**
 * LangChain4j's own tests of services whose answers are Java objects, with its OpenAI client and
 * the server.
 */
class OpenAiAiServiceWithJsonSchemaSuiteTest extends AbstractAiServiceWithJsonSchemaIT {
  @Override
  protected List<ChatModel> models() {
    return List.of(
        OverHttp.chat().supportedCapabilities(Capability.RESPONSE_FORMAT_JSON_SCHEMA).build());
  }

  @Override
  protected boolean supportsRecursion() {
    return true;
  }
}
