//! Weights in the order in which the kernels read them.

use std::sync::atomic::{AtomicBool, Ordering};

use candle_core::quantized::GgmlDType;
use half::f16;

use crate::format::{Bits, Format, Weights};
use crate::team::for_each_part;
use crate::{BLOCK, Instructions, LANES, WeightMatrix};

/// Numbers of 16 rows: four columns of 8 bits, the four numbers of a row beside each other; or eight
/// columns of 4 bits, the first four in the lower halves of the bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(C, align(64))]
pub(crate) struct Line(pub(crate) [u8; 4 * LANES]);

/// The scales, or the minima, of a block or half a block of 16 rows, in 16 bits.
pub(crate) type Halves = [u16; LANES];

/// A matrix of small numbers, every 32 or 16 of a row with a scale of their own, and a minimum where the
/// format has one.
///
/// Rows are kept in groups of 16, whose numbers lie side by side four by four, as tiles take them. For
/// instructions that add two products of 16 bits for all 16 rows at once, every other byte is one of the
/// two. Numbers have no sign, since such are as easily widened; one of them stands for 0. A last group that
/// is not full has rows of zeros.
#[derive(Debug, Clone)]
pub struct PackedMatrix {
    format: Format,
    lines: Vec<Line>,
    /// As many for each block as the format says.
    scales: Vec<Halves>,
    /// One for each block, or none.
    minima: Vec<Halves>,
    rows: usize,
    columns: usize,
    instructions: Instructions,
}

/// Numbers, scales and minima of a group of 16 rows, block by block.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Group<'a> {
    pub(crate) lines: &'a [Line],
    pub(crate) scales: &'a [Halves],
    /// None when all are 0.
    pub(crate) minima: &'a [Halves],
}

/// A group of 16 rows that is being filled.
struct GroupMut<'a> {
    format: Format,
    lines: &'a mut [Line],
    scales: &'a mut [Halves],
    minima: &'a mut [Halves],
    /// The rows as they are stored, at most 16.
    bytes: &'a [u8],
    row_bytes: usize,
}

