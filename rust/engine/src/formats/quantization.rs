//! Weights in fewer bits than their files have.

use candle_core::quantized::GgmlDType;
use serde::{Deserialize, Serialize};

/// A format that the matrices of a folder can be turned into while they are read.
///
/// The names are llama.cpp's: the bits of a weight, and after the line how blocks of them share
/// their scales.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Quantization {
    /// 8 bits in blocks of 32: next to no loss.
    #[serde(rename = "q8_0")]
    Q8_0,
    /// 6 bits in blocks of 256.
    #[serde(rename = "q6_k")]
    Q6K,
    /// 5 bits in blocks of 256.
    #[serde(rename = "q5_k")]
    Q5K,
    /// 4 bits in blocks of 256.
    #[serde(rename = "q4_k")]
    Q4K,
    /// 4 bits in blocks of 32.
    #[serde(rename = "q4_0")]
    Q4_0,
}

impl Quantization {
    /// The type of its blocks.
    pub(crate) fn dtype(self) -> GgmlDType {
        match self {
            Quantization::Q8_0 => GgmlDType::Q8_0,
            Quantization::Q6K => GgmlDType::Q6K,
            Quantization::Q5K => GgmlDType::Q5K,
            Quantization::Q4K => GgmlDType::Q4K,
            Quantization::Q4_0 => GgmlDType::Q4_0,
        }
    }

    /// Its name, as it stands in results.
    pub fn name(self) -> &'static str {
        match self {
            Quantization::Q8_0 => "q8_0",
            Quantization::Q6K => "q6_k",
            Quantization::Q5K => "q5_k",
            Quantization::Q4K => "q4_k",
            Quantization::Q4_0 => "q4_0",
        }
    }
}
