package io.candle4j;

import static io.candle4j.Survival.check;
import static io.candle4j.Survival.fails;

import io.candle4j.Survival.Case;
import java.io.IOException;
import java.io.RandomAccessFile;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.stream.Stream;

/** Templates, tokenizers and configurations that are deep, endless or absurd. */
final class InputPrograms {
  static final List<Case> CASES =
      List.of(
          new Case("deepTemplates", InputPrograms::deepTemplates, "-Xss512k"),
          new Case("deepTemplatesOnSmallStacks", InputPrograms::onSmallStacks),
          new Case("templatesThatGrow", InputPrograms::growingTemplates),
          new Case("tokenizersThatGrow", InputPrograms::growingTokenizers),
          new Case("filesThatAreTooLarge", InputPrograms::tooLarge),
          new Case("endOfSequenceIds", InputPrograms::endOfSequence),
          new Case("textsThatAreNoUnicode", InputPrograms::surrogates),
          new Case("valuesThatHoldThemselves", InputPrograms::circularVariables));

  private static final List<String> DEEP =
      List.of(
          "{% set n = namespace() %}{% set n.x = n %}{{ n }}",
          "{% set n = namespace() %}{% set n.x | default(n, true) %}{% endset %}{{ n }}",
          "{% set n = namespace() %}{% set n.x = n.values() %}{{ n }}",
          "{% set a = 1 %}" + "{% set a = [a, a] %}".repeat(40) + "{{ a|string|length }}",
          "{% for x in [1] %}{{ loop.cycle() }}{% endfor %}",
          "{{ 1" + "+1".repeat(2500) + " }}",
          "{{ 1" + "~1".repeat(2500) + " }}",
          "{{ a" + ".b".repeat(2500) + " }}",
          "{{ a" + "[0]".repeat(2500) + " }}",
          "{{ a" + "()".repeat(2500) + " }}",
          "{{ " + "not ".repeat(5000) + "1 }}",
          "{{ " + "-".repeat(5000) + "1 }}",
          "{{ " + "(".repeat(5000) + "1" + ")".repeat(5000) + " }}",
          "{{ " + "[".repeat(5000) + "]".repeat(5000) + " }}",
          "{{ 1" + "**1".repeat(2500) + " }}",
          "{{ 1" + " if 1 else 1".repeat(1500) + " }}",
          "{{ 1" + " is a".repeat(2500) + " }}",
          "{{ 1" + "|string".repeat(2500) + " }}",
          "{% if 0 %}" + "{% elif 0 %}".repeat(900) + "{% endif %}",
          "{% if 1 %}".repeat(3000) + "{% endif %}".repeat(3000),
          "{% set a = [a] %}".repeat(5000) + "{{ a }}{{ a == [a] }}{{ a|tojson }}",
          "{% set n = namespace(x=[]) %}{% for i in range(20000) %}{% set n.x = [n.x] %}{% endfor %}"
              + "{{ n.x }}",
          "{% set n = namespace(x=[]) %}{% for i in range(20000) %}{% set n.x = {'a': n.x} %}"
              + "{% endfor %}{{ n.x|tojson }}",
          "{% macro m(a) %}{{ m([a]) }}{% endmacro %}{{ m(1) }}",
          "{% macro m(a, n) %}{% if n %}{{ m([a], n - 1) }}{% endif %}{% endmacro %}{{ m(1, 50) }}");

  private InputPrograms() {}

  private static void deepTemplates() throws Exception {
    for (String template : DEEP) {
      apply(template);
    }
  }

  private static void onSmallStacks() throws Exception {
    Survival.golden();
    for (String template : DEEP) {
      Survival.onShortThread(256 << 10, () -> apply(template));
    }
  }