impl GroupMut<'_> {
    /// Puts all rows in their places; `None` when a scale or a minimum is not finite in 16 bits.
    fn fill(&mut self) -> Option<()> {
        let format = self.format;
        if self.bytes.len() < LANES * self.row_bytes {
            let empty = match format.bits {
                Bits::Four => format.zero << 4 | format.zero,
                Bits::Eight => format.zero,
            };
            self.lines.fill(Line([empty; 4 * LANES]));
        }
        for (lane, row) in self.bytes.chunks_exact(self.row_bytes).enumerate() {
            for (index, stored) in row.chunks_exact(format.bytes).enumerate() {
                for block in 0..format.blocks {
                    let weights = (format.read)(stored, block);
                    self.put(lane, index * format.blocks + block, &weights)?;
                }
            }
        }
        Some(())
    }

    fn put(&mut self, lane: usize, block: usize, weights: &Weights) -> Option<()> {
        let half = |number: f32| {
            let half = f16::from_f32(number);
            half.is_finite().then(|| half.to_bits())
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
                for (line, numbers) in lines.iter_mut().zip(weights.numbers.chunks_exact(4)) {
                    line.0[4 * lane..][..4].copy_from_slice(numbers);
                }
            }
            Bits::Four => {
                for (line, numbers) in lines.iter_mut().zip(weights.numbers.chunks_exact(8)) {
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
    /// Whether there are kernels for a type on this processor.
    pub fn supports(dtype: GgmlDType) -> bool {
        Format::of(dtype).is_some() && Instructions::detect().is_some()
    }

    /// Bytes that so many numbers of a type take in memory, a last group that is not full left out.
    ///
    /// `None` when there are no kernels for the type on this processor.
    pub fn byte_len(dtype: GgmlDType, numbers: u64) -> Option<u64> {
        let format = Format::of(dtype).filter(|_| Self::supports(dtype))?;
        let halves = format.scales + usize::from(format.minima);
        let of_row =
            (format.bits.lines() * size_of::<Line>() + halves * size_of::<Halves>()) / LANES;
        Some(numbers / BLOCK as u64 * of_row as u64)
    }

    /// Takes a matrix of `rows × columns` in GGML's blocks of a type, a row behind the other. Its
    /// numbers are kept; scales and minima are rounded to 16 bits in the K formats, whose blocks have
    /// them as products, and kept in the others.
    ///
    /// `None` when there are no kernels for the type on this processor, when the columns are no whole
    /// number of blocks, when the bytes are not as many as that takes, or when a scale or a minimum is
    /// not finite in 16 bits.
    pub fn pack(dtype: GgmlDType, bytes: &[u8], rows: usize, columns: usize) -> Option<Self> {
        Self::for_instructions(Instructions::detect()?, dtype, bytes, rows, columns)
    }

    /// The same for given vector instructions, which this processor must have.
    pub fn for_instructions(
        instructions: Instructions,
        dtype: GgmlDType,
        bytes: &[u8],
        rows: usize,
        columns: usize,
    ) -> Option<Self> {
        let format = Format::of(dtype)?;
        let stored = columns / (format.blocks * BLOCK);
        let fits = columns.is_multiple_of(format.blocks * BLOCK)
            && bytes.len() == rows * stored * format.bytes;
        if !fits || columns == 0 || !Instructions::usable(Some(instructions)) {
            return None;
        }
        let each = columns / BLOCK;
        let blocks = rows.div_ceil(LANES) * each;
        let mut matrix = Self {
            format,
            lines: vec![Line([0; 4 * LANES]); blocks * format.bits.lines()],
            scales: vec![[0; LANES]; blocks * format.scales],
            minima: vec![[0; LANES]; if format.minima { blocks } else { 0 }],
            rows,
            columns,
            instructions,
        };
        // Groups of rows are threads' parts.
        let row_bytes = stored * format.bytes;
        let mut minima = matrix.minima.chunks_mut(each);
        let groups = matrix
            .lines
            .chunks_mut(each * format.bits.lines())
            .zip(matrix.scales.chunks_mut(each * format.scales))
            .zip(bytes.chunks(LANES * row_bytes))
            .map(|((lines, scales), bytes)| GroupMut {
                format,
                lines,
                scales,
                minima: minima.next().unwrap_or_default(),
                bytes,
                row_bytes,
            })
            .collect();
        let fitted = AtomicBool::new(true);
        for_each_part(groups, |mut group: GroupMut| {
            if group.fill().is_none() {
                fitted.store(false, Ordering::Relaxed);
            }
        });
        fitted.into_inner().then_some(matrix)
    }

    /// The vector instructions that it is multiplied with.
    pub fn instructions(&self) -> Instructions {
        self.instructions
    }

    /// Where a block of a row is: which of all blocks of groups, and which lane of it.
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

    /// How many bits a number has.
    pub(crate) fn bits(&self) -> Bits {
        self.format.bits
    }

    /// Scales of a block, 1 or 2.
    pub(crate) fn scales_each(&self) -> usize {
        self.format.scales
    }

    /// The number that stands for 0 where there are no minima.
    pub(crate) fn zero(&self) -> i32 {
        self.format.zero.into()
    }

    /// A group of rows.
    pub(crate) fn group(&self, group: usize) -> Group<'_> {
        let (start, count) = (group * self.blocks(), self.blocks());
        let lines = self.format.bits.lines();
        Group {
            lines: &self.lines[start * lines..][..count * lines],
            scales: &self.scales[start * self.format.scales..][..count * self.format.scales],
            minima: match self.minima.is_empty() {
                true => &[],
                false => &self.minima[start..][..count],
            },
        }
    }
}

impl WeightMatrix for PackedMatrix {
    fn rows(&self) -> usize {
        self.rows
    }

    fn columns(&self) -> usize {
        self.columns
    }

    fn row(&self, row: usize, out: &mut [f32]) {
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
                        lines[column / 8].0[4 * lane + column % 4] >> (column / 4 % 2 * 4) & 0x0f
                    }
                };
                *out = scale * (f32::from(number) - f32::from(self.format.zero)) + minimum;
            }
        }
    }
}

impl Bits {
    /// Lines of a block.
    pub(crate) const fn lines(self) -> usize {
        match self {
            Bits::Four => BLOCK / 8,
            Bits::Eight => BLOCK / 4,
        }
    }
}
