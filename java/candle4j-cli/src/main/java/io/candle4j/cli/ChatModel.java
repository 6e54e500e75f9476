package io.candle4j.cli;

import io.candle4j.CandleModel;
import io.candle4j.CandleSession;
import java.util.function.Function;

/** The model that a chat talks to, which can be changed for another one. */
final class ChatModel implements AutoCloseable {
  private final Function<String, CandleModel> loader;
  private CandleModel model;
  private CandleSession session;

  /**
   * Takes over a model.
   *
   * @param loader loads another one by its name
   */
  ChatModel(CandleModel model, Function<String, CandleModel> loader) {
    this.loader = loader;
    this.model = model;
    this.session = checked(model).newSession();
  }

  private static CandleModel checked(CandleModel model) {
    if (!model.info().hasChatTemplate()) {
      model.close();
      throw new CommandException(
          ExitCode.MODEL,
          "this model has no chat template, so it cannot chat; candle generate continues texts"
              + " with it");
    }
    return model;
  }

  /** Changes to another model. When that cannot be loaded, everything stays as it is. */
  void change(String source) {
    CandleModel next = checked(loader.apply(source));
    close();
    model = next;
    session = next.newSession();
  }

  CandleModel model() {
    return model;
  }

  CandleSession session() {
    return session;
  }

  @Override
  public void close() {
    session.close();
    model.close();
  }
}
