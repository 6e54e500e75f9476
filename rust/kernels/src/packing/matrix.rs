//! Quantized weights, packed in groups of 16 rows.

use bytemuck::Zeroable;
use half::f16;

use super::{copy_rows, read_groups};
use crate::allocation::{Unfilled, UnfilledPart};
use crate::formats::{BLOCK, Bits, BlockValues, Format, Levels, PackedType};
use crate::instructions::Instructions;
use crate::simd::LANES;

/// Quants of 16 rows: four columns of 8 bits, the four of a row beside each other; or eight columns of 4 bits,
/// the first four in the lower nibbles.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Zeroable)]
#[repr(C, align(64))]
pub(crate) struct PackedLine(pub(crate) [u8; 4 * LANES]);

/// 16 numbers in F16: the scales or minima of a block of 16 rows.
pub(crate) type F16x16 = [u16; LANES];

/// A quantized weight matrix: every 32 or 16 quants of a row have a scale, and a minimum where the format has one.
///
/// Rows are packed in groups of 16, whose quants are interleaved four by four, as AMX tiles take them; 16-bit
/// instructions take every other byte. Quants are unsigned, with a zero point. The last group is zero-padded.
#[derive(Debug, Clone)]
pub struct PackedMatrix {
    format: Format,
    lines: Vec<PackedLine>,
    /// [`Format::scales`] for each block.
    scales: Vec<F16x16>,
    /// One for each block, or none.
    minima: Vec<F16x16>,
    rows: usize,
    columns: usize,
    /// None for portable code.
    instructions: Option<Instructions>,
}

/// Quants, scales and minima of a group of 16 rows, block by block.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RowGroup<'a> {
    pub(crate) lines: &'a [PackedLine],
    pub(crate) scales: &'a [F16x16],
    /// None when all are 0.
    pub(crate) minima: &'a [F16x16],
    /// What quants of 4 bits stand for; not used where they stand for themselves.
    pub(crate) levels: &'static Levels,
}

/// A group of 16 rows that is being filled.
struct RowGroupMut<'a> {
    format: Format,
    lines: &'a mut [PackedLine],
    scales: &'a mut [F16x16],
    minima: &'a mut [F16x16],
}

/// The memory of such a group.
struct RowGroupMemory<'a> {
    lines: UnfilledPart<'a, PackedLine>,
    scales: UnfilledPart<'a, F16x16>,
    minima: UnfilledPart<'a, F16x16>,
}

impl<'a> RowGroupMemory<'a> {
    fn zero(self, format: Format) -> RowGroupMut<'a> {
        RowGroupMut {
            format,
            lines: self.lines.zero(),
            scales: self.scales.zero(),
            minima: self.minima.zero(),
        }
    }
}

impl RowGroupMut<'_> {
    /// Packs rows as they are stored, at most 16; `None` when a scale or a minimum is not finite in F16, or becomes 0
    /// there.
    fn fill(&mut self, bytes: &[u8], row_bytes: usize) -> Option<()> {
        let format = self.format;
        if bytes.len() < LANES * row_bytes {
            let empty = match format.bits {
                // Whatever it stands for: the scales are 0.
                Bits::Four if format.levels.is_some() => 0,
                Bits::Four => format.zero_point << 4 | format.zero_point,
                Bits::Eight => format.zero_point,
            };
            self.lines.fill(PackedLine([empty; 4 * LANES]));
        }
        for (lane, row) in bytes.chunks_exact(row_bytes).enumerate() {
            for (index, stored) in row.chunks_exact(format.bytes).enumerate() {
                for block in 0..format.blocks {
                    let weights = (format.read)(stored, block);
                    self.put(lane, index * format.blocks + block, &weights)?;
                }
            }
        }
        Some(())
    }

    fn put(&mut self, lane: usize, block: usize, weights: &BlockValues) -> Option<()> {
        let half = |number: f32| {
            let half = f16::from_f32(number);
            let fits = half.is_finite() && (half.to_f32() != 0.0 || number == 0.0);
            fits.then(|| half.to_bits())
        };
        let scales = &mut self.scales[block * self.format.scales..][..self.format.scales];
        for (scales, scale) in scales.iter_mut().zip(weights.scales) {
            scales[lane] = half(scale)?;
        }
        if let Some(minima) = self.minima.get_mut(block) {
            minima[lane] = half(weights.minimum)?;
        }
        let count = self.format.bits.lines();
        let lines = &mut self.lines[block * count..][..count];
        match self.format.bits {
            Bits::Eight => {
                for (line, numbers) in lines.iter_mut().zip(weights.quants.chunks_exact(4)) {
                    line.0[4 * lane..][..4].copy_from_slice(numbers);
                }
            }
            Bits::Four => {
                for (line, numbers) in lines.iter_mut().zip(weights.quants.chunks_exact(8)) {
                    let (lower, upper) = numbers.split_at(4);
                    let bytes = line.0[4 * lane..].iter_mut();
                    for ((byte, lower), upper) in bytes.zip(lower).zip(upper) {
                        *byte = upper << 4 | lower;
                    }
                }
            }
        }
        Some(())
    }
}

