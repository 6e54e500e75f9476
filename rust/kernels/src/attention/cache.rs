//! The keys and values of one layer of a sequence, in the order in which the kernels read them.

use std::fmt::{self, Debug, Formatter};
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytemuck::allocation::zeroed_vec;
use bytemuck::{AnyBitPattern, NoUninit, Zeroable};
use candle_core::DType;
use half::{bf16, f16};

use super::Span;
use super::stretch::{PAGES, Part, SUMMARY};
use crate::dispatch::dispatch;
use crate::element::Element;
use crate::{Instructions, LANES};

/// Positions of a page: what sequences share, and by what a cache grows.
pub const KV_PAGE: usize = LANES;

/// The memory of pages of keys and values that are alive, in bytes. Several caches may count in one.
#[derive(Debug, Default)]
pub struct KvMemory {
    used: AtomicUsize,
}

impl KvMemory {
    /// Bytes of all pages that are alive.
    pub fn used(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }
}

/// Keys and values of [`KV_PAGE`] positions of one layer. Caches that share a beginning share its pages.
pub struct KvPage {
    /// For each head the keys, `width × 16`, a dimension behind the other, then the values,
    /// `16 × columns × 16`, a position behind the other.
    numbers: Vec<Line>,
    memory: Arc<KvMemory>,
}

/// Bytes of a line of a processor's cache.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
struct Line([u8; 64]);

// SAFETY: it is an array of bytes, and has no padding.
unsafe impl Zeroable for Line {}
// SAFETY: as above; all of its bits may be anything.
unsafe impl AnyBitPattern for Line {}
// SAFETY: as above.
unsafe impl NoUninit for Line {}

impl KvPage {
    fn new(bytes: usize, memory: &Arc<KvMemory>) -> Self {
        let numbers: Vec<Line> = zeroed_vec(bytes.div_ceil(size_of::<Line>()));
        Self::counted(numbers, memory)
    }

    fn counted(numbers: Vec<Line>, memory: &Arc<KvMemory>) -> Self {
        memory
            .used
            .fetch_add(size_of_val(&numbers[..]), Ordering::Relaxed);
        Self {
            numbers,
            memory: memory.clone(),
        }
    }

    fn as_slice<E: Element>(&self) -> &[[E; LANES]] {
        bytemuck::cast_slice(&self.numbers)
    }

    fn as_mut_slice<E: Element>(&mut self) -> &mut [[E; LANES]] {
        bytemuck::cast_slice_mut(&mut self.numbers)
    }
}

impl Clone for KvPage {
    fn clone(&self) -> Self {
        Self::counted(self.numbers.clone(), &self.memory)
    }
}

impl Drop for KvPage {
    fn drop(&mut self) {
        let bytes = size_of_val(&self.numbers[..]);
        self.memory.used.fetch_sub(bytes, Ordering::Relaxed);
    }
}

impl Debug for KvPage {
    fn fmt(&self, f: &mut Formatter) -> fmt::Result {
        write!(f, "KvPage of {} bytes", size_of_val(&self.numbers[..]))
    }
}

/// The keys and values of a layer, in pages of [`KV_PAGE`] positions.
///
/// Keys lie 16 positions side by side, a dimension behind the other, so that the scores of 16 positions
/// are summed without a sum across a register. Values lie one position behind the other, filled up with
/// zeros to a multiple of 16 dimensions. What is beyond the positions that were written is not looked at.
///
/// A copy shares the pages; whoever writes into one that is shared gets a page of its own first.
#[derive(Debug, Clone)]
pub struct KvCache {
    /// `None` for those that were given up.
    pages: Vec<Option<Arc<KvPage>>>,
    dtype: DType,
    shape: Shape,
    memory: Arc<KvMemory>,
    instructions: Option<Instructions>,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Shape {
    pub(super) kv_heads: usize,
    pub(super) width: usize,
}

impl KvCache {
    /// An empty cache of `kv_heads` keys and values of `width` numbers for each position, which are kept in
    /// `dtype`. Its pages count in `memory`.
    ///
    /// `None` when numbers cannot be kept in that type, which is one of F32, F16 and BF16.
    pub fn new(
        dtype: DType,
        kv_heads: usize,
        width: usize,
        memory: &Arc<KvMemory>,
    ) -> Option<Self> {
        Self::for_instructions(Instructions::detect(), dtype, kv_heads, width, memory)
    }

