package io.candle4j;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.File;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.condition.DisabledOnOs;
import org.junit.jupiter.api.condition.OS;
import org.junit.jupiter.api.io.TempDir;

/** How the native library is found, extracted, checked, overridden and missed. */
class LoadingTest {
  private static final String MODEL = Golden.folder("llama-plain").toString();
  private static final String NATIVE_ACCESS = "--enable-native-access=ALL-UNNAMED";

  @TempDir Path cache;

  private ChildJvm child() {
    return new ChildJvm()
        .option(NATIVE_ACCESS, "-Dcandle4j.cache=" + cache)
        .option("-Dcandle4j.test.models=" + Golden.folder(""));
  }

  private ChildJvm.Result probe(ChildJvm child) throws Exception {
    return child.run("-cp", ChildJvm.classPath(), Probe.class.getName(), MODEL);
  }

  private static String[] lines(ChildJvm.Result result) {
    assertEquals(0, result.exit(), result.err() + result.out());
    return result.out().split("\\R");
  }

  private Path extracted() throws Exception {
    try (Stream<Path> files = Files.walk(cache)) {
      return files
          .filter(file -> Files.isRegularFile(file) && !file.toString().endsWith(".checked"))
          .reduce((a, b) -> null)
          .orElseThrow();
    }
  }

  @Test
  void extractedOnceCheckedAndReused() throws Exception {
    String tokens = lines(probe(child()))[0];
    Path library = extracted();
    assertEquals(library.toString(), lines(probe(child()))[1]);
    assertEquals(library, extracted());

    byte[] whole = Files.readAllBytes(library);
    // What somebody damaged is written again.
    Files.write(library, java.util.Arrays.copyOf(whole, whole.length / 2));
    assertEquals(tokens, lines(probe(child()))[0]);
    assertEquals(whole.length, Files.size(library));
    // As well when it is as long as before.
    byte[] other = whole.clone();
    other[0] ^= 1;
    Files.write(library, other);
    assertEquals(tokens, lines(probe(child()))[0]);
    assertArrayEquals(whole, Files.readAllBytes(library));
  }

  @Test
  @DisabledOnOs(value = OS.WINDOWS, disabledReason = "it has no XDG_CACHE_HOME")
  void h4RelativeFoldersForTheCacheAreMadeAbsolute() throws Exception {
    Path relative = Path.of("").toAbsolutePath().relativize(cache.toAbsolutePath());
    ChildJvm byProperty = child().option("-Dcandle4j.cache=" + relative);
    ChildJvm byVariable =
        new ChildJvm()
            .option(NATIVE_ACCESS, "-Dcandle4j.test.models=" + Golden.folder(""))
            .environment("XDG_CACHE_HOME", relative.toString());
    for (ChildJvm child : List.of(byProperty, byVariable)) {
      Path library = Path.of(lines(probe(child))[1]);
      assertTrue(library.isAbsolute(), library.toString());
      if (System.getProperty("os.name").equals("Linux") || child == byProperty) {
        assertTrue(library.toRealPath().startsWith(cache.toRealPath()), library.toString());
      }
    }
  }

  @Test
  void manyProcessesExtractAtOnce() throws Exception {
    List<Thread> threads = new ArrayList<>();
    List<ChildJvm.Result> results = new ArrayList<>();
    for (int i = 0; i < 4; i++) {
      threads.add(
          Thread.ofPlatform()
              .start(() -> {
                try {
                  ChildJvm.Result result = probe(child());
                  synchronized (results) {
                    results.add(result);
                  }
                } catch (Exception e) {
                  throw new AssertionError(e);
                }
              }));
    }
    for (Thread thread : threads) {
      thread.join();
    }
    assertEquals(4, results.size());
    for (ChildJvm.Result result : results) {
      assertEquals(extracted().toString(), lines(result)[1]);
    }
  }

  @Test
  void aPropertyNamesAnotherLibrary() throws Exception {
    lines(probe(child()));
    Path other = Files.copy(extracted(), cache.resolve("other.so"));
    String[] lines = lines(probe(child().option("-Dcandle4j.library=" + other)));
    assertEquals(other.toString(), lines[1]);

    ChildJvm.Result missing = probe(child().option("-Dcandle4j.library=/no/such.so"));
    assertEquals(3, missing.exit());
    assertTrue(missing.out().contains("/no/such.so"), missing.out());

    Path text = Files.writeString(cache.resolve("text.so"), "not a library");
    ChildJvm.Result wrong = probe(child().option("-Dcandle4j.library=" + text));
    assertEquals(3, wrong.exit());
    assertTrue(wrong.out().contains("cannot load " + text), wrong.out());
  }

