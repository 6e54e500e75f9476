package io.candle4j.spark;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.util.ArrayList;
import java.util.Iterator;
import java.util.List;
import java.util.NoSuchElementException;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.Executor;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.stream.IntStream;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

@Timeout(30)
class RowsInFlightTest {
  private static final Executor DELAYED =
      CompletableFuture.delayedExecutor(50, TimeUnit.MILLISECONDS);

  private final List<CompletableFuture<Integer>> started = new ArrayList<>();
  private final AtomicInteger taken = new AtomicInteger();

  private RowsInFlight<Integer, Integer> rows(int rows, int parallel) {
    Iterator<Integer> source =
        IntStream.range(0, rows).peek(row -> taken.incrementAndGet()).iterator();
    return new RowsInFlight<>(
        source,
        row -> {
          CompletableFuture<Integer> result = new CompletableFuture<>();
          started.add(result);
          return result;
        },
        parallel,
        null);
  }

  @Test
  void resultsComeInOrderWhateverEndsFirst() {
    RowsInFlight<Integer, Integer> results = rows(3, 3);
    assertTrue(results.hasNext());
    Thread.startVirtualThread(() -> {
      while (started.size() < 3) {
        Thread.onSpinWait();
      }
      for (int i = 2; i >= 0; i--) {
        started.get(i).complete(i);
      }
    });
    for (int i = 0; i < 3; i++) {
      assertEquals(i, results.next());
    }
    assertFalse(results.hasNext());
    assertThrows(NoSuchElementException.class, results::next);
  }

  @Test
  void rowsAreTakenAsThereIsRoom() {
    RowsInFlight<Integer, Integer> results = rows(1_000, 2);
    assertEquals(0, taken.get());
    Thread slow =
        Thread.startVirtualThread(() -> {
          // All but the first end at once; they wait for it.
          for (int i = 1; i < 16; i++) {
            while (started.size() <= i) {
              Thread.onSpinWait();
            }
            started.get(i).complete(i);
          }
          started.get(0).complete(0);
        });
    assertEquals(0, results.next());
    assertFalse(slow.isInterrupted());
    assertTrue(taken.get() <= 18, taken + " rows taken for one result");
  }

  @Test
  void aResultThatIsThereWaitsForNoMoreRows() {
    AtomicInteger read = new AtomicInteger();
    Iterator<Integer> source = IntStream.range(0, 100).peek(row -> read.set(row + 1)).iterator();
    RowsInFlight<Integer, Integer> results =
        new RowsInFlight<>(source, CompletableFuture::completedFuture, 16, null);
    assertEquals(0, results.next());
    assertEquals(1, read.get());
  }

  @Test
  void aFailureOfTheSourceComesBehindTheResultsBeforeIt() {
    Iterator<Integer> source =
        Stream.concat(
                Stream.of(0, 1),
                Stream.generate(() -> {
                  throw new UncheckedIOException(new IOException("lost"));
                }))
            .iterator();
    RowsInFlight<Integer, Integer> results =
        new RowsInFlight<>(
            source, row -> CompletableFuture.supplyAsync(() -> row, DELAYED), 16, null);
    assertEquals(0, results.next());
    assertEquals(1, results.next());
    assertTrue(results.hasNext());
    assertThrows(UncheckedIOException.class, results::next);
    assertFalse(results.hasNext());
  }

  @Test
  void closingStopsWhatIsWorkedOn() {
    RowsInFlight<Integer, Integer> results = rows(10, 4);
    Thread.startVirtualThread(() -> {
      while (started.size() < 4) {
        Thread.onSpinWait();
      }
      started.get(0).complete(0);
    });
    assertEquals(0, results.next());
    results.close();
    assertFalse(results.hasNext());
    assertTrue(started.stream().skip(1).allMatch(CompletableFuture::isCancelled));
  }
}
