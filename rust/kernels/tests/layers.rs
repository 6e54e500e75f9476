//! The layers of this crate, as `lib.rs` shows them.

#[path = "../../layers.rs"]
mod layers;

#[test]
fn modules_import_only_from_the_layers_below() {
    layers::assert_arrows_go_down(
        env!("CARGO_MANIFEST_DIR"),
        &[
            &["recurrent", "state_space"],
            &["attention", "elementwise", "products"],
            &["dispatch"],
            &["arm", "portable", "x86"],
            &["output", "packing"],
            &["formats"],
            &["simd"],
            &["allocation", "instructions", "team"],
        ],
    );
}
