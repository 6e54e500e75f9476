package io.candle4j.spark;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotNull;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.candle4j.CandleEmbedder;
import io.candle4j.CandleModel;
import io.candle4j.CandleReranker;
import io.candle4j.CandleSession;
import io.candle4j.DocumentScores;
import io.candle4j.EmbedOptions;
import io.candle4j.Embedding;
import io.candle4j.GenerateOptions;
import io.candle4j.Generation;
import io.candle4j.ResponseFormat;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.TimeUnit;
import org.apache.spark.SparkException;
import org.apache.spark.sql.Dataset;
import org.apache.spark.sql.Row;
import org.apache.spark.sql.RowFactory;
import org.apache.spark.sql.SparkSession;
import org.apache.spark.sql.functions;
import org.apache.spark.sql.types.DataTypes;
import org.apache.spark.sql.types.StructType;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;

@Timeout(120)
class ColumnsTest {
  private static final Path MODELS = Path.of(System.getProperty("candle4j.test.models"));
  private static final String TINY = MODELS.resolve("qwen3-plain").toString();
  private static final Path ENCODERS = MODELS.resolveSibling("encoders");
  private static final GenerateOptions SAMPLED =
      GenerateOptions.builder().temperature(1).maxTokens(12).build();

  private static final SparkSession SPARK =
      SparkSession.builder()
          .master("local[2]")
          .config("spark.ui.enabled", false)
          .config("spark.sql.shuffle.partitions", 2)
          .getOrCreate();

  @AfterAll
  static void stop() {
    SPARK.stop();
  }

  private static Dataset<Row> prompts(String... prompts) {
    StructType schema =
        new StructType()
            .add("id", DataTypes.LongType, false)
            .add("prompt", DataTypes.StringType, true);
    List<Row> rows = new ArrayList<>();
    for (int i = 0; i < prompts.length; i++) {
      rows.add(RowFactory.create((long) i, prompts[i]));
    }
    return SPARK.createDataFrame(rows, schema).repartition(2, functions.col("id"));
  }

  private static Row struct(Row row, String column) {
    return row.getStruct(row.fieldIndex(column));
  }

  private static String error(Row row, String column) {
    return struct(row, column).getAs("error");
  }

  @Test
  void answersAreThoseOfTheLibrary() {
    String[] texts = new String[40];
    for (int i = 0; i < texts.length; i++) {
      texts[i] = "Once upon a time there were " + i % 30 + " hens";
    }
    Dataset<Row> answers =
        GenerateColumn.builder("answer")
            .model(TINY)
            .prompt("prompt")
            .options(SAMPLED)
            .build()
            .addTo(prompts(texts));
    List<Row> rows = answers.orderBy("id").collectAsList();
    assertEquals(texts.length, rows.size());
    try (CandleModel model = CandleModel.load(TINY)) {
      for (Row row : rows) {
        Row answer = struct(row, "answer");
        assertNull(answer.getAs("error"));
        long seed = answer.<Long>getAs("seed");
        try (CandleSession session = model.newSession()) {
          Generation alone =
              session.generate(row.<String>getAs("prompt"), SAMPLED.toBuilder().seed(seed).build());
          assertEquals(alone.text(), answer.getAs("text"));
          assertEquals(alone.finishReason().name(), answer.getAs("finish_reason"));
          assertEquals(alone.promptTokens(), answer.<Integer>getAs("prompt_tokens"));
          assertEquals(alone.completionTokens(), answer.<Integer>getAs("completion_tokens"));
        }
      }
    }
    assertEquals(rows, answers.orderBy("id").collectAsList());
    assertEquals(struct(rows.get(0), "answer"), struct(rows.get(30), "answer"));
    long seeds = rows.stream().map(row -> struct(row, "answer").getAs("seed")).distinct().count();
    assertEquals(30, seeds);
  }

  @Test
  void rowsKeepTheirColumnsAndTheirOrder() {
    Dataset<Row> rows =
        prompts("a", "b", "c", "d", "e").withColumn("when", functions.current_date()).coalesce(1);
    Dataset<Row> answers =
        GenerateColumn.builder("answer")
            .model(TINY)
            .prompt(functions.upper(functions.col("prompt")))
            .options(SAMPLED)
            .seed(functions.col("id"))
            .build()
            .addTo(rows);
    assertEquals(List.of("id", "prompt", "when", "answer"), List.of(answers.schema().fieldNames()));
    assertFalse(answers.schema().apply("id").nullable());
    List<Row> all = answers.collectAsList();
    assertEquals(rows.collectAsList(), answers.drop("answer").collectAsList());
    for (Row row : all) {
      assertEquals(row.<Long>getAs("id"), struct(row, "answer").<Long>getAs("seed"));
    }
  }

