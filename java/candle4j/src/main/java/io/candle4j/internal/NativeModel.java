package io.candle4j.internal;

import static io.candle4j.bindings.candle4j_h.*;

import io.candle4j.BatchListener;
import io.candle4j.BatchResult;
import io.candle4j.ChatMessage;
import io.candle4j.Device;
import io.candle4j.Engine;
import io.candle4j.ModelInfo;
import io.candle4j.ModelMetrics;
import io.candle4j.Precision;
import io.candle4j.ProgressListener;
import io.candle4j.Quantization;
import io.candle4j.Request;
import io.candle4j.bindings.candle4j_h;
import java.lang.foreign.MemorySegment;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CancellationException;
import java.util.function.BooleanSupplier;
import org.jspecify.annotations.Nullable;

/** A loaded model behind the border. */
public final class NativeModel implements AutoCloseable {
  private final NativeHandle handle;
  private final String name;

  private NativeModel(MemorySegment pointer, String name) {
    handle = new NativeHandle("model", pointer, candle4j_h::c4j_model_free);
    this.name = name;
  }

  /**
   * How a model is to be loaded.
   *
   * @param engine by which implementation
   * @param device where to
   * @param precision as what
   * @param quantize in which blocks, or null for none
   * @param adapter the folder of an adapter, or null for none
   * @param contextLength longest context, or null for the model's own
   * @param latencyTargetMs length of a pass with prompts beside others, or null
   * @param kvCacheBytes memory of keys and values, or null
   * @param maxRequests at a time, or null
   * @param instructions the most that kernels use, or null
   */
  public record Options(
      Engine engine,
      Device device,
      Precision precision,
      @Nullable Quantization quantize,
      @Nullable String adapter,
      @Nullable Integer contextLength,
      @Nullable Long latencyTargetMs,
      @Nullable Long kvCacheBytes,
      @Nullable Integer maxRequests,
      @Nullable String instructions) {}

  /**
   * Loads the model in a folder or a GGUF file.
   *
   * @param source the folder or the file
   * @param how the options
   * @param listener told how far it is, on a thread of the library, or null
   * @return the model
   */
  public static NativeModel load(Path source, Options how, @Nullable ProgressListener listener) {
    Path absolute = source.toAbsolutePath();
    Events.ModelLoad event = new Events.ModelLoad();
    event.begin();
    String name = String.valueOf(absolute.getFileName());
    NativeModel model =
        WatchedLoad.run(
            absolute,
            how,
            listener,
            candle4j_h::c4j_model_load,
            candle4j_h::c4j_model_free,
            pointer -> new NativeModel(pointer, name));
    event.end(source, model.describe());
    ModelEvents.add(model);
    return model;
  }

  /** The name of its folder or file. */
  String name() {
    return name;
  }

  /**
   * What it has done since it was loaded.
   *
   * @return the counts
   */
  public ModelMetrics metrics() {
    StackGuard.check();
    return handle.call(model -> {
      try (Call call = new Call()) {
        call.check(c4j_model_metrics(model, call.buffer(), call.error()));
        return Json.read(call.text(), Results.Metrics.class).toMetrics();
      }
    });
  }

  /**
   * Describes the model.
   *
   * @return the description
   */
  public ModelInfo describe() {
    StackGuard.check();
    return handle.call(model -> {
      try (Call call = new Call()) {
        call.check(c4j_model_describe(model, call.buffer(), call.error()));
        return Json.read(call.text(), Results.Description.class).toModelInfo();
      }
    });
  }

  /**
   * Renders a conversation.
   *
   * @param messages the messages
   * @param generationPrompt whether the beginning of an answer follows
   * @param variables further variables of the template
   * @return the text
   */
  public String renderChat(
      List<ChatMessage> messages, boolean generationPrompt, Map<String, Object> variables) {
    StackGuard.check();
    Utf8.checkNames("variables", variables);
    byte[] request =
        Json.write(new Requests.Render(Requests.messages(messages), generationPrompt, variables));
    return BlockingCalls.run(() ->
        handle.call(model -> {
          try (Call call = new Call()) {
            call.check(
                c4j_model_render_chat(
                    model, call.bytes(request), request.length, call.buffer(), call.error()));
            return call.text();
          }
        }));
  }

  /**
   * Starts a session.
   *
   * @return the session
   */
  public NativeSession newSession() {
    StackGuard.check();
    return handle.call(model -> {
      try (Call call = new Call()) {
        MemorySegment place = call.handlePlace();
        call.check(c4j_session_new(model, place, call.error()));
        return Call.own(place, NativeSession::new, candle4j_h::c4j_session_free);
      }
    });
  }

  /**
   * The model's tokenizer.
   *
   * @return a handle of its own
   */
  public NativeTokenizer tokenizer() {
    StackGuard.check();
    return handle.call(model -> {
      try (Call call = new Call()) {
        MemorySegment place = call.handlePlace();
        call.check(c4j_tokenizer_of(model, place, call.error()));
        return Call.own(place, NativeTokenizer::new, candle4j_h::c4j_tokenizer_free);
      }
    });
  }

  /**
   * Generates for many requests.
   *
   * @param requests the requests
   * @param parallel how many at a time, or null for the environment's number
   * @param listener receives each result, or null
   * @param stopped whether to stop, looked at several times a second
   * @return the results in the order of the requests
   */
  public List<BatchResult> generateAll(
      List<Request> requests,
      @Nullable Integer parallel,
      @Nullable BatchListener listener,
      BooleanSupplier stopped) {
    StackGuard.check();
    List<Requests.Generate> all = new ArrayList<>();
    for (Request request : requests) {
      all.add(
          Requests.generate(0, request, request.timeout().orElse(null), NativeSession.Mode.ANSWER));
    }
    byte[] request = Json.write(new Requests.Batch(all, parallel));
    String text =
        ReportedCall.run(
            handle,
            candle4j_h::c4j_model_generate_all,
            request,
            json -> {
              if (stopped.getAsBoolean()) {
                throw new CancellationException("the batch was cancelled");
              }
              report(json, listener);
            });
    List<BatchResult> results = new ArrayList<>();
    for (Results.Outcome outcome : Json.read(text, Results.Outcome[].class)) {
      results.add(outcome.toBatchResult());
    }
    return results;
  }

  private static void report(String json, @Nullable BatchListener listener) {
    if (listener != null) {
      Results.BatchProgress progress = Json.read(json, Results.BatchProgress.class);
      if (progress.index() != null && progress.outcome() != null) {
        listener.onResult(
            progress.index(),
            progress.outcome().toBatchResult(),
            progress.done(),
            progress.total());
      }
    }
  }

  @Override
  public void close() {
    ModelEvents.remove(this);
    handle.close();
  }
}
