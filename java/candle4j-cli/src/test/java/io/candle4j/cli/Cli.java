package io.candle4j.cli;

import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.nio.charset.StandardCharsets;
import java.util.List;
import java.util.Map;
import java.util.Set;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.json.JsonMapper;

/** Runs the command line in this process, with streams that are caught. */
final class Cli {
  private byte[] input = new byte[0];
  private Set<Integer> terminals = Set.of();
  private Map<String, String> environment = Map.of();

  /** What became of a run. */
  record Result(int code, String out, String err) {
    /** The one JSON document on the one line that was printed. */
    JsonNode json() {
      if (code != ExitCode.OK || !out.endsWith("\n") || out.indexOf('\n') != out.length() - 1) {
        throw new AssertionError("expected one line, got " + this);
      }
      return JsonMapper.shared().readTree(out);
    }

    List<String> lines() {
      return out.lines().toList();
    }
  }

  static Result run(String... args) {
    return new Cli().with(args);
  }

  Cli input(String text) {
    return input(text.getBytes(StandardCharsets.UTF_8));
  }

  Cli input(byte[] bytes) {
    input = bytes;
    return this;
  }

  Cli terminals(Integer... descriptors) {
    terminals = Set.of(descriptors);
    return this;
  }

  Cli environment(Map<String, String> variables) {
    environment = variables;
    return this;
  }

  Result with(String... args) {
    ByteArrayOutputStream out = new ByteArrayOutputStream();
    ByteArrayOutputStream err = new ByteArrayOutputStream();
    Stdio stdio = new Stdio(new ByteArrayInputStream(input), out, err, terminals, environment);
    int code = CandleCommand.run(stdio, new Interruption(), args);
    return new Result(
        code, out.toString(StandardCharsets.UTF_8), err.toString(StandardCharsets.UTF_8));
  }
}
