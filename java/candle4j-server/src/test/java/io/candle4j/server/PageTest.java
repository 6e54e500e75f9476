package io.candle4j.server;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.List;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.condition.EnabledIf;
import org.openqa.selenium.By;
import org.openqa.selenium.Keys;
import org.openqa.selenium.OutputType;
import org.openqa.selenium.WebElement;
import org.openqa.selenium.chrome.ChromeDriver;
import org.openqa.selenium.chrome.ChromeDriverService;
import org.openqa.selenium.chrome.ChromeOptions;
import org.openqa.selenium.interactions.Actions;
import org.openqa.selenium.logging.LogEntry;
import org.openqa.selenium.logging.LogType;
import org.openqa.selenium.support.ui.Select;
import org.openqa.selenium.support.ui.WebDriverWait;

/** The page in headless Chromium, where there is one; the screenshots lie in target/page. */
@EnabledIf(value = "hasBrowser", disabledReason = "there is no Chromium with its driver")
class PageTest {
  private static final List<Path> PLACES =
      Stream.of("/usr/bin", "/usr/local/bin", "/opt/homebrew/bin").map(Path::of).toList();

  private CandleServer server;
  private ChromeDriver browser;

  static boolean hasBrowser() {
    return find("chromedriver") != null && browserPath() != null;
  }

  private static Path browserPath() {
    return Stream.of("chromium", "google-chrome", "chromium-browser")
        .map(PageTest::find)
        .filter(found -> found != null)
        .findFirst()
        .orElse(null);
  }

  private static Path find(String name) {
    return PLACES.stream()
        .map(folder -> folder.resolve(name))
        .filter(Files::isExecutable)
        .findFirst()
        .orElse(null);
  }

  @BeforeEach
  void open() {
    server = CandleServer.builder().port(0).start();
    ChromeOptions options = new ChromeOptions();
    options.setBinary(browserPath().toFile());
    options.addArguments("--headless=new", "--no-sandbox", "--window-size=1000,800");
    browser =
        new ChromeDriver(
            new ChromeDriverService.Builder()
                .usingDriverExecutable(find("chromedriver").toFile())
                .build(),
            options);
    browser.get(server.uri().toString());
    await(() -> new Select(element("model")).getOptions().size() == 2);
    // Drawn answers are right most of the time.
    browser.executeScript("document.getElementById('temperature').value = '0'");
  }

  @AfterEach
  void close() {
    browser.quit();
    server.close();
  }

  private WebElement element(String id) {
    return browser.findElement(By.id(id));
  }

  private List<WebElement> answers() {
    return browser.findElements(By.cssSelector("article.assistant"));
  }

  private void await(java.util.function.BooleanSupplier condition) {
    new WebDriverWait(browser, Duration.ofSeconds(60)).until(b -> condition.getAsBoolean());
  }

  private void picture(String name) throws IOException {
    Path folder = Path.of("target", "page");
    Files.createDirectories(folder);
    Files.write(folder.resolve(name + ".png"), browser.getScreenshotAs(OutputType.BYTES));
  }

  private void noErrors() {
    List<LogEntry> entries = browser.manage().logs().get(LogType.BROWSER).getAll();
    assertEquals(List.of(), entries.stream().map(LogEntry::getMessage).toList());
  }

  @Test
  void aConversationByKeyboard() throws IOException {
    // The field has the focus when the page is there.
    Actions keys = new Actions(browser);
    keys.sendKeys("What is the capital of France?", Keys.ENTER).perform();
    await(() -> answers().size() == 1 && element("send").isDisplayed());
    assertTrue(answers().getFirst().getText().contains("Paris"), answers().getFirst().getText());
    assertTrue(
        answers().getFirst().findElement(By.className("figures")).getText().contains("tokens/s"));
    keys.sendKeys("And of Italy?", Keys.ENTER).perform();
    await(() -> answers().size() == 2 && element("send").isDisplayed());
    picture("conversation");
    noErrors();
  }

  @Test
  void anAnswerIsStoppedAndTheModelIsFree() throws IOException {
    element("text").sendKeys("Write a very long story about the sea." + Keys.ENTER);
    await(() -> answers().size() == 1 && answers().getFirst().getText().length() > 20);
    assertTrue(element("stop").isDisplayed());
    new Actions(browser).sendKeys(Keys.ESCAPE).perform();
    await(() -> element("send").isDisplayed());
    assertEquals("Stopped.", element("state").getText());
    await(() -> new Http(server).text("/metrics").contains("candle_requests_active 0.0"));
    element("new").click();
    await(() -> answers().isEmpty());
    noErrors();
  }

  @Test
  void settingsCount() throws IOException {
    element("open").click();
    element("max_tokens").sendKeys("3");
    element("system").sendKeys("Be brief.");
    picture("settings");
    element("text").sendKeys("Tell a story." + Keys.ENTER);
    await(() -> answers().size() == 1 && element("send").isDisplayed());
    assertTrue(answers().getFirst().getText().contains("3 tokens"), answers().getFirst().getText());
    noErrors();
  }

  @Test
  void whatFailsIsSaid() {
    new Select(element("model")).selectByValue("minilm");
    element("text").sendKeys("Hello" + Keys.ENTER);
    await(() -> !browser.findElements(By.cssSelector("article.error")).isEmpty());
    assertTrue(browser.findElement(By.cssSelector("article.error")).getText().contains("bert"));
    // What was asked is not lost.
    await(() -> "Hello".equals(element("text").getDomProperty("value")));
  }

  @Test
  void thereIsALightAndADarkOne() throws IOException {
    String before = element("text").getCssValue("background-color");
    element("theme").click();
    assertNotEquals(before, element("text").getCssValue("background-color"));
    picture("theme");
    noErrors();
  }

  @Test
  void whatAModelWritesRunsNothing() {
    browser.executeScript(
        "const place = document.createElement('div'); document.body.append(place);"
            + "show(place, '**bold** <img src=x onerror=\"window.hit = 1\"> <script>window.hit = 2<\\/script>"
            + " [a](javascript:window.hit=3) <style>body{display:none}</style>');"
            + "place.id = 'shown';");
    WebElement shown = element("shown");
    assertEquals("bold", shown.findElement(By.tagName("strong")).getText());
    assertTrue(shown.findElements(By.tagName("script")).isEmpty());
    assertTrue(shown.findElements(By.tagName("style")).isEmpty());
    assertFalse((Boolean) browser.executeScript("return 'hit' in window"));
    String link = shown.findElement(By.tagName("a")).getDomAttribute("href");
    assertTrue(link == null || !link.startsWith("javascript"), link);
  }
}
