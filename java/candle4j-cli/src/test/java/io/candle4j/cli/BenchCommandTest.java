package io.candle4j.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.Test;
import tools.jackson.databind.JsonNode;

class BenchCommandTest {
  @Test
  void anObjectForEachNumberAtATime() {
    JsonNode measured =
        Cli.run(
                "bench",
                "--model",
                Golden.LLAMA,
                "--prompt-tokens",
                "32",
                "--generate",
                "8",
                "--parallel",
                "4,1",
                "--repetitions",
                "2",
                "--json")
            .json();
    assertTrue(measured.isArray());
    assertEquals(2, measured.size());
    for (int i = 0; i < 2; i++) {
      JsonNode object = measured.get(i);
      assertEquals(
          List.of(
              "parallel",
              "prefill_tokens_per_second",
              "decode_tokens_per_second",
              "total_tokens_per_second"),
          new ArrayList<>(object.propertyNames()));
      assertEquals(List.of(4, 1).get(i), object.get("parallel").intValue());
      double prefill = object.get("prefill_tokens_per_second").doubleValue();
      double decode = object.get("decode_tokens_per_second").doubleValue();
      double total = object.get("total_tokens_per_second").doubleValue();
      assertTrue(prefill > 0 && decode > 0, object.toString());
      assertTrue(total > 0 && total < Math.max(prefill, decode) * 2, object.toString());
    }
  }

  @Test
  void aTableForPeople() {
    Cli.Result result =
        Cli.run(
            "bench",
            "--model",
            Golden.LLAMA,
            "--prompt-tokens",
            "4",
            "--generate",
            "2",
            "--repetitions",
            "1");
    assertEquals(
        "PARALLEL  PREFILL/S  DECODE/S  TOTAL/S", result.lines().get(0).replaceAll(" {2,}", "  "));
    assertTrue(result.lines().get(1).matches(" +1( +\\d+\\.\\d){3}"), result.out());
    assertEquals(2, result.lines().size());
  }

  @Test
  void ratesOfARun() {
    // Two prompts of 10 tokens, started at 1 s; the second one is prefilled at 3 s, when the first
    // one
    // has two tokens already.
    Measurement run =
        Measurement.of(
            10,
            seconds(1),
            List.of(
                new long[] {seconds(2), seconds(2.5), seconds(4)},
                new long[] {seconds(3), seconds(3.5), seconds(5)}));
    assertEquals(2, run.parallel());
    assertEquals(20 / 2.0, run.prefill(), 1e-9);
    assertEquals(3 / 2.0, run.decode(), 1e-9);
    assertEquals(26 / 4.0, run.total(), 1e-9);
  }

  @Test
  void oneTokenEachTakesNoDecoding() {
    Measurement run = Measurement.of(10, 0, List.of(new long[] {seconds(1)}));
    assertEquals(new Measurement(1, 10, 0, 11), run);
  }

  @Test
  void mediansOfRuns() {
    Measurement a = new Measurement(1, 1, 30, 7);
    Measurement b = new Measurement(1, 2, 10, 8);
    Measurement c = new Measurement(1, 9, 20, 5);
    assertEquals(new Measurement(1, 2, 20, 7), Measurement.median(List.of(a, b, c)));
    assertEquals(new Measurement(1, 1.5, 20, 7.5), Measurement.median(List.of(a, b)));
  }

  private static long seconds(double seconds) {
    return Math.round(seconds * 1e9);
  }
}
