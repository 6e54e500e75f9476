//! Products of rows and matrices of floating point numbers.

use std::fmt::Debug;

use bytemuck::allocation::zeroed_vec;
use candle_core::CpuStorage;
use half::{bf16, f16};

use crate::dispatch::{Vectorised, dispatch};
use crate::element::Element;
use crate::lanes::Lanes;
use crate::product::{Output, share_product};
use crate::team::for_each_part;
use crate::weights::{Multiply, WeightMatrix};
use crate::{Instructions, LANES};

/// A matrix of floating point numbers in 32 or 16 bits. They are multiplied as numbers of 32 bits, in which
/// sums are kept: those of 16 bits take half of the memory, and give what they would if they had been
/// widened before.
///
/// Rows are kept in groups of 16, whose numbers of a column lie side by side, so that the products with a
/// number are 16 sums. A last group that is not full has rows of zeros.
#[derive(Debug)]
pub struct FloatMatrix {
    groups: Box<dyn AnyGroups>,
    rows: usize,
    columns: usize,
    instructions: Option<Instructions>,
}

/// Columns whose products are summed by themselves: as many as leave some groups in a core's cache while
/// all rows are multiplied with them.
const AT_ONCE: usize = 1024;

/// Columns that memory is asked for before they are read.
const AHEAD: usize = 64;

impl FloatMatrix {
    /// Takes a matrix of `rows × columns`, a row behind the other, from `start` on.
    ///
    /// `None` when the type is none of F32, F16 and BF16, when there are not as many numbers, or when rows
    /// have none.
    pub fn pack(numbers: &CpuStorage, start: usize, rows: usize, columns: usize) -> Option<Self> {
        Self::for_instructions(Instructions::detect(), numbers, start, rows, columns)
    }

    /// The same for given vector instructions, which this processor must have; for those that every
    /// processor has when `None`.
    pub fn for_instructions(
        instructions: Option<Instructions>,
        numbers: &CpuStorage,
        start: usize,
        rows: usize,
        columns: usize,
    ) -> Option<Self> {
        if columns == 0 || !Instructions::usable(instructions) {
            return None;
        }
        let place = start..start.checked_add(rows.checked_mul(columns)?)?;
        let groups: Box<dyn AnyGroups> = match numbers {
            CpuStorage::F32(numbers) => Box::new(Groups::pack(numbers.get(place)?, columns)),
            CpuStorage::F16(numbers) => Box::new(Groups::<f16>::pack(numbers.get(place)?, columns)),
            CpuStorage::BF16(numbers) => {
                Box::new(Groups::<bf16>::pack(numbers.get(place)?, columns))
            }
            _ => return None,
        };
        Some(Self {
            groups,
            rows,
            columns,
            instructions,
        })
    }
}

impl WeightMatrix for FloatMatrix {
    fn rows(&self) -> usize {
        self.rows
    }

    fn columns(&self) -> usize {
        self.columns
    }

    fn row(&self, row: usize, out: &mut [f32]) {
        assert!(row < self.rows, "row {row} of {}", self.rows);
        assert_eq!(out.len(), self.columns, "a row's numbers");
        self.groups.row(row, out);
    }
}

impl Multiply for FloatMatrix {
    fn multiply(&self, numbers: &[f32], out: &Output) {
        self.groups.multiply(self.instructions, numbers, out);
    }
}

/// Groups of whatever type.
trait AnyGroups: Debug + Send + Sync {
    fn row(&self, row: usize, out: &mut [f32]);

    fn multiply(&self, instructions: Option<Instructions>, numbers: &[f32], out: &Output);
}

#[derive(Debug)]
struct Groups<E> {
    /// `groups × columns × 16`.
    numbers: Vec<[E; LANES]>,
    columns: usize,
}

impl<E: Element> Groups<E> {
    fn pack(numbers: &[E], columns: usize) -> Self {
        let rows = numbers.len() / columns.max(1);
        let mut packed: Vec<[E; LANES]> = zeroed_vec(rows.div_ceil(LANES) * columns);
        let parts = packed
            .chunks_mut(columns.max(1))
            .zip(numbers.chunks(LANES * columns.max(1)))
            .collect();
        for_each_part(parts, |(group, rows): (&mut [[E; LANES]], &[E])| {
            // A few columns at a time, so that what is written stays near until it is whole.
            for (index, group) in group.chunks_mut(LANES).enumerate() {
                for (lane, row) in rows.chunks_exact(columns).enumerate() {
                    for (column, number) in group.iter_mut().zip(&row[index * LANES..]) {
                        column[lane] = *number;
                    }
                }
            }
        });
        Self {
            numbers: packed,
            columns,
        }
    }
}

