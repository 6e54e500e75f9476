//! The limit of instruction sets, which a process chooses once.

use candle4j_kernels::{Instructions, LimitError};

#[test]
fn a_limit_holds_once_something_was_computed() {
    let other = match cfg!(target_arch = "aarch64") {
        true => "avx2",
        false => "neon",
    };
    assert_eq!(Instructions::limit("sse9"), Err(LimitError::Unknown));
    assert_eq!(Instructions::limit(other), Err(LimitError::OtherProcessor));
    for instructions in Instructions::all() {
        Instructions::limit(instructions.name()).unwrap();
        assert_eq!(Instructions::in_use(), instructions.name());
    }
    // One without kernels of its own allows what stands behind it.
    #[cfg(target_arch = "x86_64")]
    {
        Instructions::limit("avxvnni").unwrap();
        assert!(["avx2", "portable"].contains(&Instructions::in_use()));
    }
    Instructions::limit("portable").unwrap();
    assert_eq!(Instructions::in_use(), "portable");
    assert_eq!(Instructions::detect(), None);
    assert_eq!(Instructions::limit("portable"), Ok(()));
    if let Some(best) = Instructions::all().first() {
        let refused = Instructions::limit(best.name());
        assert_eq!(refused, Err(LimitError::InUse("portable")));
    }
    assert_eq!(Instructions::in_use(), "portable");
}