    /// The same for given vector instructions, which this processor must have; for those that every
    /// processor has when `None`.
    pub fn for_instructions(
        instructions: Option<Instructions>,
        dtype: DType,
        kv_heads: usize,
        width: usize,
        memory: &Arc<KvMemory>,
    ) -> Option<Self> {
        let kept = matches!(dtype, DType::F32 | DType::F16 | DType::BF16);
        (kept && Instructions::usable(instructions)).then(|| Self {
            pages: Vec::new(),
            dtype,
            shape: Shape { kv_heads, width },
            memory: memory.clone(),
            instructions,
        })
    }

    /// Positions that there are pages for.
    pub fn capacity(&self) -> usize {
        self.pages.len() * KV_PAGE
    }

    /// Bytes of a page.
    pub fn page_bytes(&self) -> usize {
        Self::page_bytes_of(self.dtype, self.shape.kv_heads, self.shape.width)
    }

    /// Bytes of a page of a cache that [`Self::new`] makes of these.
    pub fn page_bytes_of(dtype: DType, kv_heads: usize, width: usize) -> usize {
        let numbers = Shape { kv_heads, width }.head_len() * kv_heads * LANES;
        (numbers * dtype.size_in_bytes()).next_multiple_of(size_of::<Line>())
    }

    /// Makes sure that there are pages for the first `positions`.
    pub fn reserve(&mut self, positions: usize) {
        while self.capacity() < positions {
            let page = KvPage::new(self.page_bytes(), &self.memory);
            self.pages.push(Some(Arc::new(page)));
        }
    }

    /// Gives up the pages that hold none of the first `positions`.
    pub fn truncate(&mut self, positions: usize) {
        self.pages.truncate(positions.div_ceil(KV_PAGE));
    }

    /// Gives up the pages whose positions are all before `position`. No query may look at them any more.
    pub fn give_up_before(&mut self, position: usize) {
        let count = (position / KV_PAGE).min(self.pages.len());
        self.pages[..count].fill(None);
    }

    /// The first position from which on all pages are there.
    pub fn start(&self) -> usize {
        let missing = self.pages.iter().rposition(Option::is_none);
        missing.map_or(0, |page| (page + 1) * KV_PAGE)
    }

    /// A page, unless it was given up or there is none.
    pub fn page(&self, index: usize) -> Option<&Arc<KvPage>> {
        self.pages.get(index)?.as_ref()
    }

    /// Puts a page of another cache of this shape, with the same numbers, in the place of one that is there.
    ///
    /// # Panics
    /// When it has another size.
    pub fn replace_page(&mut self, index: usize, page: Arc<KvPage>) {
        assert_eq!(size_of_val(&page.numbers[..]), self.page_bytes());
        if let Some(place @ Some(_)) = self.pages.get_mut(index) {
            *place = Some(page);
        }
    }

    /// Puts a page of another cache of this shape behind the last; `None` stands for one that was given up.
    ///
    /// # Panics
    /// When it has another size.
    pub fn push_page(&mut self, page: Option<Arc<KvPage>>) {
        if let Some(page) = &page {
            assert_eq!(size_of_val(&page.numbers[..]), self.page_bytes());
        }
        self.pages.push(page);
    }

    /// Writes keys and values of positions from `position` on: rows of `kv_heads × width` numbers.
    ///
    /// # Panics
    /// When there are no pages for them, or the last row is not whole.
    pub fn write(&mut self, position: usize, keys: Strided, values: Strided) {
        match self.dtype {
            DType::F32 => self.write_as::<f32>(position, keys, values),
            DType::F16 => self.write_as::<f16>(position, keys, values),
            _ => self.write_as::<bf16>(position, keys, values),
        }
    }