  @Test
  void aRowThatFailsHasAnErrorAndTheOthersAnswers() {
    Dataset<Row> rows = prompts("fine", null, "", "long ".repeat(4_000), "fine, too");
    List<Row> answers =
        GenerateColumn.builder("answer")
            .model(TINY)
            .prompt("prompt")
            .options(SAMPLED)
            .build()
            .addTo(rows)
            .orderBy("id")
            .collectAsList();
    assertNull(error(answers.get(0), "answer"));
    assertEquals("prompt: expected a text, got null", error(answers.get(1), "answer"));
    assertEquals("prompt: expected a text, got an empty one", error(answers.get(2), "answer"));
    assertTrue(error(answers.get(3), "answer").contains("context"));
    assertNull(struct(answers.get(3), "answer").getAs("text"));
    assertNull(error(answers.get(4), "answer"));
    assertNotNull(struct(answers.get(4), "answer").getAs("text"));
  }

  @Test
  void answersHaveTheFormThatIsAskedFor() {
    List<Row> answers =
        GenerateColumn.builder("answer")
            .model("smollm2")
            .system("You answer in one word.")
            .prompt(functions.concat(functions.lit("Is this an animal? "), functions.col("prompt")))
            .responseFormat(ResponseFormat.oneOf("yes", "no"))
            .options(GenerateOptions.greedy())
            .build()
            .addTo(prompts("cat", "spoon"))
            .collectAsList();
    for (Row row : answers) {
      assertTrue(List.of("yes", "no").contains(struct(row, "answer").<String>getAs("text")));
    }
  }

  @Test
  void vectorsAreThoseOfTheLibrary() {
    String source = ENCODERS.resolve("bert-mean").toString();
    EmbedOptions whole = EmbedOptions.builder().truncate(false).build();
    List<Row> rows =
        EmbedColumn.builder("vector")
            .model(source)
            .text("prompt")
            .options(whole)
            .build()
            .addTo(prompts("a cat", null, "dogs and hens", "long ".repeat(4_000), ""))
            .orderBy("id")
            .collectAsList();
    assertEquals("text: expected a text, got null", error(rows.get(1), "vector"));
    assertTrue(error(rows.get(3), "vector").contains("context"), error(rows.get(3), "vector"));
    try (CandleEmbedder embedder = CandleEmbedder.load(source)) {
      for (int i : new int[] {0, 2, 4}) {
        Embedding alone = embedder.embed(rows.get(i).<String>getAs("prompt"), whole);
        Row vector = struct(rows.get(i), "vector");
        List<Float> numbers = vector.getList(0);
        for (int n = 0; n < alone.dimensions(); n++) {
          assertEquals(alone.vector()[n], numbers.get(n));
        }
        assertEquals(alone.tokens(), vector.<Integer>getAs("tokens"));
      }
    }
  }

  @Test
  void scoresAreThoseOfTheLibrary() {
    String source = ENCODERS.resolve("bert-rerank").toString();
    Dataset<Row> rows =
        prompts("a cat", "dogs", null)
            .withColumn("query", functions.lit("animals"))
            .withColumn(
                "all", functions.array(functions.col("prompt"), functions.lit("hens and cats")));
    List<Row> single =
        RerankColumn.builder("fit", source)
            .query("query")
            .documents("prompt")
            .build()
            .addTo(rows)
            .orderBy("id")
            .collectAsList();
    List<Row> several =
        RerankColumn.builder("fit", source)
            .query("query")
            .documents("all")
            .build()
            .addTo(rows)
            .orderBy("id")
            .collectAsList();
    assertEquals("documents: expected a text, got null", error(single.get(2), "fit"));
    assertEquals("documents: expected texts, got null among them", error(several.get(2), "fit"));
    try (CandleReranker reranker = CandleReranker.load(source)) {
      for (int i = 0; i < 2; i++) {
        List<DocumentScores> alone =
            reranker.score(
                "animals",
                List.of(rows.orderBy("id").collectAsList().get(i).getString(1), "hens and cats"));
        List<Double> scores = struct(several.get(i), "fit").getList(0);
        assertEquals(alone.get(0).score(), scores.get(0).floatValue());
        assertEquals(alone.get(1).score(), scores.get(1).floatValue());
        assertEquals(scores.get(0), struct(single.get(i), "fit").<Double>getList(0).getFirst());
      }
    }
  }

