//! Attention over cached keys and values (Vaswani et al. 2017), where several query heads may share a head of
//! keys and values (Ainslie et al. 2023, GQA).
//!
//! Scores are never materialised for all positions: positions are processed in tiles, each with a softmax of
//! its own, and the partial results are merged (Dao et al. 2022, FlashAttention). With few queries, the tiles
//! are spread over threads, so that there is work for all of them however few heads there are (Dao et al.
//! 2023, Flash-Decoding).

mod attend;
mod cache;
mod queries;
mod strided;
mod tile;

pub use attend::attend;
pub use cache::{KV_PAGE, KvCache, KvClaim, KvMemory, KvPage};
pub use queries::{DistanceBias, Queries};
pub use strided::Strided;
