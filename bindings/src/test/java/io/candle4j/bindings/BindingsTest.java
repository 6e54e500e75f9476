package io.candle4j.bindings;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotNull;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.InputStream;
import java.lang.foreign.Arena;
import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.GroupLayout;
import java.lang.foreign.MemoryLayout;
import java.lang.foreign.MemoryLayout.PathElement;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.SymbolLookup;
import java.lang.foreign.ValueLayout;
import java.lang.reflect.Method;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.MessageDigest;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HexFormat;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.TreeSet;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.json.JsonMapper;

/** The committed bindings fit the header and the library, checked without jextract. */
class BindingsTest {
  private static Header header;
  private static Path library;

  @BeforeAll
  static void load() throws Exception {
    header = Header.read();
    try (Stream<Path> files = Files.list(Path.of(System.getProperty("candle4j.test.library")))) {
      library =
          files.filter(file -> !file.toString().endsWith(".sha256")).findFirst().orElseThrow();
    }
    LoadedLibrary.use(SymbolLookup.libraryLookup(library, Arena.global()));
  }

  @Test
  void bindingsWereMadeFromThisHeader() throws Exception {
    Properties record = new Properties();
    try (InputStream in = BindingsTest.class.getResourceAsStream("bindings.properties")) {
      record.load(in);
    }
    byte[] hash = MessageDigest.getInstance("SHA-256").digest(Files.readAllBytes(Header.path()));
    assertEquals(
        record.getProperty("header.sha256"),
        HexFormat.of().formatHex(hash),
        "the header changed: run scripts/generate-bindings");
  }

  @Test
  void everyFunctionHasItsDescriptor() throws Exception {
    assertTrue(header.functions().size() > 20);
    for (Map.Entry<String, Header.Signature> function : header.functions().entrySet()) {
      Method descriptor = candle4j_h.class.getMethod(function.getKey() + "$descriptor");
      assertEquals(descriptor(function.getValue()), descriptor.invoke(null), function.getKey());
    }
    TreeSet<String> bound =
        Arrays.stream(candle4j_h.class.getMethods())
            .map(Method::getName)
            .filter(name -> name.startsWith("c4j_") && name.endsWith("$descriptor"))
            .map(name -> name.replace("$descriptor", ""))
            .collect(Collectors.toCollection(TreeSet::new));
    assertEquals(new TreeSet<>(header.functions().keySet()), bound);
  }

  @Test
  void everyCallbackHasItsDescriptor() throws Exception {
    assertEquals(2, header.callbacks().size());
    for (Map.Entry<String, Header.Signature> callback : header.callbacks().entrySet()) {
      Class<?> type = Class.forName("io.candle4j.bindings." + callback.getKey());
      assertEquals(
          descriptor(callback.getValue()),
          type.getMethod("descriptor").invoke(null),
          callback.getKey());
    }
  }

  @Test
  void everyConstantHasItsValue() throws Exception {
    assertTrue(header.constants().size() > 25);
    for (Map.Entry<String, Long> constant : header.constants().entrySet()) {
      Object value = candle4j_h.class.getMethod(constant.getKey()).invoke(null);
      assertEquals(constant.getValue(), ((Number) value).longValue(), constant.getKey());
    }
  }

  @Test
  void structsAreLaidOutAsTheLibrarySays() throws Exception {
    JsonNode structs = JsonMapper.shared().readTree(buildInfo()).get("structs");
    assertEquals(
        header.structs().keySet(), structs.propertyNames().stream().collect(Collectors.toSet()));
    for (Map.Entry<String, List<Header.Field>> struct : header.structs().entrySet()) {
      Class<?> type = Class.forName("io.candle4j.bindings." + struct.getKey());
      GroupLayout layout = (GroupLayout) type.getMethod("layout").invoke(null);
      JsonNode native_ = structs.get(struct.getKey());
      assertEquals(native_.get("size").asLong(), layout.byteSize(), struct.getKey());
      assertEquals(native_.get("align").asLong(), layout.byteAlignment(), struct.getKey());
      JsonNode offsets = native_.get("offsets");
      assertEquals(struct.getValue().size(), offsets.size());
      for (Header.Field field : struct.getValue()) {
        PathElement element = PathElement.groupElement(field.name());
        assertEquals(
            offsets.get(field.name()).asLong(),
            layout.byteOffset(element),
            struct.getKey() + "." + field.name());
        if (!field.type().startsWith("c4j_")) {
          assertEquals(layout(field.type()), layout.select(element).withoutName());
        }
      }
    }
  }

  @Test
  void everySymbolIsInTheLibrary() {
    SymbolLookup symbols = SymbolLookup.libraryLookup(library, Arena.global());
    for (String function : header.functions().keySet()) {
      assertTrue(symbols.find(function).isPresent(), function);
    }
  }

  @Test
  void versionsAreTheSame() {
    assertEquals(candle4j_h.C4J_ABI_VERSION(), candle4j_h.c4j_abi_version());
  }

  /** A later method than those of JDK 22 would be found by nobody who runs 22. */
  @Test
  void generatedCodeKeepsToJdk22() throws Exception {
    Path source = Path.of("src/main/java/io/candle4j/bindings/candle4j_h.java");
    assertTrue(Files.readString(source).contains("SYMBOL_LOOKUP.find(symbol)"));
  }

  private static String buildInfo() {
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment buffer = c4j_buffer.allocate(arena);
      MemorySegment error = arena.allocate(ValueLayout.ADDRESS);
      assertEquals(candle4j_h.C4J_OK(), candle4j_h.c4j_build_info(buffer, error));
      MemorySegment content = c4j_buffer.data(buffer).reinterpret(c4j_buffer.len(buffer));
      String text = new String(content.toArray(ValueLayout.JAVA_BYTE), StandardCharsets.UTF_8);
      candle4j_h.c4j_buffer_free(buffer);
      return text;
    }
  }

  private static FunctionDescriptor descriptor(Header.Signature signature) {
    List<MemoryLayout> parameters = new ArrayList<>();
    for (String type : signature.parameters()) {
      parameters.add(layout(type));
    }
    MemoryLayout[] array = parameters.toArray(MemoryLayout[]::new);
    return signature.result().equals("void")
        ? FunctionDescriptor.ofVoid(array)
        : FunctionDescriptor.of(layout(signature.result()), array);
  }

  private static MemoryLayout layout(String type) {
    MemoryLayout layout =
        switch (type) {
          case "uint8_t" -> candle4j_h.C_CHAR;
          case "int32_t", "uint32_t", "c4j_status" -> candle4j_h.C_INT;
          case "int64_t", "uint64_t" -> candle4j_h.C_LONG;
          case "float" -> candle4j_h.C_FLOAT;
          case "*", "c4j_token_fn", "c4j_progress_fn" -> candle4j_h.C_POINTER;
          default -> null;
        };
    assertNotNull(layout, type);
    return layout;
  }
}
