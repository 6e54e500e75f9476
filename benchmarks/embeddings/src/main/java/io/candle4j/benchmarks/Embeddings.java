package io.candle4j.benchmarks;

import dev.langchain4j.data.segment.TextSegment;
import dev.langchain4j.model.embedding.EmbeddingModel;
import dev.langchain4j.model.embedding.onnx.allminilml6v2.AllMiniLmL6V2EmbeddingModel;
import io.candle4j.CandleEmbedder;
import io.candle4j.Embedding;
import io.candle4j.Quantization;
import java.io.BufferedReader;
import java.io.IOException;
import java.io.PrintWriter;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Random;

/**
 * all-MiniLM-L6-v2 here and where Java programs run it today: texts a second on a list, and how
 * long one text takes. All take turns, round by round; medians are printed.
 *
 * <p>Arguments: the model's folder, the number of rounds, and maybe a command line that runs {@code
 * peers.py}.
 */
public final class Embeddings {
  private static final int TEXTS = 600;
  private static final int SHORTEST = 6;
  private static final int LONGEST = 150;
  private static final int SINGLES = 40;

  /** As many tokens as the tokenizer of LangChain4j's artifact leaves of a text; the model's own files say 256. */
  private static final int MAX_TOKENS = 128;

  private Embeddings() {}

  /** Something that makes vectors. */
  private interface Side {
    /** The seconds that all texts take. */
    double list(List<String> texts);

    /** The seconds that one text takes. */
    double one(String text);
  }

  private static final class Measured {
    private final List<Double> lists = new ArrayList<>();
    private final List<Double> ones = new ArrayList<>();
  }

  /** Runs it. */
  public static void main(String[] args) throws IOException {
    Path folder = Path.of(args[0]);
    int rounds = Integer.parseInt(args[1]);
    List<String> texts = texts();
    Map<String, Side> sides = new LinkedHashMap<>();
    try (CandleEmbedder exact = CandleEmbedder.builder().path(folder).maxTokens(MAX_TOKENS).load();
        CandleEmbedder i16 =
            CandleEmbedder.builder()
                .path(folder)
                .maxTokens(MAX_TOKENS)
                .quantize(Quantization.I16)
                .load()) {
      sides.put("candle4j " + exact.info().precision(), side(exact));
      sides.put("candle4j i16", side(i16));
      EmbeddingModel onnx = new AllMiniLmL6V2EmbeddingModel();
      sides.put("LangChain4j ONNX", side(onnx));
      Process peers = args.length > 2 ? peers(args, texts, sides) : null;
      check(exact, i16, onnx, texts);
      Map<String, Measured> measured = new LinkedHashMap<>();
      for (int round = -1; round < rounds; round++) {
        for (Map.Entry<String, Side> side : sides.entrySet()) {
          Measured own = measured.computeIfAbsent(side.getKey(), name -> new Measured());
          double list = side.getValue().list(texts);
          List<Double> ones = new ArrayList<>();
          for (int i = 0; i < SINGLES; i++) {
            ones.add(side.getValue().one(texts.get(i)));
          }
          // The first round warms up.
          if (round >= 0) {
            own.lists.add(list);
            own.ones.add(median(ones));
          }
        }
      }
      print(measured);
      if (peers != null) {
        peers.destroy();
      }
    }
    // LangChain4j's threads would keep the JVM.
    System.exit(0);
  }

  private static void print(Map<String, Measured> measured) {
    Measured onnx = measured.get("LangChain4j ONNX");
    System.out.println(
        "| | texts/s on a list | beside LangChain4j | one text | beside LangChain4j |");
    System.out.println("| --- | ---: | ---: | ---: | ---: |");
    measured.forEach((name, own) -> {
      double list = median(own.lists);
      double one = median(own.ones);
      System.out.printf(
          Locale.ROOT,
          "| %s | %.0f | %.2f × | %.1f ms | %.2f × |%n",
          name,
          TEXTS / list,
          median(onnx.lists) / list,
          one * 1e3,
          median(onnx.ones) / one);
    });
  }

