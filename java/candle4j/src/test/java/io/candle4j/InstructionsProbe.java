package io.candle4j;

/**
 * Loads a model with each of the limits of instruction sets that it is given, and prints what is
 * used then and what the model answers, or why it was refused.
 */
final class InstructionsProbe {
  private InstructionsProbe() {}

  /**
   * Runs in a JVM of its own, since a process chooses once.
   *
   * @param args the name of a golden checkpoint, and limits; {@code -} for none
   */
  public static void main(String[] args) {
    for (int i = 1; i < args.length; i++) {
      CandleModel.Builder builder = CandleModel.builder().path(Golden.folder(args[0]));
      if (!args[i].equals("-")) {
        builder.instructions(args[i]);
      }
      try (CandleModel model = builder.load();
          CandleSession session = model.newSession()) {
        Request request = Golden.request(Golden.prompt(args[0]), Golden.greedy(16));
        System.out.println(
            CandleRuntime.info().instructions() + " " + session.generate(request).tokenIds());
      } catch (IllegalArgumentException refused) {
        System.out.println(refused.getMessage());
      }
    }
  }
}
