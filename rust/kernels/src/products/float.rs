//! Products with matrices in F32, F16 or BF16.

use std::fmt::Debug;

use bytemuck::{bytes_of_mut, cast_slice};
use candle_core::{CpuStorage, DType};
use half::{bf16, f16};

use super::{Multiply, WeightMatrix, parallel_groups};
use crate::allocation::{Unfilled, UnfilledPart};
use crate::dispatch::{Vectorized, dispatch};
use crate::instructions::Instructions;
use crate::output::Output;
use crate::packing::{copy_rows, read_groups, tiles};
use crate::simd::{Element, F32x16, LANES};

/// A weight matrix in F32, F16 or BF16. Products are computed in F32: 16-bit weights take half of the memory and
/// give the results of the same weights in F32.
///
/// Rows are packed in groups of 16, column by column: one activation times one vector is 16 products. The last
/// group is zero-padded.
#[derive(Debug)]
pub struct FloatMatrix {
    groups: Box<dyn AnyGroups>,
    rows: usize,
    columns: usize,
    instructions: Option<Instructions>,
}

/// Columns that all rows are multiplied with before the next: their weights stay in a core's L2 cache.
const K_BLOCK: usize = 1024;

/// How many columns ahead weights are prefetched.
const PREFETCH_DISTANCE: usize = 64;

impl FloatMatrix {
    /// Packs a row-major `rows × columns` matrix that begins at `start`.
    ///
    /// `None` when the type is none of F32, F16 and BF16, when there are too few numbers, or when `columns` is 0.
    pub fn pack(numbers: &CpuStorage, start: usize, rows: usize, columns: usize) -> Option<Self> {
        Self::for_instructions(Instructions::detect(), numbers, start, rows, columns)
    }

    /// Like [`Self::pack`], for given instructions, which this processor must have; portable code for `None`.
    pub fn for_instructions(
        instructions: Option<Instructions>,
        numbers: &CpuStorage,
        start: usize,
        rows: usize,
        columns: usize,
    ) -> Option<Self> {
        let place = start..start.checked_add(rows.checked_mul(columns)?)?;
        let (dtype, bytes): (DType, &[u8]) = match numbers {
            CpuStorage::F32(numbers) => (DType::F32, cast_slice(numbers.get(place)?)),
            CpuStorage::F16(numbers) => (DType::F16, cast_slice(numbers.get(place)?)),
            CpuStorage::BF16(numbers) => (DType::BF16, cast_slice(numbers.get(place)?)),
            _ => return None,
        };
        let row_bytes = columns * dtype.size_in_bytes();
        let copy = copy_rows(bytes, row_bytes);
        match Self::read_for(instructions, dtype, rows, columns, copy) {
            Ok(matrix) => matrix,
        }
    }

    /// Like [`Self::pack`], of rows that `read` copies: from the given row on, as many as fill the buffer, in the order
    /// of bytes of this machine. Threads read few rows at a time, so that the matrix is never in memory twice.
    ///
    /// # Errors
    /// One of those of `read`.
    pub fn read<E: Send>(
        dtype: DType,
        rows: usize,
        columns: usize,
        read: impl Fn(usize, &mut [u8]) -> Result<(), E> + Sync,
    ) -> Result<Option<Self>, E> {
        Self::read_for(Instructions::detect(), dtype, rows, columns, read)
    }

