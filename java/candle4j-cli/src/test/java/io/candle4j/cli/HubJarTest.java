package io.candle4j.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.MethodOrderer;
import org.junit.jupiter.api.Order;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.TestMethodOrder;
import org.junit.jupiter.api.io.TempDir;
import tools.jackson.databind.JsonNode;

/** The life of a cached model, one step a test. */
@TestMethodOrder(MethodOrderer.OrderAnnotation.class)
class HubJarTest {
  private static final String SECRET = "hf_thisisverysecret";

  @TempDir private static Path home;
  private static FakeHub hub;

  @BeforeAll
  static void startHub() {
    hub = new FakeHub();
  }

  @AfterAll
  static void stopHub() {
    hub.close();
  }

  private static Jar jar() {
    return new Jar()
        .environment("HF_HOME", home.toString())
        .environment("HF_ENDPOINT", hub.endpoint())
        .environment("HF_TOKEN", SECRET);
  }

  private static Path snapshot() {
    return home.resolve("hub/models--someone--tiny-llama/snapshots").resolve(FakeHub.COMMIT);
  }

  private static void assertHubFailure(Cli.Result result, String word) {
    assertEquals(ExitCode.HUB, result.code(), result.err());
    assertTrue(result.err().startsWith("candle: "), result.err());
    assertEquals(1, result.err().lines().count(), result.err());
    assertTrue(result.err().contains(word), result.err());
    assertFalse(result.err().contains(SECRET), result.err());
  }

  @Test
  @Order(1)
  void nothingIsThereAtFirst() {
    assertEquals(new Cli.Result(ExitCode.OK, "", ""), jar().run("ls"));
    assertHubFailure(
        jar().environment("HF_HUB_OFFLINE", "1").run("pull", FakeHub.MODEL), "offline");
    assertHubFailure(jar().run("rm", FakeHub.MODEL, "--yes"), FakeHub.MODEL);
    assertEquals(0, hub.requests());
  }

  @Test
  @Order(2)
  void whatMayNotBeHadIsSaid() {
    assertHubFailure(jar().run("pull", FakeHub.GATED), FakeHub.GATED);
    assertHubFailure(jar().run("pull", "someone/nothing"), "someone/nothing");
    assertEquals(ExitCode.USAGE, jar().run("pull", "not an id").code());
    // A token in the wrong place.
    Cli.Result leak = jar().run("generate", "x", "--verbose", "--model", SECRET + "/" + SECRET);
    assertEquals(ExitCode.HUB, leak.code());
    assertFalse(leak.err().contains(SECRET), leak.err());
  }

  @Test
  @Order(3)
  void pullPrintsTheFolderAndNothingElse() {
    Cli.Result result = jar().run("pull", FakeHub.MODEL);
    assertEquals(new Cli.Result(ExitCode.OK, snapshot() + "\n", ""), result);
    assertTrue(Files.isRegularFile(snapshot().resolve("model.safetensors")));
  }

  @Test
  @Order(4)
  void aCachedModelNeedsNoHub() {
    JsonNode sequence = Golden.sequence("llama-plain");
    JsonNode answer =
        jar()
            .environment("HF_HUB_OFFLINE", "1")
            .run(
                "generate",
                "--model",
                FakeHub.MODEL,
                "--temperature",
                "0",
                "--max-tokens",
                "16",
                "--ignore-eos",
                "--json",
                "--tokens",
                Golden.joined(sequence.get("prompt")))
            .json();
    assertEquals(Golden.ids(sequence.get("greedy")), Golden.ids(answer.get("token_ids")));
  }

  @Test
  @Order(5)
  void lsListsIt() {
    Cli.Result table = jar().run("ls");
    assertEquals(2, table.lines().size(), table.out());
    assertTrue(
        table
            .lines()
            .get(1)
            .matches(FakeHub.MODEL + " +main +0123456789ab +\\d+ kB +(just now|\\d+ minutes? ago)"),
        table.out());
    JsonNode models = jar().run("ls", "--json").json();
    assertEquals(1, models.size());
    JsonNode model = models.get(0);
    assertEquals(FakeHub.MODEL, model.get("id").stringValue());
    assertTrue(model.get("size_on_disk").longValue() > 190_000);
    JsonNode revision = model.get("revisions").get(0);
    assertEquals(FakeHub.COMMIT, revision.get("commit").stringValue());
    assertEquals("[\"main\"]", revision.get("refs").toString());
    assertEquals(5, revision.get("files").size());
  }

  @Test
  @Order(6)
  void verifyFindsWhatIsWrong() throws IOException {
    Cli.Result intact = jar().run("verify", FakeHub.MODEL);
    assertEquals(
        new Cli.Result(
            ExitCode.OK,
            FakeHub.MODEL + ": 5 of 5 files intact, commit " + FakeHub.COMMIT + "\n",
            ""),
        intact);
    Path weights = snapshot().resolve("model.safetensors").toRealPath();
    byte[] bytes = Files.readAllBytes(weights);
    bytes[bytes.length / 2] ^= 1;
    Files.write(weights, bytes);
    Cli.Result corrupt = jar().run("verify", FakeHub.MODEL);
    assertHubFailure(corrupt, "not intact");
    assertTrue(corrupt.lines().get(0).startsWith("corrupt  model.safetensors: expected "));
    assertTrue(corrupt.lines().get(1).contains(": 4 of 5 files intact"), corrupt.out());
    Cli.Result json = jar().run("verify", FakeHub.MODEL, "--json");
    assertEquals(ExitCode.HUB, json.code());
    assertTrue(json.out().contains("\"intact\":false"), json.out());
  }

  @Test
  @Order(7)
  void rmSaysWhatItReclaimed() {
    Cli.Result removed = jar().run("rm", FakeHub.MODEL);
    assertEquals(ExitCode.OK, removed.code(), removed.err());
    assertTrue(
        removed.out().matches("removed " + FakeHub.MODEL + ": \\d+ files, [\\d.]+ kB reclaimed\n"),
        removed.out());
    assertEquals("[]\n", jar().run("ls", "--json").out());
  }
}
