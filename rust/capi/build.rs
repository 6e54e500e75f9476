//! How the library is linked.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    // Worker threads and destructors of thread-local values run this library's code for as long as
    // the process lives, so closing its last handle must not unmap it. macOS and Windows have no
    // such flag; there the JVM keeps its handle for good (`SymbolLookup` in the global arena).
    if matches!(std::env::var("CARGO_CFG_TARGET_OS").as_deref(), Ok("linux")) {
        println!("cargo:rustc-cdylib-link-arg=-Wl,-z,nodelete");
    }
}
