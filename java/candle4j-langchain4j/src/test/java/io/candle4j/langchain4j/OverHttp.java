package io.candle4j.langchain4j;

import dev.langchain4j.model.chat.ChatModel;
import dev.langchain4j.model.chat.StreamingChatModel;
import dev.langchain4j.model.chat.request.ChatRequestParameters;
import dev.langchain4j.model.openai.OpenAiChatModel;
import dev.langchain4j.model.openai.OpenAiStreamingChatModel;
import io.candle4j.Generation;
import io.candle4j.Request;
import io.candle4j.TokenListener;
import io.candle4j.server.CandleServer;
import io.candle4j.server.ScriptedServer;
import java.nio.file.Path;
import java.util.List;

/** LangChain4j's OpenAI models of a server whose chats {@link ScriptedEngine} answers. */
final class OverHttp {
  /** The models' names; of the models themselves nothing counts. */
  static final String MODEL = "smollm2";

  static final String OTHER =
      Path.of(System.getProperty("candle4j.test.models")).resolve("llama-eos-list").toString();

  /** A model for embeddings, which counts. */
  static final String EMBEDDER = TestModels.encoder("bert-prompts").toString();

  /** Ends with the tests. */
  private static final CandleServer SERVER =
      ScriptedServer.start(List.of(MODEL, OTHER, EMBEDDER), OverHttp::script);

  private OverHttp() {}

  static String url() {
    return SERVER.uri() + "/v1";
  }

  static OpenAiChatModel.OpenAiChatModelBuilder chat() {
    return OpenAiChatModel.builder().baseUrl(url()).apiKey("none").modelName(MODEL);
  }

  static ChatModel chat(ChatRequestParameters parameters) {
    OpenAiChatModel.OpenAiChatModelBuilder builder =
        OpenAiChatModel.builder().baseUrl(url()).apiKey("none");
    if (parameters.modelName() == null) {
      builder.modelName(MODEL);
    }
    return builder.defaultRequestParameters(parameters).build();
  }

  static OpenAiStreamingChatModel.OpenAiStreamingChatModelBuilder streaming() {
    return OpenAiStreamingChatModel.builder().baseUrl(url()).apiKey("none").modelName(MODEL);
  }

  static StreamingChatModel streaming(ChatRequestParameters parameters) {
    OpenAiStreamingChatModel.OpenAiStreamingChatModelBuilder builder =
        OpenAiStreamingChatModel.builder().baseUrl(url()).apiKey("none");
    if (parameters.modelName() == null) {
      builder.modelName(MODEL);
    }
    return builder.defaultRequestParameters(parameters).build();
  }

  private static ScriptedServer.Script script() {
    ChatEngine.Call call = new ScriptedEngine().begin();
    return new ScriptedServer.Script() {
      @Override
      public Generation generate(Request request, TokenListener listener) {
        return call.generate(request, listener);
      }

      @Override
      public void cancel() {
        call.cancel();
      }

      @Override
      public void close() {
        call.close();
      }
    };
  }
}
