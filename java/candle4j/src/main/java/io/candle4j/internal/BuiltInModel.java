package io.candle4j.internal;

import io.candle4j.ModelException;
import java.io.ByteArrayInputStream;
import java.io.IOException;
import java.io.InputStream;
import java.io.UncheckedIOException;
import java.net.URL;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.util.Arrays;
import java.util.HexFormat;
import java.util.Map;
import java.util.Objects;
import java.util.Properties;
import org.jspecify.annotations.Nullable;

/**
 * Models that come as Maven artifacts.
 *
 * <p>Such a jar has {@code META-INF/candle4j/models/ALIAS.properties}, which names the model's file
 * beside it and that file's SHA-256, and maybe a {@code generation_config.json} for it, or {@code
 * settings}, the other files of a model that is a folder. A folder of that name is no package, so
 * it is found on the class path and on the module path alike.
 */
public final class BuiltInModel {
  private static final String FOLDER = "META-INF/candle4j/models/";

  private BuiltInModel() {}

  /**
   * Finds a model by its alias, and unpacks it to the cache folder if it is not there yet.
   *
   * @param alias such as {@code smollm2}
   * @return the model's file or folder; null when no jar has a model of that alias
   * @throws ModelException.Invalid when the jar is damaged
   * @throws UncheckedIOException when the cache folder cannot be written
   */
  public static @Nullable Path find(String alias) {
    // Nothing else is looked for inside jars, whatever somebody types.
    URL description =
        alias.matches("[a-z0-9-]+") ? Resources.find(FOLDER + alias + ".properties") : null;
    if (description == null) {
      return null;
    }
    Properties properties = new Properties();
    try (InputStream in = description.openStream()) {
      properties.load(in);
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
    String name = properties.getProperty("file", "");
    String hash = properties.getProperty("sha256", "");
    URL file = name.isEmpty() ? null : Resources.find(FOLDER + name);
    if (file == null || !hash.matches("[0-9a-f]{64}")) {
      throw new ModelException.Invalid(
          description + ": expected a file beside it and its sha256",
          Map.of("file", description.toString()));
    }
    Path target;
    try {
      String weights = name.substring(name.lastIndexOf('/') + 1);
      target = CacheFolder.unpack("models", weights, file::openStream, hash, path -> true);
    } catch (IllegalStateException e) {
      throw new ModelException.Invalid(
          file + ": " + e.getMessage(), Map.of("file", file.toString()));
    }
    String settings = properties.getProperty("settings");
    if (settings != null) {
      String from = FOLDER + name.substring(0, name.lastIndexOf('/') + 1);
      Path folder = Objects.requireNonNull(target.getParent());
      for (String setting : settings.split(" ")) {
        unpackSetting(description, from + setting, folder.resolve(setting));
      }
      return folder;
    }
    String sampling = properties.getProperty("generation_config");
    if (sampling != null) {
      unpackSampling(description, sampling, target.resolveSibling("generation_config.json"));
    }
    return target;
  }

  /** Puts a small file where it belongs, unless it lies there. */
  private static void unpackSetting(URL description, String resource, Path target) {
    URL file = Resources.find(resource);
    if (file == null) {
      throw new ModelException.Invalid(
          description + ": expected " + resource, Map.of("file", description.toString()));
    }
    Path folder = Objects.requireNonNull(target.getParent());
    try (InputStream in = file.openStream()) {
      byte[] content = in.readAllBytes();
      if (Files.isRegularFile(target) && Arrays.equals(Files.readAllBytes(target), content)) {
        return;
      }
      Files.createDirectories(folder);
      // Several programs may do this at once; each sees the whole file.
      Path part = Files.createTempFile(folder, target.getFileName().toString(), ".part");
      try {
        Files.write(part, content);
        Files.move(part, target, StandardCopyOption.REPLACE_EXISTING);
      } finally {
        Files.deleteIfExists(part);
      }
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  /** Puts how the model is to generate beside it, where the native side looks for it. */
  private static void unpackSampling(URL description, String name, Path target) {
    URL file = Resources.find(FOLDER + name);
    if (file == null) {
      throw new ModelException.Invalid(
          description + ": expected " + name + " beside it",
          Map.of("file", description.toString()));
    }
    try (InputStream in = file.openStream()) {
      byte[] content = in.readAllBytes();
      String hash = HexFormat.of().formatHex(CacheFolder.sha256().digest(content));
      Path folder = Objects.requireNonNull(target.getParent());
      CacheFolder.ensure(target, folder, () -> new ByteArrayInputStream(content), hash);
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }
}
