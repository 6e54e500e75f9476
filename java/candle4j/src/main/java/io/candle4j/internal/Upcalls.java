package io.candle4j.internal;

import java.lang.foreign.AddressLayout;
import java.lang.foreign.Arena;
import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.Linker;
import java.lang.foreign.MemoryLayout;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.lang.invoke.MethodHandle;
import java.lang.invoke.MethodHandles;
import java.lang.invoke.MethodType;

/**
 * Function pointers for native code, whose pointer arguments arrive as plain numbers.
 *
 * <p>jextract's own stubs wrap each pointer in a {@link MemorySegment} before the target runs.
 * Where the Java heap is full, that fails outside of any {@code try} of ours and ends the JVM. So
 * no object is made before the target's first line.
 */
final class Upcalls {
  private Upcalls() {}

  /**
   * The method that a stub calls.
   *
   * @param lookup of the class that has it
   * @param name the method's name
   * @param descriptor the function pointer's descriptor, as generated
   * @return the method, to be bound to an object
   */
  static MethodHandle method(
      MethodHandles.Lookup lookup, String name, FunctionDescriptor descriptor) {
    MethodType type = plain(descriptor).toMethodType();
    try {
      return lookup.findVirtual(lookup.lookupClass(), name, type);
    } catch (ReflectiveOperationException e) {
      throw new AssertionError(e);
    }
  }

  /**
   * A function pointer.
   *
   * @param descriptor its descriptor, as generated
   * @param method the method that it calls
   * @param target the object that it calls it on
   * @param arena its life
   * @return the pointer
   */
  @SuppressWarnings("restricted")
  static MemorySegment stub(
      FunctionDescriptor descriptor, MethodHandle method, Object target, Arena arena) {
    return Linker.nativeLinker().upcallStub(method.bindTo(target), plain(descriptor), arena);
  }

  /** Pointers have the size of a long on every platform that there is a library for. */
  private static FunctionDescriptor plain(FunctionDescriptor descriptor) {
    return FunctionDescriptor.of(
        descriptor.returnLayout().orElseThrow(),
        descriptor.argumentLayouts().stream()
            .map(layout -> layout instanceof AddressLayout ? ValueLayout.JAVA_LONG : layout)
            .toArray(MemoryLayout[]::new));
  }
}
