//! Products with matrices whose numbers are rounded to 16 bits, a scale a row.

use std::fmt::{self, Debug, Formatter};

use bytemuck::allocation::zeroed_vec;

use super::{Multiply, WeightMatrix, parallel_groups};
use crate::dispatch::{Vectorized, dispatch};
use crate::instructions::Instructions;
use crate::output::Output;
use crate::packing::tiles;
use crate::simd::math::{max_magnitude, sum_of_squares};
use crate::simd::{F32x16, LANES, Portable};
use crate::team::for_each_part;

/// A weight matrix of 16-bit integers with a scale a row. Activations are rounded in the same way, so that a product is one
/// of integers, twice as fast as one in F32 where processors add two products of 16 bits at once.
///
/// No sum ever overflows: it is at most the product of the lengths of its two vectors (Cauchy and Schwarz), and rows are
/// scaled to a length of 2¹⁵, activations to nearly 2¹⁶. Of 384 random numbers each keeps 11 bits then, of 1536 ten.
///
/// Rows are packed in groups of 16, pairs of columns together. The last group and the last column are zero-padded.
pub struct RoundedMatrix {
    /// `groups × pairs of columns × 16 rows × 2`.
    numbers: Vec<[i16; 2 * LANES]>,
    /// One a row, those of the last group included.
    scales: Vec<f32>,
    rows: usize,
    columns: usize,
    instructions: Option<Instructions>,
}

/// Lengths that rows of weights and of activations are scaled to. Rounding adds less than what is left.
const LENGTHS: [f32; 2] = [32_700.0, 65_000.0];

/// Added to a number of less than 22 bits, this leaves what it is rounded to, to the even one of two, in the last bits.
const ROUND_MAGIC: f32 = 1.5 * (1 << 23) as f32;

/// Row groups that a thread takes at a time.
const MOST_GROUPS: usize = 3;

/// Activations that a thread rounds at a time.
const ROUND_PART: usize = 1 << 14;

impl Debug for RoundedMatrix {
    fn fmt(&self, f: &mut Formatter) -> fmt::Result {
        write!(f, "RoundedMatrix of {} × {}", self.rows, self.columns)
    }
}

impl RoundedMatrix {
    /// Rounds a row-major `rows × columns` matrix.
    ///
    /// `None` when it has another size, no columns, or a number that is not finite.
    pub fn pack(numbers: &[f32], rows: usize, columns: usize) -> Option<Self> {
        Self::for_instructions(Instructions::detect(), numbers, rows, columns)
    }

    /// Like [`Self::pack`], for given instructions, which this processor must have; portable code for `None`.
    pub fn for_instructions(
        instructions: Option<Instructions>,
        numbers: &[f32],
        rows: usize,
        columns: usize,
    ) -> Option<Self> {
        if columns == 0
            || Some(numbers.len()) != rows.checked_mul(columns)
            || !Instructions::usable(instructions)
            || !numbers.iter().all(|number| number.is_finite())
        {
            return None;
        }
        let (groups, pairs) = (rows.div_ceil(LANES), columns.div_ceil(2));
        let mut packed: Vec<[i16; 2 * LANES]> = zeroed_vec(groups * pairs);
        let mut scales = vec![0f32; groups * LANES];
        let parts = packed
            .chunks_mut(pairs)
            .zip(scales.chunks_mut(LANES))
            .zip(numbers.chunks(LANES * columns))
            .collect();
        for_each_part(
            parts,
            |((group, scales), rows): ((&mut [_], &mut [_]), &[f32])| {
                let mut rounded = vec![0i16; columns];
                for (lane, row) in rows.chunks_exact(columns).enumerate() {
                    // SAFETY: every processor has these.
                    scales[lane] = unsafe { round::<Portable>(row, LENGTHS[0], &mut rounded) };
                    for (pair, numbers) in group.iter_mut().zip(rounded.chunks(2)) {
                        let place: &mut [i16; 2 * LANES] = pair;
                        place[2 * lane..][..numbers.len()].copy_from_slice(numbers);
                    }
                }
            },
        );
        Some(Self {
            numbers: packed,
            scales,
            rows,
            columns,
            instructions,
        })
    }

