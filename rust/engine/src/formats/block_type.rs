//! The types of quantization blocks that files have.

use candle_core::quantized::GgmlDType;
use candle_core::{DType, Device};
use candle4j_kernels::{PackedMatrix, PackedType};

use super::codebook::Codebook;

/// A type of blocks of numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BlockType {
    /// One that Candle knows; also floating point numbers, of which each is a block.
    Candle(GgmlDType),
    /// One that Candle does not know: our own kernels multiply it, or it becomes Q8_0 while it is read.
    Codebook(Codebook),
}

impl BlockType {
    /// By the number that a GGUF file has for it.
    pub(crate) fn of_gguf(number: u32) -> Option<Self> {
        let known = match number {
            0 => GgmlDType::F32,
            1 => GgmlDType::F16,
            2 => GgmlDType::Q4_0,
            3 => GgmlDType::Q4_1,
            6 => GgmlDType::Q5_0,
            7 => GgmlDType::Q5_1,
            8 => GgmlDType::Q8_0,
            9 => GgmlDType::Q8_1,
            10 => GgmlDType::Q2K,
            11 => GgmlDType::Q3K,
            12 => GgmlDType::Q4K,
            13 => GgmlDType::Q5K,
            14 => GgmlDType::Q6K,
            15 => GgmlDType::Q8K,
            30 => GgmlDType::BF16,
            other => return Codebook::of(other).map(Self::Codebook),
        };
        Some(Self::Candle(known))
    }

    /// Numbers of a block.
    pub(crate) fn block_size(self) -> usize {
        match self {
            Self::Candle(dtype) => dtype.block_size(),
            Self::Codebook(kind) => kind.block_size(),
        }
    }

    /// Bytes of a block.
    pub(crate) fn type_size(self) -> usize {
        match self {
            Self::Candle(dtype) => dtype.type_size(),
            Self::Codebook(kind) => kind.type_size(),
        }
    }

    /// Its name, as it stands in results.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Candle(dtype) => dtype_name(dtype),
            Self::Codebook(kind) => kind.name(),
        }
    }

    /// The type of its numbers where each is a block and there are kernels for it.
    pub(crate) fn float_type(self) -> Option<DType> {
        match self {
            Self::Candle(GgmlDType::F32) => Some(DType::F32),
            Self::Candle(GgmlDType::F16) => Some(DType::F16),
            Self::Candle(GgmlDType::BF16) => Some(DType::BF16),
            _ => None,
        }
    }

    /// The blocks of which each is a number of this type.
    pub(crate) fn of_floats(dtype: DType) -> Option<Self> {
        match dtype {
            DType::F32 => Some(Self::Candle(GgmlDType::F32)),
            DType::F16 => Some(Self::Candle(GgmlDType::F16)),
            DType::BF16 => Some(Self::Candle(GgmlDType::BF16)),
            _ => None,
        }
    }

    /// As our own kernels know it.
    pub(crate) fn packed_type(self) -> Option<PackedType> {
        match self {
            Self::Candle(dtype) => Some(PackedType::Candle(dtype)),
            Self::Codebook(kind) => kind.packed_type(),
        }
    }

    /// Whether our own kernels multiply it on a device.
    pub(crate) fn has_kernels(self, device: &Device) -> bool {
        device.is_cpu() && self.packed_type().is_some_and(PackedMatrix::supports)
    }

    /// The type that these blocks get in memory for our own kernels: Q8_0 instead of a type of code books that there
    /// are none for.
    pub(crate) fn kept(self, device: &Device) -> Self {
        match self {
            Self::Codebook(_) if !self.has_kernels(device) => Self::Candle(GgmlDType::Q8_0),
            own => own,
        }
    }

    /// Bytes that so many numbers take in memory for our own kernels.
    pub(crate) fn bytes_in_memory(self, numbers: u64, device: &Device) -> u64 {
        self.packed_type()
            .filter(|_| device.is_cpu())
            .and_then(|packed| PackedMatrix::byte_len(packed, numbers))
            .unwrap_or_else(|| numbers / self.block_size() as u64 * self.type_size() as u64)
    }
}

/// The name of a type that Candle knows.
fn dtype_name(dtype: GgmlDType) -> &'static str {
    match dtype {
        GgmlDType::F32 => "f32",
        GgmlDType::F16 => "f16",
        GgmlDType::BF16 => "bf16",
        GgmlDType::Q4_0 => "q4_0",
        GgmlDType::Q4_1 => "q4_1",
        GgmlDType::Q5_0 => "q5_0",
        GgmlDType::Q5_1 => "q5_1",
        GgmlDType::Q8_0 => "q8_0",
        GgmlDType::Q8_1 => "q8_1",
        GgmlDType::Q2K => "q2_k",
        GgmlDType::Q3K => "q3_k",
        GgmlDType::Q4K => "q4_k",
        GgmlDType::Q5K => "q5_k",
        GgmlDType::Q6K => "q6_k",
        GgmlDType::Q8K => "q8_k",
    }
}
