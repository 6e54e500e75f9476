package io.candle4j.langchain4j;

import dev.langchain4j.data.image.Image;
import dev.langchain4j.model.chat.ChatModel;
import dev.langchain4j.service.common.AbstractAiServiceWithToolsIT;
import java.util.List;

/** LangChain4j's own tests of services with tools, with its OpenAI client and the server. */
class OpenAiAiServiceWithToolsSuiteTest extends AbstractAiServiceWithToolsIT {
  @Override
  protected List<ChatModel> models() {
    return List.of(OverHttp.chat().build());
  }

  @Override
  protected boolean supportsRecursion() {
    return true;
  }

  /** One that lies on no server. */
  @Override
  protected Image catImage() {
    return Image.builder().base64Data("iVBORw0KGgo=").mimeType("image/png").build();
  }
}
