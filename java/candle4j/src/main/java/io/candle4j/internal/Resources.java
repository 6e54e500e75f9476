package io.candle4j.internal;

import java.net.URL;
import org.jspecify.annotations.Nullable;

/** Files inside jars that hold nothing else. */
final class Resources {
  private Resources() {}

  /**
   * Finds a resource in this library's class loader, else in the thread's.
   *
   * @param name its path
   * @return where it is, or null
   */
  static @Nullable URL find(String name) {
    ClassLoader own = Resources.class.getClassLoader();
    URL found = own == null ? ClassLoader.getSystemResource(name) : own.getResource(name);
    ClassLoader context = Thread.currentThread().getContextClassLoader();
    if (found == null && context != null) {
      found = context.getResource(name);
    }
    return found;
  }
}
