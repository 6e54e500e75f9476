package io.candle4j;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.List;
import java.util.regex.Matcher;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

/** What a text that names a model stands for. */
class ModelSourceTest {
  @ParameterizedTest
  @CsvSource({
    "https://huggingface.co/Qwen/Qwen3-0.6B, Qwen/Qwen3-0.6B,",
    "http://huggingface.co/Qwen/Qwen3-0.6B/, Qwen/Qwen3-0.6B,",
    "hf.co/Qwen/Qwen3-0.6B?library=x, Qwen/Qwen3-0.6B,",
    "https://www.huggingface.co/a/b/tree/v1.0, a/b, v1.0",
    "huggingface.co/a/b/tree/main#files, a/b, main"
  })
  void pagesOfModels(String source, String id, String revision) {
    Matcher page = ModelSource.HUB_PAGE.matcher(source);
    assertTrue(page.matches());
    assertEquals(id, page.group(1));
    assertEquals(revision, page.group(2));
  }

  /** The page of one file must not load another. */
  @ParameterizedTest
  @ValueSource(
      strings = {
        "https://huggingface.co/a/b/blob/main/b-Q8_0.gguf",
        "https://huggingface.co/a/b/resolve/main/b-Q8_0.gguf",
        "https://huggingface.co/a/b/tree/main/folder",
        "https://huggingface.co/a",
        "https://example.org/a/b"
      })
  void otherPages(String source) {
    assertFalse(ModelSource.HUB_PAGE.matcher(source).matches());
    assertThrows(IllegalArgumentException.class, () -> CandleModel.load(source));
  }

  @Test
  void filesAsUrls() {
    CandleModel.load(Golden.folder("llama-plain").toUri().toString()).close();
    for (String source : new String[] {"file://host/x", "file:x y", "file:relative"}) {
      IllegalArgumentException error =
          assertThrows(IllegalArgumentException.class, () -> CandleModel.load(source));
      assertTrue(String.valueOf(error.getMessage()).startsWith("source: "), error.getMessage());
    }
  }

  @Test
  void h5PathsOfWindowsArePathsOnEverySystem() {
    for (String path :
        List.of(
            "C:/models/x.gguf",
            "c:\\models\\x.gguf",
            "\\\\server\\share\\x.gguf",
            "C:x.gguf",
            "D:models/x.gguf",
            "models\\x",
            "./x",
            "../x",
            "/x",
            ".",
            "..")) {
      assertTrue(ModelSource.looksLikePath(path), path);
    }
    for (String id : List.of("smollm2", "Qwen/Qwen3-0.6B", "a/b:Q4_K_M", "a/b@main", "ab:c")) {
      assertFalse(ModelSource.looksLikePath(id), id);
    }
  }
}