    fn pairs(&self) -> usize {
        self.columns.div_ceil(2)
    }
}

/// Rounds numbers so that their length, as a vector, becomes `length` at most, and none exceeds 16 bits. Returns the scale
/// that takes them back; it is not finite where a number is not.
///
/// # Safety
/// The processor has the instructions of `V`.
#[inline(always)]
unsafe fn round<V: F32x16>(numbers: &[f32], length: f32, out: &mut [i16]) -> f32 {
    let most = max_magnitude(numbers);
    // SAFETY: the caller's promise.
    let squares = unsafe { sum_of_squares::<V>(numbers) };
    let own = match squares.is_normal() && squares < f32::MAX / 2.0 {
        true => squares.sqrt(),
        // Squares that 32 bits do not hold, nothing but zeros, or what is no number.
        false => {
            let wide = numbers.iter().map(|x| f64::from(*x) * f64::from(*x));
            wide.sum::<f64>().sqrt() as f32
        }
    };
    if own == 0.0 {
        out.fill(0);
        return 0.0;
    }
    let scale = match own.is_finite() {
        true => (own / length).max(most / f32::from(i16::MAX)),
        false => f32::NAN,
    };
    let factor = 1.0 / scale;
    for (out, number) in out.iter_mut().zip(numbers) {
        // What is not finite becomes anything; the scale tells.
        let bits = (number * factor + ROUND_MAGIC).to_bits();
        *out = bits.wrapping_sub(ROUND_MAGIC.to_bits()) as i16;
    }
    scale
}

impl WeightMatrix for RoundedMatrix {
    fn rows(&self) -> usize {
        self.rows
    }

    fn columns(&self) -> usize {
        self.columns
    }

    fn row(&self, row: usize, out: &mut [f32]) {
        assert!(row < self.rows, "row {row} of {}", self.rows);
        assert_eq!(out.len(), self.columns, "a row's numbers");
        let group = &self.numbers[row / LANES * self.pairs()..][..self.pairs()];
        let lane = 2 * (row % LANES);
        for (column, out) in out.iter_mut().enumerate() {
            *out = f32::from(group[column / 2][lane + column % 2]) * self.scales[row];
        }
    }
}

/// Rows of activations, rounded.
struct Activations {
    /// `rows × pairs`.
    numbers: Vec<[i16; 2]>,
    scales: Vec<f32>,
}

impl Multiply for RoundedMatrix {
    fn multiply(&self, numbers: &[f32], out: &Output) {
        let x = &self.rounded(numbers);
        let groups = self.rows.div_ceil(LANES);
        let products = numbers.len() * groups * LANES;
        parallel_groups(products, groups, MOST_GROUPS, |groups| {
            for first in groups.step_by(MOST_GROUPS) {
                let product = Product {
                    matrix: self,
                    first,
                    count: MOST_GROUPS.min(self.rows.div_ceil(LANES) - first),
                    x,
                    out,
                };
                dispatch(self.instructions, product);
            }
        });
    }
}

impl RoundedMatrix {
    fn rounded(&self, numbers: &[f32]) -> Activations {
        let (columns, pairs) = (self.columns, self.pairs());
        let rows = numbers.len() / columns;
        let mut x = Activations {
            numbers: vec![[0; 2]; rows * pairs],
            scales: vec![0.0; rows],
        };
        let each = (ROUND_PART / columns).max(1);
        let parts: Vec<_> = numbers
            .chunks(each * columns)
            .zip(x.numbers.chunks_mut(each * pairs))
            .zip(x.scales.chunks_mut(each))
            .collect();
        for_each_part(parts, |((rows, out), scales)| {
            let work = Rounding {
                rows,
                columns,
                out,
                scales,
            };
            dispatch(self.instructions, work);
        });
        x
    }
}

/// Rounds some rows of activations.
struct Rounding<'a> {
    rows: &'a [f32],
    columns: usize,
    out: &'a mut [[i16; 2]],
    scales: &'a mut [f32],
}

