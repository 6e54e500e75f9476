package io.candle4j.internal;

import static io.candle4j.bindings.candle4j_h.*;

import io.candle4j.Progress;
import io.candle4j.ProgressListener;
import io.candle4j.bindings.candle4j_h;
import io.candle4j.hub.CachedModel;
import io.candle4j.hub.RemovedModel;
import io.candle4j.hub.Snapshot;
import io.candle4j.hub.VerifiedModel;
import java.lang.foreign.MemorySegment;
import java.nio.file.Path;
import java.time.Instant;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.Optional;
import java.util.OptionalLong;
import org.jspecify.annotations.Nullable;

/** A Hub behind the border. Any thread may use it. */
public final class NativeHub implements AutoCloseable {
  private final NativeHandle handle;

  private NativeHub(MemorySegment pointer) {
    handle = new NativeHandle("hub", pointer, candle4j_h::c4j_hub_free);
  }

  /** What differs from the environment's settings; null leaves a setting as it is there. */
  public record Options(
      @Nullable String endpoint,
      @Nullable String cache,
      @Nullable String token,
      @Nullable Boolean offline,
      @Nullable Integer concurrency) {}

  record FetchRequest(String id, boolean update) {}

  record ProgressReport(
      String phase,
      String file,
      long bytes,
      @Nullable Long total,
      long overallBytes,
      @Nullable Long overallTotal,
      int filesDone,
      int filesTotal) {

    Progress toProgress() {
      return new Progress(
          Progress.Phase.valueOf(phase.toUpperCase(Locale.ROOT)),
          file,
          bytes,
          optional(total),
          overallBytes,
          optional(overallTotal),
          filesDone,
          filesTotal);
    }

    private static OptionalLong optional(@Nullable Long value) {
      return value == null ? OptionalLong.empty() : OptionalLong.of(value);
    }
  }

  record File(String name, long size) {}

  record Fetched(String folder, String commit, List<File> files, @Nullable String gguf) {}

  record Revision(String commit, List<String> refs, long size, List<File> files) {}

  record Listed(
      String id,
      String folder,
      long sizeOnDisk,
      @Nullable Long lastUsed,
      List<Revision> revisions) {}

  record Removed(long bytes, int files, List<String> commits) {}

  record VerifiedFile(
      String name, long size, String verdict, @Nullable String expected, @Nullable String got) {}

  record Verified(String commit, boolean intact, List<VerifiedFile> files) {}

  /**
   * Prepares a Hub.
   *
   * @param options what differs from the environment
   * @return the Hub
   */
  public static NativeHub open(Options options) {
    NativeRuntime.library();
    StackGuard.check();
    byte[] request = Json.write(options);
    try (Call call = new Call()) {
      MemorySegment place = call.handlePlace();
      call.check(c4j_hub_new(call.bytes(request), request.length, place, call.error()));
      return Call.own(place, NativeHub::new, candle4j_h::c4j_hub_free);
    }
  }

  /**
   * Fetches a model.
   *
   * @param id its id
   * @param update whether to ask the Hub also when the cache has all
   * @param listener told how far it is, or null
   * @return where it lies
   */
  public Snapshot fetch(String id, boolean update, @Nullable ProgressListener listener) {
    StackGuard.check();
    byte[] request = Json.write(new FetchRequest(Utf8.check("id", id), update));
    Events.HubFetch event = new Events.HubFetch();
    event.id = id;
    event.begin();
    Received received = new Received();
    try {
      Fetched fetched =
          Json.read(
              ReportedCall.run(
                  handle,
                  candle4j_h::c4j_hub_fetch,
                  request,
                  json -> report(json, received.before(listener))),
              Fetched.class);
      event.commit = fetched.commit;
      event.files = fetched.files.size();
      return new Snapshot(
          Path.of(fetched.folder),
          fetched.commit,
          files(fetched.files),
          Optional.ofNullable(fetched.gguf).map(Path::of));
    } catch (RuntimeException e) {
      event.error = e.getClass().getSimpleName();
      throw e;
    } finally {
      event.received = received.bytes();
      event.end();
      event.commit();
    }
  }

  /** What reports of a download say came in. */
  private static final class Received {
    private long first = -1;
    private long last;

    ProgressListener before(@Nullable ProgressListener listener) {
      return progress -> {
        if (progress.phase() == Progress.Phase.DOWNLOAD) {
          first = first < 0 ? progress.overallBytes() : first;
          last = progress.overallBytes();
        }
        if (listener != null) {
          listener.onProgress(progress);
        }
      };
    }

    long bytes() {
      return first < 0 ? 0 : last - first;
    }
  }

  /**
   * Lists the cache.
   *
   * @return the models in it
   */
  public List<CachedModel> list() {
    StackGuard.check();
    return BlockingCalls.run(() ->
        handle.call(hub -> {
          try (Call call = new Call()) {
            call.check(c4j_hub_list(hub, call.buffer(), call.error()));
            List<CachedModel> models = new ArrayList<>();
            for (Listed model : Json.read(call.text(), Listed[].class)) {
              models.add(
                  new CachedModel(
                      model.id,
                      Path.of(model.folder),
                      model.sizeOnDisk,
                      Optional.ofNullable(model.lastUsed).map(Instant::ofEpochSecond),
                      model.revisions.stream()
                          .map(r ->
                              new CachedModel.Revision(r.commit, r.refs, r.size, files(r.files)))
                          .toList()));
            }
            return models;
          }
        }));
  }

  /**
   * Removes from the cache.
   *
   * @param id the model, or one revision of it
   * @return what was reclaimed
   */
  public RemovedModel remove(String id) {
    StackGuard.check();
    byte[] bytes = Utf8.encode("id", id);
    return BlockingCalls.run(() ->
        handle.call(hub -> {
          try (Call call = new Call()) {
            call.check(
                c4j_hub_remove(hub, call.bytes(bytes), bytes.length, call.buffer(), call.error()));
            Removed removed = Json.read(call.text(), Removed.class);
            return new RemovedModel(removed.bytes, removed.files, removed.commits);
          }
        }));
  }

  /**
   * Hashes what is cached.
   *
   * @param id the model
   * @param listener told how far it is, or null
   * @return what was found
   */
  public VerifiedModel verify(String id, @Nullable ProgressListener listener) {
    StackGuard.check();
    byte[] bytes = Utf8.encode("id", id);
    Verified verified =
        Json.read(
            ReportedCall.run(
                handle, candle4j_h::c4j_hub_verify, bytes, json -> report(json, listener)),
            Verified.class);
    return new VerifiedModel(
        verified.commit,
        verified.files.stream()
            .map(f ->
                new VerifiedModel.File(
                    f.name,
                    f.size,
                    VerifiedModel.Verdict.valueOf(f.verdict.toUpperCase(Locale.ROOT)),
                    Optional.ofNullable(f.expected),
                    Optional.ofNullable(f.got)))
            .toList());
  }

  private static void report(String json, @Nullable ProgressListener listener) {
    if (listener != null) {
      listener.onProgress(Json.read(json, ProgressReport.class).toProgress());
    }
  }

  private static List<Snapshot.File> files(List<File> files) {
    return files.stream().map(file -> new Snapshot.File(file.name, file.size)).toList();
  }

  @Override
  public void close() {
    handle.close();
  }
}