    fn write_as<E: Element>(&mut self, position: usize, keys: Strided, values: Strided) {
        let Shape { kv_heads, width } = self.shape;
        let (columns, head_len) = (self.shape.columns(), self.shape.head_len());
        assert!(position + keys.rows <= self.capacity(), "room for the keys");
        assert_eq!(keys.rows, values.rows, "as many values as keys");
        let mut key = zeroed_vec(width);
        for row in 0..keys.rows {
            let (page, lane) = ((position + row) / KV_PAGE, (position + row) % KV_PAGE);
            let page = self.pages[page].as_mut().expect("a page that is there");
            let numbers = Arc::make_mut(page).as_mut_slice::<E>();
            for head in 0..kv_heads {
                E::round(&keys.row(row)[head * width..][..width], &mut key);
                let (block, behind) = numbers[head * head_len..][..head_len].split_at_mut(width);
                for (dimension, number) in block.iter_mut().zip(&key) {
                    dimension[lane] = *number;
                }
                let value = behind[lane * columns..][..columns].as_flattened_mut();
                E::round(
                    &values.row(row)[head * width..][..width],
                    &mut value[..width],
                );
            }
        }
    }

    /// The numbers of a key and of a value in all heads.
    pub(super) fn row_len(&self) -> usize {
        self.shape.kv_heads * self.shape.width
    }

    /// Numbers that are kept for a head of a query in a part.
    pub(super) fn summary_len(&self) -> usize {
        self.shape.summary_len()
    }

    pub(super) fn kv_heads(&self) -> usize {
        self.shape.kv_heads
    }

    pub(super) fn width(&self) -> usize {
        self.shape.width
    }

    pub(super) fn instructions(&self) -> Option<Instructions> {
        self.instructions
    }

    /// Fills a part, see [`Part`].
    pub(super) fn attend(&self, span: Span, out: &mut [f32]) {
        match self.dtype {
            DType::F32 => self.attend_as::<f32>(span, out),
            DType::F16 => self.attend_as::<f16>(span, out),
            _ => self.attend_as::<bf16>(span, out),
        }
    }

    fn attend_as<E: Element>(&self, span: Span, out: &mut [f32]) {
        let part = Part::<E> {
            store: Store {
                pages: &self.pages,
                shape: self.shape,
                element: std::marker::PhantomData,
            },
            queries: span.queries,
            kv_head: span.kv_head,
            rows: span.rows,
            positions: span.positions,
            out,
        };
        dispatch(self.instructions, part);
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
    pub(super) fn columns(&self) -> usize {
        self.width.div_ceil(LANES)
    }

    pub(super) fn summary_len(&self) -> usize {
        SUMMARY + self.columns() * LANES
    }

    /// Sixteens of a head in a page.
    fn head_len(&self) -> usize {
        self.width + KV_PAGE * self.columns()
    }
}

/// Keys and values as numbers of one type.
pub(crate) struct Store<'a, E> {
    pages: &'a [Option<Arc<KvPage>>],
    shape: Shape,
    element: std::marker::PhantomData<E>,
}

impl<'a, E: Element> Store<'a, E> {
    /// Sixteens of a value.
    pub(super) fn columns(&self) -> usize {
        self.shape.columns()
    }

    /// Numbers that are kept for a head of a query in a part.
    pub(super) fn summary_len(&self) -> usize {
        self.shape.summary_len()
    }

    /// Fills in a head's part of the pages that hold some positions of a stretch, and of the page behind the
    /// stretch: `width` sixteens of keys, then `columns` sixteens for each value.
    pub(super) fn pages(
        &self,
        kv_head: usize,
        positions: &Range<usize>,
        heads: &mut [&'a [[E; LANES]]],
    ) {
        let len = self.shape.head_len();
        let first = positions.start / KV_PAGE;
        let behind = (first / PAGES + 1) * PAGES;
        let end = positions.end.div_ceil(KV_PAGE);
        let end = if end == behind { end + 1 } else { end };
        let pages = &self.pages[first..end.min(self.pages.len())];
        // The places of those before the first, in the stretch, stay empty.
        let heads = &mut heads[first % PAGES..];
        for (head, page) in heads.iter_mut().zip(pages) {
            let page = page.as_deref().expect("a page that is there");
            *head = &page.as_slice()[kv_head * len..][..len];
        }
    }
}
