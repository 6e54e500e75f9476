package io.candle4j;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;

import java.io.PrintWriter;
import java.io.StringWriter;
import java.net.URL;
import java.net.URLClassLoader;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.regex.Pattern;
import java.util.spi.ToolProvider;
import org.junit.jupiter.api.DynamicTest;
import org.junit.jupiter.api.TestFactory;
import org.junit.jupiter.api.io.TempDir;

/** What the README shows in Java compiles and runs. */
class ReadmeTest {
  private static final Pattern SNIPPET = Pattern.compile("(?s)```java\n(.*?)```");

  @TempDir Path folder;

  @TestFactory
  List<DynamicTest> everySnippet() throws Exception {
    String readme = Files.readString(Path.of(System.getProperty("candle4j.test.readme")));
    List<String> snippets = SNIPPET.matcher(readme).results().map(m -> m.group(1)).toList();
    assertFalse(snippets.isEmpty());
    return snippets.stream()
        .map(text -> DynamicTest.dynamicTest(text.lines().findFirst().orElse(""), () -> run(text)))
        .toList();
  }

  private void run(String snippet) throws Exception {
    Path source = folder.resolve("Snippet.java");
    Files.writeString(
        source,
        """
        import io.candle4j.*;
        import java.time.*;
        import java.util.*;
        import java.util.concurrent.*;
        public class Snippet {
          public static void run() throws Exception {
            %s
          }
        }
        """
            .formatted(snippet));
    StringWriter messages = new StringWriter();
    PrintWriter writer = new PrintWriter(messages);
    int status =
        ToolProvider.findFirst("javac")
            .orElseThrow()
            .run(
                writer,
                writer,
                "-d",
                folder.toString(),
                "-cp",
                System.getProperty("java.class.path"),
                source.toString());
    assertEquals("", messages.toString());
    assertEquals(0, status);
    try (URLClassLoader loader = new URLClassLoader(new URL[] {folder.toUri().toURL()})) {
      loader.loadClass("Snippet").getMethod("run").invoke(null);
    }
  }
}
