package io.candle4j.langchain4j;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertInstanceOf;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.langchain4j.data.document.Document;
import dev.langchain4j.data.message.ImageContent;
import dev.langchain4j.data.message.SystemMessage;
import dev.langchain4j.data.message.UserMessage;
import dev.langchain4j.data.segment.TextSegment;
import dev.langchain4j.exception.InvalidRequestException;
import dev.langchain4j.exception.UnsupportedFeatureException;
import dev.langchain4j.model.chat.request.ChatRequest;
import dev.langchain4j.model.chat.request.ResponseFormat;
import dev.langchain4j.model.chat.request.ResponseFormatType;
import dev.langchain4j.model.chat.request.json.JsonEnumSchema;
import dev.langchain4j.model.chat.request.json.JsonObjectSchema;
import dev.langchain4j.model.chat.request.json.JsonRawSchema;
import dev.langchain4j.model.chat.request.json.JsonSchema;
import dev.langchain4j.model.chat.response.ChatResponse;
import dev.langchain4j.model.chat.response.PartialResponse;
import dev.langchain4j.model.chat.response.PartialResponseContext;
import dev.langchain4j.model.chat.response.StreamingChatResponseHandler;
import dev.langchain4j.model.embedding.request.EmbeddingInput;
import dev.langchain4j.model.embedding.request.EmbeddingRequest;
import dev.langchain4j.model.embedding.request.EmbeddingRequestParameters;
import dev.langchain4j.model.output.Response;
import dev.langchain4j.rag.content.Content;
import dev.langchain4j.rag.content.retriever.EmbeddingStoreContentRetriever;
import dev.langchain4j.rag.query.Query;
import dev.langchain4j.store.embedding.EmbeddingStoreIngestor;
import dev.langchain4j.store.embedding.inmemory.InMemoryEmbeddingStore;
import io.candle4j.CandleEmbedder;
import io.candle4j.CandleReranker;
import io.candle4j.FinishReason;
import io.candle4j.GenerateOptions;
import io.candle4j.Generation;
import io.candle4j.ModelMetrics;
import io.candle4j.Request;
import java.io.IOException;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;
import org.junit.jupiter.api.Test;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.json.JsonMapper;

/** The adapters on real models. */
class AdaptersTest {
  private static CandleChatModel chat() {
    return CandleChatModel.builder()
        .model(TestModels.SMOLLM2)
        .options(GenerateOptions.builder().temperature(0).maxTokens(40).build())
        .build();
  }

  @Test
  void answersAreThoseOfTheLibrary() {
    String question = "What is the capital of France?";
    try (var session = TestModels.SMOLLM2.newSession()) {
      String expected =
          session
              .generate(question, GenerateOptions.builder().temperature(0).maxTokens(40).build())
              .text();
      CandleChatModel model = chat();
      assertEquals(expected, model.chat(question));
      assertEquals(expected, model.chat(question));
    }
  }

  @Test
  void schemasHold() {
    JsonObjectSchema root =
        JsonObjectSchema.builder()
            .addProperty("size", JsonEnumSchema.builder().enumValues("small", "large").build())
            .addIntegerProperty("legs")
            .required("size", "legs")
            .build();
    ChatResponse response =
        chat()
            .chat(
                ChatRequest.builder()
                    .messages(UserMessage.from("Describe a spider as JSON."))
                    .responseFormat(
                        ResponseFormat.builder()
                            .type(ResponseFormatType.JSON)
                            .jsonSchema(
                                JsonSchema.builder().name("animal").rootElement(root).build())
                            .build())
                    .build());
    JsonNode answer = JsonMapper.shared().readTree(response.aiMessage().text());
    assertTrue(List.of("small", "large").contains(answer.get("size").stringValue()));
    assertTrue(answer.get("legs").isIntegralNumber());
  }

  @Test
  void jsonWithoutASchemaIsAnObject() {
    ChatResponse response =
        chat()
            .chat(
                ChatRequest.builder()
                    .messages(UserMessage.from("Answer with a JSON object that has a city."))
                    .responseFormat(ResponseFormat.JSON)
                    .build());
    assertTrue(response.aiMessage().text().strip().startsWith("{"), response.toString());
  }

  @Test
  void mapsMayHaveAnyNames() {
    JsonObjectSchema map = JsonObjectSchema.builder().description("ages by name").build();
    JsonNode schema =
        JsonMapper.shared()
            .readTree(Schemas.json(JsonObjectSchema.builder().addProperty("ages", map).build()));
    assertFalse(schema.get("additionalProperties").booleanValue());
    assertFalse(schema.get("properties").get("ages").has("additionalProperties"));
  }

