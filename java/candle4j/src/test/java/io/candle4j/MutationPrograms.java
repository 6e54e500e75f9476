package io.candle4j;

import static io.candle4j.Survival.check;

import io.candle4j.Survival.Case;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.SplittableRandom;
import java.util.TreeMap;

/** Ten thousand damaged files in one JVM: each loads, or fails with an error that names a file. */
final class MutationPrograms {
  private static final int FILES = 10_000;
  private static final int SEED = 20261126;

  static final List<Case> CASES =
      List.of(
          new Case(
              "tenThousandDamagedFiles",
              MutationPrograms::run,
              "-Xms96m",
              "-Xmx96m",
              "-XX:+AlwaysPreTouch"));

  /** The files of a model that are damaged, the last standing for a GGUF file. */
  private static final List<String> NAMES =
      List.of(
          "config.json",
          "generation_config.json",
          "tokenizer.json",
          "tokenizer_config.json",
          "chat_template.jinja",
          "model.safetensors",
          "model-00001-of-00001.safetensors",
          "model.safetensors.index.json",
          "model.gguf");

  private static final List<String> ABSURD =
      List.of(
          "null",
          "true",
          "-1",
          "0",
          "1",
          "1e308",
          "-1e308",
          "0.5",
          "1e-320",
          "4294967295",
          "4294967296",
          "2147483648",
          "9223372036854775807",
          "18446744073709551615",
          "\"\"",
          "\"x\"",
          "\"\\u0000\"",
          "[]",
          "{}",
          "[[[[[[]]]]]]",
          "[1,2,3]",
          "{\"type\":\"Sequence\"}",
          "\"{% for x in range(99999) %}{% for y in range(99999) %}{% endfor %}{% endfor %}\"");

  private static final String TEMPLATE =
      "{%- set ns = namespace(found=false, n=0) -%}{% for m in messages %}{% if m['role'] == 'system'"
          + " and loop.first %}{{ m['content'] | trim }}\n{% else %}<|{{ m.role }}|>{{ m['content'] ~"
          + " '\\n' }}{% set ns.n = ns.n + 1 %}{% endif %}{% endfor %}{{ messages | tojson(indent=2) }}"
          + "{% macro line(x) %}{{ x.upper().replace('A', 'b').split(' ')[0] }}{% endmacro %}"
          + "{{ line('a b') }}{% if add_generation_prompt %}<|assistant|>{% endif %}";

  private final SplittableRandom random = new SplittableRandom(SEED);
  private final Path folder;
  private final List<byte[]> originals = new ArrayList<>();
  private final TreeMap<String, Integer> outcomes = new TreeMap<>();

  /** Errors that name no file, or that are not ours. */
  private final List<String> wrong = new ArrayList<>();

  private MutationPrograms(Path folder) throws IOException {
    this.folder = folder;
    Path model = Survival.folder();
    for (String name : NAMES) {
      originals.add(
          switch (name) {
            case "chat_template.jinja" -> TEMPLATE.getBytes(StandardCharsets.UTF_8);
            case "model-00001-of-00001.safetensors" ->
                Files.readAllBytes(model.resolve("model.safetensors"));
            case "model.safetensors.index.json" -> index();
            case "model.gguf" -> TinyGguf.of(model);
            default -> Files.readAllBytes(model.resolve(name));
          });
    }
  }

  /** All tensors in one shard. */
  private static byte[] index() throws IOException {
    byte[] weights = Files.readAllBytes(Survival.folder().resolve("model.safetensors"));
    String header = new String(weights, 8, length(weights), StandardCharsets.UTF_8);
    StringBuilder index =
        new StringBuilder("{\"metadata\": {\"total_size\": 1}, \"weight_map\": {");
    java.util.regex.Matcher names =
        java.util.regex.Pattern.compile("\"([\\w.]+\\.weight)\":").matcher(header);
    String separator = "";
    while (names.find()) {
      index
          .append(separator)
          .append('"')
          .append(names.group(1))
          .append("\": \"model-00001-of-00001.safetensors\"");
      separator = ", ";
    }
    return index.append("}}").toString().getBytes(StandardCharsets.UTF_8);
  }

  private static int length(byte[] weights) {
    return java.nio.ByteBuffer.wrap(weights).order(java.nio.ByteOrder.LITTLE_ENDIAN).getInt();
  }

  private static void run() throws Exception {
    Path folder = Files.createTempDirectory("damaged");
    try {
      new MutationPrograms(folder).runAll();
    } finally {
      InputPrograms.delete(folder);
    }
  }

  private void runAll() throws Exception {
    // Undamaged, each form loads.
    for (int file : List.of(NAMES.indexOf("config.json"), NAMES.indexOf("model.gguf"))) {
      attempt(file, originals.get(file));
    }
    attempt(NAMES.indexOf("model.safetensors.index.json"), index());
    check(outcomes.getOrDefault("works", 0) == 3, "" + outcomes);
    long before = Resident.bytes();
    long most = 0;
    for (int i = 0; i < FILES; i++) {
      int file = random.nextInt(NAMES.size());
      byte[] damaged = damage(originals.get(file), NAMES.get(file));
      long start = System.nanoTime();
      attempt(file, damaged);
      check(System.nanoTime() - start < 10e9, "file " + i + ", " + NAMES.get(file) + ": too slow");
      if (i % 100 == 0) {
        most = Math.max(most, Resident.bytes() - before);
      }
    }
    check(most < 500L << 20, "memory grew by " + most);
    System.out.println("damaged files: " + outcomes);
    check(wrong.isEmpty(), wrong.size() + " errors are wrong: " + String.join("\n", wrong));
    check(outcomes.getOrDefault("works", 0) > FILES / 100, "too few load: " + outcomes);
    check(outcomes.getOrDefault("Invalid", 0) > FILES / 10, "" + outcomes);
  }

