package io.candle4j.internal;

import java.util.Locale;

/** The operating system and processor that this JVM runs on, by the names of the platform jars. */
record Platform(String name, String libraryFile) {

  /** The platform of this JVM. It need not be one that there is a jar for. */
  static Platform current() {
    return of(System.getProperty("os.name"), System.getProperty("os.arch"));
  }

  static Platform of(String osName, String osArch) {
    String system = osName.toLowerCase(Locale.ROOT);
    String processor =
        switch (osArch.toLowerCase(Locale.ROOT)) {
          case "amd64", "x86_64", "x64" -> "x86_64";
          case "aarch64", "arm64" -> "aarch64";
          default -> osArch.toLowerCase(Locale.ROOT);
        };
    if (system.startsWith("windows")) {
      return new Platform("windows-" + processor, "candle4j.dll");
    }
    if (system.startsWith("mac") || system.startsWith("darwin")) {
      return new Platform("macos-" + processor, "libcandle4j.dylib");
    }
    return new Platform(system.replace(' ', '_') + "-" + processor, "libcandle4j.so");
  }
}
