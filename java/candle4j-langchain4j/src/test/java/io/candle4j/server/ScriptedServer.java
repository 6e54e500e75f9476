package io.candle4j.server;

import io.candle4j.Generation;
import io.candle4j.Request;
import io.candle4j.TokenListener;
import java.util.List;
import java.util.function.Supplier;

/** A server whose chats a script answers; what is read and written over HTTP is its own. */
public final class ScriptedServer {
  private ScriptedServer() {}

  /** A scripted answer. */
  public interface Script {
    /** Answers, and tells each token. */
    Generation generate(Request request, TokenListener listener);

    /** Ends the answer soon. */
    void cancel();

    /** Ends the script. */
    void close();
  }

  /** Serves models under their names, whose chats the scripts answer. */
  public static CandleServer start(List<String> models, Supplier<Script> scripts) {
    CandleServer.Builder builder = CandleServer.builder().port(0);
    models.forEach(builder::model);
    return builder.chats(unused -> new Scripts(scripts)).start();
  }

  private record Scripts(Supplier<Script> scripts) implements Chats {
    @Override
    public Chat begin() {
      return new ScriptedChat(scripts.get());
    }

    @Override
    public void close() {}
  }

  private record ScriptedChat(Script script) implements Chats.Chat {
    @Override
    public Generation generate(Request request, TokenListener listener) {
      return script.generate(request, listener);
    }

    @Override
    public void cancel() {
      script.cancel();
    }

    @Override
    public void close() {
      script.close();
    }
  }
}