  private static Side side(CandleEmbedder embedder) {
    return new Side() {
      @Override
      public double list(List<String> texts) {
        long start = System.nanoTime();
        embedder.embedAll(texts);
        return (System.nanoTime() - start) / 1e9;
      }

      @Override
      public double one(String text) {
        long start = System.nanoTime();
        embedder.embed(text);
        return (System.nanoTime() - start) / 1e9;
      }
    };
  }

  private static Side side(EmbeddingModel model) {
    return new Side() {
      @Override
      public double list(List<String> texts) {
        List<TextSegment> segments = texts.stream().map(TextSegment::from).toList();
        long start = System.nanoTime();
        model.embedAll(segments);
        return (System.nanoTime() - start) / 1e9;
      }

      @Override
      public double one(String text) {
        long start = System.nanoTime();
        model.embed(text);
        return (System.nanoTime() - start) / 1e9;
      }
    };
  }

  /** Starts the Python side, which tells what it has, and takes a line for each measurement. */
  private static Process peers(String[] args, List<String> texts, Map<String, Side> sides)
      throws IOException {
    Path file = Files.createTempFile("texts", ".txt");
    Files.write(file, texts);
    List<String> command = new ArrayList<>(Arrays.asList(args).subList(2, args.length));
    command.add(file.toString());
    Process process =
        new ProcessBuilder(command).redirectError(ProcessBuilder.Redirect.INHERIT).start();
    BufferedReader out = process.inputReader();
    PrintWriter in = new PrintWriter(process.outputWriter(), true);
    String names = out.readLine();
    for (String name : names.split(",")) {
      sides.put(
          name,
          new Side() {
            @Override
            public double list(List<String> all) {
              return ask(name + "\tlist");
            }

            @Override
            public double one(String text) {
              return ask(name + "\t" + texts.indexOf(text));
            }

            private double ask(String line) {
              in.println(line);
              try {
                return Double.parseDouble(out.readLine());
              } catch (IOException e) {
                throw new UncheckedIOException(e);
              }
            }
          });
    }
    return process;
  }

  /** All sides have the same weights: their vectors point the same way. */
  private static void check(
      CandleEmbedder exact, CandleEmbedder i16, EmbeddingModel onnx, List<String> texts) {
    double least = 1;
    double between = 1;
    for (String text : texts.subList(0, SINGLES)) {
      Embedding own = exact.embed(text);
      float[] other = onnx.embed(text).content().vector();
      between = Math.min(between, own.cosine(new Embedding(other, 1, 0)));
      least = Math.min(least, own.cosine(i16.embed(text)));
    }
    System.err.printf(
        Locale.ROOT, "least cosine beside ONNX %.7f, of i16 beside that %.7f%n", between, least);
  }

  /** Texts of many lengths, the same in every run. */
  private static List<String> texts() {
    String[] words =
        ("the of and to in that is for it as was with be by on not he his but at are this have from"
                + " or had an they which one you were her all she there would their we him been has"
                + " when who will more no if out so said what up its about into than them can only"
                + " other new some could time these two may then do first any my now such like our")
            .split(" ");
    Random random = new Random(1);
    List<String> texts = new ArrayList<>();
    for (int i = 0; i < TEXTS; i++) {
      StringBuilder text = new StringBuilder();
      int count = SHORTEST + random.nextInt(LONGEST - SHORTEST + 1);
      for (int j = 0; j < count; j++) {
        text.append(j == 0 ? "" : " ").append(words[random.nextInt(words.length)]);
      }
      texts.add(text.toString());
    }
    return texts;
  }

  private static double median(List<Double> numbers) {
    List<Double> sorted = numbers.stream().sorted().toList();
    return sorted.get(sorted.size() / 2);
  }
}
