package io.candle4j;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertInstanceOf;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.concurrent.CancellationException;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.TimeUnit;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.json.JsonMapper;

class EmbedderTest {
  private static final Path ENCODERS =
      Path.of(System.getProperty("candle4j.test.models")).resolveSibling("encoders");
  private static final JsonNode EXPECTED =
      JsonMapper.shared().readTree(ENCODERS.resolveSibling("encoders.json").toFile());

  private static CandleEmbedder load(String name) {
    return CandleEmbedder.builder().path(ENCODERS.resolve(name)).load();
  }

  private static List<String> texts(String name) {
    List<String> texts = new ArrayList<>();
    EXPECTED.get(name).get("texts").forEach(text -> texts.add(text.stringValue()));
    return texts;
  }

  private static void assertVector(JsonNode expected, Embedding got) {
    float[] vector = got.vector();
    assertEquals(expected.size(), vector.length);
    for (int i = 0; i < vector.length; i++) {
      assertEquals(expected.get(i).doubleValue(), vector[i], 1e-4);
    }
  }

  @Test
  void vectorsAreThoseOfSentenceTransformers() {
    EmbedOptions asTheyAre = EmbedOptions.builder().normalize(false).build();
    for (String name : List.of("bert-mean", "xlm-roberta", "modernbert", "qwen3-last")) {
      try (CandleEmbedder embedder = load(name)) {
        List<String> texts = texts(name);
        List<Embedding> all = embedder.embedAll(texts, asTheyAre);
        for (int i = 0; i < all.size(); i++) {
          assertVector(EXPECTED.get(name).get("vectors").get(i), all.get(i));
          assertEquals(all.get(i), embedder.embed(texts.get(i), asTheyAre));
          assertEquals(
              EXPECTED.get(name).get("prompt_tokens").get(i).intValue(), all.get(i).tokens());
        }
      }
    }
  }

  @Test
  void theBuiltInModelKnowsWhatIsAlike() {
    try (CandleEmbedder embedder = CandleEmbedder.load(CandleEmbedder.BUILT_IN);
        CandleEmbedder exact = CandleEmbedder.builder().path(embedder.info().path()).load()) {
      assertEquals(384, embedder.dimensions());
      assertEquals(256, embedder.info().maxTokens());
      assertEquals("i16", embedder.info().precision());
      assertEquals("f16", exact.info().precision());
      Embedding cat = embedder.embed("A cat sleeps on the sofa.");
      Embedding kitten = embedder.embed("The kitten naps on the couch.");
      Embedding tax = embedder.embed("Income tax is due in April.");
      assertTrue(cat.cosine(kitten) > 0.6, () -> "" + cat.cosine(kitten));
      assertTrue(cat.cosine(tax) < 0.2, () -> "" + cat.cosine(tax));
      // What sentence-transformers has for the weights in 32 bits.
      assertEquals(0.757_579, cat.cosine(kitten), 1e-4);
      for (String text : List.of("A cat sleeps on the sofa.", "", "Größe — 東京", "x".repeat(900))) {
        assertTrue(embedder.embed(text).cosine(exact.embed(text)) > 0.99999);
      }
      assertThrows(
          IllegalArgumentException.class, () -> CandleModel.builder().quantize(Quantization.I16));
    }
  }

  @Test
  void itTellsWhatItIs() {
    try (CandleEmbedder embedder = load("bert-prompts")) {
      EmbedderInfo info = embedder.info();
      assertEquals("bert", info.architecture());
      assertEquals(32, embedder.dimensions());
      assertEquals(List.of("mean"), info.pooling());
      assertEquals(Similarity.COSINE, info.similarity());
      assertEquals(List.of("document", "query"), info.prompts().stream().sorted().toList());
      JsonNode expected = EXPECTED.get("bert-prompts").get("prompts").get("query");
      EmbedOptions query = EmbedOptions.builder().query().normalize(false).build();
      List<Embedding> all = embedder.embedAll(texts("bert-prompts"), query);
      for (int i = 0; i < all.size(); i++) {
        assertVector(expected.get(i), all.get(i));
      }
      String message =
          assertThrows(
                  IllegalArgumentException.class,
                  () -> embedder.embed("x", EmbedOptions.builder().promptName("other").build()))
              .getMessage();
      assertTrue(String.valueOf(message).contains("document, query"), message);
    }
  }

  @Test
  void oneTextFailsNoOther() {
    EmbedOptions whole = EmbedOptions.builder().truncate(false).build();
    try (CandleEmbedder embedder = load("bert-short")) {
      List<String> texts = List.of("one", "long ".repeat(50), "\uD800", "", "two");
      EmbeddingException failure =
          assertThrows(EmbeddingException.class, () -> embedder.embedAll(texts, whole));
      assertEquals(1, failure.index());
      assertInstanceOf(ContextFullException.class, failure.getCause());
      List<EmbedResult> results = failure.results();
      assertInstanceOf(EmbedResult.Completed.class, results.get(0));
      EmbedResult.Failed surrogate = assertInstanceOf(EmbedResult.Failed.class, results.get(2));
      assertInstanceOf(IllegalArgumentException.class, surrogate.cause());
      assertEquals(2, results.get(3).orElseThrow().tokens());
      assertEquals(embedder.embed("two"), results.get(4).orElseThrow());
      Embedding cut = embedder.embed("long ".repeat(50));
      assertEquals(16, cut.tokens());
      assertTrue(cut.leftOut() > 30);
    }
  }