impl Vectorized for Rounding<'_> {
    #[inline(always)]
    unsafe fn run<V: F32x16>(self) {
        let pairs = self.columns.div_ceil(2);
        for ((row, out), scale) in self
            .rows
            .chunks_exact(self.columns)
            .zip(self.out.chunks_exact_mut(pairs))
            .zip(self.scales)
        {
            // SAFETY: the caller's promise.
            *scale = unsafe { round::<V>(row, LENGTHS[1], out.as_flattened_mut()) };
        }
    }
}

/// The product of rounded activations and at most [`MOST_GROUPS`] row groups.
struct Product<'a> {
    matrix: &'a RoundedMatrix,
    first: usize,
    count: usize,
    x: &'a Activations,
    out: &'a Output,
}

impl Vectorized for Product<'_> {
    #[inline(always)]
    unsafe fn run<V: F32x16>(self) {
        let most = match self.x.scales.len() {
            1 => V::GROUPS_OF_ONE,
            _ => V::GROUPS,
        };
        let mut group = 0;
        while group < self.count {
            let together = most.min(self.count - group);
            // SAFETY: the caller's promise.
            unsafe {
                group += match together {
                    3 => self.all_rows::<V, 3>(self.first + group),
                    2 => self.all_rows::<V, 2>(self.first + group),
                    _ => self.all_rows::<V, 1>(self.first + group),
                };
            }
        }
    }
}

impl Product<'_> {
    /// All rows with `G` groups. Returns `G`.
    ///
    /// # Safety
    /// See [`Vectorized::run`].
    #[inline(always)]
    unsafe fn all_rows<V: F32x16, const G: usize>(&self, group: usize) -> usize {
        let rows = self.x.scales.len();
        for tile in tiles(rows, V::ROWS) {
            let row = tile.start;
            // SAFETY: the caller's promise.
            unsafe {
                match tile.len().min(V::ROWS) {
                    1 => self.tile::<V, 1, G>(row, group),
                    2 => self.tile::<V, 2, G>(row, group),
                    3 => self.tile::<V, 3, G>(row, group),
                    4 => self.tile::<V, 4, G>(row, group),
                    5 => self.tile::<V, 5, G>(row, group),
                    6 => self.tile::<V, 6, G>(row, group),
                    7 => self.tile::<V, 7, G>(row, group),
                    _ => self.tile::<V, 8, G>(row, group),
                }
            }
        }
        G
    }

    /// The micro-kernel: `R` rows with `G` groups.
    ///
    /// # Safety
    /// See [`Vectorized::run`].
    #[inline(always)]
    unsafe fn tile<V: F32x16, const R: usize, const G: usize>(&self, row: usize, group: usize) {
        let pairs = self.matrix.pairs();
        // Else the sums would be zeroed in memory before each tile, where only that of no pairs finds them.
        assert!(pairs > 0);
        let rows: [&[[i16; 2]]; R] =
            std::array::from_fn(|r| &self.x.numbers[(row + r) * pairs..][..pairs]);
        let groups: [&[[i16; 2 * LANES]]; G] =
            std::array::from_fn(|g| &self.matrix.numbers[(group + g) * pairs..][..pairs]);
        // SAFETY: the caller's promise; a part has groups, and so columns of the output, of its own.
        unsafe {
            let mut sums = [[V::no_sums(); G]; R];
            for pair in 0..pairs {
                let mut weights = [V::no_sums(); G];
                for g in 0..G {
                    weights[g] = V::load_pairs(&groups[g][pair]);
                }
                for r in 0..R {
                    let numbers = V::splat_pair(rows[r][pair]);
                    for g in 0..G {
                        sums[r][g] = V::add_products(sums[r][g], weights[g], numbers);
                    }
                }
            }
            for (r, sums) in sums.iter().enumerate() {
                let own = V::splat(self.x.scales[row + r]);
                for (g, sum) in sums.iter().enumerate() {
                    let place = (group + g) * LANES;
                    let (scales, _) = self.matrix.scales[place..].as_chunks::<LANES>();
                    let scales = V::load(&scales[0]).mul(own);
                    let mut numbers = [0f32; LANES];
                    V::of_sums(*sum).mul(scales).store(&mut numbers);
                    self.out.put(row + r, place, &numbers);
                }
            }
        }
    }
}
