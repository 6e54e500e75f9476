//! The ABI from C.

use std::path::{Path, PathBuf};
use std::process::Command;

/// The folder of the library that this test was built with.
fn library_folder() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    test.parent().unwrap().to_path_buf()
}

fn model() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../engine/tests/models/llama-plain")
}

/// Compiles `program.c` against the committed header and runs it.
#[test]
#[cfg(unix)]
fn a_c_program_uses_the_whole_abi() {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folder = tempfile::tempdir().unwrap();
    let program = folder.path().join("program");
    let libraries = library_folder();
    let compiler = std::env::var("CC").unwrap_or_else(|_| "cc".into());
    let compiled = Command::new(&compiler)
        .args(["-std=c11", "-Wall", "-Wextra", "-Werror", "-pedantic", "-I"])
        .arg(here.join("include"))
        .arg(here.join("tests/abi/program.c"))
        .arg("-L")
        .arg(&libraries)
        .arg("-lcandle4j")
        .arg(format!("-Wl,-rpath,{}", libraries.display()))
        .arg("-o")
        .arg(&program)
        .status()
        .unwrap_or_else(|e| panic!("{compiler}: {e}"));
    assert!(compiled.success());
    let ran = Command::new(&program)
        .arg(model())
        .current_dir(folder.path())
        .output()
        .unwrap();
    assert!(
        ran.status.success(),
        "{:?}: {}",
        ran.status,
        String::from_utf8_lossy(&ran.stderr)
    );
}

/// Every function of the header is exported, and every exported `c4j_` function is in the header.
#[test]
#[cfg(target_os = "linux")]
fn header_and_library_have_the_same_functions() {
    let header =
        std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("include/candle4j.h"))
            .unwrap();
    let mut declared: Vec<String> = header
        .lines()
        .filter(|line| !line.starts_with("//") && !line.starts_with("typedef"))
        .filter_map(|line| {
            let name = line.split('(').next()?.rsplit([' ', '*']).next()?;
            (line.contains('(') && name.starts_with("c4j_")).then(|| name.to_owned())
        })
        .collect();
    declared.sort();
    let symbols = Command::new("nm")
        .args(["--dynamic", "--defined-only", "--format=posix"])
        .arg(library_folder().join("libcandle4j.so"))
        .output()
        .unwrap();
    let mut exported: Vec<String> = String::from_utf8(symbols.stdout)
        .unwrap()
        .lines()
        .filter_map(|line| line.split(' ').next())
        .filter(|name| name.starts_with("c4j_"))
        .map(str::to_owned)
        .collect();
    exported.sort();
    assert!(declared.len() > 20, "{declared:?}");
    assert_eq!(declared, exported);
}