  @Test
  void aLateCancelReachesNoOtherCall() {
    ChatEngine engine = ChatEngine.of(TestModels.SMOLLM2);
    ChatEngine.Call first = engine.begin();
    first.close();
    try (ChatEngine.Call second = engine.begin()) {
      AtomicInteger tokens = new AtomicInteger();
      Request request =
          Request.of("Hello", GenerateOptions.builder().maxTokens(8).ignoreEos(true).build());
      Generation generation =
          second.generate(
              request,
              token -> {
                tokens.incrementAndGet();
                first.cancel();
              });
      assertEquals(FinishReason.LENGTH, generation.finishReason());
      assertEquals(8, tokens.get());
    }
  }

  @Test
  void whatDoesNotFitIsAnInvalidRequest() {
    ChatRequest cold =
        ChatRequest.builder().messages(UserMessage.from("Hello")).temperature(-1.0).build();
    assertThrows(InvalidRequestException.class, () -> chat().chat(cold));
    String all = "word ".repeat(20_000);
    assertThrows(InvalidRequestException.class, () -> chat().chat(all));
    UserMessage image = UserMessage.from(ImageContent.from("http://localhost/cat.png"));
    assertThrows(UnsupportedFeatureException.class, () -> chat().chat(image));
  }

  @Test
  void cancelledStreamsEndWithinATokenAndSayNothingMore() throws Exception {
    ModelMetrics before = TestModels.SMOLLM2.metrics();
    AtomicInteger partials = new AtomicInteger();
    List<String> after = new ArrayList<>();
    CompletableFuture<Void> cancelled = new CompletableFuture<>();
    CandleStreamingChatModel model =
        CandleStreamingChatModel.builder()
            .model(TestModels.SMOLLM2)
            .options(GenerateOptions.builder().maxTokens(500).ignoreEos(true).build())
            .build();
    model.chat(
        ChatRequest.builder().messages(UserMessage.from("Tell me a story.")).build(),
        new StreamingChatResponseHandler() {
          @Override
          public void onPartialResponse(PartialResponse partial, PartialResponseContext context) {
            if (partials.incrementAndGet() == 5) {
              context.streamingHandle().cancel();
              cancelled.complete(null);
            }
          }

          @Override
          public void onCompleteResponse(ChatResponse response) {
            after.add("complete");
          }

          @Override
          public void onError(Throwable error) {
            after.add("error");
          }
        });
    cancelled.get(60, TimeUnit.SECONDS);
    long deadline = System.nanoTime() + TimeUnit.SECONDS.toNanos(10);
    while (TestModels.SMOLLM2.metrics().active() > before.active()) {
      assertTrue(System.nanoTime() < deadline, "the cancelled request is still under way");
      Thread.onSpinWait();
    }
    long generated = TestModels.SMOLLM2.metrics().generatedTokens() - before.generatedTokens();
    assertTrue(generated <= 6, generated + " tokens for 5 partial responses");
    // Whatever came late would have come by the end of another request.
    assertFalse(chat().chat("Hello").isEmpty());
    assertEquals(5, partials.get());
    assertEquals(List.of(), after);
  }

  @Test
  void tokensAreCountedAsInPrompts() {
    CandleTokenCountEstimator estimator = new CandleTokenCountEstimator(TestModels.SMOLLM2);
    assertEquals(2, estimator.estimateTokenCountInText("Hello world"));
    List<dev.langchain4j.data.message.ChatMessage> messages =
        List.of(SystemMessage.from("Be brief."), UserMessage.from("Hello world"));
    int prompt =
        chat()
            .chat(ChatRequest.builder().messages(messages).build())
            .metadata()
            .tokenUsage()
            .inputTokenCount();
    int counted = estimator.estimateTokenCountInMessages(messages);
    // What begins the answer comes behind them.
    int behind = estimator.estimateTokenCountInText("<|im_start|>assistant\n");
    assertEquals(prompt, counted + behind);
    assertTrue(estimator.estimateTokenCountInMessage(messages.getLast()) > 2);
  }

  @Test
  void whereNoEmbeddingModelIsNamedItIsTheBuiltInOne() {
    InMemoryEmbeddingStore<TextSegment> store = new InMemoryEmbeddingStore<>();
    EmbeddingStoreIngestor.ingest(
        List.of(Document.from("Foxes eat mice."), Document.from("Paris is in France.")), store);
    var retriever = EmbeddingStoreContentRetriever.builder().embeddingStore(store).maxResults(1);
    List<Content> found = retriever.build().retrieve(Query.from("What do foxes eat?"));
    assertEquals("Foxes eat mice.", found.getFirst().textSegment().text());
  }

