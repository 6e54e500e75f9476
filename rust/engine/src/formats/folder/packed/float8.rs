//! Weights of 8 bits as floating point numbers (Micikevicius et al. 2022), each block of rows and columns with a scale.

use candle_core::DType;
use half::{bf16, f16};

use super::{Bytes, ReadBytes};
use crate::error::Result;

/// How the 8 bits are divided.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::formats::folder) enum Kind {
    /// 4 bits of exponent, 3 of fraction; no infinity.
    E4m3,
    /// 5 bits of exponent, 2 of fraction.
    E5m2,
}

/// A matrix of such numbers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::formats::folder) struct Float8 {
    pub(in crate::formats::folder) kind: Kind,
    pub(in crate::formats::folder) numbers: Bytes,
    pub(in crate::formats::folder) columns: usize,
    /// Rows and columns that have a scale together.
    pub(in crate::formats::folder) block: [usize; 2],
    pub(in crate::formats::folder) scales: Scales,
}

/// Scales in a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::formats::folder) struct Scales {
    pub(in crate::formats::folder) bytes: Bytes,
    /// F16, BF16 or F32.
    pub(in crate::formats::folder) dtype: DType,
}

impl Scales {
    pub(super) fn read(&self, read: ReadBytes<'_>) -> Result<Vec<f32>> {
        let bytes = self.bytes.read(read)?;
        let halves = bytes.as_chunks::<2>().0.iter().copied();
        let words = bytes.as_chunks::<4>().0.iter().copied();
        Ok(match self.dtype {
            DType::F16 => halves
                .map(|half| f16::from_le_bytes(half).to_f32())
                .collect(),
            DType::BF16 => halves
                .map(|half| bf16::from_le_bytes(half).to_f32())
                .collect(),
            _ => words.map(f32::from_le_bytes).collect(),
        })
    }
}

impl Float8 {
    pub(super) fn numbers(
        &self,
        read: ReadBytes<'_>,
        first: usize,
        count: usize,
    ) -> Result<Vec<f32>> {
        let columns = self.columns;
        let bytes = self.numbers.part(read, first * columns, count * columns)?;
        let scales = self.scales.read(read)?;
        let of_kind: Vec<f32> = (0..=255).map(|byte| self.kind.number(byte)).collect();
        let [rows, width] = self.block;
        let in_row = columns.div_ceil(width);
        let mut numbers = Vec::with_capacity(bytes.len());
        for (row, bytes) in (first..).zip(bytes.chunks_exact(columns)) {
            let scales = &scales[row / rows * in_row..][..in_row];
            for (bytes, scale) in bytes.chunks(width).zip(scales) {
                numbers.extend(bytes.iter().map(|byte| of_kind[usize::from(*byte)] * scale));
            }
        }
        Ok(numbers)
    }
}

impl Kind {
    fn number(self, byte: u8) -> f32 {
        match self {
            // The upper half of a number of 16 bits.
            Self::E5m2 => f16::from_bits(u16::from(byte) << 8).to_f32(),
            Self::E4m3 if byte & 0x7f == 0x7f => f32::NAN,
            // With the exponent of a number of 16 bits, which begins 8 lower.
            Self::E4m3 => {
                let sign = u16::from(byte & 0x80) << 8;
                let rest = u16::from(byte & 0x7f) << 7;
                f16::from_bits(sign | rest).to_f32() * 256.0
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_8_bits_are_those_of_their_definition() {
        let e4m3 = |byte| Kind::E4m3.number(byte);
        assert_eq!(e4m3(0x00), 0.0);
        assert_eq!(e4m3(0x01), 2f32.powi(-9));
        assert_eq!(e4m3(0x38), 1.0);
        assert_eq!(e4m3(0xb9), -1.125);
        assert_eq!(e4m3(0x7e), 448.0);
        assert!(e4m3(0xff).is_nan());
        let e5m2 = |byte| Kind::E5m2.number(byte);
        assert_eq!(e5m2(0x01), 2f32.powi(-16));
        assert_eq!(e5m2(0x3c), 1.0);
        assert_eq!(e5m2(0x7b), 57_344.0);
        assert!(e5m2(0x7c).is_infinite());
    }
}
