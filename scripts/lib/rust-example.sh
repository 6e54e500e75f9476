# Sourced by scripts that run one of the engine's example programs.

# rust_example NAME: builds the program and prints its path.
rust_example() {
  local root
  root="$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)"
  (cd "$root/rust" && cargo build --quiet --release --package candle4j-engine --example "$1") >&2
  echo "${CARGO_TARGET_DIR:-$root/rust/target/rust-maven-plugin/capi}/release/examples/$1"
}
