package io.candle4j.cli;

import io.candle4j.CandleRuntime;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.InputStream;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.concurrent.TimeUnit;

/** Runs the jar that users run, in a process of its own. */
final class Jar {
  private static final long LIMIT_SECONDS = 60;

  private final Map<String, String> environment = new HashMap<>();
  private boolean onTerminal;
  private boolean unpacks;
  private boolean withoutInput;

  /** A process under way, whose two outputs are collected while it runs. */
  static final class Running {
    final Process process;
    private final Collected out;
    private final Collected err;

    private Running(Process process) {
      this.process = process;
      this.out = new Collected(process.getInputStream());
      this.err = new Collected(process.getErrorStream());
    }

    /** Waits until something more has been printed to standard output. */
    Running awaitOut(String text) {
      return await(out, text);
    }

    /** Waits until something more has been printed to standard error. */
    Running awaitErr(String text) {
      return await(err, text);
    }

    private Running await(Collected output, String text) {
      if (!output.await(text)) {
        kill();
        throw new AssertionError(
            "waited for '" + text + "', got " + out.end() + " and " + err.end());
      }
      return this;
    }

    private void kill() {
      process.descendants().forEach(ProcessHandle::destroyForcibly);
      process.destroyForcibly();
    }

    Running type(String text) {
      try {
        process.getOutputStream().write(text.getBytes(StandardCharsets.UTF_8));
        process.getOutputStream().flush();
        return this;
      } catch (IOException e) {
        throw new UncheckedIOException(e);
      }
    }

    /** What has been printed to standard output. */
    String out() {
      return out.end();
    }

    /** Sends a signal by its name. */
    Running signal(String name) {
      try {
        new ProcessBuilder("kill", "-" + name, Long.toString(process.pid())).start().waitFor();
        return this;
      } catch (IOException | InterruptedException e) {
        throw new AssertionError(e);
      }
    }

    /** Waits for the end. */
    Cli.Result result() {
      try {
        if (!process.waitFor(LIMIT_SECONDS, TimeUnit.SECONDS)) {
          kill();
          throw new AssertionError("did not end: " + out.end() + " and " + err.end());
        }
        return new Cli.Result(process.exitValue(), out.all(), err.all());
      } catch (InterruptedException e) {
        throw new AssertionError(e);
      }
    }
  }

  /** What comes out of a stream, read by a thread of its own. */
  private static final class Collected {
    private final ByteArrayOutputStream bytes = new ByteArrayOutputStream();
    private final Thread reader;
    private int seen;

    Collected(InputStream in) {
      reader = Thread.ofPlatform().daemon().start(() -> read(in));
    }

    private void read(InputStream in) {
      byte[] buffer = new byte[8192];
      try {
        for (int n; (n = in.read(buffer)) > 0; ) {
          synchronized (this) {
            bytes.write(buffer, 0, n);
            notifyAll();
          }
        }
      } catch (IOException e) {
        // A test closed it.
      }
    }

    /** Waits for a text, in ASCII, behind the one that was waited for before. */
    synchronized boolean await(String text) {
      long deadline = System.nanoTime() + TimeUnit.SECONDS.toNanos(LIMIT_SECONDS);
      try {
        int found;
        while ((found = bytes.toString(StandardCharsets.ISO_8859_1).indexOf(text, seen)) < 0) {
          long left = TimeUnit.NANOSECONDS.toMillis(deadline - System.nanoTime());
          if (left <= 0) {
            return false;
          }
          wait(left);
        }
        seen = found + text.length();
        return true;
      } catch (InterruptedException e) {
        throw new AssertionError(e);
      }
    }

    String end() {
      String text = toString();
      return text.substring(Math.max(0, text.length() - 1000));
    }

    String all() throws InterruptedException {
      reader.join();
      return toString();
    }

    @Override
    public synchronized String toString() {
      return bytes.toString(StandardCharsets.UTF_8);
    }
  }

  Jar environment(String name, String value) {
    environment.put(name, value);
    return this;
  }

  /** With the native library that is in the jar, which takes longer than one that is unpacked. */
  Jar unpacking() {
    unpacks = true;
    return this;
  }

  /** With a terminal for its three streams, which are then one. */
  Jar onTerminal() {
    onTerminal = true;
    return this;
  }

  /** With standard input closed, and not only empty. */
  Jar withoutInput() {
    withoutInput = true;
    return this;
  }

  Running start(String... args) {
    return new Running(startRaw(args));
  }

  /** Starts without reading what is printed. */
  Process startRaw(String... args) {
    List<String> command = new ArrayList<>();
    command.add(Path.of(System.getProperty("java.home"), "bin", "java").toString());
    command.add("-XX:+UseSerialGC");
    command.add("-XX:TieredStopAtLevel=1");
    command.add("-Dcandle4j.cache=" + System.getProperty("candle4j.cache"));
    if (!unpacks) {
      command.add("-Dcandle4j.library=" + CandleRuntime.info().library());
    }
    command.add("-jar");
    command.add(System.getProperty("candle4j.test.jar"));
    command.addAll(List.of(args));
    if (resetsSignals()) {
      // Whoever started the tests in the background made them, and all they start, deaf to Ctrl-C.
      command.addAll(0, List.of("env", "--default-signal=INT"));
    }
    if (onTerminal) {
      String line = String.join(" ", command.stream().map(word -> "'" + word + "'").toList());
      // A shell that stayed between would die of the Ctrl-C that a test types, and its status be
      // what comes back.
      line = "exec " + line;
      command = List.of("script", "--quiet", "--return", "--command", line, "/dev/null");
    }
    if (withoutInput || !command.stream().allMatch(word -> word.chars().allMatch(c -> c < 128))) {
      // The locale of this JVM may lack what the arguments of the other are to have.
      String line = String.join(" ", command.stream().map(Jar::inBash).toList());
      command = List.of("bash", "-c", "exec " + line + (withoutInput ? " <&-" : ""));
    }
    ProcessBuilder builder = new ProcessBuilder(command);
    builder
        .environment()
        .keySet()
        .removeIf(name -> name.startsWith("HF_") || name.equals("NO_COLOR") || name.equals("CI"));
    builder.environment().put("TERM", "xterm-256color");
    builder.environment().put("LC_ALL", "C.UTF-8");
    builder.environment().putAll(environment);
    try {
      return builder.start();
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  /** A word for bash in nothing but ASCII. */
  private static String inBash(String word) {
    StringBuilder quoted = new StringBuilder("$'");
    for (byte b : word.getBytes(StandardCharsets.UTF_8)) {
      quoted.append(String.format(Locale.ROOT, "\\%03o", b & 0xff));
    }
    return quoted.append('\'').toString();
  }

  Cli.Result run(String... args) {
    Running running = start(args);
    try {
      running.process.getOutputStream().close();
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
    return running.result();
  }

  /** Whether this system has the command that gives a process a terminal, as Linux does. */
  static boolean hasTerminals() {
    return succeeds("script", "--quiet", "--return", "--command", "true", "/dev/null");
  }

  private static boolean resetsSignals() {
    return succeeds("env", "--default-signal=INT", "true");
  }

  private static boolean succeeds(String... command) {
    try {
      return new ProcessBuilder(command).start().waitFor() == 0;
    } catch (IOException e) {
      return false;
    } catch (InterruptedException e) {
      throw new AssertionError(e);
    }
  }
}
