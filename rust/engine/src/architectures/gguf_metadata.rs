//! What families ask a GGUF file.

use serde_json::{Map, Value};

use crate::error::Result;

/// The gates above the ups of all experts of a layer, where they are one tensor.
pub(crate) const GATE_UP_EXPERTS: &str = "ffn_gate_up_exps";

/// The layers over the vector of a text, in their order.
pub(crate) const DENSE_OVER_VECTORS: [&str; 2] = ["dense_2.weight", "dense_3.weight"];

/// What a GGUF file says of itself: its keys, and which tensors it has.
pub trait GgufMetadata {
    /// The file's name, for messages.
    fn name(&self) -> String;

    /// All keys that begin with a prefix, without it.
    fn section(&self, prefix: &str) -> Map<String, Value>;

    /// The shape of a tensor, outermost dimension first.
    fn shape(&self, tensor: &str) -> Option<&[usize]>;

    /// The numbers of a vector in F32.
    ///
    /// # Errors
    /// [`Error::InvalidTensor`](crate::error::Error::InvalidTensor) when it has another length or type.
    fn floats(&self, tensor: &str, len: usize) -> Result<Vec<f64>>;
}
