//! The committed header is what cbindgen makes of the crate.

use std::path::Path;

fn generate() -> String {
    let crate_dir = env!("CARGO_MANIFEST_DIR");
    let config = cbindgen::Config::from_root_or_default(crate_dir);
    let mut header = Vec::new();
    cbindgen::Builder::new()
        .with_crate(crate_dir)
        .with_config(config)
        .generate()
        .expect("cbindgen understands the crate")
        .write(&mut header);
    String::from_utf8(header).unwrap()
}

/// Fails when the header is stale. `CANDLE4J_UPDATE_HEADER=1` writes it instead.
#[test]
fn header_is_up_to_date() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("include/candle4j.h");
    let generated = generate();
    if std::env::var_os("CANDLE4J_UPDATE_HEADER").is_some() {
        std::fs::write(&path, &generated).unwrap();
    }
    let committed = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        committed == generated,
        "{} is stale: run scripts/generate-bindings",
        path.display()
    );
}

/// Types whose width differs between platforms would make bindings that fit one of them only.
#[test]
fn header_has_platform_neutral_types_only() {
    let header = generate();
    let code: String = header
        .lines()
        .filter(|line| !line.trim_start().starts_with("//") && !line.starts_with(" *"))
        .collect::<Vec<_>>()
        .join("\n");
    for word in code.split(|c: char| !(c.is_alphanumeric() || c == '_')) {
        assert!(
            !matches!(
                word,
                "long" | "size_t" | "bool" | "char" | "int" | "enum" | "uintptr_t" | "unsigned"
            ),
            "{word} is in the header"
        );
    }
}
