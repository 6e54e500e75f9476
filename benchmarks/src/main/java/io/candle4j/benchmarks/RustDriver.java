package io.candle4j.benchmarks;

import io.candle4j.CandleRuntime;
import java.io.BufferedReader;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.io.Writer;

/** The engine in a process of its own, without Java, told by line what to do. */
final class RustDriver implements AutoCloseable {
  private final Process process;
  private final Writer commands;
  private final BufferedReader answers;

  RustDriver(String model) {
    String program = System.getProperty("candle4j.driver");
    if (program == null) {
      throw new IllegalStateException(
          "-Dcandle4j.driver names the program of rust/engine/examples/drive.rs;"
              + " scripts/bench sets it");
    }
    try {
      ProcessBuilder builder =
          new ProcessBuilder(program, model).redirectError(ProcessBuilder.Redirect.INHERIT);
      // What the library tells Candle by itself.
      String threads = Integer.toString(CandleRuntime.info().threads());
      builder.environment().put("CANDLE_NUM_THREADS", threads);
      builder.environment().put("RAYON_NUM_THREADS", threads);
      process = builder.start();
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
    commands = process.outputWriter();
    answers = process.inputReader();
    expect("ready");
  }

  /** Sends a line and waits until it is done. */
  void run(String line) {
    try {
      commands.write(line);
      commands.write('\n');
      commands.flush();
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
    expect("done");
  }

  private void expect(String word) {
    try {
      String answer = answers.readLine();
      if (!word.equals(answer)) {
        throw new IllegalStateException("the driver answered " + answer);
      }
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  @Override
  public void close() {
    try {
      commands.close();
      process.waitFor();
    } catch (IOException e) {
      process.destroy();
    } catch (InterruptedException e) {
      process.destroy();
      Thread.currentThread().interrupt();
    }
  }
}
