package io.candle4j;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.nio.file.Files;
import java.nio.file.Path;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import tools.jackson.databind.JsonNode;

/** Text to tokens and back, against transformers. */
class TokenizerTest {

  @Test
  void everyTextEqualsTransformers() {
    int texts = 0;
    for (String name : Golden.cases()) {
      Path file = Golden.folder(name).resolve("tokenizer.json");
      try (CandleTokenizer tokenizer = CandleTokenizer.load(file)) {
        for (JsonNode text : Golden.expected(name).get("text")) {
          String string = text.get("text").stringValue();
          TokenIds special = TokenIds.of(Golden.ids(text.get("ids_with_special")));
          assertEquals(TokenIds.of(Golden.ids(text.get("ids"))), tokenizer.encode(string));
          assertEquals(special, tokenizer.encode(string, true));
          assertEquals(text.get("decoded").stringValue(), tokenizer.decode(special, false));
          assertEquals(text.get("decoded_skip_special").stringValue(), tokenizer.decode(special));
          assertEquals(text.get("ids").size(), tokenizer.count(string));
          texts++;
        }
      }
    }
    assertTrue(texts > 200, texts + " texts");
  }

  @Test
  void textsOfEveryKindComeBack() {
    try (CandleModel model = Golden.load("llama-plain")) {
      CandleTokenizer tokenizer = model.tokenizer();
      for (String text :
          new String[] {"", "\0", "a\0b", "🦊".repeat(1000), " ".repeat(10_000), "\r\n\t"}) {
        assertEquals(text, tokenizer.decode(tokenizer.encode(text)));
      }
      assertThrows(IllegalArgumentException.class, () -> tokenizer.encode("\udc00"));
    }
  }

  @Test
  void whatIsNoTokenizerIsAnError(@TempDir Path folder) throws Exception {
    Path file = Files.writeString(folder.resolve("tokenizer.json"), "{}");
    ModelException.Invalid invalid =
        assertThrows(ModelException.Invalid.class, () -> CandleTokenizer.load(file));
    assertTrue(invalid.getMessage().contains("tokenizer.json"));
    assertThrows(
        java.io.UncheckedIOException.class,
        () -> CandleTokenizer.load(folder.resolve("missing.json")));
  }
}
