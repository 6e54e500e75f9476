//! Weights in the order in which the kernels read them.

use half::f16;

use crate::{BLOCK, Instructions, LANES};

/// Bytes of a block of the Q8_0 format of GGML: a scale in 16 bits and 32 numbers of 8 bits.
const Q8_0_BYTES: usize = 2 + BLOCK;

/// The byte of the number 0.
const ZERO: u8 = 0x80;

/// Two columns of 16 rows, the two numbers of a row beside each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(C, align(32))]
pub(crate) struct Pair(pub(crate) [u8; 2 * LANES]);

/// Pairs of columns in a block.
pub(crate) const PAIRS: usize = BLOCK / 2;

/// A block of 16 rows.
pub(crate) type Block = [Pair; PAIRS];

/// The scales of one block of 16 rows, in 16 bits.
pub(crate) type Scales = [u16; LANES];

/// A matrix in 8 bits, every 32 numbers of a row with a scale of their own: the weights of GGML's Q8_0.
///
/// Rows are kept in groups of 16, whose numbers lie side by side two by two, so that an instruction that
/// adds two products works for all 16 at once. A byte holds its number plus 128, since bytes without a
/// sign are as easily widened. A last group that is not full has rows of zeros.
#[derive(Debug, Clone)]
pub struct Q8Matrix {
    numbers: Vec<Block>,
    scales: Vec<Scales>,
    rows: usize,
    columns: usize,
    instructions: Instructions,
}

impl Q8Matrix {
    /// Takes a matrix of `rows × columns` in Q8_0 blocks, a row behind the other.
    ///
    /// `None` when this processor has no kernels, when the columns are no whole number of blocks, or
    /// when the bytes are not as many as that takes.
    pub fn from_q8_0(bytes: &[u8], rows: usize, columns: usize) -> Option<Self> {
        Self::for_instructions(Instructions::detect()?, bytes, rows, columns)
    }

    /// The same for given vector instructions, which this processor must have.
    pub fn for_instructions(
        instructions: Instructions,
        bytes: &[u8],
        rows: usize,
        columns: usize,
    ) -> Option<Self> {
        let blocks = columns / BLOCK;
        let fits = columns.is_multiple_of(BLOCK) && bytes.len() == rows * blocks * Q8_0_BYTES;
        if !fits || columns == 0 || !Instructions::all().contains(&instructions) {
            return None;
        }
        let groups = rows.div_ceil(LANES);
        let mut numbers = vec![[Pair([ZERO; 2 * LANES]); PAIRS]; groups * blocks];
        let mut scales = vec![[0; LANES]; groups * blocks];
        for (row, blocks_of_row) in bytes.chunks_exact(blocks * Q8_0_BYTES).enumerate() {
            let (group, lane) = (row / LANES, row % LANES);
            for (block, bytes) in blocks_of_row.chunks_exact(Q8_0_BYTES).enumerate() {
                let at = group * blocks + block;
                scales[at][lane] = u16::from_le_bytes([bytes[0], bytes[1]]);
                for (pair, two) in numbers[at].iter_mut().zip(bytes[2..].chunks_exact(2)) {
                    pair.0[2 * lane] = two[0] ^ ZERO;
                    pair.0[2 * lane + 1] = two[1] ^ ZERO;
                }
            }
        }
        Some(Self {
            numbers,
            scales,
            rows,
            columns,
            instructions,
        })
    }

    /// How many rows it has.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// How many columns it has.
    pub fn columns(&self) -> usize {
        self.columns
    }

    /// The vector instructions that it is multiplied with.
    pub fn instructions(&self) -> Instructions {
        self.instructions
    }

    /// Writes a row, as floating point numbers, to `out`, which has as many as there are columns.
    ///
    /// # Panics
    /// When there is no such row, or when `out` is shorter or longer.
    pub fn row(&self, row: usize, out: &mut [f32]) {
        assert!(row < self.rows, "row {row} of {}", self.rows);
        assert_eq!(out.len(), self.columns, "a row's numbers");
        let (group, lane) = (row / LANES, row % LANES);
        for (block, out) in out.chunks_exact_mut(BLOCK).enumerate() {
            let at = group * self.blocks() + block;
            let scale = f16::from_bits(self.scales[at][lane]).to_f32();
            for (pair, out) in self.numbers[at].iter().zip(out.chunks_exact_mut(2)) {
                for (out, byte) in out.iter_mut().zip(&pair.0[2 * lane..]) {
                    *out = f32::from((byte ^ ZERO) as i8) * scale;
                }
            }
        }
    }

    /// Blocks of a row.
    pub(crate) fn blocks(&self) -> usize {
        self.columns / BLOCK
    }

    /// Groups of 16 rows, the last one maybe not full.
    pub(crate) fn groups(&self) -> usize {
        self.rows.div_ceil(LANES)
    }

    /// The numbers and the scales of a group, block by block.
    pub(crate) fn group(&self, group: usize) -> (&[Block], &[Scales]) {
        let start = group * self.blocks();
        (
            &self.numbers[start..][..self.blocks()],
            &self.scales[start..][..self.blocks()],
        )
    }
}
