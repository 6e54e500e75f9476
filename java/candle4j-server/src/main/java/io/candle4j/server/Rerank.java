package io.candle4j.server;

import io.candle4j.CandleReranker;
import io.candle4j.DocumentScores;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;
import java.util.Optional;
import java.util.stream.IntStream;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.node.ArrayNode;
import tools.jackson.databind.node.ObjectNode;

/** {@code /v1/rerank} in the form of Jina's API, which Cohere's clients read as well. */
final class Rerank {
  private final ServedModels models;

  Rerank(ServedModels models) {
    this.models = models;
  }

  void answer(Exchange exchange) {
    Fields fields = exchange.fields();
    ServedModel served = models.get(fields.text("model").orElse(null));
    String query = fields.text("query").orElseThrow(() -> fields.wrong("query", "a text"));
    List<String> documents = documents(fields);
    int top = fields.integer("top_n").orElse(documents.size());
    if (top < 1) {
      throw fields.wrong("top_n", "1 or more");
    }
    Optional<String> instruction = fields.text("instruction");
    boolean tells = fields.flag("return_documents", false);
    try (var lease = served.use(served.reranker(), 1, exchange)) {
      CandleReranker reranker = lease.model();
      List<DocumentScores> scores =
          exchange
              .watch()
              .interruptibly(() ->
                  instruction.isEmpty()
                      ? reranker.score(query, documents)
                      : reranker.score(query, documents, instruction.get()));
      ObjectNode response = Json.object().put("model", served.name());
      ArrayNode results = response.putArray("results");
      IntStream.range(0, documents.size())
          .boxed()
          .sorted(Comparator.comparing((Integer i) -> -scores.get(i).score()))
          .limit(top)
          .forEach(i -> {
            ObjectNode result =
                results.addObject().put("index", i).put("relevance_score", scores.get(i).score());
            if (tells) {
              result.putObject("document").put("text", documents.get(i));
            }
          });
      int tokens = scores.stream().mapToInt(DocumentScores::tokens).sum();
      response.putObject("usage").put("prompt_tokens", tokens).put("total_tokens", tokens);
      exchange.send(response);
    }
  }

  /** Texts, or objects with a {@code text}. */
  private static List<String> documents(Fields fields) {
    JsonNode array = fields.get("documents");
    if (array == null || !array.isArray() || array.isEmpty()) {
      throw fields.wrong("documents", "an array of at least one text");
    }
    List<String> documents = new ArrayList<>();
    for (JsonNode document : array) {
      JsonNode text = document.isObject() ? document.get("text") : document;
      if (text == null || !text.isString()) {
        throw fields.wrong("documents[" + documents.size() + "]", "a text");
      }
      documents.add(text.stringValue());
    }
    return documents;
  }
}
