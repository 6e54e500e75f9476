//! The layers of this crate, as `lib.rs` shows them.

#[path = "../../layers.rs"]
mod layers;

#[test]
fn modules_import_only_from_the_layers_below() {
    layers::assert_arrows_go_down(
        env!("CARGO_MANIFEST_DIR"),
        &[
            &["batch"],
            &["session"],
            &["cached_sequence"],
            &["embedding", "model"],
            &["request_slots"],
            &["tools"],
            &["chat", "generate"],
            &["loader"],
            &["engines"],
            &["formats"],
            &["architectures"],
            &["description"],
            &["tokenizer"],
            &["cancel", "device", "runtime"],
            &["files", "memory", "metrics", "stack"],
            &["error"],
        ],
    );
}
