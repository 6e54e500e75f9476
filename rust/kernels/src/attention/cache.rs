//! The keys and values of one layer of a sequence, in the order in which the kernels read them.

use std::fmt::Debug;
use std::ops::Range;

use bytemuck::allocation::zeroed_vec;
use candle_core::DType;
use half::{bf16, f16};

use super::Span;
use super::stretch::{Part, SUMMARY};
use crate::dispatch::dispatch;
use crate::element::Element;
use crate::{Instructions, LANES};

/// The keys and values of a layer, for as many positions as it has room for.
///
/// Keys lie 16 positions side by side, a dimension behind the other, so that the scores of 16 positions
/// are summed without a sum across a register. Values lie one position behind the other, filled up with
/// zeros to a multiple of 16 dimensions. What is beyond the positions that were written is not looked at.
#[derive(Debug)]
pub struct KvCache {
    store: Box<dyn AnyStore>,
    instructions: Option<Instructions>,
}

#[derive(Debug, Clone, Copy)]
struct Shape {
    kv_heads: usize,
    width: usize,
    /// Positions, in sixteens.
    blocks: usize,
}

impl KvCache {
    /// A cache of `capacity` positions, each with `kv_heads` keys and values of `width` numbers, which
    /// are kept in `dtype`. Memory is taken as positions are written.
    ///
    /// `None` when numbers cannot be kept in that type, which is one of F32, F16 and BF16.
    pub fn new(dtype: DType, kv_heads: usize, width: usize, capacity: usize) -> Option<Self> {
        Self::for_instructions(Instructions::detect(), dtype, kv_heads, width, capacity)
    }

    /// The same for given vector instructions, which this processor must have; for those that every
    /// processor has when `None`.
    pub fn for_instructions(
        instructions: Option<Instructions>,
        dtype: DType,
        kv_heads: usize,
        width: usize,
        capacity: usize,
    ) -> Option<Self> {
        if !Instructions::usable(instructions) {
            return None;
        }
        let shape = Shape {
            kv_heads,
            width,
            blocks: capacity.div_ceil(LANES),
        };
        let store: Box<dyn AnyStore> = match dtype {
            DType::F32 => Box::new(Store::<f32>::new(shape)),
            DType::F16 => Box::new(Store::<f16>::new(shape)),
            DType::BF16 => Box::new(Store::<bf16>::new(shape)),
            _ => return None,
        };
        Some(Self {
            store,
            instructions,
        })
    }

    /// Positions that there is room for.
    pub fn capacity(&self) -> usize {
        self.store.shape().blocks * LANES
    }

    /// A cache with room for `capacity` positions, and the first `len` of this one.
    ///
    /// # Panics
    /// When there is no room for `len` positions in either.
    pub fn resized(&self, len: usize, capacity: usize) -> Self {
        assert!(len <= self.capacity() && len <= capacity, "room for {len}");
        let (filled, blocks) = (len.div_ceil(LANES), capacity.div_ceil(LANES));
        Self {
            store: self.store.resized(filled, blocks),
            instructions: self.instructions,
        }
    }

    /// Writes keys and values of positions from `position` on: rows of `kv_heads × width` numbers.
    ///
    /// # Panics
    /// When there is no room for them, or the last row is not whole.
    pub fn write(&mut self, position: usize, keys: Strided, values: Strided) {
        self.store.write(position, keys, values);
    }

    /// The numbers of a key and of a value in all heads.
    pub(super) fn row_len(&self) -> usize {
        self.store.shape().kv_heads * self.store.shape().width
    }

    /// Numbers that are kept for a head of a query in a part.
    pub(super) fn summary_len(&self) -> usize {
        self.store.shape().summary_len()
    }

    pub(super) fn kv_heads(&self) -> usize {
        self.store.shape().kv_heads
    }

    pub(super) fn width(&self) -> usize {
        self.store.shape().width
    }

    pub(super) fn instructions(&self) -> Option<Instructions> {
        self.instructions
    }

    /// Fills a part, see [`Part`].
    pub(super) fn attend(&self, span: Span, out: &mut [f32]) {
        self.store.attend(self.instructions, span, out);
    }
}

/// Rows of numbers that may have gaps between them, but not inside.
#[derive(Debug, Clone, Copy)]
pub struct Strided<'a> {
    /// The numbers from those of the first row on.
    pub numbers: &'a [f32],
    /// How far the beginnings of rows are apart.
    pub stride: usize,
    /// How many rows there are.
    pub rows: usize,
    /// The numbers of a row.
    pub columns: usize,
}

impl<'a> Strided<'a> {
    /// Some of the rows.
    ///
    /// # Panics
    /// When there are none that begin there.
    pub fn rows(&self, rows: &Range<usize>) -> Self {
        Self {
            numbers: &self.numbers[rows.start * self.stride..],
            rows: rows.len(),
            ..*self
        }
    }

