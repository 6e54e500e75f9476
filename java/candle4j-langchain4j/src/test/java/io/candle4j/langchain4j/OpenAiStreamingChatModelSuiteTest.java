package io.candle4j.langchain4j;

import dev.langchain4j.model.chat.StreamingChatModel;
import dev.langchain4j.model.chat.listener.ChatModelListener;
import dev.langchain4j.model.chat.request.ChatRequestParameters;
import dev.langchain4j.model.chat.response.ChatResponseMetadata;
import dev.langchain4j.model.openai.OpenAiChatRequestParameters;
import dev.langchain4j.model.openai.OpenAiChatResponseMetadata;
import dev.langchain4j.model.openai.OpenAiTokenUsage;
import dev.langchain4j.model.output.TokenUsage;
import java.util.List;

/** LangChain4j's own tests of streaming chat models with its OpenAI client and the server. */
class OpenAiStreamingChatModelSuiteTest extends StreamingChatModelSuiteTest {
  @Override
  protected List<StreamingChatModel> models() {
    return List.of(OverHttp.streaming().build());
  }

  @Override
  protected StreamingChatModel createModelWith(ChatRequestParameters parameters) {
    return OverHttp.streaming(parameters);
  }

  @Override
  public StreamingChatModel createModelWith(ChatModelListener listener) {
    return OverHttp.streaming().listeners(List.of(listener)).build();
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
  protected Class<? extends ChatResponseMetadata> chatResponseMetadataType(
      StreamingChatModel model) {
    return OpenAiChatResponseMetadata.class;
  }

  @Override
  protected Class<? extends TokenUsage> tokenUsageType(StreamingChatModel model) {
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
