package io.candle4j;

import static io.candle4j.Survival.check;
import static io.candle4j.Survival.fails;

import io.candle4j.Survival.Case;
import java.util.List;
import org.jspecify.annotations.Nullable;

/** A Java heap that is full, and stacks that are nearly used up. */
final class MemoryPrograms {
  static final List<Case> CASES =
      List.of(
          // Else G1 may throw once more when there is room again, for the time that it has spent.
          new Case(
              "aListenerFillsTheHeapG1",
              MemoryPrograms::fullHeap,
              "-Xmx32m",
              "-XX:+UseG1GC",
              "-XX:-UseGCOverheadLimit"),
          new Case(
              "aListenerFillsTheHeapSerial",
              MemoryPrograms::fullHeap,
              "-Xmx32m",
              "-XX:+UseSerialGC"),
          new Case(
              "aProgressListenerFillsTheHeap",
              MemoryPrograms::fullHeapInProgress,
              "-Xmx32m",
              "-XX:-UseGCOverheadLimit"),
          new Case(
              "aStreamsReaderFillsTheHeap",
              MemoryPrograms::fullHeapInStream,
              "-Xmx32m",
              "-XX:-UseGCOverheadLimit"),
          new Case("callsNearTheEndOfTheStack", MemoryPrograms::overflow),
          new Case("callsNearTheEndOfASmallStack", MemoryPrograms::overflow, "-Xss300k"),
          new Case("firstCallNearTheEndOfTheStack", MemoryPrograms::firstCall),
          new Case("interpretedCallsNearTheEndOfTheStack", MemoryPrograms::overflow, "-Xint"),
          new Case("aListenerOverflows", MemoryPrograms::listenerOverflows),
          new Case("threadsOf256Kilobytes", MemoryPrograms::smallThreads));

  private MemoryPrograms() {}

  private static void fullHeap() throws Exception {
    try (CandleModel model = Golden.load(Survival.MODEL);
        CandleSession session = model.newSession()) {
      int[] prompt = Golden.prompt(Survival.MODEL);
      GenerateOptions options = Golden.greedy(400);
      TokenListener listener = token -> fill();
      for (int round = 0; round < 5; round++) {
        boolean thrown = false;
        try {
          session.generate(Golden.request(prompt, options), listener);
        } catch (OutOfMemoryError e) {
          thrown = true;
        } finally {
          chain = null;
        }
        check(thrown, "no error");
        Survival.golden(session, Survival.MODEL);
      }
      // The heap is full already, and stays so from call to call.
      int calls = 0;
      while (calls < 20) {
        calls++;
        try {
          fill();
        } catch (OutOfMemoryError e) {
          // That was the purpose.
        }
        try {
          session.generate(Golden.request(prompt, options), listener);
          calls = Integer.MAX_VALUE;
        } catch (OutOfMemoryError e) {
          // Thrown before the call or in it.
        }
      }
      chain = null;
      check(calls == 20, "a call found memory");
      Survival.golden(session, Survival.MODEL);
    }
  }

  /** A chain of everything that fills the heap; a list would need room to grow. */
  private static Object @Nullable [] chain;

  /** To the last byte: large pieces first, then ever smaller ones. */
  private static void fill() {
    OutOfMemoryError last = null;
    for (int size = 1 << 20; size >= 8; size /= 2) {
      try {
        while (true) {
          chain = new Object[] {chain, new byte[size]};
        }
      } catch (OutOfMemoryError e) {
        last = e;
      }
    }
    if (last != null) {
      throw last;
    }
  }

  private static void fullHeapInProgress() throws Exception {
    try (CandleModel model = Golden.load(Survival.MODEL)) {
      List<String> prompts = java.util.Collections.nCopies(20, "a b c");
      for (int round = 0; round < 3; round++) {
        fails(
            () ->
                model.generateAll(
                    Golden.requests(prompts, Golden.greedy(20)),
                    2,
                    (index, result, done, total) -> fill()),
            OutOfMemoryError.class);
        chain = null;
        check(model.generateAll(Golden.requests(prompts, Golden.greedy(2))).size() == 20, "batch");
      }
    }
  }

  private static void fullHeapInStream() throws Exception {
    try (CandleModel model = Golden.load(Survival.MODEL);
        CandleSession session = model.newSession()) {
      fails(
          () -> {
            try (TokenStream stream =
                session.stream(Golden.request(Golden.prompt(Survival.MODEL), Golden.greedy(200)))) {
              for (Token token : stream) {
                check(token.id() >= 0, "id");
                fill();
              }
            }
          },
          OutOfMemoryError.class);
      chain = null;
      Survival.golden(session, Survival.MODEL);
    }
  }

