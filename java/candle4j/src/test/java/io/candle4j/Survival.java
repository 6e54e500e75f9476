package io.candle4j;

import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Objects;

/**
 * The main class of child JVMs that do what has ended a JVM before, or might. After its program
 * each generates, and compares with the golden tokens; only then it says that it survived.
 */
public final class Survival {
  static final String SURVIVED = "survived";
  static final String MODEL = "llama-gqa";

  private Survival() {}

  /** What a program does. It throws when something is not as it should be. */
  interface Program {
    void run() throws Exception;
  }

  /**
   * One program.
   *
   * @param name how the test calls it
   * @param exit the status that the JVM ends with
   * @param options what its JVM is started with
   * @param program what it does
   */
  record Case(String name, int exit, List<String> options, Program program) {
    Case(String name, Program program, String... options) {
      this(name, 0, List.of(options), program);
    }

    @Override
    public String toString() {
      return name;
    }
  }

  static List<Case> cases() {
    List<Case> cases = new ArrayList<>();
    cases.addAll(ThreadPrograms.CASES);
    cases.addAll(ExitPrograms.CASES);
    cases.addAll(InputPrograms.CASES);
    cases.addAll(MemoryPrograms.CASES);
    cases.addAll(ClosingPrograms.CASES);
    cases.addAll(RacePrograms.CASES);
    cases.addAll(MutationPrograms.CASES);
    return cases;
  }

  /**
   * Runs one program.
   *
   * @param args its name
   */
  public static void main(String[] args) throws Exception {
    Case found = cases().stream().filter(c -> c.name().equals(args[0])).findFirst().orElseThrow();
    found.program().run();
    golden();
    System.out.println(SURVIVED);
  }

  /** Loads, generates and compares. Called by class loaders of their own too. */
  public static void golden() {
    try (CandleModel model = Golden.load(MODEL);
        CandleSession session = model.newSession()) {
      golden(session, MODEL);
    }
  }

  /** Generates and compares. */
  static void golden(CandleSession session, String model) {
    List<Integer> expected = Golden.greedy(model).subList(0, 8);
    List<Integer> tokens =
        session.generate(Golden.request(Golden.prompt(model), Golden.greedy(8))).tokenIds();
    check(expected.equals(tokens), "expected " + expected + ", got " + tokens);
  }

  static void check(boolean right, String otherwise) {
    if (!right) {
      throw new AssertionError(otherwise);
    }
  }

  /** A call that must fail. */
  interface Failing {
    void run() throws Throwable;
  }

  /** Runs what must throw this exception, and nothing else. */
  static <T extends Throwable> T fails(Failing call, Class<T> type) {
    try {
      call.run();
    } catch (Throwable t) {
      if (type.isInstance(t)) {
        return type.cast(t);
      }
      throw new AssertionError("expected " + type, t);
    }
    throw new AssertionError("expected " + type + ", nothing was thrown");
  }

  /** Runs on a thread that ends before this returns, and throws what that threw. */
  static void onShortThread(Program program) throws Exception {
    onShortThread(0, program);
  }

  /** The same with a stack of so many bytes; 0 for the JVM's own choice. */
  static void onShortThread(long stackSize, Program program) throws Exception {
    Throwable[] thrown = new Throwable[1];
    Thread thread =
        new Thread(
            null,
            () -> {
              try {
                program.run();
              } catch (Throwable t) {
                thrown[0] = t;
              }
            },
            "short",
            stackSize);
    thread.start();
    thread.join();
    if (thrown[0] != null) {
      throw new AssertionError(Objects.toString(thrown[0]), thrown[0]);
    }
  }

  static Path folder() {
    return Golden.folder(MODEL);
  }
}
