//! One tensor of a safetensors file.

use candle_core::DType;

use super::mxfp4::Mxfp4;

/// One tensor as its file describes it, or a part of one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TensorEntry {
    /// Dimensions, outermost first.
    pub shape: Vec<usize>,
    /// Type of the elements, once they are read.
    pub dtype: DType,
    pub(super) file: usize,
    pub(super) offset: u64,
    pub(super) bytes: usize,
    /// Bytes from a row to the next, and from a column to the next; `None` where all elements lie behind each other.
    pub(super) strides: Option<[usize; 2]>,
    /// Where the elements are, of a matrix that is stored in MXFP4.
    pub(super) mxfp4: Option<Box<Mxfp4>>,
}

impl TensorEntry {
    /// Size of all elements in the type of the entry.
    pub fn byte_len(&self) -> usize {
        self.bytes
    }

    /// Whether it is stored in MXFP4.
    pub(crate) fn is_mxfp4(&self) -> bool {
        self.mxfp4.is_some()
    }

    /// A part of it, from some of its bytes on.
    pub(super) fn part(
        &self,
        from: usize,
        shape: Vec<usize>,
        strides: Option<[usize; 2]>,
    ) -> TensorEntry {
        TensorEntry {
            bytes: shape.iter().product::<usize>() * self.dtype.size_in_bytes(),
            shape,
            offset: self.offset + from as u64,
            strides,
            ..self.clone()
        }
    }
}
