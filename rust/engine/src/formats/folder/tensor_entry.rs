//! One tensor of a safetensors file.

use std::ops::Range;

use candle_core::DType;

use super::packed::Packed;
use crate::error::Error;
use crate::formats::BlockType;

/// One tensor as its file describes it, or a part of one.
#[derive(Debug, Clone, PartialEq)]
pub struct TensorEntry {
    /// Dimensions, outermost first.
    pub shape: Vec<usize>,
    /// Type of the elements, once they are read.
    pub dtype: DType,
    pub(super) file: usize,
    pub(super) offset: u64,
    pub(super) bytes: usize,
    pub(super) layout: Layout,
}

/// Where the elements of a tensor lie.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Layout {
    /// Behind each other.
    Dense,
    /// So many bytes from a row to the next, and from a column to the next.
    Strided([usize; 2]),
    /// They are some of the rows of a larger tensor.
    Rows {
        of: Box<TensorEntry>,
        ranges: Vec<Range<usize>>,
    },
    /// In fewer bits.
    Packed(Box<Packed>),
    /// The sum of a matrix and of a product of two, which have few columns and few rows.
    Merged(Box<Merged>),
}

/// A matrix and its adapter: `base + scale · up · down`.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Merged {
    pub(super) base: TensorEntry,
    pub(super) up: TensorEntry,
    pub(super) down: TensorEntry,
    pub(super) scale: f64,
}

impl TensorEntry {
    /// Size of all elements in the type of the entry.
    pub fn byte_len(&self) -> usize {
        self.bytes
    }

    /// A packed matrix, whose numbers have this type once they are read.
    pub(super) fn packed(shape: [usize; 2], dtype: DType, packed: Packed) -> Self {
        TensorEntry {
            bytes: shape.iter().product::<usize>() * dtype.size_in_bytes(),
            shape: shape.to_vec(),
            dtype,
            file: 0,
            offset: 0,
            layout: Layout::Packed(Box::new(packed)),
        }
    }

    /// The matrix with an adapter.
    ///
    /// # Errors
    /// What was expected of `down` and `up`.
    pub(super) fn merged(
        self,
        down: TensorEntry,
        up: TensorEntry,
        scale: f64,
    ) -> std::result::Result<Self, String> {
        let [rows, columns] = self.shape[..] else {
            return Err("an adapter of a matrix".into());
        };
        let rank = down.shape.first().copied().unwrap_or(0);
        if rank == 0 || down.shape != [rank, columns] || up.shape != [rows, rank] {
            return Err(format!("rank × {columns} and {rows} × rank"));
        }
        let dtype = match self.dtype {
            DType::F32 | DType::F64 => DType::F32,
            // Of the numbers of 16 bits, those that keep more of what was added.
            _ => DType::F16,
        };
        Ok(TensorEntry {
            bytes: rows * columns * dtype.size_in_bytes(),
            shape: vec![rows, columns],
            dtype,
            file: self.file,
            offset: self.offset,
            layout: Layout::Merged(Box::new(Merged {
                base: self,
                up,
                down,
                scale,
            })),
        })
    }

    /// Whether its bytes lie behind each other, row by row.
    pub(crate) fn is_dense(&self) -> bool {
        self.layout == Layout::Dense
    }

    /// Whether it is a packed matrix, or one with an adapter, or a part of one: its numbers are computed.
    pub(crate) fn is_packed(&self) -> bool {
        match &self.layout {
            Layout::Packed(_) | Layout::Merged(_) => true,
            Layout::Rows { of, .. } => of.is_packed(),
            Layout::Dense | Layout::Strided(_) => false,
        }
    }

    /// The blocks that hold the numbers of a packed matrix, as far as can be told without reading them.
    pub(crate) fn block_type(&self) -> Option<BlockType> {
        match &self.layout {
            Layout::Packed(packed) => packed.block_type(),
            Layout::Rows { of, .. } => of.block_type(),
            Layout::Dense | Layout::Strided(_) | Layout::Merged(_) => None,
        }
    }

    /// A part of a tensor whose elements lie behind each other, from some of its bytes on.
    pub(super) fn part(&self, from: usize, shape: Vec<usize>, layout: Layout) -> TensorEntry {
        TensorEntry {
            bytes: shape.iter().product::<usize>() * self.dtype.size_in_bytes(),
            shape,
            offset: self.offset + from as u64,
            layout,
            ..self.clone()
        }
    }

    /// Some of the rows.
    ///
    /// # Panics
    /// When there are no such rows.
    pub(super) fn select_rows(&self, ranges: &[Range<usize>]) -> TensorEntry {
        let each = self.bytes / self.shape[0];
        let count: usize = ranges.iter().map(ExactSizeIterator::len).sum();
        assert!(ranges.iter().all(|range| range.end <= self.shape[0]));
        let mut shape = self.shape.clone();
        shape[0] = count;
        match (ranges, &self.layout) {
            ([range], Layout::Dense) => self.part(range.start * each, shape, Layout::Dense),
            _ => TensorEntry {
                shape,
                bytes: count * each,
                layout: Layout::Rows {
                    of: Box::new(self.clone()),
                    ranges: ranges.to_vec(),
                },
                ..self.clone()
            },
        }
    }
}

/// The parts of `ranges` that are the elements `first` to `first + count` of all ranges behind each other.
pub(super) fn parts_of(
    ranges: &[Range<usize>],
    first: usize,
    count: usize,
) -> impl Iterator<Item = Range<usize>> {
    let mut before = 0;
    ranges.iter().filter_map(move |range| {
        let start = first.max(before);
        let end = (first + count).min(before + range.len());
        let part = range.start + start.saturating_sub(before);
        before += range.len();
        (start < end).then(|| part..part + (end - start))
    })
}

/// The rows from the first to the last of some parts, and the parts counted from that first one: what one read finds.
pub(super) fn span_of(
    parts: impl Iterator<Item = Range<usize>>,
) -> (Range<usize>, Vec<Range<usize>>) {
    let parts: Vec<Range<usize>> = parts.collect();
    let start = parts.iter().map(|part| part.start).min().unwrap_or(0);
    let end = parts.iter().map(|part| part.end).max().unwrap_or(0);
    let counted = parts
        .into_iter()
        .map(|part| part.start - start..part.end - start);
    (start..end, counted.collect())
}

/// A tensor that is not what it has to be; whoever knows the file adds its name.
pub(super) fn wrong_tensor(
    tensor: impl Into<String>,
    expected: impl Into<String>,
    got: impl Into<String>,
) -> Error {
    Error::InvalidTensor {
        file: String::new(),
        tensor: tensor.into(),
        expected: expected.into(),
        got: got.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::{parts_of, span_of};

    #[test]
    fn parts_go_on_from_range_to_range() {
        let ranges = [10..13, 20..21, 5..8];
        let rows = |first, count| {
            parts_of(&ranges, first, count)
                .flatten()
                .collect::<Vec<_>>()
        };
        assert_eq!(rows(0, 7), [10, 11, 12, 20, 5, 6, 7]);
        assert_eq!(rows(2, 3), [12, 20, 5]);
        assert_eq!(rows(4, 1), [5]);
        assert!(rows(6, 0).is_empty());
    }

    #[test]
    fn one_span_has_all_parts() {
        let (span, parts) = span_of([10..13, 20..21, 5..8].into_iter());
        assert_eq!(span, 5..21);
        assert_eq!(parts, [5..8, 15..16, 0..3]);
    }
}
