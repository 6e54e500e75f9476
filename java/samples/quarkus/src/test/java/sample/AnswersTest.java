package sample;

import static org.junit.jupiter.api.Assertions.assertTrue;

import io.quarkus.test.common.http.TestHTTPResource;
import io.quarkus.test.junit.QuarkusTest;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpRequest.BodyPublishers;
import java.net.http.HttpResponse.BodyHandlers;
import org.junit.jupiter.api.Test;

/** The program answers. */
@QuarkusTest
class AnswersTest {
  @TestHTTPResource("/ask")
  URI address;

  @Test
  void itAnswers() throws Exception {
    try (HttpClient client = HttpClient.newHttpClient()) {
      HttpRequest request =
          HttpRequest.newBuilder(address)
              .POST(BodyPublishers.ofString("What is the capital of France?"))
              .build();
      String answer = client.send(request, BodyHandlers.ofString()).body();
      assertTrue(answer.contains("Paris"), answer);
    }
  }
}
