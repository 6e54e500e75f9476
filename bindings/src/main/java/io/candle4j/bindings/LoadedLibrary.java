package io.candle4j.bindings;

import java.lang.foreign.SymbolLookup;

/**
 * Where the generated class finds its symbols: the one hand-written file beside it.
 *
 * <p>jextract's own lookup asks the class loader, which needs {@code System.load}, and that refuses a
 * library that another class loader has loaded. A lookup by path has no such limit.
 */
public final class LoadedLibrary {
  private static volatile SymbolLookup symbols;

  private LoadedLibrary() {}

  /**
   * Sets the library. Must be called before any function of the generated class, which keeps the
   * addresses that it finds.
   *
   * @param lookup the library's symbols, valid for as long as this class is
   */
  public static void use(SymbolLookup lookup) {
    symbols = lookup;
  }

  /** Asks the library that is set when a symbol is looked up, which need not be set yet. */
  static SymbolLookup symbols() {
    return name -> {
      SymbolLookup lookup = symbols;
      if (lookup == null) {
        throw new IllegalStateException("the native library is not loaded");
      }
      return lookup.find(name);
    };
  }
}