impl PackedMatrix {
    /// Whether there is a kernel for a type.
    pub fn supports(packed_type: impl Into<PackedType>) -> bool {
        Format::of(packed_type.into()).is_some()
    }

    /// Bytes of so many packed weights of a type, without the padding of the last group.
    ///
    /// `None` when there are no kernels for the type.
    pub fn byte_len(packed_type: impl Into<PackedType>, weights: u64) -> Option<u64> {
        let format = Format::of(packed_type.into())?;
        let halves = format.scales + usize::from(format.minima);
        let of_row =
            (format.bits.lines() * size_of::<PackedLine>() + halves * size_of::<F16x16>()) / LANES;
        Some(weights / BLOCK as u64 * of_row as u64)
    }

    /// Packs a `rows × columns` matrix of GGML blocks, row by row. Quants are kept as they are. Scales and
    /// minima are rounded to F16 in the K formats and IQ4_XS, which store them as products, and kept in the others.
    ///
    /// `None` when there is no kernel for the type, when `columns` is no multiple of the
    /// type's block size, when `bytes` has the wrong length, or when a scale or minimum is not finite in F16 or
    /// so small that it becomes 0.
    pub fn pack(
        packed_type: impl Into<PackedType>,
        bytes: &[u8],
        rows: usize,
        columns: usize,
    ) -> Option<Self> {
        Self::for_instructions(Instructions::detect(), packed_type, bytes, rows, columns)
    }

    /// Like [`Self::pack`], for given instructions, which this processor must have, or for portable code.
    pub fn for_instructions(
        instructions: Option<Instructions>,
        packed_type: impl Into<PackedType>,
        bytes: &[u8],
        rows: usize,
        columns: usize,
    ) -> Option<Self> {
        let packed_type = packed_type.into();
        let row_bytes = Self::row_bytes(packed_type, columns)?;
        if bytes.len() != rows * row_bytes {
            return None;
        }
        let copy = copy_rows(bytes, row_bytes);
        match Self::read_for(instructions, packed_type, rows, columns, copy) {
            Ok(matrix) => matrix,
        }
    }

    /// Like [`Self::pack`], of rows that `read` copies: from the given row on, as many as fill the buffer. Threads read
    /// few rows at a time, so that the matrix is never in memory twice.
    ///
    /// # Errors
    /// One of those of `read`.
    pub fn read<E: Send>(
        packed_type: impl Into<PackedType>,
        rows: usize,
        columns: usize,
        read: impl Fn(usize, &mut [u8]) -> Result<(), E> + Sync,
    ) -> Result<Option<Self>, E> {
        Self::read_for(
            Instructions::detect(),
            packed_type.into(),
            rows,
            columns,
            read,
        )
    }

    /// Bytes of a stored row; `None` when there is no kernel for the type or a row is no whole number of blocks.
    fn row_bytes(packed_type: PackedType, columns: usize) -> Option<usize> {
        let format = Format::of(packed_type)?;
        let each = format.blocks * BLOCK;
        let fits = columns > 0 && columns.is_multiple_of(each);
        fits.then(|| columns / each * format.bytes)
    }

