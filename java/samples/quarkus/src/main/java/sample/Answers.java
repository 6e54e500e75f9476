package sample;

import dev.langchain4j.model.chat.ChatModel;
import jakarta.inject.Inject;
import jakarta.ws.rs.POST;
import jakarta.ws.rs.Path;

/** Answers questions over HTTP. */
@Path("/ask")
public class Answers {
  private final ChatModel model;

  @Inject
  Answers(ChatModel model) {
    this.model = model;
  }

  /** The answer to the question that is the body. */
  @POST
  public String ask(String question) {
    return model.chat(question);
  }
}
