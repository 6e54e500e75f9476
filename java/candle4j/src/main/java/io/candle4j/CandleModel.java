package io.candle4j;

import io.candle4j.hub.HubException;
import io.candle4j.internal.NativeModel;
import io.candle4j.internal.NativeRuntime;
import io.candle4j.internal.NativeTokenizer;
import io.candle4j.internal.StackGuard;
import java.lang.System.Logger;
import java.lang.System.Logger.Level;
import java.nio.file.Path;
import java.time.Duration;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.atomic.AtomicBoolean;
import org.jspecify.annotations.Nullable;

/**
 * A loaded model: weights, tokenizer and chat template, shared by any number of sessions.
 *
 * <p>Any number of threads may use one. It holds memory outside the Java heap, so close it;
 * sessions that are still open go on, and the weights are freed with the last of them.
 *
 * {@snippet :
 * try (CandleModel model = CandleModel.load("Qwen/Qwen2.5-0.5B-Instruct");
 *     CandleSession session = model.newSession()) {
 *   System.out.println(session.generate("Why is the sky blue?"));
 * }
 * }
 */
public final class CandleModel implements AutoCloseable {
  /**
   * The alias of the small chat model that comes as the Maven artifact {@code
   * candle4j-model-smollm2}: SmolLM2-135M-Instruct. It needs no download, and is what sessions and
   * the command line use when nothing else is named.
   */
  public static final String BUILT_IN = "smollm2";

  private final NativeModel model;
  private final NativeTokenizer ownTokenizer;
  private final CandleTokenizer tokenizer;

  /** Takes over {@code model}, and closes it when this fails. */
  private CandleModel(NativeModel model) {
    this.model = model;
    NativeTokenizer owned = null;
    try {
      owned = model.tokenizer();
      this.ownTokenizer = owned;
      this.tokenizer = new CandleTokenizer(owned, true);
      ModelInfo info = model.describe();
      Logger logger = System.getLogger("io.candle4j");
      for (String warning : info.warnings()) {
        logger.log(Level.WARNING, warning);
      }
      logger.log(
          Level.DEBUG,
          () ->
              "loaded %s: %s in %s, %s engine on %s, %d ms"
                  .formatted(
                      info.path(),
                      info.architecture(),
                      info.precision(),
                      info.engine(),
                      info.device(),
                      info.loadTime().toMillis()));
    } catch (Throwable t) {
      if (owned != null) {
        owned.close();
      }
      model.close();
      throw t;
    }
  }

  /**
   * What this model has done since it was loaded, and what it is doing.
   *
   * @return the counts
   * @throws IllegalStateException after close
   */
  public ModelMetrics metrics() {
    return model.metrics();
  }

  /**
   * Loads a model with default settings.
   *
   * @param source the alias {@value #BUILT_IN}, a Hub id such as {@code Qwen/Qwen2.5-0.5B-Instruct}
   *     (with {@code @revision} behind it if need be), a folder, or a GGUF file
   * @return the model
   * @see Builder#load()
   */
  public static CandleModel load(String source) {
    return builder().source(source).load();
  }

  /**
   * Starts from default settings, and the built-in model.
   *
   * @return a builder
   */
  public static Builder builder() {
    return new Builder();
  }

  /**
   * Starts a session.
   *
   * @return a session with an empty KV cache
   * @throws IllegalStateException after close
   */
  public CandleSession newSession() {
    return newSession(null);
  }

  /** A session that closes {@code owned} with itself, unless that is null. */
  CandleSession newSession(@Nullable CandleModel owned) {
    return new CandleSession(model.newSession(), owned);
  }

  /**
   * The tokenizer. It lives as long as the model; closing it does nothing.
   *
   * @return the tokenizer
   */
  public CandleTokenizer tokenizer() {
    return tokenizer;
  }

  /**
   * What there is to know about the model.
   *
   * @return the description
   * @throws IllegalStateException after close
   */
  public ModelInfo info() {
    return model.describe();
  }

  /**
   * Renders a conversation by the model's chat template, without generating.
   *
   * @param messages the messages, oldest first
   * @param generationPrompt whether the beginning of an answer follows them
   * @return the prompt as text
   * @throws ModelException.ChatTemplate when the model has no template, or it cannot render these
   */
  public String applyChatTemplate(List<ChatMessage> messages, boolean generationPrompt) {
    return applyChatTemplate(messages, generationPrompt, Map.of());
  }

  /**
   * Renders a conversation by the model's chat template, without generating.
   *
   * @param messages the messages, oldest first
   * @param generationPrompt whether the beginning of an answer follows them
   * @param variables further variables that the template knows, such as {@code tools}
   * @return the prompt as text
   * @throws ModelException.ChatTemplate when the model has no template, or it cannot render these
   */
  public String applyChatTemplate(
      List<ChatMessage> messages, boolean generationPrompt, Map<String, Object> variables) {
    return model.renderChat(messages, generationPrompt, variables);
  }