  @Test
  void h8LoadingFailsTheSameWayEachTimeAndCanBeRepeated() throws Exception {
    String tokens = lines(probe(child()))[0];
    Path library = extracted();
    Path text = Files.writeString(cache.resolve("text.so"), "not a library");
    // Another library, and one that lacks a function: its name is changed in the table of symbols.
    String foreign = foreignLibrary().toString();
    byte[] bytes = Files.readAllBytes(library);
    byte[] name = "c4j_session_score\0".getBytes(java.nio.charset.StandardCharsets.US_ASCII);
    for (int at = 0; at + name.length < bytes.length; at++) {
      if (java.util.Arrays.equals(bytes, at, at + name.length, name, 0, name.length)) {
        bytes[at + name.length - 2] = 'x';
      }
    }
    Path lacking = Files.write(cache.resolve("lacking.so"), bytes);
    for (String wrong : List.of(text.toString(), foreign, lacking.toString(), "/no/such.so")) {
      String[] lines =
          lines(
              child()
                  .run(
                      "-cp",
                      ChildJvm.classPath(),
                      RetryProbe.class.getName(),
                      wrong,
                      library.toString(),
                      MODEL));
      assertEquals(3, lines.length);
      assertTrue(lines[0].contains(wrong), lines[0]);
      assertEquals(lines[0], lines[1]);
      assertEquals(tokens, lines[2]);
    }
  }

  private static Path foreignLibrary() {
    return Path.of(System.getProperty("java.home"), "lib", System.mapLibraryName("zip"));
  }

  @Test
  void h8NativeAccessThatIsDeniedIsSaidEachTime() throws Exception {
    lines(probe(child()));
    ChildJvm.Result result =
        new ChildJvm()
            .option("-Dcandle4j.cache=" + cache, "--enable-native-access=java.base")
            .option("-XX:+IgnoreUnrecognizedVMOptions", "--illegal-native-access=deny")
            .option("-Dcandle4j.test.models=" + Golden.folder(""))
            .run(
                "-cp",
                ChildJvm.classPath(),
                RetryProbe.class.getName(),
                extracted().toString(),
                "none",
                MODEL);
    String[] lines = lines(result);
    assertEquals(2, lines.length, result.out());
    assertTrue(lines[0].contains("cannot load") && lines[0].endsWith("| true"), lines[0]);
    assertEquals(lines[0], lines[1]);
  }

  @Test
  void aMissingPlatformJarIsSaidWithAllThatWasTried() throws Exception {
    String classPath = ChildJvm.classPath(entry -> !ChildJvm.isPlatformJar(entry));
    ChildJvm.Result result =
        child()
            .option("-Dos.name=Haiku", "-Dos.arch=riscv64")
            .run("-cp", classPath, Probe.class.getName(), MODEL, "twice");
    assertEquals(3, result.exit());
    for (String part :
        List.of(
            "haiku-riscv64",
            "candle4j.library: not set",
            "io/candle4j/native/haiku-riscv64/libcandle4j.so: not found",
            "io.candle4j:candle4j-native")) {
      assertTrue(result.out().contains(part), result.out());
    }
  }

  @Test
  void aCacheThatCannotBeWrittenIsSaid() throws Exception {
    Path file = Files.writeString(cache.resolve("file"), "in the way");
    ChildJvm.Result result =
        new ChildJvm()
            .option(NATIVE_ACCESS, "-Dcandle4j.cache=" + file)
            .option("-Dcandle4j.test.models=" + Golden.folder(""))
            .run("-cp", ChildJvm.classPath(), Probe.class.getName(), MODEL);
    assertEquals(3, result.exit());
    assertTrue(result.out().contains(file.toString()), result.out());
    assertTrue(result.out().contains("candle4j.cache"), result.out());
  }

  @Test
  void theFlagThatIsMissingIsLogged() throws Exception {
    Path logging = cache.resolve("logging.properties");
    Files.writeString(logging, "handlers=java.util.logging.ConsoleHandler\n");
    ChildJvm.Result result =
        new ChildJvm()
            .option("-Dcandle4j.cache=" + cache)
            .option("-Dcandle4j.test.models=" + Golden.folder(""))
            .option("-Djava.util.logging.config.file=" + logging)
            .run("-cp", ChildJvm.classPath(), Probe.class.getName(), MODEL);
    lines(result);
    // The JDK itself may warn as well, in its own words.
    List<String> ours =
        result.err().lines().filter(line -> line.contains("candle4j calls native code")).toList();
    assertEquals(1, ours.size(), result.err());
    assertTrue(ours.get(0).endsWith("--enable-native-access=ALL-UNNAMED"), ours.get(0));
  }

  /** Everything as a module, the jars with files alone too. */
  @Test
  void onTheModulePath() throws Exception {
    String modules =
        ChildJvm.classPath(entry ->
            !entry.contains("test-classes")
                && !entry.contains("junit")
                && !entry.contains("opentest4j")
                && !entry.contains("apiguardian")
                && !entry.contains("jspecify"));
    ChildJvm.Result result =
        new ChildJvm()
            .option("--enable-native-access=io.candle4j,io.candle4j.bindings")
            .option("-Dcandle4j.cache=" + cache)
            .option("-Dcandle4j.test.models=" + Golden.folder(""))
            .option("--module-path", modules, "--add-modules", "io.candle4j,io.candle4j.platform")
            .option("--patch-module", "io.candle4j=" + testClasses())
            .option("--add-reads", "io.candle4j=ALL-UNNAMED")
            .run("-m", "io.candle4j/io.candle4j.Probe", MODEL);
    assertTrue(lines(result)[0].startsWith("["), result.out());
    assertFalse(result.err().contains("WARNING"), result.err());
  }

  private static String testClasses() {
    return ChildJvm.classPath(entry -> entry.endsWith("test-classes")).split(File.pathSeparator)[0];
  }
}
