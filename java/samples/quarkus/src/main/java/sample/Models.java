package sample;

import dev.langchain4j.model.chat.ChatModel;
import io.candle4j.CandleModel;
import io.candle4j.GenerateOptions;
import io.candle4j.langchain4j.CandleChatModel;
import jakarta.enterprise.context.ApplicationScoped;
import jakarta.enterprise.inject.Disposes;
import jakarta.enterprise.inject.Produces;

/** Models as beans; they are loaded when they are first used. */
@ApplicationScoped
public class Models {
  @Produces
  @ApplicationScoped
  Loaded load() {
    return new Loaded(CandleModel.load("smollm2"));
  }

  void close(@Disposes Loaded loaded) {
    loaded.model().close();
  }

  @Produces
  @ApplicationScoped
  ChatModel chat(Loaded loaded) {
    // A drawn answer of a model as small as this is right most of the time.
    return CandleChatModel.builder()
        .model(loaded.model())
        .options(GenerateOptions.greedy())
        .build();
  }

  /** A model, in a class that beans can stand for. */
  public static class Loaded {
    private final CandleModel model;

    Loaded() {
      this(null);
    }

    Loaded(CandleModel model) {
      this.model = model;
    }

    CandleModel model() {
      return model;
    }
  }
}
