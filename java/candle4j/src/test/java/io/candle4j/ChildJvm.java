package io.candle4j;

import java.io.File;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.concurrent.TimeUnit;
import java.util.function.Predicate;

/** Another JVM, for what depends on how one is started or might end one. */
final class ChildJvm {
  private final List<String> options = new ArrayList<>();
  private final List<String> prefix = new ArrayList<>();
  private final Map<String, String> environment = new java.util.HashMap<>();
  private Duration timeout = Duration.ofMinutes(1);

  /** What a child printed, and how it ended. */
  record Result(int exit, String out, String err) {}

  /** The class path of this JVM, only those entries that a predicate accepts. */
  static String classPath(Predicate<String> accepts) {
    return String.join(
        File.pathSeparator,
        Arrays.stream(System.getProperty("java.class.path").split(File.pathSeparator))
            .filter(accepts)
            .toList());
  }

  static String classPath() {
    return classPath(entry -> true);
  }

  /** Whether an entry of the class path holds the native library. */
  static boolean isPlatformJar(String entry) {
    return entry.contains("candle4j-native");
  }

  ChildJvm option(String... options) {
    this.options.addAll(List.of(options));
    return this;
  }

  ChildJvm environment(String name, String value) {
    environment.put(name, value);
    return this;
  }

  /** Lets it run on these processors only; on Linux. */
  ChildJvm onProcessors(String list) {
    prefix.addAll(List.of("taskset", "--cpu-list", list));
    return this;
  }

  /** How long it may run; a minute without this. */
  ChildJvm timeout(Duration timeout) {
    this.timeout = timeout;
    return this;
  }

  Result run(String... command) throws IOException, InterruptedException {
    Path out = Files.createTempFile("child", ".out");
    Path err = Files.createTempFile("child", ".err");
    try {
      List<String> line = new ArrayList<>(prefix);
      line.add(Path.of(System.getProperty("java.home"), "bin", "java").toString());
      line.addAll(options);
      line.addAll(List.of(command));
      ProcessBuilder builder =
          new ProcessBuilder(line).redirectOutput(out.toFile()).redirectError(err.toFile());
      builder.environment().putAll(environment);
      Process process = builder.start();
      if (!process.waitFor(timeout.toMillis(), TimeUnit.MILLISECONDS)) {
        process.destroyForcibly().waitFor();
      }
      return new Result(process.exitValue(), read(out), read(err));
    } finally {
      Files.delete(out);
      Files.delete(err);
    }
  }

  private static String read(Path file) throws IOException {
    return Files.readString(file, StandardCharsets.UTF_8);
  }
}