  private static void growingTemplates() throws Exception {
    long before = Resident.bytes();
    for (String template :
        List.of(
            "{% set n = namespace(s='ab') %}{% for i in range(60) %}{% set n.s = n.s ~ n.s %}"
                + "{% endfor %}{{ n.s }}",
            "{% set s = 'ab' %}" + "{% set s = s + s %}".repeat(60) + "{{ s }}",
            "{{ [1]|tojson(indent=100000000000) }}",
            "{{ ('x' * 100000).replace('', 'y' * 100000) }}",
            "{{ ('x' * 100000)|replace('', 'y' * 100000) }}",
            "{{ 'x'|indent(100000000000, true) }}",
            "{{ ([1] * 1000000)|join('x' * 1000000) }}",
            "{{ ('x' * 1000000).join([1] * 1000000) }}",
            "{{ '%1000000000d'|format(1) }}",
            "{{ '{:1000000000}'.format(1) }}",
            "{{ [1]|batch(10000000000, 1) }}",
            "{{ [1]|slice(10000000000) }}",
            "{{ strftime_now('%Q') }}",
            "{% for a in range(99999) %}{% for b in range(99999) %}x{% endfor %}{% endfor %}",
            "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}")) {
      long start = System.nanoTime();
      fails(() -> apply(template, true), ModelException.ChatTemplate.class);
      check(System.nanoTime() - start < 10e9, template + " took too long");
    }
    check(Resident.bytes() - before < 500L << 20, "memory grew");
  }

  /** An error of the template, or a text: both are fine. */
  private static void apply(String template) throws Exception {
    try {
      apply(template, true);
    } catch (ModelException.ChatTemplate expected) {
      check(!String.valueOf(expected.getMessage()).contains("internal error"), "" + expected);
    }
  }

  private static void apply(String template, boolean prompt) throws Exception {
    Path folder = copy();
    Files.writeString(folder.resolve("chat_template.jinja"), template);
    try (CandleModel model = CandleModel.builder().path(folder).load()) {
      model.applyChatTemplate(List.of(ChatMessage.user("Hi")), prompt);
    } finally {
      delete(folder);
    }
  }

  private static void growingTokenizers() throws Exception {
    String doubling = "{\"type\":\"Replace\",\"pattern\":{\"String\":\"a\"},\"content\":\"aa\"}";
    String normalizer =
        "{\"type\":\"Sequence\",\"normalizers\":["
            + String.join(",", java.util.Collections.nCopies(34, doubling))
            + "]}";
    String decoder = normalizer.replace("normalizers", "decoders");
    Path folder = copy();
    Path file = folder.resolve("tokenizer.json");
    String original = Files.readString(file);
    long before = Resident.bytes();
    Files.writeString(
        file, original.replaceFirst("\"normalizer\":\\s*null", "\"normalizer\": " + normalizer));
    check(!Files.readString(file).equals(original), "the tokenizer has a normalizer already");
    try (CandleModel model = CandleModel.builder().path(folder).load();
        CandleSession session = model.newSession()) {
      fails(() -> model.tokenizer().encode("a".repeat(3000)), ModelException.Tokenizer.class);
      fails(
          () -> session.generate(Golden.request("a".repeat(3000), GenerateOptions.greedy())),
          ModelException.Tokenizer.class);
      Survival.golden(session, Survival.MODEL);
    }
    String other =
        original.replaceFirst("(?s)\"decoder\":\\s*\\{.*?\\n  \\}", "\"decoder\": " + decoder);
    check(!other.equals(original), "the tokenizer has no decoder");
    Files.writeString(file, other);
    try (CandleTokenizer tokenizer = CandleTokenizer.load(file)) {
      TokenIds ids = tokenizer.encode("banana ".repeat(500));
      fails(() -> tokenizer.decode(ids), ModelException.Tokenizer.class);
    }
    check(Resident.bytes() - before < 500L << 20, "memory grew");
    delete(folder);
  }

  private static void tooLarge() throws Exception {
    for (String name :
        List.of("config.json", "tokenizer.json", "tokenizer_config.json", "chat_template.jinja")) {
      Path folder = copy();
      try (RandomAccessFile file = new RandomAccessFile(folder.resolve(name).toFile(), "rw")) {
        file.setLength(3L << 30);
      }
      long before = Resident.bytes();
      ModelException.Invalid error =
          fails(
              () -> CandleModel.builder().path(folder).load().close(),
              ModelException.Invalid.class);
      check(
          String.valueOf(error.getMessage()).contains(name + ": has 3221225472 bytes"), "" + error);
      check(Resident.bytes() - before < 100L << 20, "memory grew");
      delete(folder);
    }
  }