  @Test
  void manyTextsKeepTheirOrder() {
    try (CandleEmbedder embedder = load("bert-mean")) {
      List<String> texts =
          IntStream.range(0, 700).mapToObj(i -> "text " + i + " of many".repeat(i % 5)).toList();
      List<Long> order = new ArrayList<>();
      List<Embedding> each = new ArrayList<>();
      embedder.embedEach(
          texts,
          EmbedOptions.defaults(),
          (index, text, result) -> {
            assertEquals(texts.get((int) index), text);
            order.add(index);
            each.add(result.orElseThrow());
          });
      assertEquals(IntStream.range(0, 700).mapToObj(Long::valueOf).toList(), order);
      assertEquals(each, embedder.embedAll(texts));
      List<CompletableFuture<List<Embedding>>> futures =
          IntStream.range(0, 7)
              .mapToObj(i ->
                  embedder.embedAsync(
                      texts.subList(i * 100, i * 100 + 100), EmbedOptions.defaults()))
              .toList();
      List<Embedding> together =
          futures.stream().flatMap(future -> future.join().stream()).toList();
      assertEquals(each, together);
    }
  }

  @Test
  void callsCanBeCancelled() {
    try (CandleEmbedder embedder = load("modernbert")) {
      List<String> texts = Collections.nCopies(100_000, "a text of some words ".repeat(20));
      CompletableFuture<List<Embedding>> future =
          embedder.embedAsync(texts, EmbedOptions.defaults());
      long start = System.nanoTime();
      assertTrue(future.cancel(true));
      assertThrows(CancellationException.class, future::join);
      Thread.currentThread().interrupt();
      assertThrows(CancellationException.class, () -> embedder.embedAll(texts));
      assertTrue(Thread.interrupted());
      assertTrue(TimeUnit.NANOSECONDS.toSeconds(System.nanoTime() - start) < 20);
      assertEquals(embedder.embed("x"), embedder.embed("x"));
    }
  }

  @Test
  void vectorsCanBeSmall() {
    Embedding embedding = new Embedding(new float[] {0.5f, -1, 0, 0.25f}, 3, 0);
    assertArrayEquals(new byte[] {64, -127, 0, 32}, embedding.toInt8());
    assertArrayEquals(new byte[] {(byte) 0b1001_0000}, embedding.toBinary());
    Embedding other = new Embedding(new float[] {1, 0, 0, 0}, 3, 0);
    assertEquals(0.5, embedding.dot(other), 1e-6);
    assertEquals(0.5 / Math.sqrt(1.3125), embedding.cosine(other), 1e-6);
    assertEquals(Math.sqrt(1.3125), embedding.distance(other), 1e-6);
    assertEquals(-1.75, Similarity.MANHATTAN.of(embedding, other), 1e-6);
    try (CandleEmbedder embedder = load("bert-mean")) {
      EmbedOptions few = EmbedOptions.builder().dimensions(8).build();
      Embedding cut = embedder.embed("x", few);
      assertEquals(8, cut.dimensions());
      assertEquals(1, cut.dot(cut), 1e-5);
      assertThrows(
          IllegalArgumentException.class,
          () -> embedder.embed("x", EmbedOptions.builder().dimensions(33).build()));
    }
  }

  @Test
  void scoresAreThoseOfSentenceTransformers() {
    for (String name : List.of("bert-rerank", "bert-labels", "xlm-roberta-rerank")) {
      JsonNode expected = EXPECTED.get(name);
      List<String> documents = new ArrayList<>();
      expected.get("documents").forEach(document -> documents.add(document.stringValue()));
      try (CandleReranker reranker = CandleReranker.builder().path(ENCODERS.resolve(name)).load()) {
        List<DocumentScores> scores =
            reranker.score(expected.get("query").stringValue(), documents);
        for (int i = 0; i < scores.size(); i++) {
          JsonNode row = expected.get("scores").get(i);
          assertEquals(row.size(), reranker.info().labels().size());
          for (int label = 0; label < row.size(); label++) {
            assertEquals(row.get(label).doubleValue(), scores.get(i).scores().get(label), 1e-4);
          }
        }
        if (name.equals("bert-labels")) {
          assertThrows(IllegalStateException.class, () -> reranker.rank("q", documents, 2));
        } else {
          List<RankedDocument> ranked =
              reranker.rank(expected.get("query").stringValue(), documents, 3);
          assertEquals(3, ranked.size());
          assertTrue(ranked.get(0).score() >= ranked.get(1).score());
          assertEquals(
              ranked, reranker.rankAsync(expected.get("query").stringValue(), documents, 3).join());
        }
      }
    }
  }
}