    /// One row.
    ///
    /// # Panics
    /// When there is none, or it is not whole.
    pub fn row(&self, index: usize) -> &'a [f32] {
        assert!(index < self.rows, "row {index} of {}", self.rows);
        &self.numbers[index * self.stride..][..self.columns]
    }
}

impl Shape {
    /// Sixteens of a value.
    fn columns(&self) -> usize {
        self.width.div_ceil(LANES)
    }

    fn summary_len(&self) -> usize {
        SUMMARY + self.columns() * LANES
    }
}

/// A store of whatever type.
trait AnyStore: Debug + Send + Sync {
    fn shape(&self) -> Shape;

    fn resized(&self, filled: usize, blocks: usize) -> Box<dyn AnyStore>;

    fn write(&mut self, position: usize, keys: Strided, values: Strided);

    fn attend(&self, instructions: Option<Instructions>, span: Span, out: &mut [f32]);
}

/// Keys and values in one type.
#[derive(Debug)]
pub(crate) struct Store<E> {
    /// `kv_heads × blocks × width × 16`.
    keys: Vec<[E; LANES]>,
    /// `kv_heads × (blocks · 16) × columns × 16`.
    values: Vec<[E; LANES]>,
    shape: Shape,
}

impl<E: Element> Store<E> {
    fn new(shape: Shape) -> Self {
        let heads = shape.kv_heads * shape.blocks;
        Self {
            // Not written to, so that an allocator can take memory when it is needed.
            keys: zeroed_vec(heads * shape.width),
            values: zeroed_vec(heads * LANES * shape.columns()),
            shape,
        }
    }

    /// Sixteens of a value.
    pub(super) fn columns(&self) -> usize {
        self.shape.columns()
    }

    /// Numbers that are kept for a head of a query in a part.
    pub(super) fn summary_len(&self) -> usize {
        self.shape.summary_len()
    }

    /// The keys of blocks of 16 positions.
    pub(super) fn keys(&self, kv_head: usize, blocks: &Range<usize>) -> &[[E; LANES]] {
        let start = kv_head * self.shape.blocks + blocks.start;
        &self.keys[start * self.shape.width..][..blocks.len() * self.shape.width]
    }

    /// The values of positions.
    pub(super) fn values(&self, kv_head: usize, positions: &Range<usize>) -> &[[E; LANES]] {
        let start = kv_head * self.shape.blocks * LANES + positions.start;
        &self.values[start * self.columns()..][..positions.len() * self.columns()]
    }
}

impl<E: Element + Debug> AnyStore for Store<E> {
    fn shape(&self) -> Shape {
        self.shape
    }

    fn resized(&self, filled: usize, blocks: usize) -> Box<dyn AnyStore> {
        let mut resized = Self::new(Shape {
            blocks,
            ..self.shape
        });
        let (keys, values) = (self.shape.width, LANES * self.columns());
        for head in 0..self.shape.kv_heads {
            let (from, to) = (head * self.shape.blocks, head * blocks);
            resized.keys[to * keys..][..filled * keys]
                .copy_from_slice(&self.keys[from * keys..][..filled * keys]);
            resized.values[to * values..][..filled * values]
                .copy_from_slice(&self.values[from * values..][..filled * values]);
        }
        Box::new(resized)
    }

    fn write(&mut self, position: usize, keys: Strided, values: Strided) {
        let Shape {
            kv_heads,
            width,
            blocks,
        } = self.shape;
        let columns = self.columns();
        assert!(position + keys.rows <= blocks * LANES, "room for the keys");
        assert_eq!(keys.rows, values.rows, "as many values as keys");
        let mut key = zeroed_vec(width);
        for row in 0..keys.rows {
            let at = position + row;
            for head in 0..kv_heads {
                E::round(&keys.row(row)[head * width..][..width], &mut key);
                let block = &mut self.keys[(head * blocks + at / LANES) * width..][..width];
                for (dimension, number) in block.iter_mut().zip(&key) {
                    dimension[at % LANES] = *number;
                }
                let value = (head * blocks * LANES + at) * columns;
                let value = self.values[value..][..columns].as_flattened_mut();
                E::round(
                    &values.row(row)[head * width..][..width],
                    &mut value[..width],
                );
            }
        }
    }

    fn attend(&self, instructions: Option<Instructions>, span: Span, out: &mut [f32]) {
        let part = Part {
            store: self,
            queries: span.queries,
            kv_head: span.kv_head,
            rows: span.rows,
            positions: span.positions,
            out,
        };
        dispatch(instructions, part);
    }
}