    fn read_for<E: Send>(
        instructions: Option<Instructions>,
        dtype: DType,
        rows: usize,
        columns: usize,
        read: impl Fn(usize, &mut [u8]) -> Result<(), E> + Sync,
    ) -> Result<Option<Self>, E> {
        if columns == 0 || !Instructions::usable(instructions) {
            return Ok(None);
        }
        let groups: Box<dyn AnyGroups> = match dtype {
            DType::F32 => Box::new(Groups::<f32>::read(rows, columns, read)?),
            DType::F16 => Box::new(Groups::<f16>::read(rows, columns, read)?),
            DType::BF16 => Box::new(Groups::<bf16>::read(rows, columns, read)?),
            _ => return Ok(None),
        };
        Ok(Some(Self {
            groups,
            rows,
            columns,
            instructions,
        }))
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

/// [`Groups`] of any element type.
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
    fn read<F: Send>(
        rows: usize,
        columns: usize,
        read: impl Fn(usize, &mut [u8]) -> Result<(), F> + Sync,
    ) -> Result<Self, F> {
        let mut numbers = Unfilled::<[E; LANES]>::new(rows.div_ceil(LANES) * columns);
        let row_bytes = columns * size_of::<E>();
        let groups = numbers.parts(columns).collect();
        read_groups(groups, rows, row_bytes, read, |group, bytes| {
            pack_group(UnfilledPart::zero(group), bytes, row_bytes);
            true
        })?;
        // SAFETY: all groups were zeroed.
        let numbers = unsafe { numbers.filled() };
        Ok(Self { numbers, columns })
    }
}

/// Packs up to 16 rows, 16 columns at a time.
fn pack_group<E: Element>(group: &mut [[E; LANES]], bytes: &[u8], row_bytes: usize) {
    let tile_bytes = LANES * size_of::<E>();
    for (index, columns) in group.chunks_mut(LANES).enumerate() {
        let mut tile = [[E::zeroed(); LANES]; LANES];
        for (row, bytes) in tile.iter_mut().zip(bytes.chunks_exact(row_bytes)) {
            let bytes = &bytes[index * tile_bytes..];
            let count = tile_bytes.min(bytes.len());
            bytes_of_mut(row)[..count].copy_from_slice(&bytes[..count]);
        }
        for (index, column) in columns.iter_mut().enumerate() {
            for (number, row) in column.iter_mut().zip(&tile) {
                *number = row[index];
            }
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
        parallel_groups(
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

/// Row groups of a tile.
const MOST_GROUPS: usize = 3;

/// The product of activations and at most [`MOST_GROUPS`] row groups.
struct Product<'a, E> {
    /// From the first one on.
    groups: &'a [[E; LANES]],
    /// The number of the first group.
    first: usize,
    rows: &'a [f32],
    columns: usize,
    out: &'a Output,
}

impl<E: Element> Vectorized for Product<'_, E> {
    #[inline(always)]
    unsafe fn run<V: F32x16>(self) {
        let count = MOST_GROUPS.min(self.groups.len() / self.columns);
        let most = match self.rows.len() == self.columns {
            true => V::GROUPS_OF_ONE,
            false => V::GROUPS,
        };
        let mut start = 0;
        while start < self.columns {
            let mut group = 0;
            while group < count {
                let together = most.min(count - group);
                // SAFETY: the caller's promise.
                unsafe {
                    group += match together {
                        3 => self.all_rows::<V, 3>(group, start),
                        2 => self.all_rows::<V, 2>(group, start),
                        _ => self.all_rows::<V, 1>(group, start),
                    };
                }
            }
            start += K_BLOCK;
        }
    }
}

impl<E: Element> Product<'_, E> {
    /// All rows with `G` groups, over the K block from `start` on. Returns `G`.
    ///
    /// # Safety
    /// See [`Vectorized::run`].
    #[inline(always)]
    unsafe fn all_rows<V: F32x16, const G: usize>(&self, group: usize, start: usize) -> usize {
        let rows = self.rows.len() / self.columns;
        for tile in tiles(rows, V::ROWS) {
            let row = tile.start;
            // SAFETY: the caller's promise.
            unsafe {
                match tile.len().min(V::ROWS) {
                    1 => self.tile::<V, 1, G>(row, group, start),
                    2 => self.tile::<V, 2, G>(row, group, start),
                    3 => self.tile::<V, 3, G>(row, group, start),
                    4 => self.tile::<V, 4, G>(row, group, start),
                    5 => self.tile::<V, 5, G>(row, group, start),
                    6 => self.tile::<V, 6, G>(row, group, start),
                    7 => self.tile::<V, 7, G>(row, group, start),
                    _ => self.tile::<V, 8, G>(row, group, start),
                }
            }
        }
        G
    }

    /// The micro-kernel: `R` rows with `G` groups over the K block from `start` on, accumulated into the results.
    ///
    /// # Safety
    /// See [`Vectorized::run`].
    #[inline(always)]
    unsafe fn tile<V: F32x16, const R: usize, const G: usize>(
        &self,
        row: usize,
        group: usize,
        start: usize,
    ) {
        let count = K_BLOCK.min(self.columns - start);
        let rows: [&[f32]; R] =
            std::array::from_fn(|r| &self.rows[(row + r) * self.columns + start..][..count]);
        let groups: [&[[E; LANES]]; G] =
            std::array::from_fn(|g| &self.groups[(group + g) * self.columns + start..][..count]);
        // SAFETY: the caller's promise; a part has groups, and so columns of the output, of its own.
        unsafe {
            let mut sums = [[V::splat(0.0); G]; R];
            for column in 0..count {
                let mut weights = [V::splat(0.0); G];
                for g in 0..G {
                    weights[g] = E::load(&groups[g][column]);
                    V::prefetch(groups[g].as_ptr().wrapping_add(column + PREFETCH_DISTANCE));
                }
                for r in 0..R {
                    let number = V::splat(rows[r][column]);
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
    }
}
