package io.candle4j;

import static com.tngtech.archunit.lang.syntax.ArchRuleDefinition.noClasses;

import com.tngtech.archunit.core.domain.JavaClasses;
import com.tngtech.archunit.core.importer.ClassFileImporter;
import com.tngtech.archunit.core.importer.ImportOption;
import org.junit.jupiter.api.Test;

/** The way down: which package may know which. */
class LayersTest {
  private static final JavaClasses CLASSES =
      new ClassFileImporter()
          .withImportOption(new ImportOption.DoNotIncludeTests())
          .importPackages("io.candle4j");

  @Test
  void onlyTheInnermostPackagesTouchForeignMemory() {
    noClasses()
        .that()
        .resideOutsideOfPackages("io.candle4j.internal", "io.candle4j.bindings")
        .should()
        .dependOnClassesThat()
        .resideInAPackage("java.lang.foreign")
        .check(CLASSES);
  }

  @Test
  void thePublicPackageDoesNotReachPastTheInternalOne() {
    noClasses()
        .that()
        .resideInAPackage("io.candle4j")
        .should()
        .dependOnClassesThat()
        .resideInAPackage("io.candle4j.bindings")
        .check(CLASSES);
  }
}
