package io.candle4j;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.util.List;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** Loading: what models say of themselves, and how those that cannot be used are refused. */
class ModelTest {
  @TempDir Path folder;

  private Path copy(String name) throws Exception {
    try (Stream<Path> files = Files.list(Golden.folder(name))) {
      for (Path file : files.toList()) {
        Files.copy(file, folder.resolve(file.getFileName()), StandardCopyOption.REPLACE_EXISTING);
      }
    }
    return folder;
  }

  private void replaceInConfig(String old, String replacement) throws Exception {
    Path file = folder.resolve("config.json");
    String text = Files.readString(file);
    assertTrue(text.contains(old), text);
    Files.writeString(file, text.replace(old, replacement));
  }

  @Test
  void modelsDescribeThemselves() {
    try (CandleModel model = Golden.load("qwen3-moe-plain")) {
      ModelInfo info = model.info();
      assertEquals("qwen3_moe", info.architecture());
      assertEquals(Device.CPU, info.device());
      assertEquals("f32", info.precision());
      assertEquals(512, info.contextLength());
      assertEquals(392, info.vocabSize());
      assertEquals(32, info.hiddenSize());
      assertEquals(List.of(), info.warnings());
      assertTrue(info.parameters() > 10_000);
      assertTrue(info.loadTime().isPositive());
      assertTrue(info.hasChatTemplate());
    }
  }

  @Test
  void theRuntimeDescribesItself() {
    RuntimeInfo info = CandleRuntime.info();
    assertTrue(Files.isRegularFile(info.library()));
    assertEquals("0.1.0", info.version());
    assertTrue(info.threads() >= 1);
    assertTrue(info.devices().contains("cpu"));
    assertThrows(IllegalArgumentException.class, () -> CandleRuntime.setThreads(0));
    assertThrows(IllegalArgumentException.class, () -> CandleRuntime.setThreads(1025));
  }

  @Test
  void s9TheNumberOfThreadsChangesWhileAModelIsUsed() {
    int before = CandleRuntime.info().threads();
    try (CandleModel model = Golden.load("llama-plain");
        CandleSession session = model.newSession()) {
      for (int threads : new int[] {1, 5, 2, before}) {
        CandleRuntime.setThreads(threads);
        assertEquals(threads, CandleRuntime.info().threads());
        SessionTest.assertGolden(session);
      }
    }
  }

  @Test
  void aFolderIsAlsoNamedByItsPath() throws Exception {
    try (CandleModel model = CandleModel.load(copy("llama-plain").toString())) {
      assertEquals("llama", model.info().architecture());
    }
  }

  @Test
  void whatIsMissingOrDamagedIsNamed() throws Exception {
    Path missing = Path.of("/no/such/model");
    ModelException.Invalid nowhere =
        assertThrows(ModelException.Invalid.class, () -> CandleModel.load(missing.toString()));
    assertTrue(nowhere.getMessage().contains(missing.toString()));

    copy("llama-plain");
    replaceInConfig("\"num_hidden_layers\": 2", "\"num_hidden_layers\": 3");
    ModelException.Invalid layers = assertThrows(ModelException.Invalid.class, this::load);
    assertEquals("model.layers.2.input_layernorm.weight", layers.detail().get("tensor"));

    replaceInConfig("\"num_hidden_layers\": 3", "\"num_hidden_layers\": -1");
    ModelException.Invalid negative = assertThrows(ModelException.Invalid.class, this::load);
    assertEquals("num_hidden_layers", negative.detail().get("key"));
    assertEquals("-1", negative.detail().get("value"));
  }

  private void load() {
    CandleModel.builder().path(folder).load().close();
  }

  @Test
  void devicesThatThisBuildLacksAreSaid() {
    for (Device device : List.of(Device.METAL, Device.CUDA)) {
      ModelException.DeviceUnavailable missing =
          assertThrows(
              ModelException.DeviceUnavailable.class,
              () ->
                  CandleModel.builder()
                      .path(Golden.folder("llama-plain"))
                      .device(device)
                      .load()
                      .close());
      assertTrue(
          missing.getMessage().contains("built without")
              || missing.getMessage().contains("made without"));
    }
  }

  @Test
  void halfPrecisionIsUsedWhereItIsExactEnough() {
    try (CandleModel half =
            CandleModel.builder()
                .path(Golden.folder("llama-plain"))
                .precision(Precision.F16)
                .load();
        CandleSession session = half.newSession()) {
      assertEquals("f16", half.info().precision());
      assertEquals(
          Golden.greedy("llama-plain").subList(0, 4),
          session
              .generate(Golden.request(Golden.prompt("llama-plain"), Golden.greedy(4)))
              .tokenIds());
    }
  }

  @Test
  void forceF32SkipsHalfPrecision() throws Exception {
    ChildJvm.Result result =
        new ChildJvm()
            .option("--enable-native-access=ALL-UNNAMED")
            .option("-Dcandle4j.cache=" + System.getProperty("candle4j.cache"))
            .environment("CANDLE_FORCE_F32", "1")
            .run(
                "-cp",
                ChildJvm.classPath(),
                PrecisionProbe.class.getName(),
                Golden.folder("llama-plain").toString());
    assertEquals("f32", result.out().strip(), result.err());
  }

  @Test
  void foldersAreQuantisedWhileTheyAreRead() {
    CandleModel.Builder builder = CandleModel.builder().path(Golden.folder("llama-gqa"));
    try (CandleModel model = builder.quantize(Quantization.Q8_0).load();
        CandleModel whole = Golden.load("llama-gqa")) {
      assertEquals("q8_0", model.info().precision());
      assertEquals(Engine.FUSED, model.info().engine());
      assertEquals("f32", whole.info().precision());
      int[] prompt = Golden.prompt("llama-gqa");
      try (CandleSession session = model.newSession();
          CandleSession exact = whole.newSession()) {
        List<TokenLogprob> ours = session.score(TokenIds.of(prompt), 1).logprobs();
        List<TokenLogprob> theirs = exact.score(TokenIds.of(prompt), 1).logprobs();
        for (int i = 0; i < ours.size(); i++) {
          assertEquals(theirs.get(i).logprob(), ours.get(i).logprob(), 0.5);
        }
      }
    }
    builder.engine(Engine.CANDLE);
    IllegalArgumentException refusal =
        assertThrows(IllegalArgumentException.class, () -> builder.load().close());
    assertTrue(refusal.getMessage().startsWith("quantize: "), refusal.getMessage());
  }
}
