package sample;

import static org.junit.jupiter.api.Assertions.assertTrue;

import io.candle4j.springai.CandleChatOptions;
import org.junit.jupiter.api.Test;
import org.springframework.ai.chat.client.ChatClient;
import org.springframework.boot.SpringApplication;
import org.springframework.boot.autoconfigure.SpringBootApplication;
import org.springframework.context.annotation.Bean;

/** The starter and one property make a program that answers, as its README shows. */
class SampleTest {
  @Test
  void aProgramWithThePropertyAnswers() {
    try (var context =
        SpringApplication.run(Program.class, "--spring.ai.candle.chat.model=smollm2")) {
      String answer = context.getBean(Answers.class).to("What is the capital of France?");
      assertTrue(answer.contains("Paris"), answer);
    }
  }

  /** The program. */
  @SpringBootApplication
  static class Program {
    @Bean
    Answers answers(ChatClient.Builder client) {
      // A drawn answer is right most of the time.
      return new Answers(
          client.defaultOptions(CandleChatOptions.builder().temperature(0.0)).build());
    }
  }

  /** What it does. */
  record Answers(ChatClient client) {
    String to(String question) {
      return String.valueOf(client.prompt(question).call().content());
    }
  }
}
