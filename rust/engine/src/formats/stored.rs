//! Matrices that stay in their file until they are packed.

use std::fmt::{self, Debug, Formatter};
use std::ops::Range;
use std::sync::Arc;

use candle_core::{Device, Tensor};

use super::{BlockType, Matrix, quantized_matrix};
use crate::error::Result;

/// Rows in a file.
pub(crate) trait ReadRows: Send + Sync {
    /// Reads the bytes of whole rows, from the row `first` on. Several threads may read at once.
    ///
    /// # Errors
    /// When the file cannot be read.
    fn read(&self, first: usize, bytes: &mut [u8]) -> Result<()>;
}

/// A matrix in a file, in the type in which it is multiplied on the CPU. Kernels that pack it read a few rows at a time,
/// so that it is never in memory twice.
#[derive(Clone)]
pub(crate) struct StoredRows {
    block_type: BlockType,
    columns: usize,
    /// Whose rows are below each other.
    parts: Vec<(Arc<dyn ReadRows>, Range<usize>)>,
}

impl StoredRows {
    /// All `rows` of a file's matrix.
    pub(crate) fn new(
        reader: Arc<dyn ReadRows>,
        block_type: BlockType,
        (rows, columns): (usize, usize),
    ) -> Self {
        Self {
            block_type,
            columns,
            parts: vec![(reader, 0..rows)],
        }
    }

    /// The type of the numbers.
    pub(crate) fn block_type(&self) -> BlockType {
        self.block_type
    }

    /// Rows and columns.
    pub(crate) fn dims(&self) -> (usize, usize) {
        let rows = self.parts.iter().map(|(_, rows)| rows.len()).sum();
        (rows, self.columns)
    }

    fn row_bytes(&self) -> usize {
        self.columns / self.block_type.block_size() * self.block_type.type_size()
    }

    /// The rows of all of them below each other; `None` where their types or columns are not the same.
    pub(super) fn stack(all: &[&Self]) -> Option<Self> {
        let first = all.first()?;
        let alike =
            |other: &&Self| (other.block_type, other.columns) == (first.block_type, first.columns);
        all.iter().all(alike).then(|| Self {
            block_type: first.block_type,
            columns: first.columns,
            parts: all.iter().flat_map(|one| one.parts.clone()).collect(),
        })
    }

    /// Some of its rows.
    ///
    /// # Panics
    /// When it has fewer.
    pub(crate) fn slice(&self, range: Range<usize>) -> Self {
        assert!(range.end <= self.dims().0, "rows {range:?} of {self:?}");
        let mut start = 0;
        let mut parts = Vec::new();
        for (reader, rows) in &self.parts {
            let (from, to) = (range.start.max(start), range.end.min(start + rows.len()));
            if from < to {
                let own = rows.start + from - start..rows.start + to - start;
                parts.push((reader.clone(), own));
            }
            start += rows.len();
        }
        Self {
            block_type: self.block_type,
            columns: self.columns,
            parts,
        }
    }

    /// Reads the bytes of whole rows, from the row `first` on.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub(crate) fn read(&self, first: usize, bytes: &mut [u8]) -> Result<()> {
        let each = self.row_bytes();
        let mut left = bytes;
        let rows = left.len() / each.max(1);
        for (reader, rows) in self.slice(first..first + rows).parts {
            let (own, others) = left.split_at_mut(rows.len() * each);
            reader.read(rows.start, own)?;
            left = others;
        }
        Ok(())
    }

    /// The whole matrix in memory.
    pub(crate) fn load(&self) -> candle_core::Result<Matrix> {
        let (rows, columns) = self.dims();
        let mut bytes = vec![0; rows * self.row_bytes()];
        self.read(0, &mut bytes).map_err(candle_core::Error::wrap)?;
        match self.block_type.float_type() {
            Some(dtype) => Tensor::from_raw_buffer(&bytes, dtype, &[rows, columns], &Device::Cpu)
                .map(Matrix::Dense),
            None => quantized_matrix(self.block_type, bytes, (rows, columns), &Device::Cpu),
        }
    }
}

impl Debug for StoredRows {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.debug_struct("StoredRows")
            .field("block_type", &self.block_type)
            .field("dims", &self.dims())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use candle_core::quantized::GgmlDType;

    use super::*;

    /// Two numbers of 32 bits a row, which tell the row.
    struct Rows(f32);

    impl ReadRows for Rows {
        fn read(&self, first: usize, bytes: &mut [u8]) -> Result<()> {
            for (row, bytes) in bytes.chunks_exact_mut(8).enumerate() {
                bytes[..4].copy_from_slice(&(self.0 + (first + row) as f32).to_le_bytes());
            }
            Ok(())
        }
    }

    fn rows(start: f32, count: usize) -> StoredRows {
        let block_type = BlockType::Candle(GgmlDType::F32);
        StoredRows::new(Arc::new(Rows(start)), block_type, (count, 2))
    }

    fn numbers(rows: &StoredRows) -> Vec<f32> {
        let dense = rows.load().unwrap().dense().unwrap();
        dense
            .to_vec2()
            .unwrap()
            .iter()
            .map(|row: &Vec<f32>| row[0])
            .collect()
    }

    #[test]
    fn stacks_and_slices_read_their_own_rows() {
        let (a, b) = (rows(0.0, 3), rows(10.0, 4));
        let both = StoredRows::stack(&[&a, &b]).unwrap();
        assert_eq!(both.dims(), (7, 2));
        assert_eq!(numbers(&both), [0.0, 1.0, 2.0, 10.0, 11.0, 12.0, 13.0]);
        assert_eq!(numbers(&both.slice(2..5)), [2.0, 10.0, 11.0]);
        assert_eq!(numbers(&both.slice(4..6).slice(1..2)), [12.0]);
        assert!(numbers(&both.slice(3..3)).is_empty());
        let mut bytes = [0; 16];
        both.read(2, &mut bytes).unwrap();
        assert_eq!(bytes[8..12], 10f32.to_le_bytes());
    }
}