  @Test
  void functionsOfSqlAreTheColumns() {
    GenerateColumn.Builder settings = GenerateColumn.builder("answer").model(TINY).options(SAMPLED);
    CandleFunctions.registerGenerate(SPARK, settings);
    CandleFunctions.registerEmbed(SPARK, EmbedColumn.builder("vector"));
    CandleFunctions.registerRerank(
        SPARK, RerankColumn.builder("fit", ENCODERS.resolve("bert-rerank").toString()));
    Dataset<Row> rows = prompts("a cat", "two dogs", null);
    rows.createOrReplaceTempView("prompts");
    List<Row> columns = settings.prompt("prompt").build().addTo(rows).orderBy("id").collectAsList();
    List<Row> functions =
        SPARK
            .sql("SELECT id, prompt, candle_generate(prompt) AS answer FROM prompts ORDER BY id")
            .collectAsList();
    assertEquals(columns, functions);
    assertEquals(
        List.of(7L, 7L),
        SPARK
            .sql(
                "SELECT candle_generate_seeded(prompt, 7).seed FROM prompts WHERE prompt IS NOT NULL")
            .collectAsList()
            .stream()
            .map(row -> row.get(0))
            .toList());
    assertEquals(
        384,
        SPARK.sql("SELECT size(candle_embed('a cat').vector)").collectAsList().getFirst().get(0));
    assertEquals(
        List.of(1, 2),
        SPARK
            .sql(
                "SELECT size(candle_rerank('animals', 'a cat').scores),"
                    + " size(candle_rerank('animals', array('a cat', 'hens')).scores)")
            .collectAsList()
            .stream()
            .flatMap(row -> List.of(row.get(0), row.get(1)).stream())
            .toList());
    assertEquals(
        "prompt: expected a text, got java.lang.Integer",
        SPARK.sql("SELECT candle_generate(3).error").collectAsList().getFirst().get(0));
  }

  @Test
  void theBuiltInModelAnswersInSql() {
    CandleFunctions.register(SPARK);
    List<Row> rows =
        SPARK
            .sql("SELECT candle_generate('What is the capital of France?') AS answer")
            .collectAsList();
    Row answer = struct(rows.getFirst(), "answer");
    assertNull(answer.getAs("error"));
    assertFalse(answer.<String>getAs("text").isBlank());
  }

  @Test
  void modelsAreShippedAsFilesOfSpark(@TempDir Path folder) throws Exception {
    Path copy = Files.createDirectory(folder.resolve("shipped-model"));
    try (var files = Files.list(Path.of(TINY))) {
      for (Path file : files.toList()) {
        Files.copy(file, copy.resolve(file.getFileName()));
      }
    }
    SPARK.sparkContext().addFile(copy.toString(), true);
    GenerateColumn.Builder column =
        GenerateColumn.builder("answer").prompt("prompt").options(SAMPLED);
    Dataset<Row> rows = prompts("a cat", "two dogs");
    assertEquals(
        column.model(TINY).build().addTo(rows).orderBy("id").collectAsList(),
        column
            .model(SparkModel.shipped("shipped-model").withContextLength(64))
            .build()
            .addTo(rows)
            .orderBy("id")
            .collectAsList());
  }

  @Test
  void whatIsWrongWithAModelOrADatasetIsSaidAtOnce() {
    GenerateColumn.Builder column = GenerateColumn.builder("id").prompt("prompt");
    Dataset<Row> rows = prompts("a");
    assertEquals(
        "name: the dataset has a column id already; expected another name",
        assertThrows(IllegalArgumentException.class, () -> column.build().addTo(rows))
            .getMessage());
    assertEquals(
        "prompt: expected a column of string, got bigint",
        assertThrows(
                IllegalArgumentException.class,
                () -> GenerateColumn.builder("answer").prompt("id").build().addTo(rows))
            .getMessage());
    assertThrows(IllegalStateException.class, () -> GenerateColumn.builder("answer").build());
    Dataset<Row> missing =
        GenerateColumn.builder("answer")
            .model("/no/such/model")
            .prompt("prompt")
            .build()
            .addTo(rows);
    SparkException failure = assertThrows(SparkException.class, missing::collectAsList);
    assertTrue(failure.getMessage().contains("/no/such/model: no such file or folder"));
  }

  @Test
  void jobsThatAreCancelledEndSoon() throws Exception {
    Dataset<Row> endless =
        GenerateColumn.builder("answer")
            .model("smollm2")
            .prompt("prompt")
            .options(GenerateOptions.builder().ignoreEos(true).maxTokens(100_000).build())
            .build()
            .addTo(prompts("a", "b", "c", "d"));
    CompletableFuture<List<Row>> job =
        CompletableFuture.supplyAsync(() -> {
          SPARK.sparkContext().setJobGroup("endless", "a job without end", false);
          return endless.collectAsList();
        });
    Thread.sleep(3_000);
    assertFalse(job.isDone());
    SPARK.sparkContext().cancelJobGroup("endless");
    assertThrows(ExecutionException.class, () -> job.get(10, TimeUnit.SECONDS));
    long deadline = System.nanoTime() + Duration.ofSeconds(10).toNanos();
    while (SPARK.sparkContext().statusTracker().getExecutorInfos()[0].numRunningTasks() > 0) {
      assertTrue(System.nanoTime() < deadline, "tasks of a cancelled job still run");
      Thread.sleep(50);
    }
  }
}