  /** Writes a model with one file damaged, and uses it. */
  private void attempt(int damaged, byte[] bytes) throws IOException {
    String name = NAMES.get(damaged);
    boolean sharded = name.startsWith("model") && name.contains("0000") || name.contains("index");
    for (int i = 0; i < NAMES.size(); i++) {
      Path path = folder.resolve(NAMES.get(i));
      boolean left = NAMES.get(i).contains("0000") || NAMES.get(i).contains("index");
      if (NAMES.get(i).equals("model.gguf") && damaged != i) {
        Files.deleteIfExists(path);
      } else if (left != sharded && (left || NAMES.get(i).equals("model.safetensors"))) {
        Files.deleteIfExists(path);
      } else {
        Files.write(path, i == damaged ? bytes : originals.get(i));
      }
    }
    Path source = name.equals("model.gguf") ? folder.resolve(name) : folder;
    boolean[] loaded = new boolean[1];
    String outcome;
    try {
      use(source, loaded);
      outcome = "works";
    } catch (CandleException | IllegalArgumentException | UncheckedIOException e) {
      String message = String.valueOf(e.getMessage());
      boolean named =
          loaded[0]
              || NAMES.stream().anyMatch(message::contains)
              || e instanceof ModelException.Numeric
              || e instanceof ModelException.InsufficientMemory;
      if (!named || message.contains("internal error") || message.contains("stack backtrace")) {
        wrong.add(name + ": " + e.getClass().getSimpleName() + ": " + message);
      }
      outcome = e.getClass().getSimpleName();
    }
    outcomes.merge(outcome, 1, Integer::sum);
  }

  private static void use(Path source, boolean[] loaded) {
    try (CandleModel model = CandleModel.builder().path(source).load();
        CandleSession session = model.newSession()) {
      loaded[0] = true;
      model.tokenizer().decode(model.tokenizer().encode("Some words, 12 of them.", true));
      if (model.info().hasChatTemplate()) {
        model.applyChatTemplate(
            List.of(ChatMessage.system("Be brief."), ChatMessage.user("A b")), true);
      }
      session.generate(Golden.request(new int[] {1, 2, 3}, Golden.greedy(2)));
    }
  }

  private byte[] damage(byte[] original, String name) {
    boolean text = name.endsWith(".json");
    byte[] bytes = original;
    for (int n = 1 + random.nextInt(3); n > 0; n--) {
      bytes = text && random.nextInt(4) > 0 ? damageJson(bytes) : damageBytes(bytes);
    }
    return bytes;
  }

  /** Replaces, removes or doubles something that stands between two signs of JSON. */
  private byte[] damageJson(byte[] bytes) {
    String json = new String(bytes, StandardCharsets.UTF_8);
    if (json.isEmpty()) {
      return bytes;
    }
    int colon = json.indexOf(':', random.nextInt(json.length()));
    if (colon < 0) {
      colon = json.indexOf(':');
    }
    if (colon < 0) {
      return damageBytes(bytes);
    }
    int end = colon + 1;
    while (end < json.length() && ",}]".indexOf(json.charAt(end)) < 0) {
      end++;
    }
    String value = ABSURD.get(random.nextInt(ABSURD.size()));
    if (random.nextInt(30) == 0) {
      value = "[".repeat(5000) + "]".repeat(5000);
    }
    return (json.substring(0, colon + 1) + value + json.substring(end))
        .getBytes(StandardCharsets.UTF_8);
  }

  /** Mostly in the first kilobytes, where headers are. */
  private byte[] damageBytes(byte[] original) {
    if (original.length == 0) {
      return new byte[] {(byte) random.nextInt(256)};
    }
    int range = random.nextInt(4) > 0 ? Math.min(original.length, 4096) : original.length;
    int at = random.nextInt(range);
    byte[] bytes = original.clone();
    switch (random.nextInt(7)) {
      case 0 -> bytes[at] ^= (byte) (1 << random.nextInt(8));
      case 1 -> bytes[at] = (byte) random.nextInt(256);
      case 2 -> {
        for (int i = at; i < Math.min(at + 8, bytes.length); i++) {
          bytes[i] = (byte) 0xFF;
        }
      }
      case 3 -> {
        for (int i = at; i < Math.min(at + 8, bytes.length); i++) {
          bytes[i] = 0;
        }
      }
      case 4 -> bytes = java.util.Arrays.copyOf(bytes, at);
      case 5 -> {
        int length = Math.min(random.nextInt(1, 64), bytes.length - at);
        ByteArrayOutputStream out = new ByteArrayOutputStream();
        out.write(bytes, 0, at + length);
        out.write(bytes, at, bytes.length - at);
        bytes = out.toByteArray();
      }
      default -> {
        int length = Math.min(random.nextInt(1, 64), bytes.length - at);
        ByteArrayOutputStream out = new ByteArrayOutputStream();
        out.write(bytes, 0, at);
        out.write(bytes, at + length, bytes.length - at - length);
        bytes = out.toByteArray();
      }
    }
    return bytes;
  }
}
