package io.candle4j.cli;

import java.io.FileDescriptor;
import java.io.FileInputStream;
import java.io.FileOutputStream;
import java.io.InputStream;
import java.io.OutputStream;
import java.io.PrintWriter;
import java.io.StringWriter;
import java.nio.charset.Charset;
import java.nio.charset.StandardCharsets;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Set;
import java.util.stream.Stream;

/** The program's three streams, and how talkative it is to be on them. */
final class Stdio {
  /** Variables that hold access tokens. Their values are kept out of everything that is told. */
  private static final List<String> SECRETS = List.of("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN");

  private final InputStream in;
  private final boolean inIsTerminal;
  private final Sink out;
  private final Sink err;
  private final boolean interactive;
  private final LiveLines live;
  private final List<String> secrets;
  private boolean quiet;
  private boolean verbose;

  /**
   * Puts the streams together.
   *
   * @param terminals which of them are terminals, by descriptor
   * @param environment the environment's variables
   */
  Stdio(
      InputStream in,
      OutputStream out,
      OutputStream err,
      Set<Integer> terminals,
      Map<String, String> environment) {
    this.in = in;
    this.inIsTerminal = terminals.contains(Descriptors.IN);
    this.out = sink(out, Descriptors.OUT, terminals, environment);
    this.err = sink(err, Descriptors.ERR, terminals, environment);
    this.live = new LiveLines(this.err, this.err.isTerminal() && hasEscapes(environment));
    this.interactive =
        inIsTerminal && this.out.isTerminal() && !"dumb".equals(environment.get("TERM"));
    this.secrets =
        SECRETS.stream()
            .map(environment::get)
            .filter(Objects::nonNull)
            .map(String::strip)
            .filter(secret -> !secret.isEmpty())
            .toList();
  }

  /** The streams of this process. */
  static Stdio system() {
    Set<Integer> terminals =
        Stream.of(Descriptors.IN, Descriptors.OUT, Descriptors.ERR)
            .filter(Descriptors::isTerminal)
            .collect(java.util.stream.Collectors.toSet());
    return new Stdio(
        Descriptors.isOfTheJvm(Descriptors.IN)
            ? InputStream.nullInputStream()
            : new FileInputStream(FileDescriptor.in),
        new FileOutputStream(FileDescriptor.out),
        new FileOutputStream(FileDescriptor.err),
        terminals,
        System.getenv());
  }

  private static Sink sink(
      OutputStream stream,
      int descriptor,
      Set<Integer> terminals,
      Map<String, String> environment) {
    boolean terminal = terminals.contains(descriptor);
    String noColour = environment.get("NO_COLOR");
    boolean coloured =
        terminal && (noColour == null || noColour.isEmpty()) && hasEscapes(environment);
    return new Sink(
        stream, terminal ? ofTerminal() : StandardCharsets.UTF_8, descriptor, terminal, coloured);
  }

  /** Files and pipes get UTF-8 everywhere, and so do all terminals but those of Windows. */
  private static Charset ofTerminal() {
    return isWindows()
        ? Charset.forName(System.getProperty("stdout.encoding", "UTF-8"))
        : StandardCharsets.UTF_8;
  }

  /** Whether the terminal knows escape sequences. That of Windows says nothing of itself. */
  private static boolean hasEscapes(Map<String, String> environment) {
    String type = environment.get("TERM");
    return type != null && !type.equals("dumb");
  }

  private static boolean isWindows() {
    return java.io.File.separatorChar == '\\';
  }

  /** Sets how much is told. */
  void tell(boolean quiet, boolean verbose) {
    this.quiet = quiet;
    this.verbose = verbose;
  }

  boolean isQuiet() {
    return quiet;
  }

  boolean isVerbose() {
    return verbose;
  }

  InputStream in() {
    return in;
  }

  boolean inIsTerminal() {
    return inIsTerminal;
  }

  /** Whether a person types and reads, on a terminal that lines can be edited on. */
  boolean isInteractive() {
    return interactive;
  }

  Sink out() {
    return out;
  }

  Sink err() {
    return err;
  }

  /** Lines on standard error that change, if a person would see them. */
  LiveLines live() {
    return quiet ? LiveLines.NONE : live;
  }

  /** Says what failed, in one line; where it came from too when that was asked for. */
  void error(String message, Throwable cause) {
    say(Style.ERROR, "candle: ", message);
    if (verbose) {
      StringWriter trace = new StringWriter();
      cause.printStackTrace(new PrintWriter(trace));
      aside(() -> err.print(Style.FAINT, withoutSecrets(trace.toString())));
    }
  }

  /** Says something that one should know. */
  void warn(String message) {
    if (!quiet) {
      say(Style.WARNING, "candle: warning: ", message);
    }
  }

  /** Says something to a person, but writes it into no log. */
  void note(String message) {
    if (!quiet && err.isTerminal()) {
      say(Style.FAINT, "", message);
    }
  }

  /** Says something to who asked for more. */
  void detail(String message) {
    if (verbose && !quiet) {
      say(Style.FAINT, "candle: ", message);
    }
  }

  private void say(Style style, String who, String message) {
    String line = withoutSecrets(message).strip().replaceAll("\\s*\\R\\s*", " ");
    aside(() -> {
      if (who.isEmpty()) {
        err.print(style, line);
      } else {
        err.print(style, who);
        err.print(line);
      }
      err.println();
    });
  }

  /** That standard error cannot be written to is no reason to stop. */
  private void aside(Runnable print) {
    try {
      live.aside(print);
    } catch (java.io.UncheckedIOException e) {
      // Nobody is there to be told.
    }
  }

  private String withoutSecrets(String text) {
    String shown = text;
    for (String secret : secrets) {
      shown = shown.replace(secret, "***");
    }
    return shown;
  }
}
