package io.candle4j.cli;

/** How text looks on a terminal that has colours. */
enum Style {
  PLAIN(""),
  STRONG("1"),
  FAINT("2"),
  ERROR("1;31"),
  WARNING("33"),
  ANSWER("36"),
  CODE("33"),
  PROMPT("1;32");

  private final String parameters;

  Style(String parameters) {
    this.parameters = parameters;
  }

  /** The text with the escape sequences of this style around it. */
  String around(String text) {
    return this == PLAIN ? text : "\033[" + parameters + "m" + text + "\033[0m";
  }
}
