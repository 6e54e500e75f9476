package io.candle4j.bindings;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/**
 * What candle4j.h declares. Its vocabulary is small enough to be read without a C compiler:
 * constants, function types, structs of plain fields, and functions over fixed-width types and
 * pointers.
 */
record Header(
    String text,
    Map<String, Long> constants,
    Map<String, Signature> functions,
    Map<String, Signature> callbacks,
    Map<String, List<Field>> structs) {

  /** Types by their C names; {@code void} as a result. */
  record Signature(String result, List<String> parameters) {}

  record Field(String type, String name) {}

  static Path path() {
    return Path.of(System.getProperty("candle4j.header"));
  }

  static Header read() throws IOException {
    String text = Files.readString(path());
    String code = text.replaceAll("(?m)^\\s*//.*$", "").replaceAll("(?s)/\\*.*?\\*/", "");

    Map<String, Long> constants = new LinkedHashMap<>();
    each(
        "(?m)^#define (C4J_\\w+) (\\d+)$",
        code,
        m -> constants.put(m.group(1), Long.valueOf(m.group(2))));

    Map<String, Signature> callbacks = new LinkedHashMap<>();
    each(
        "typedef (\\w+) \\(\\*(c4j_\\w+)\\)\\(([^)]*)\\);",
        code,
        m -> callbacks.put(m.group(2), new Signature(m.group(1), parameters(m.group(3)))));

    Map<String, List<Field>> structs = new LinkedHashMap<>();
    each(
        "typedef struct \\{([^}]*)\\} (c4j_\\w+);",
        code,
        m -> {
          List<Field> fields = new ArrayList<>();
          for (String line : m.group(1).split(";")) {
            if (!line.isBlank()) {
              fields.add(new Field(type(line), name(line)));
            }
          }
          structs.put(m.group(2), fields);
        });

    Map<String, Signature> functions = new LinkedHashMap<>();
    each(
        "(?m)^(\\w+) (c4j_\\w+)\\(([^)]*)\\);",
        code,
        m -> functions.put(m.group(2), new Signature(m.group(1), parameters(m.group(3)))));
    return new Header(text, constants, functions, callbacks, structs);
  }

  private interface Visitor {
    void visit(Matcher matcher);
  }

  private static void each(String pattern, String text, Visitor visitor) {
    Matcher matcher = Pattern.compile(pattern).matcher(text);
    while (matcher.find()) {
      visitor.visit(matcher);
    }
  }

  private static List<String> parameters(String list) {
    List<String> types = new ArrayList<>();
    for (String parameter : list.split(",")) {
      if (!parameter.isBlank() && !parameter.strip().equals("void")) {
        types.add(type(parameter));
      }
    }
    return types;
  }

  /** The type of a declaration; every pointer is a {@code *}. */
  private static String type(String declaration) {
    if (declaration.contains("*")) {
      return "*";
    }
    String[] words = declaration.strip().split("\\s+");
    return words[words.length - 2];
  }

  private static String name(String declaration) {
    String[] words = declaration.strip().split("[\\s*]+");
    return words[words.length - 1];
  }
}
