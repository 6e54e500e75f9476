package io.candle4j.internal;

import io.candle4j.ChatMessage;
import io.candle4j.Request;
import io.candle4j.bindings.c4j_progress_fn;
import io.candle4j.bindings.c4j_token;
import io.candle4j.bindings.c4j_token_logprob;
import io.candle4j.bindings.candle4j_h;
import java.lang.foreign.Arena;
import java.util.List;
import java.util.Map;
import java.util.concurrent.Callable;
import org.jspecify.annotations.Nullable;

/**
 * Initialises what calls need for the first time, on a stack that has room for it. A class whose
 * initialiser overflows the stack is lost for good.
 */
final class WarmUp implements Callable<@Nullable Void> {
  @Override
  public @Nullable Void call() throws ClassNotFoundException {
    for (Class<?> function : candle4j_h.class.getDeclaredClasses()) {
      initialise(function);
    }
    TokenUpcall.retainStub();
    TokenUpcall.releaseStub();
    try (ProgressUpcall progress = new ProgressUpcall(json -> {})) {
      Upcalls.stub(c4j_progress_fn.descriptor(), ProgressUpcall.APPLY, progress, Arena.ofAuto());
    }
    initialise(c4j_token.class);
    initialise(c4j_token_logprob.class);
    new Events.OfGeneration().onToken();
    initialise(Events.QueueWait.class);
    for (Request request :
        List.of(
            Request.builder().text("x").build(),
            Request.builder().tokens(1).build(),
            Request.builder()
                .messages(ChatMessage.user("x"))
                .variables(Map.of("x", List.of(1)))
                .build())) {
      Json.write(Requests.generate(0, request, null, NativeSession.Mode.ANSWER));
    }
    Json.write(new Requests.Score(0, new int[] {1}, 1));
    Json.read(
        "{\"text\":\"\",\"token_ids\":[1],\"finish_reason\":\"STOP\",\"prompt_tokens\":1,"
            + "\"cached_tokens\":0,\"seed\":1,\"prefill_ms\":1.5,\"decode_ms\":1.5}",
        Results.Generated.class);
    Json.read("{\"logprobs\":[1.5],\"top\":[]}", Results.Scored.class);
    Errors.of(candle4j_h.C4J_BUSY(), "x", "{\"x\":1}");
    return null;
  }

  private static void initialise(Class<?> type) throws ClassNotFoundException {
    Class.forName(type.getName(), true, type.getClassLoader());
  }
}