  private static void endOfSequence() throws Exception {
    for (String ids :
        List.of("4294967295", "-1", "[4294967295]", "[2, 4294967295]", "2147483648", "999999")) {
      Path folder = copy();
      Files.writeString(
          folder.resolve("generation_config.json"), "{\"eos_token_id\": " + ids + "}");
      try (CandleModel model = CandleModel.builder().path(folder).load();
          CandleSession session = model.newSession()) {
        check(
            model.info().eosTokenIds().stream().allMatch(id -> id < model.info().vocabSize()),
            "" + model.info());
        Survival.golden(session, Survival.MODEL);
      }
      delete(folder);
    }
    for (String ids : List.of("4294967296", "-2", "1.5", "\"x\"", "18446744073709551615")) {
      Path folder = copy();
      Files.writeString(
          folder.resolve("generation_config.json"), "{\"eos_token_id\": " + ids + "}");
      ModelException.Invalid error =
          fails(
              () -> CandleModel.builder().path(folder).load().close(),
              ModelException.Invalid.class);
      check(String.valueOf(error.getMessage()).contains("eos_token_id = " + ids), "" + error);
      delete(folder);
    }
  }

  private static void surrogates() {
    String half = "x\uD83D";
    try (CandleModel model = Golden.load(Survival.MODEL);
        CandleSession session = model.newSession()) {
      List<ChatMessage> hi = List.of(ChatMessage.user("Hi"));
      named("prompt", () -> session.generate(half));
      fails(() -> CandleModel.load("./" + half), IllegalArgumentException.class);
      fails(() -> session.score(TokenIds.of(new int[] {-1, 2}), 2), IllegalArgumentException.class);
      named(
          "options.stop[1]",
          () ->
              session.generate(
                  Golden.request(
                      "x", GenerateOptions.greedy().toBuilder().stop(List.of("a", half)).build())));
      named(
          "content",
          () ->
              session.generate(
                  Golden.request(List.of(ChatMessage.user(half)), GenerateOptions.greedy())));
      named("text", () -> model.tokenizer().encode(half));
      named(
          "variables.tools[0].name",
          () ->
              model.applyChatTemplate(
                  hi, true, Map.of("tools", List.of(Map.of("name", "a\uDC00b")))));
      named("variables: a name", () -> model.applyChatTemplate(hi, true, Map.of(half, 1)));
      Survival.golden(session, Survival.MODEL);
    }
  }

  private static void named(String place, Survival.Failing call) {
    String message = String.valueOf(fails(call, IllegalArgumentException.class).getMessage());
    check(message.contains(place) && message.contains("half of a surrogate pair"), message);
  }

  private static void circularVariables() {
    Map<String, Object> self = new HashMap<>();
    self.put("self", self);
    List<Object> list = new ArrayList<>();
    list.add(list);
    Object deep = 1;
    for (int i = 0; i < 100_000; i++) {
      deep = List.of(deep);
    }
    Object nested = deep;
    try (CandleModel model = Golden.load(Survival.MODEL);
        CandleSession session = model.newSession()) {
      List<ChatMessage> hi = List.of(ChatMessage.user("Hi"));
      for (Object value : List.of(self, list, nested)) {
        fails(
            () -> model.applyChatTemplate(hi, true, Map.of("tools", value)),
            IllegalArgumentException.class);
        fails(
            () ->
                session.generate(
                    Golden.request(hi, GenerateOptions.greedy()).toBuilder()
                        .variables(Map.of("x", value))
                        .build()),
            IllegalArgumentException.class);
      }
      Survival.golden(session, Survival.MODEL);
    }
  }

  static Path copy() throws IOException {
    Path folder = Files.createTempDirectory("model");
    try (Stream<Path> files = Files.list(Survival.folder())) {
      for (Path file : files.toList()) {
        Files.copy(file, folder.resolve(file.getFileName()));
      }
    }
    return folder;
  }

  static void delete(Path folder) throws IOException {
    try (Stream<Path> files = Files.list(folder)) {
      for (Path file : files.toList()) {
        Files.delete(file);
      }
    }
    Files.delete(folder);
  }
}
