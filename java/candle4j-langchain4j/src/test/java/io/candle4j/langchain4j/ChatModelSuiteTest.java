package io.candle4j.langchain4j;

import dev.langchain4j.model.chat.ChatModel;
import dev.langchain4j.model.chat.common.AbstractChatModelIT;
import dev.langchain4j.model.chat.request.ChatRequestParameters;
import java.util.List;

/** LangChain4j's own tests of chat models, whose questions a scripted engine answers. */
class ChatModelSuiteTest extends AbstractChatModelIT {
  @Override
  protected List<ChatModel> models() {
    return List.of(CandleChatModel.builder().engine(new ScriptedEngine()).build());
  }

  @Override
  protected ChatModel createModelWith(ChatRequestParameters parameters) {
    return CandleChatModel.builder()
        .engine(new ScriptedEngine())
        .defaultRequestParameters(parameters)
        .build();
  }

  @Override
  protected ChatRequestParameters createIntegrationSpecificParameters(int maxOutputTokens) {
    return CandleChatRequestParameters.builder().maxOutputTokens(maxOutputTokens).build();
  }

  /** An adapter has one model. */
  @Override
  protected boolean supportsModelNameParameter() {
    return false;
  }

  /** Answers are either calls or of a format. */
  @Override
  protected boolean supportsToolsAndJsonResponseFormatWithSchema() {
    return false;
  }

  /** These models read texts. */
  @Override
  protected boolean supportsSingleImageInputAsBase64EncodedString() {
    return false;
  }

  @Override
  protected boolean supportsSingleImageInputAsPublicURL() {
    return false;
  }
}