    fn read_for<E: Send>(
        instructions: Option<Instructions>,
        packed_type: PackedType,
        rows: usize,
        columns: usize,
        read: impl Fn(usize, &mut [u8]) -> Result<(), E> + Sync,
    ) -> Result<Option<Self>, E> {
        let (Some(format), Some(row_bytes)) = (
            Format::of(packed_type),
            Self::row_bytes(packed_type, columns),
        ) else {
            return Ok(None);
        };
        if !Instructions::usable(instructions) {
            return Ok(None);
        }
        let each = columns / BLOCK;
        let blocks = rows.div_ceil(LANES) * each;
        let mut lines = Unfilled::new(blocks * format.bits.lines());
        let mut scales = Unfilled::new(blocks * format.scales);
        let mut minima = Unfilled::new(if format.minima { blocks } else { 0 });
        let mut all_minima = minima.parts(each);
        let groups = lines
            .parts(each * format.bits.lines())
            .zip(scales.parts(each * format.scales))
            .map(|(lines, scales)| RowGroupMemory {
                lines,
                scales,
                minima: all_minima.next().unwrap_or_default(),
            })
            .collect();
        let fill = |group: RowGroupMemory, bytes: &[u8]| {
            group.zero(format).fill(bytes, row_bytes).is_some()
        };
        let fits = read_groups(groups, rows, row_bytes, read, fill)?;
        drop(all_minima);
        if !fits {
            return Ok(None);
        }
        // SAFETY: all groups were zeroed, since all fit.
        let (lines, scales, minima) = unsafe { (lines.filled(), scales.filled(), minima.filled()) };
        Ok(Some(Self {
            format,
            lines,
            scales,
            minima,
            rows,
            columns,
            instructions,
        }))
    }

    /// The instructions that multiply it; `None` for portable code.
    pub fn instructions(&self) -> Option<Instructions> {
        self.instructions
    }

    /// Index of a block of a row among the blocks of all groups, and its lane.
    fn place(&self, row: usize, block: usize) -> (usize, usize) {
        (row / LANES * self.blocks() + block, row % LANES)
    }

    /// Blocks of a row.
    pub(crate) fn blocks(&self) -> usize {
        self.columns / BLOCK
    }

    /// Groups of 16 rows, the last one maybe not full.
    pub(crate) fn groups(&self) -> usize {
        self.rows.div_ceil(LANES)
    }

    /// Bits of a quant.
    pub(crate) fn bits(&self) -> Bits {
        self.format.bits
    }

    /// Scales of a block, 1 or 2.
    pub(crate) fn scales_each(&self) -> usize {
        self.format.scales
    }

    /// The quant, or the level, that stands for 0 where there are no minima.
    pub(crate) fn zero_point(&self) -> i32 {
        self.format.zero_point.into()
    }

    /// What quants stand for, if not for themselves.
    pub(crate) fn levels(&self) -> Option<&'static Levels> {
        self.format.levels
    }

    /// A group of rows.
    pub(crate) fn group(&self, group: usize) -> RowGroup<'_> {
        let (start, count) = (group * self.blocks(), self.blocks());
        let lines = self.format.bits.lines();
        RowGroup {
            lines: &self.lines[start * lines..][..count * lines],
            scales: &self.scales[start * self.format.scales..][..count * self.format.scales],
            minima: match self.minima.is_empty() {
                true => &[],
                false => &self.minima[start..][..count],
            },
            levels: self.format.levels.unwrap_or(&[0; 16]),
        }
    }
}

impl PackedMatrix {
    /// Output features.
    pub(crate) fn rows(&self) -> usize {
        self.rows
    }

    /// Input features.
    pub(crate) fn columns(&self) -> usize {
        self.columns
    }

    /// Dequantizes a row to `out`.
    ///
    /// # Panics
    /// When there is no such row, or `out` has another length.
    pub(crate) fn row(&self, row: usize, out: &mut [f32]) {
        assert!(row < self.rows, "row {row} of {}", self.rows);
        assert_eq!(out.len(), self.columns, "a row's numbers");
        for (block, out) in out.chunks_exact_mut(BLOCK).enumerate() {
            let (at, lane) = self.place(row, block);
            let scales = &self.scales[at * self.format.scales..][..self.format.scales];
            let scales = scales
                .iter()
                .map(|scales| f16::from_bits(scales[lane]).to_f32());
            let each = BLOCK / self.format.scales;
            let minimum = self
                .minima
                .get(at)
                .map_or(0.0, |minima| f16::from_bits(minima[lane]).to_f32());
            let lines = &self.lines[at * self.format.bits.lines()..];
            let scales = scales.flat_map(|scale| std::iter::repeat_n(scale, each));
            for ((column, out), scale) in out.iter_mut().enumerate().zip(scales) {
                let number = match self.format.bits {
                    Bits::Eight => lines[column / 4].0[4 * lane + column % 4],
                    Bits::Four => {
                        let byte = lines[column / 8].0[4 * lane + column % 4];
                        let quant = byte >> (column / 4 % 2 * 4) & 0x0f;
                        match self.format.levels {
                            Some(levels) => levels[usize::from(quant)],
                            None => quant,
                        }
                    }
                };
                *out = scale * (f32::from(number) - f32::from(self.format.zero_point)) + minimum;
            }
        }
    }
}
