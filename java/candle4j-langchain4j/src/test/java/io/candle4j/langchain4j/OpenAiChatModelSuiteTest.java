package io.candle4j.langchain4j;

import dev.langchain4j.model.chat.ChatModel;
import dev.langchain4j.model.chat.request.ChatRequestParameters;
import dev.langchain4j.model.chat.response.ChatResponseMetadata;
import dev.langchain4j.model.openai.OpenAiChatRequestParameters;
import dev.langchain4j.model.openai.OpenAiChatResponseMetadata;
import dev.langchain4j.model.openai.OpenAiTokenUsage;
import dev.langchain4j.model.output.TokenUsage;
import java.util.List;

/** LangChain4j's own tests of chat models with its OpenAI client and the server. */
class OpenAiChatModelSuiteTest extends ChatModelSuiteTest {
  @Override
  protected List<ChatModel> models() {
    return List.of(OverHttp.chat().build());
  }

  @Override
  protected ChatModel createModelWith(ChatRequestParameters parameters) {
    return OverHttp.chat(parameters);
  }

  @Override
  protected ChatRequestParameters createIntegrationSpecificParameters(int maxOutputTokens) {
    return OpenAiChatRequestParameters.builder().maxOutputTokens(maxOutputTokens).build();
  }

  @Override
  protected String customModelName() {
    return OverHttp.OTHER;
  }

  @Override
  protected Class<? extends ChatResponseMetadata> chatResponseMetadataType(ChatModel model) {
    return OpenAiChatResponseMetadata.class;
  }

  @Override
  protected Class<? extends TokenUsage> tokenUsageType(ChatModel model) {
    return OpenAiTokenUsage.class;
  }

  /** The client takes every status 400 for the same. */
  @Override
  protected boolean assertExceptionType() {
    return false;
  }

  /** A server has several models. */
  @Override
  protected boolean supportsModelNameParameter() {
    return true;
  }
}