  /**
   * Answers many requests, several at a time over this one copy of the weights: as many as {@code
   * CANDLE_NUM_PARALLEL} says, else 4.
   *
   * @param requests the requests
   * @return the results in the order of the requests; one request's failure does not affect the
   *     others
   */
  public List<BatchResult> generateAll(List<Request> requests) {
    return model.generateAll(List.copyOf(requests), null, null, () -> false);
  }

  /**
   * Answers many requests, several at a time over this one copy of the weights.
   *
   * @param requests the requests
   * @param parallel how many at a time, from 1 to 1024
   * @param listener receives each result as it comes, on this thread
   * @return the results in the order of the requests; one request's failure does not affect the
   *     others
   * @throws java.util.concurrent.CancellationException when this thread is interrupted
   */
  public List<BatchResult> generateAll(
      List<Request> requests, int parallel, BatchListener listener) {
    checkParallel(parallel);
    return model.generateAll(List.copyOf(requests), parallel, listener, () -> false);
  }

  /**
   * Answers many requests on threads of the library, as {@link #generateAll(List, int,
   * BatchListener)} does.
   *
   * @param requests the requests
   * @param parallel how many at a time, from 1 to 1024
   * @param listener receives each result as it comes, on one of those threads
   * @return the results to come. Completing it in any other way, such as {@code cancel}, stops the
   *     batch within a quarter of a second
   */
  public CompletableFuture<List<BatchResult>> submitAll(
      List<Request> requests, int parallel, BatchListener listener) {
    StackGuard.check();
    checkParallel(parallel);
    List<Request> all = List.copyOf(requests);
    AtomicBoolean stopped = new AtomicBoolean();
    return CallFuture.start(
        () -> model.generateAll(all, parallel, listener, stopped::get), () -> stopped.set(true));
  }

  private static void checkParallel(int parallel) {
    if (parallel < 1) {
      throw new IllegalArgumentException("parallel: expected at least 1, got " + parallel);
    }
  }

  /**
   * Ends the model. Stops calls on it that are under way, and waits for them for 150 ms at most;
   * the last of them frees it. Does nothing the second time.
   *
   * @throws IllegalStateException from inside a listener of one of its own calls
   */
  @Override
  public void close() {
    try {
      ownTokenizer.close();
    } finally {
      model.close();
    }
  }

  /** How a model is to be loaded. Not for several threads. */
  public static final class Builder {
    private String source = BUILT_IN;
    private @Nullable String revision;
    private Engine engine = Engine.AUTO;
    private Device device = Device.AUTO;
    private Precision precision = Precision.AUTO;
    private @Nullable Quantization quantization;
    private @Nullable Path adapter;
    private @Nullable Integer contextLength;
    private @Nullable Duration latencyTarget;
    private @Nullable Long kvCacheBytes;
    private @Nullable Integer maxRequests;
    private @Nullable String instructions;
    private @Nullable ProgressListener progress;

    private Builder() {}

    /**
     * Which model: the alias of one that comes as a jar, such as {@value #BUILT_IN}; a Hub id such
     * as {@code Qwen/Qwen2.5-0.5B-Instruct}; or a folder or a GGUF file. What exists as a path, or
     * begins like one ({@code ./}, {@code /}, {@code ~/}), is a path.
     *
     * @param source alias, id or path
     * @return this
     */
    public Builder source(String source) {
      this.source = Objects.requireNonNull(source, "source");
      return this;
    }

    /**
     * Which model: a folder of files as they are on the Hub, or a GGUF file.
     *
     * @param path the folder or the file
     * @return this
     */
    public Builder path(Path path) {
      this.source = path.toAbsolutePath().toString();
      return this;
    }

    /**
     * Which branch, tag or commit of a Hub model; {@code main} when left out.
     *
     * @param revision the revision
     * @return this
     */
    public Builder revision(String revision) {
      this.revision = Objects.requireNonNull(revision, "revision");
      return this;
    }

    /**
     * Which implementation runs.
     *
     * @param engine the implementation
     * @return this
     */
    public Builder engine(Engine engine) {
      this.engine = Objects.requireNonNull(engine, "engine");
      return this;
    }

    /**
     * Where the model runs.
     *
     * @param device the device
     * @return this
     */
    public Builder device(Device device) {
      this.device = Objects.requireNonNull(device, "device");
      return this;
    }

    /**
     * The type of its weights in memory. If F16 turns out to overflow, they are loaded again in
     * F32, with a warning.
     *
     * @param precision the type
     * @return this
     */
    public Builder precision(Precision precision) {
      this.precision = Objects.requireNonNull(precision, "precision");
      return this;
    }

    /**
     * Turns the weights of a folder into fewer bits while they are read, so that the whole model is
     * never in memory in more. A matrix whose rows are no whole number of the format's blocks, the
     * embedding and the output projection become {@link Quantization#Q8_0}. For the fused engine
     * only, and not for GGUF files, whose weights keep their types.
     *
     * @param quantization the format
     * @return this
     */
    public Builder quantize(Quantization quantization) {
      if (quantization == Quantization.I16) {
        throw new IllegalArgumentException(
            "quantization: I16 is for embeddings and reranking; expected another format");
      }
      this.quantization = Objects.requireNonNull(quantization, "quantization");
      return this;
    }

