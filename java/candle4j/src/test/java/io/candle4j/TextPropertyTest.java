package io.candle4j;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import net.jqwik.api.Arbitraries;
import net.jqwik.api.Arbitrary;
import net.jqwik.api.ForAll;
import net.jqwik.api.Property;
import net.jqwik.api.Provide;
import net.jqwik.api.constraints.IntRange;
import net.jqwik.api.constraints.LongRange;
import net.jqwik.api.lifecycle.AfterContainer;
import net.jqwik.api.lifecycle.BeforeContainer;

/**
 * What holds for the text of every answer: of a tiny model with random weights that is sampled hot,
 * so that any token follows any other, halves of characters included.
 */
class TextPropertyTest {
  private static CandleModel model;

  @BeforeContainer
  static void load() {
    model = Golden.load("llama-plain");
  }

  @AfterContainer
  static void close() {
    model.close();
  }

  private static GenerateOptions.Builder hot(long seed, int maxTokens) {
    return GenerateOptions.builder()
        .temperature(5)
        .topK(0)
        .topP(1)
        .seed(seed)
        .maxTokens(maxTokens)
        .ignoreEos(true);
  }

  /** Without special tokens, whose texts stop an answer though they are no part of it. */
  private static GenerateOptions.Builder hotText(long seed, int maxTokens) {
    Map<Integer, Double> bias = new HashMap<>();
    for (int id = 0; id < model.info().vocabSize(); id++) {
      TokenIds ids = TokenIds.of(id);
      if (!model.tokenizer().decode(ids, false).equals(model.tokenizer().decode(ids, true))) {
        bias.put(id, -1e6);
      }
    }
    return hot(seed, maxTokens).logitBias(bias);
  }

  /** An answer and the pieces of text that came while it was generated. */
  private record Answer(Generation generation, List<String> pieces) {}

  private static Answer answer(String prompt, GenerateOptions options) {
    List<String> pieces = new ArrayList<>();
    try (CandleSession session = model.newSession()) {
      return new Answer(
          session.generate(Golden.raw(prompt, options), token -> pieces.add(token.text())), pieces);
    }
  }

  @Property(tries = 200)
  void piecesJoinedAreTheTextOfAllTokens(
      @ForAll @LongRange(min = 0) long seed, @ForAll @IntRange(min = 1, max = 60) int length) {
    Answer answer = answer("x", hot(seed, length).build());
    assertEquals(length, answer.generation.tokenIds().size());
    assertEquals(model.tokenizer().decode(answer.generation.tokenIds()), answer.generation.text());
    assertEquals(answer.generation.text(), String.join("", answer.pieces));
    for (String piece : answer.pieces) {
      assertTrue(isWhole(piece), piece);
    }
  }

  @Property(tries = 200)
  void aStopTextAndWhatFollowsItIsCut(
      @ForAll @LongRange(min = 0) long seed,
      @ForAll @IntRange(max = 200) int from,
      @ForAll @IntRange(min = 1, max = 12) int length) {
    String whole = answer("x", hotText(seed, 40).build()).generation.text();
    String stop = part(whole, from, length);
    Answer answer = answer("x", hotText(seed, 40).stop(stop).build());
    String text = answer.generation.text();
    assertEquals(FinishReason.STOP_STRING, answer.generation.finishReason());
    assertEquals(whole.substring(0, whole.indexOf(stop)), text);
    assertEquals(text, String.join("", answer.pieces));
    assertFalse(text.contains(stop), text);
  }

  @Property(tries = 100)
  void aTextThatDoesNotOccurStopsNothing(
      @ForAll @LongRange(min = 0) long seed, @ForAll("texts") String stop) {
    String whole = answer("x", hotText(seed, 30).build()).generation.text();
    Answer answer = answer("x", hotText(seed, 30).stop(stop).build());
    int at = whole.indexOf(stop);
    assertEquals(at < 0 ? whole : whole.substring(0, at), answer.generation.text());
    assertEquals(answer.generation.text(), String.join("", answer.pieces));
    assertEquals(
        at < 0 ? FinishReason.LENGTH : FinishReason.STOP_STRING, answer.generation.finishReason());
  }

  @Property(tries = 500)
  void textsGoThereAndBack(@ForAll("texts") String text) {
    TokenIds ids = model.tokenizer().encode(text);
    assertEquals(text, model.tokenizer().decode(ids));
  }

  /**
   * Texts of whole characters from every plane, with many of the kinds that are special to
   * tokenizers.
   */
  @Provide
  Arbitrary<String> texts() {
    Arbitrary<String> character =
        Arbitraries.oneOf(
            Arbitraries.of(
                " ", "\n", "\t", "é", "🦊", "👩‍👩‍👧", "中", "ا", "०", "½", "'s", "\u0000"),
            Arbitraries.chars().ascii().map(String::valueOf),
            Arbitraries.integers()
                .between(0, Character.MAX_CODE_POINT)
                .filter(point -> point < 0xD800 || point > 0xDFFF)
                .map(Character::toString));
    return character.list().ofMinSize(1).ofMaxSize(20).map(list -> String.join("", list));
  }

  private static int[] ids(Generation generation) {
    return generation.tokenIds().stream().mapToInt(Integer::intValue).toArray();
  }

  /** A part of a text that begins and ends between characters. */
  private static String part(String text, int from, int length) {
    int[] points = text.codePoints().toArray();
    int start = from % points.length;
    return new String(points, start, Math.min(length, points.length - start));
  }

  private static boolean isWhole(String piece) {
    return piece.isEmpty()
        || !Character.isLowSurrogate(piece.charAt(0))
            && !Character.isHighSurrogate(piece.charAt(piece.length() - 1));
  }
}
