//! The KV cache of one layer of a sequence: pages of keys and values in the order in which kernels read them.

use std::fmt::{self, Debug, Formatter};
use std::marker::PhantomData;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytemuck::allocation::zeroed_vec;
use bytemuck::{AnyBitPattern, NoUninit, Zeroable};
use candle_core::DType;
use half::{bf16, f16};

use super::strided::Strided;
use crate::instructions::Instructions;
use crate::simd::{Element, LANES};

/// Positions of a page: the unit in which caches grow and sequences share.
pub const KV_PAGE: usize = LANES;

/// Positions that are processed together: their keys, values and weights stay in a core's cache.
pub(super) const KV_TILE: usize = 256;

/// Pages of a tile.
pub(super) const TILE_PAGES: usize = KV_TILE / KV_PAGE;

/// Counts the bytes of live pages of one or more caches, and of what is beside them.
#[derive(Debug, Default)]
pub struct KvMemory {
    used: AtomicUsize,
}

impl KvMemory {
    /// Bytes of all live pages and claims.
    pub fn used(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }

    /// Counts so many more bytes, until the claim is dropped.
    pub fn claim(self: &Arc<Self>, bytes: usize) -> KvClaim {
        self.used.fetch_add(bytes, Ordering::Relaxed);
        KvClaim {
            bytes,
            memory: self.clone(),
        }
    }
}

/// Bytes that are counted while it lives.
#[derive(Debug)]
pub struct KvClaim {
    bytes: usize,
    memory: Arc<KvMemory>,
}

