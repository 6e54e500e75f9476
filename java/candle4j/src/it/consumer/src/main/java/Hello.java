import io.candle4j.CandleSession;
import io.candle4j.GenerateOptions;

/** What a first program looks like. */
public final class Hello {
  private Hello() {}

  public static void main(String[] args) {
    try (CandleSession session = CandleSession.open()) {
      GenerateOptions options = GenerateOptions.greedy().toBuilder().maxTokens(16).build();
      System.out.println("answer: " + session.generate("Say hello.", options).text().strip());
    }
  }
}