impl<E: Element + Debug> AnyGroups for Groups<E> {
    fn row(&self, row: usize, out: &mut [f32]) {
        let group = &self.numbers[row / LANES * self.columns..][..self.columns];
        for (out, column) in out.iter_mut().zip(group) {
            *out = column[row % LANES].into();
        }
    }

    fn multiply(&self, instructions: Option<Instructions>, numbers: &[f32], out: &Output) {
        let groups = self.numbers.len() / self.columns;
        share_product(
            numbers.len() * groups * LANES,
            groups,
            MOST_GROUPS,
            |groups| {
                for first in groups.step_by(MOST_GROUPS) {
                    let product = Product {
                        groups: &self.numbers[first * self.columns..],
                        first,
                        rows: numbers,
                        columns: self.columns,
                        out,
                    };
                    dispatch(instructions, product);
                }
            },
        );
    }
}

/// Groups that are multiplied together.
const MOST_GROUPS: usize = 3;

/// The product of rows and at most three groups.
struct Product<'a, E> {
    /// From the first one on.
    groups: &'a [[E; LANES]],
    /// The number of the first group.
    first: usize,
    rows: &'a [f32],
    columns: usize,
    out: &'a Output,
}

impl<E: Element> Vectorised for Product<'_, E> {
    #[inline(always)]
    unsafe fn run<L: Lanes>(self) {
        let count = MOST_GROUPS.min(self.groups.len() / self.columns);
        let mut start = 0;
        while start < self.columns {
            let mut group = 0;
            while group < count {
                let together = L::GROUPS.min(count - group);
                // SAFETY: the caller's promise.
                unsafe {
                    group += match together {
                        3 => self.all_rows::<L, 3>(group, start),
                        2 => self.all_rows::<L, 2>(group, start),
                        _ => self.all_rows::<L, 1>(group, start),
                    };
                }
            }
            start += AT_ONCE;
        }
    }
}

impl<E: Element> Product<'_, E> {
    /// Adds the products of all rows with `G` groups in the columns from `start` on. Answers with `G`.
    ///
    /// # Safety
    /// See [`Vectorised::run`].
    #[inline(always)]
    unsafe fn all_rows<L: Lanes, const G: usize>(&self, group: usize, start: usize) -> usize {
        let rows = self.rows.len() / self.columns;
        let mut row = 0;
        while row < rows {
            let left = L::ROWS.min(rows - row);
            // SAFETY: the caller's promise.
            unsafe {
                row += match left {
                    8 => self.tile::<L, 8, G>(row, group, start),
                    4..8 => self.tile::<L, 4, G>(row, group, start),
                    2 | 3 => self.tile::<L, 2, G>(row, group, start),
                    _ => self.tile::<L, 1, G>(row, group, start),
                };
            }
        }
        G
    }

    /// Adds the products of `R` rows with `G` groups in the columns from `start` on. Answers with `R`.
    ///
    /// # Safety
    /// See [`Vectorised::run`].
    #[inline(always)]
    unsafe fn tile<L: Lanes, const R: usize, const G: usize>(
        &self,
        row: usize,
        group: usize,
        start: usize,
    ) -> usize {
        let count = AT_ONCE.min(self.columns - start);
        let rows: [&[f32]; R] =
            std::array::from_fn(|r| &self.rows[(row + r) * self.columns + start..][..count]);
        let groups: [&[[E; LANES]]; G] =
            std::array::from_fn(|g| &self.groups[(group + g) * self.columns + start..][..count]);
        // SAFETY: the caller's promise; a part has groups, and so columns of the output, of its own.
        unsafe {
            let mut sums = [[L::splat(0.0); G]; R];
            for column in 0..count {
                let mut weights = [L::splat(0.0); G];
                for g in 0..G {
                    weights[g] = E::load(&groups[g][column]);
                    L::prefetch(groups[g].as_ptr().wrapping_add(column + AHEAD));
                }
                for r in 0..R {
                    let number = L::splat(rows[r][column]);
                    for g in 0..G {
                        sums[r][g] = weights[g].mul_add(number, sums[r][g]);
                    }
                }
            }
            for (r, sums) in sums.iter().enumerate() {
                for (g, sum) in sums.iter().enumerate() {
                    let mut results = [0f32; LANES];
                    sum.store(&mut results);
                    let place = (self.first + group + g) * LANES;
                    if start > 0 {
                        let before = self.out.get(row + r, place);
                        for (result, before) in results.iter_mut().zip(before) {
                            *result += before;
                        }
                    }
                    self.out.put(row + r, place, &results);
                }
            }
        }
        R
    }
}
