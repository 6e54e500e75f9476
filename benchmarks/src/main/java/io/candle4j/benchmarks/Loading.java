package io.candle4j.benchmarks;

import io.candle4j.CandleModel;
import io.candle4j.CandleRuntime;
import java.io.IOException;
import java.io.InputStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Locale;
import java.util.concurrent.atomic.AtomicLong;
import java.util.stream.Stream;

/**
 * How long a model takes to load, and how much memory: from the page cache, and from the disk,
 * beside reading its files once. Each load runs in a JVM of its own. Linux only.
 *
 * <p>Usage: {@code Loading MODEL ROUNDS}
 */
public final class Loading {
  private Loading() {}

  /**
   * Prints a table.
   *
   * @param args the model and the number of rounds; or {@code child} and the model
   */
  public static void main(String[] args) throws Exception {
    if (args[0].equals("child")) {
      child(Path.of(args[1]));
      return;
    }
    Path model = Path.of(args[0]);
    int rounds = Integer.parseInt(args[1]);
    List<Path> files = files(model);
    double size = 0;
    for (Path file : files) {
      size += Files.size(file) / 1e9;
    }
    List<Double> warm = new ArrayList<>();
    List<Double> cold = new ArrayList<>();
    List<Double> disk = new ArrayList<>();
    List<Double> peak = new ArrayList<>();
    double weights = 0;
    for (int round = 0; round < rounds; round++) {
      evict(files);
      long start = System.nanoTime();
      read(files);
      disk.add((System.nanoTime() - start) / 1e9);
      double[] loaded = load(model);
      warm.add(loaded[0]);
      peak.add(loaded[1]);
      weights = loaded[2];
      evict(files);
      cold.add(load(model)[0]);
    }
    System.out.println("| what | measured |");
    System.out.println("|---|---:|");
    row("files, GB", "%.2f", size);
    row("packed weights, GB", "%.2f", weights);
    row("load from the page cache, s", "%.2f", median(warm));
    row("… a GB of files, s", "%.2f", median(warm) / size);
    row("peak of memory over that before, of the packed weights", "%.2f", median(peak) / weights);
    row("load from the disk, s", "%.2f", median(cold));
    row("… of reading the files once", "%.2f", median(cold) / median(disk));
  }

  private static void row(String what, String format, double value) {
    System.out.println("| " + what + " | " + String.format(Locale.ROOT, format, value) + " |");
  }

  private static double median(List<Double> values) {
    double[] sorted = values.stream().mapToDouble(Double::doubleValue).toArray();
    Arrays.sort(sorted);
    return sorted[sorted.length / 2];
  }

  private static List<Path> files(Path model) throws IOException {
    if (Files.isRegularFile(model)) {
      return List.of(model);
    }
    try (Stream<Path> files = Files.list(model)) {
      return files.filter(Files::isRegularFile).toList();
    }
  }

  private static void read(List<Path> files) throws IOException {
    byte[] buffer = new byte[1 << 22];
    for (Path file : files) {
      try (InputStream in = Files.newInputStream(file)) {
        while (in.read(buffer) >= 0) {
          // The page cache has it then.
        }
      }
    }
  }

  /** Lets the page cache forget files. */
  private static void evict(List<Path> files) throws IOException, InterruptedException {
    for (Path file : files) {
      run("dd", "of=" + file, "oflag=nocache", "conv=notrunc,fdatasync", "count=0", "status=none");
    }
  }

  /** Loads in a JVM of its own: seconds, and gigabytes at the peak and of the packed weights. */
  private static double[] load(Path model) throws IOException, InterruptedException {
    String out =
        run(
            Path.of(System.getProperty("java.home"), "bin", "java").toString(),
            "--enable-native-access=ALL-UNNAMED",
            "-cp",
            System.getProperty("java.class.path"),
            Loading.class.getName(),
            "child",
            model.toString());
    return Arrays.stream(out.trim().split(" ")).mapToDouble(Double::parseDouble).toArray();
  }

  private static String run(String... command) throws IOException, InterruptedException {
    Process process =
        new ProcessBuilder(command).redirectError(ProcessBuilder.Redirect.INHERIT).start();
    String out = new String(process.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
    if (process.waitFor() != 0) {
      throw new IOException(command[0] + " failed");
    }
    return out;
  }

  private static void child(Path model) throws IOException {
    AtomicLong weights = new AtomicLong();
    // The native library is there before time and memory are taken.
    var unused = CandleRuntime.info();
    double before = status("VmRSS");
    long start = System.nanoTime();
    try (CandleModel loaded =
        CandleModel.builder()
            .path(model)
            .progress(progress -> weights.set(progress.total().orElse(0)))
            .load()) {
      double seconds = (System.nanoTime() - start) / 1e9;
      double peak = status("VmHWM") - before;
      System.out.printf(Locale.ROOT, "%f %f %f%n", seconds, peak, weights.get() / 1e9);
    }
  }

  /** Gigabytes of this process' memory, as the kernel counts them. */
  private static double status(String name) throws IOException {
    for (String line : Files.readAllLines(Path.of("/proc/self/status"))) {
      if (line.startsWith(name + ":")) {
        return Double.parseDouble(line.replaceAll("[^0-9]", "")) * 1024 / 1e9;
      }
    }
    throw new IOException("no " + name);
  }
}