  /** What to call at every depth near the end. */
  private static List<Runnable> calls(CandleModel model, CandleSession session) {
    int[] prompt = Golden.prompt(Survival.MODEL);
    List<ChatMessage> hi = List.of(ChatMessage.user("Hi"));
    return List.of(
        () -> session.generate(Golden.request(prompt, Golden.greedy(2))),
        () -> session.generate(Golden.request(prompt, Golden.greedy(2)), token -> {}),
        () -> session.score(TokenIds.of(prompt), 2),
        () -> model.tokenizer().encode("some text"),
        () -> model.tokenizer().decode(TokenIds.of(prompt)),
        () -> model.applyChatTemplate(hi, true),
        () -> model.info(),
        () -> session.fork().close(),
        () -> model.newSession().close(),
        () -> session.stream(Golden.request(prompt, Golden.greedy(2))).close(),
        () -> session.submit(Golden.request("x", Golden.greedy(2))).join(),
        () -> model.generateAll(Golden.requests(List.of("a"), Golden.greedy(1))),
        session::cancel,
        session::reset,
        () -> Golden.load(Survival.MODEL).close());
  }

  private static void overflow() throws Exception {
    try (CandleModel model = Golden.load(Survival.MODEL);
        CandleSession session = model.newSession()) {
      for (Runnable call : calls(model, session)) {
        int[] overflows = new int[1];
        recurse(call, overflows);
        check(overflows[0] > 0, "no overflow");
        Survival.golden(session, Survival.MODEL);
        check(model.tokenizer().encode("x").size() > 0, "encode");
        check(!model.applyChatTemplate(List.of(ChatMessage.user("x")), true).isEmpty(), "template");
      }
      // The deepest place calls too, and its handler again.
      for (Runnable call : calls(model, session)) {
        toTheEnd(call);
        Survival.golden(session, Survival.MODEL);
      }
    }
  }

  /** Goes to the end of the stack, and calls at each depth on the way back, until a call fits. */
  private static boolean recurse(Runnable call, int[] overflows) {
    boolean done;
    try {
      done = recurse(call, overflows);
    } catch (StackOverflowError e) {
      done = false;
    }
    if (done) {
      return true;
    }
    try {
      call.run();
      return true;
    } catch (StackOverflowError e) {
      overflows[0]++;
      return false;
    }
  }

  private static void toTheEnd(Runnable call) {
    try {
      toTheEnd(call);
    } catch (StackOverflowError e) {
      try {
        call.run();
      } catch (StackOverflowError again) {
        // As deep as this there is no room.
        throw again;
      }
    }
  }

  /**
   * The library is loaded near the end; a class whose initialiser overflows would be lost for good.
   */
  private static void firstCall() throws Exception {
    CandleModel.Builder builder = CandleModel.builder().path(Survival.folder());
    int[] prompt = Golden.prompt(Survival.MODEL);
    GenerateOptions options = Golden.greedy(2);
    int[] overflows = new int[1];
    recurse(
        () -> {
          try (CandleModel model = builder.load();
              CandleSession session = model.newSession()) {
            session.generate(Golden.request(prompt, options));
          }
        },
        overflows);
    check(overflows[0] > 0, "no overflow");
  }

  private static int endless(int depth) {
    return endless(depth + 1) + 1;
  }

  private static void listenerOverflows() throws Exception {
    try (CandleModel model = Golden.load(Survival.MODEL);
        CandleSession session = model.newSession();
        CandleSession other = model.newSession()) {
      for (int i = 0; i < 20; i++) {
        fails(
            () ->
                session.generate(
                    Golden.request(Golden.prompt(Survival.MODEL), Golden.greedy(20)),
                    token -> endless(0)),
            StackOverflowError.class);
        Survival.golden(session, Survival.MODEL);
        // From inside the listener, at the end of its stack, another session.
        session.generate(
            Golden.request(Golden.prompt(Survival.MODEL), Golden.greedy(2)),
            token ->
                recurse(
                    () ->
                        other.generate(
                            Golden.request(Golden.prompt(Survival.MODEL), Golden.greedy(2))),
                    new int[1]));
        Survival.golden(session, Survival.MODEL);
        Survival.golden(other, Survival.MODEL);
      }
    }
  }

  private static void smallThreads() throws Exception {
    for (int i = 0; i < 10; i++) {
      Survival.onShortThread(256 << 10, Survival::golden);
    }
  }
}