  @Test
  void scoresAreThoseOfTheReranker() {
    try (CandleReranker reranker =
        CandleReranker.builder().path(TestModels.encoder("bert-rerank")).load()) {
      List<TextSegment> segments =
          List.of(TextSegment.from("a fox"), TextSegment.from("the capital of France"));
      Response<List<Double>> response =
          new CandleScoringModel(reranker).scoreAll(segments, "capital");
      assertEquals(
          reranker.score("capital", List.of("a fox", "the capital of France")).stream()
              .map(scores -> (double) scores.score())
              .toList(),
          response.content());
      assertTrue(response.tokenUsage().inputTokenCount() > 0);
    }
  }

  @Test
  void severalLabelsAreNoScore() {
    try (CandleReranker reranker =
        CandleReranker.builder().path(TestModels.encoder("bert-labels")).load()) {
      assertThrows(IllegalArgumentException.class, () -> new CandleScoringModel(reranker));
    }
  }

  @Test
  void whatACallbackThrowsIsToldWhateverItIs() throws Exception {
    CandleStreamingChatModel model =
        CandleStreamingChatModel.builder()
            .model(TestModels.SMOLLM2)
            .options(GenerateOptions.builder().maxTokens(2).ignoreEos(true).build())
            .build();
    List<Throwable> told = new ArrayList<>();
    CompletableFuture<Void> complete = new CompletableFuture<>();
    model.chat(
        "hello",
        new StreamingChatResponseHandler() {
          @Override
          public void onPartialResponse(String partial) {
            throw new AssertionError("partial");
          }

          @Override
          public void onCompleteResponse(ChatResponse response) {
            complete.complete(null);
            throw AdaptersTest.<RuntimeException>undeclared(new IOException("complete"));
          }

          @Override
          public void onError(Throwable e) {
            synchronized (told) {
              told.add(e);
              told.notifyAll();
            }
          }
        });
    complete.get(60, TimeUnit.SECONDS);
    synchronized (told) {
      while (!(told.getLast() instanceof IOException)) {
        told.wait(60_000);
      }
      assertInstanceOf(AssertionError.class, told.getFirst());
    }
  }

  @SuppressWarnings({"unchecked", "TypeParameterUnusedInFormals"})
  private static <E extends Throwable> E undeclared(Throwable failure) throws E {
    throw (E) failure;
  }

  @Test
  void theLastModelGivesTheName() {
    try (var tiny = TestModels.tiny()) {
      CandleChatModel chat =
          CandleChatModel.builder().model(TestModels.SMOLLM2).model(tiny).build();
      assertEquals("llama-eos-list", chat.defaultRequestParameters().modelName());
    }
  }

  @Test
  void badPartsOfRequestsAreToldAsSuch() {
    try (var embedder = CandleEmbedder.load(CandleEmbedder.BUILT_IN)) {
      EmbeddingRequest none =
          EmbeddingRequest.builder()
              .inputs(EmbeddingInput.from("text"))
              .parameters(EmbeddingRequestParameters.builder().dimensions(0).build())
              .build();
      CandleEmbeddingModel model = new CandleEmbeddingModel(embedder);
      assertThrows(InvalidRequestException.class, () -> model.embed(none));
    }
    JsonObjectSchema nested =
        JsonObjectSchema.builder().addProperty("a", JsonRawSchema.from("{nothing")).build();
    ChatRequest request =
        ChatRequest.builder()
            .messages(UserMessage.from("Hello"))
            .responseFormat(
                ResponseFormat.builder()
                    .type(ResponseFormatType.JSON)
                    .jsonSchema(JsonSchema.builder().name("n").rootElement(nested).build())
                    .build())
            .build();
    assertThrows(InvalidRequestException.class, () -> chat().chat(request));
  }

  @Test
  void closedModelsFailTheRequest() throws Exception {
    CandleStreamingChatModel model;
    try (var tiny = TestModels.tiny()) {
      model = CandleStreamingChatModel.builder().model(tiny).build();
    }
    CompletableFuture<Throwable> error = new CompletableFuture<>();
    model.chat(
        "hello",
        new StreamingChatResponseHandler() {
          @Override
          public void onCompleteResponse(ChatResponse response) {}

          @Override
          public void onError(Throwable e) {
            error.complete(e);
          }
        });
    assertInstanceOf(IllegalStateException.class, error.get(60, TimeUnit.SECONDS));
  }
}