impl Drop for KvClaim {
    fn drop(&mut self) {
        self.memory.used.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// Keys and values of [`KV_PAGE`] positions of one layer. Caches with a common prefix share pages.
pub struct KvPage {
    /// For each head the keys `[width][16 positions]`, then the values `[16 positions][columns][16]`.
    numbers: Vec<Line>,
    memory: Arc<KvMemory>,
}

/// A cache line.
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
/// Keys of 16 positions are interleaved dimension by dimension, so that 16 scores are accumulated without a
/// horizontal sum. Values are stored position by position, zero-padded to a multiple of 16 dimensions.
///
/// A clone shares the pages; writing into a shared page copies it first.
#[derive(Debug, Clone)]
pub struct KvCache {
    /// `None` for pages that were dropped.
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
    /// An empty cache for `kv_heads` heads of `width` dimensions, stored in `dtype`. Its pages are counted in
    /// `memory`.
    ///
    /// `None` for a type other than F32, F16 and BF16.
    pub fn new(
        dtype: DType,
        kv_heads: usize,
        width: usize,
        memory: &Arc<KvMemory>,
    ) -> Option<Self> {
        Self::for_instructions(Instructions::detect(), dtype, kv_heads, width, memory)
    }

    /// Like [`Self::new`], for given instructions, which this processor must have; portable code for `None`.
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

    /// Positions that the pages have room for.
    pub fn capacity(&self) -> usize {
        self.pages.len() * KV_PAGE
    }

    /// Bytes of a page.
    pub fn page_bytes(&self) -> usize {
        Self::page_bytes_of(self.dtype, self.shape.kv_heads, self.shape.width)
    }

    /// Bytes of a page of a cache with these parameters.
    pub fn page_bytes_of(dtype: DType, kv_heads: usize, width: usize) -> usize {
        let numbers = Shape { kv_heads, width }.head_len() * kv_heads * LANES;
        (numbers * dtype.size_in_bytes()).next_multiple_of(size_of::<Line>())
    }

    /// Adds pages until there is room for `positions`.
    pub fn reserve(&mut self, positions: usize) {
        while self.capacity() < positions {
            let page = KvPage::new(self.page_bytes(), &self.memory);
            self.pages.push(Some(Arc::new(page)));
        }
    }

    /// Drops the pages behind the first `positions`.
    pub fn truncate(&mut self, positions: usize) {
        self.pages.truncate(positions.div_ceil(KV_PAGE));
    }

    /// Drops the pages whose positions are all before `position`. Queries must not see these any more.
    pub fn drop_before(&mut self, position: usize) {
        let count = (position / KV_PAGE).min(self.pages.len());
        self.pages[..count].fill(None);
    }

    /// The first position behind all dropped pages.
    pub fn start(&self) -> usize {
        let missing = self.pages.iter().rposition(Option::is_none);
        missing.map_or(0, |page| (page + 1) * KV_PAGE)
    }

    /// A page; `None` if it was dropped, or beyond the end.
    pub fn page(&self, index: usize) -> Option<&Arc<KvPage>> {
        self.pages.get(index)?.as_ref()
    }

    /// Replaces a page by one with the same contents, of another cache of this shape.
    ///
    /// # Panics
    /// When it has another size.
    pub fn replace_page(&mut self, index: usize, page: Arc<KvPage>) {
        assert_eq!(size_of_val(&page.numbers[..]), self.page_bytes());
        if let Some(place @ Some(_)) = self.pages.get_mut(index) {
            *place = Some(page);
        }
    }

    /// Appends a page of another cache of this shape; `None` for a dropped one.
    ///
    /// # Panics
    /// When it has another size.
    pub fn push_page(&mut self, page: Option<Arc<KvPage>>) {
        if let Some(page) = &page {
            assert_eq!(size_of_val(&page.numbers[..]), self.page_bytes());
        }
        self.pages.push(page);
    }

    /// Writes keys and values, rows of `kv_heads × width`, of the positions from `position` on.
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

    pub(super) fn kv_heads(&self) -> usize {
        self.shape.kv_heads
    }

    pub(super) fn width(&self) -> usize {
        self.shape.width
    }

    pub(super) fn instructions(&self) -> Option<Instructions> {
        self.instructions
    }

    pub(super) fn dtype(&self) -> DType {
        self.dtype
    }

    /// The pages as elements of the cache's type, which `E` must be.
    pub(super) fn typed<E: Element>(&self) -> TypedPages<'_, E> {
        TypedPages {
            pages: &self.pages,
            shape: self.shape,
            element: PhantomData,
        }
    }
}

impl Shape {
    /// Vectors of a value.
    pub(super) fn columns(&self) -> usize {
        self.width.div_ceil(LANES)
    }

    /// Vectors of a head in a page.
    fn head_len(&self) -> usize {
        self.width + KV_PAGE * self.columns()
    }
}

/// The pages of a cache, as elements of its type.
pub(super) struct TypedPages<'a, E> {
    pages: &'a [Option<Arc<KvPage>>],
    shape: Shape,
    element: PhantomData<E>,
}

impl<'a, E: Element> TypedPages<'a, E> {
    /// Vectors of a value.
    pub(super) fn columns(&self) -> usize {
        self.shape.columns()
    }

    /// Fills in a head's part of the pages that hold some positions of a tile, and of the page behind the
    /// tile: `width` vectors of keys, then `columns` vectors for each value.
    pub(super) fn of_tile(
        &self,
        kv_head: usize,
        positions: &Range<usize>,
        heads: &mut [&'a [[E; LANES]]],
    ) {
        let len = self.shape.head_len();
        let first = positions.start / KV_PAGE;
        let behind = (first / TILE_PAGES + 1) * TILE_PAGES;
        let end = positions.end.div_ceil(KV_PAGE);
        let end = if end == behind { end + 1 } else { end };
        let pages = &self.pages[first..end.min(self.pages.len())];
        // The places of those before the first, in the tile, stay empty.
        let heads = &mut heads[first % TILE_PAGES..];
        for (head, page) in heads.iter_mut().zip(pages) {
            let page = page.as_deref().expect("a page that is there");
            *head = &page.as_slice()[kv_head * len..][..len];
        }
    }
}
