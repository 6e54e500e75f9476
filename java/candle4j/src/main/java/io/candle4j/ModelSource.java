package io.candle4j;

import io.candle4j.hub.CandleHub;
import io.candle4j.hub.HubException;
import io.candle4j.hub.Snapshot;
import io.candle4j.internal.BuiltInModel;
import java.net.URI;
import java.nio.file.FileSystemNotFoundException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Map;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.jspecify.annotations.Nullable;

/** What a text that names a model stands for. */
final class ModelSource {
  /**
   * The page of a model, as it stands in a browser: its id, and the revision that it shows. The
   * page of a single file is none, since another of the model's files might be loaded.
   */
  static final Pattern HUB_PAGE =
      Pattern.compile(
          "(?:https?://)?(?:www\\.)?(?:huggingface\\.co|hf\\.co)/([^/\\s]+/[^/?#\\s]+)"
              + "(?:/tree/([^/?#\\s]+))?/?(?:[?#].*)?");

  private ModelSource() {}

  /** The folder or the file of a model, fetched from the Hub if it is an id. */
  static Path resolve(
      String source, @Nullable String revision, @Nullable ProgressListener progress) {
    if (source.isBlank()) {
      throw new IllegalArgumentException(
          "source: expected an alias, a Hub id, a folder or a GGUF file, got a blank text");
    }
    Matcher page = HUB_PAGE.matcher(source);
    if (page.matches()) {
      String named = page.group(2);
      return resolve(page.group(1), revision != null || named == null ? revision : named, progress);
    }
    Path path;
    try {
      path = path(source);
    } catch (IllegalArgumentException | FileSystemNotFoundException e) {
      throw new IllegalArgumentException("source: " + e.getMessage(), e);
    }
    if (path != null) {
      if (!Files.exists(path)) {
        throw new ModelException.Invalid(
            path + ": no such file or folder", Map.of("file", path.toString()));
      }
      return path;
    }
    Path builtIn = BuiltInModel.find(source);
    if (builtIn != null) {
      return builtIn;
    }
    if (source.equals(CandleModel.BUILT_IN)) {
      throw new HubException.ModelNotFound(
          source
              + ": the built-in model is not there; add the dependency"
              + " io.candle4j:candle4j-model-smollm2, and on the module path"
              + " --add-modules io.candle4j.model.smollm2",
          Map.of("model", source));
    }
    try (CandleHub hub = CandleHub.open()) {
      Snapshot snapshot = hub.fetch(id(source, revision), progress);
      return snapshot.gguf().orElse(snapshot.folder());
    }
  }

  /** The id with a revision, which stands before a quantisation. */
  private static String id(String source, @Nullable String revision) {
    if (revision == null) {
      return source;
    }
    int colon = source.indexOf(':');
    return colon < 0
        ? source + "@" + revision
        : source.substring(0, colon) + "@" + revision + source.substring(colon);
  }

  private static @Nullable Path path(String source) {
    if (source.startsWith("file:")) {
      return Path.of(URI.create(source));
    }
    if (source.startsWith("~/")) {
      return Path.of(System.getProperty("user.home")).resolve(source.substring(2));
    }
    if (looksLikePath(source)) {
      return Path.of(source);
    }
    // Not every id is a legal path everywhere: Windows has no colons in names.
    if (source.indexOf(':') < 0 && Files.exists(Path.of(source))) {
      return Path.of(source);
    }
    return null;
  }

  /**
   * Whether a text can only be a path, on any system: Windows' paths with drives and shares too,
   * also those relative to the current folder of a drive ({@code C:model.gguf}). No Hub id begins
   * with a single letter and a colon, and none has a backslash.
   */
  static boolean looksLikePath(String source) {
    return source.startsWith("/")
        || source.startsWith("./")
        || source.startsWith("../")
        || source.contains("\\")
        || source.matches("[A-Za-z]:.*")
        || source.equals(".")
        || source.equals("..");
  }
}