    /**
     * A LoRA adapter, which is merged into the weights of a folder while they are read: a folder
     * with {@code adapter_config.json} and {@code adapter_model.safetensors}, as PEFT saves them.
     * Matrices, the output projection among them, may have one, and modules that were trained as a
     * whole take the place of the model's. What is not computed, such as DoRA or biases, is refused
     * by name. Not for GGUF files.
     *
     * @param folder the folder of the adapter
     * @return this
     */
    public Builder adapter(Path folder) {
      this.adapter = folder.toAbsolutePath();
      return this;
    }

    /**
     * The longest context to make room for; the model's own limit when left out.
     *
     * @param contextLength tokens of prompt and answer together, at most the model's own limit
     * @return this
     */
    public Builder contextLength(int contextLength) {
      this.contextLength = contextLength;
      return this;
    }

    /**
     * How long a forward pass with prompts takes while other sessions generate, about: prompts that
     * come get so much of each pass. 50 ms when left out; longer passes read prompts faster and let
     * the tokens of others come less often.
     *
     * @param latencyTarget from 1 ms to 10 s
     * @return this
     */
    public Builder latencyTarget(Duration latencyTarget) {
      if (latencyTarget.compareTo(Duration.ofMillis(1)) < 0
          || latencyTarget.compareTo(Duration.ofSeconds(10)) > 0) {
        throw new IllegalArgumentException(
            "latencyTarget: expected from 1 ms to 10 s, got " + latencyTarget);
      }
      this.latencyTarget = latencyTarget;
      return this;
    }

    /**
     * How much memory the keys and values of all sessions may take together. Left out, it is 80 %
     * of what the machine and its control group leave when the model is loaded. When there is none
     * left, sessions that rest lose theirs, and compute their prompt again when they come back;
     * then requests wait for others, or fail with {@link ModelException.InsufficientMemory}.
     *
     * @param bytes at least 1
     * @return this
     */
    public Builder kvCacheBytes(long bytes) {
      if (bytes < 1) {
        throw new IllegalArgumentException("kvCacheBytes: expected at least 1, got " + bytes);
      }
      this.kvCacheBytes = bytes;
      return this;
    }

    /**
     * How many requests the model takes at a time, those that wait for a pass included; 1024 when
     * left out. One more gets {@link QueueFullException}, or waits where {@link
     * Request.Builder#waitWhenFull} says so.
     *
     * @param maxRequests at least 1
     * @return this
     */
    public Builder maxRequests(int maxRequests) {
      if (maxRequests < 1) {
        throw new IllegalArgumentException("maxRequests: expected at least 1, got " + maxRequests);
      }
      this.maxRequests = maxRequests;
      return this;
    }

    /**
     * Limits the instruction sets that kernels use on the CPU, to compare them or to get around one
     * that misbehaves: {@code amx}, {@code avx512bf16}, {@code avx512vnni}, {@code avxvnni} or
     * {@code avx2} on x86-64, {@code neon-i8mm}, {@code neon-dotprod} or {@code neon} on AArch64,
     * {@code portable} on both. What is named and what stands behind it may be used, as far as the
     * processor has it. The limit holds for the whole process, from the first model that is loaded
     * on: a later one that would change what is in use is refused with {@link
     * IllegalArgumentException} while loading. Without it {@code CANDLE4J_INSTRUCTIONS} counts,
     * else all that the processor has. {@link RuntimeInfo#instructions} says what is used.
     *
     * @param name the name of a limit
     * @return this
     */
    public Builder instructions(String name) {
      this.instructions = Objects.requireNonNull(name, "name");
      return this;
    }

    /**
     * Who is told how far a download is, and then, on a thread of the library, how far the weights
     * are in memory. What it throws ends the loading, as an interrupt does.
     *
     * @param progress the listener
     * @return this
     */
    public Builder progress(ProgressListener progress) {
      this.progress = Objects.requireNonNull(progress, "progress");
      return this;
    }

    /**
     * Unpacks or fetches the model if it is not in the cache, and loads it. Blocks until that is
     * done.
     *
     * @return the model
     * @throws HubException when it cannot be fetched
     * @throws ModelException.Invalid when its files are damaged
     * @throws ModelException.Unsupported when it would not be computed rightly
     * @throws ModelException.InsufficientMemory when it would not fit
     * @throws ModelException.DeviceUnavailable when the device cannot be used
     * @throws NativeLibraryException when there is no native library
     */
    public CandleModel load() {
      NativeRuntime.library();
      StackGuard.check();
      Path path = resolve();
      return new CandleModel(
          NativeModel.load(
              path,
              new NativeModel.Options(
                  engine,
                  device,
                  precision,
                  quantization,
                  adapter == null ? null : adapter.toString(),
                  contextLength,
                  latencyTarget == null ? null : latencyTarget.toMillis(),
                  kvCacheBytes,
                  maxRequests,
                  instructions),
              progress));
    }

    private Path resolve() {
      return ModelSource.resolve(source, revision, progress);
    }
  }
}
