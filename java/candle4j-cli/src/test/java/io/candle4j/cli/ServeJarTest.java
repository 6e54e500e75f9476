package io.candle4j.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.net.InetAddress;
import java.net.ServerSocket;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.util.concurrent.TimeUnit;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.condition.DisabledOnOs;
import org.junit.jupiter.api.condition.OS;

/** The server as a program. */
class ServeJarTest {
  private static final Pattern LISTENING = Pattern.compile("listening on (http://\\S+)\n");

  @Test
  @DisabledOnOs(value = OS.WINDOWS, disabledReason = "there is no kill")
  void servesUntilItIsToldToEnd() throws Exception {
    Jar.Running server =
        new Jar().start("serve", "--port", "0", "--model", Golden.LLAMA, "--api-key", "k");
    server.awaitOut("listening on http://127.0.0.1:").awaitOut("\n");
    Matcher address = LISTENING.matcher(server.out());
    assertTrue(address.find());
    try (HttpClient client = HttpClient.newHttpClient()) {
      HttpRequest.Builder request =
          HttpRequest.newBuilder(URI.create(address.group(1) + "/v1/completions"))
              .header("Authorization", "Bearer k");
      HttpRequest one =
          request
              .POST(
                  HttpRequest.BodyPublishers.ofString(
                      "{\"prompt\":[1,2,3],\"max_tokens\":3,\"ignore_eos\":true}"))
              .build();
      HttpResponse<String> answer = client.send(one, HttpResponse.BodyHandlers.ofString());
      assertEquals(200, answer.statusCode(), answer.body());
      assertTrue(answer.body().contains("\"completion_tokens\":3"), answer.body());
      long begin = System.nanoTime();
      Cli.Result result = server.signal("TERM").result();
      assertEquals(143, result.code());
      assertEquals("", result.err());
      assertTrue(System.nanoTime() - begin < TimeUnit.SECONDS.toNanos(10));
    }
  }

  @Test
  void whatCannotBeServedIsSaid() throws Exception {
    Cli.Result port = Cli.run("serve", "--port", "70000");
    assertEquals(ExitCode.USAGE, port.code());
    assertTrue(port.err().contains("--port: expected 0 to 65535, got 70000"), port.err());
    Cli.Result time = Cli.run("serve", "--keep-alive", "-1");
    assertEquals(ExitCode.USAGE, time.code());
    assertTrue(time.err().contains("--keep-alive: expected 0 or more"), time.err());
    Cli.Result host = Cli.run("serve", "--port", "0", "--host", "192.0.2.1");
    assertEquals(ExitCode.USAGE, host.code());
    assertTrue(host.err().contains("cannot listen on 192.0.2.1:0: "), host.err());
    try (ServerSocket other = new ServerSocket(0, 1, InetAddress.getByName("127.0.0.1"))) {
      String number = Integer.toString(other.getLocalPort());
      Cli.Result taken = Cli.run("serve", "--port", number);
      assertEquals(ExitCode.USAGE, taken.code());
      assertTrue(taken.err().contains("in use"), taken.err());
    }
  }
}
