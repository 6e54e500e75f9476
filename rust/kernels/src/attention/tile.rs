//! The attention micro-kernel: some heads over tiles of positions.

use std::ops::Range;

use super::cache::{KV_PAGE, KV_TILE, TILE_PAGES, TypedPages};
use super::queries::Queries;
use crate::dispatch::Vectorized;
use crate::simd::math::{exp, max, sum, tanh};
use crate::simd::{Element, F32x16, LANES};

/// A partial result begins with the maximal score, and the sum of `exp(score − max)`.
pub(super) const MAX_AND_SUM: usize = 2;

/// Scores, and then weights, of the positions of a tile.
type TileWeights = [[f32; LANES]; KV_TILE / LANES];

/// The most heads that are computed together.
const MOST_HEADS: usize = 4;

/// Length of the partial result of one head: [`MAX_AND_SUM`], then the weighted values, zero-padded to whole
/// vectors.
pub(super) fn partial_len(width: usize) -> usize {
    MAX_AND_SUM + width.next_multiple_of(LANES)
}

/// Attention of some queries of a sequence over a range of positions: all query heads of one head of keys and
/// values.
pub(super) struct PartialAttention<'a, E> {
    pub(super) cache: TypedPages<'a, E>,
    pub(super) queries: &'a Queries<'a>,
    pub(super) kv_head: usize,
    pub(super) rows: Range<usize>,
    pub(super) positions: Range<usize>,
    /// The partial result of each head of each row.
    pub(super) out: &'a mut [f32],
}

/// Fills `out`. Merging the partial results of a row in their order gives bitwise the same however rows and
/// positions are divided.
impl<E: Element> Vectorized for PartialAttention<'_, E> {
    #[inline(always)]
    unsafe fn run<V: F32x16>(self) {
        let one = partial_len(self.queries.cache.width());
        let heads = self.rows.len() * self.queries.group();
        let mut fresh = vec![0f32; V::HEADS * one];
        let mut weights: [TileWeights; MOST_HEADS] = Default::default();
        for out in self.out.chunks_exact_mut(one) {
            reset(&mut out[..MAX_AND_SUM]);
        }
        let mut start = self.positions.start / KV_TILE * KV_TILE;
        while start < self.positions.end {
            let tile = start.max(self.positions.start)..(start + KV_TILE).min(self.positions.end);
            let mut pages = [&[][..]; TILE_PAGES + 1];
            self.cache.of_tile(self.kv_head, &tile, &mut pages);
            let mut head = 0;
            while head < heads {
                let count = V::HEADS.min(heads - head);
                let fresh = &mut fresh[..count * one];
                // SAFETY: the caller's promise.
                unsafe {
                    match count {
                        4 => self.heads::<V, 4>(&pages, &tile, head, &mut weights, fresh),
                        3 => self.heads::<V, 3>(&pages, &tile, head, &mut weights, fresh),
                        2 => self.heads::<V, 2>(&pages, &tile, head, &mut weights, fresh),
                        _ => self.heads::<V, 1>(&pages, &tile, head, &mut weights, fresh),
                    }
                    let out = &mut self.out[head * one..][..count * one];
                    for (out, fresh) in out.chunks_exact_mut(one).zip(fresh.chunks_exact(one)) {
                        merge_partial_softmax::<V>(out, fresh);
                    }
                }
                head += count;
            }
            start += KV_TILE;
        }
    }
}

impl<E: Element> PartialAttention<'_, E> {
    /// The partial results of `H` heads from `first` on, in one tile.
    ///
    /// # Safety
    /// See [`Vectorized::run`].
    #[inline(always)]
    unsafe fn heads<V: F32x16, const H: usize>(
        &self,
        all_pages: &[&[[E; LANES]]; TILE_PAGES + 1],
        tile: &Range<usize>,
        first: usize,
        weights: &mut [TileWeights; MOST_HEADS],
        out: &mut [f32],
    ) {
        let weights = weights.first_chunk_mut::<H>().expect("room for all heads");
        let group = self.queries.group();
        let one = partial_len(self.queries.cache.width());
        let mut seen = [const { 0..0 }; H];
        let mut queries = [&[][..]; H];
        let mut all = tile.end..tile.start;
        for h in 0..H {
            let row = self.rows.start + (first + h) / group;
            let head = self.kv_head * group + (first + h) % group;
            queries[h] = self.queries.head(row, head);
            let range = self.queries.seen(row);
            seen[h] = range.start.max(tile.start)..range.end.min(tile.end);
            if !seen[h].is_empty() {
                all = all.start.min(seen[h].start)..all.end.max(seen[h].end);
            }
            reset(&mut out[h * one..][..MAX_AND_SUM]);
        }
        if all.is_empty() {
            return;
        }
        let width = self.queries.cache.width();
        // The pages of the tile that any of the heads sees.
        let base = tile.start / KV_TILE * KV_TILE;
        let pages = &all_pages[(all.start - base) / KV_PAGE..(all.end - base).div_ceil(KV_PAGE)];
        let origin = all.start / KV_PAGE * KV_PAGE;
        // SAFETY: the caller's promise.
        unsafe { scores::<E, V, H>(queries, pages, width, weights) };
        for h in 0..H {
            let row = self.rows.start + (first + h) / group;
            let head = self.kv_head * group + (first + h) % group;
            let seen = seen[h].start.saturating_sub(origin)..seen[h].end.saturating_sub(origin);
            // SAFETY: the caller's promise.
            let [best, sum] = unsafe {
                self.softmax::<V>(&mut weights[h], all.end - origin, &seen, row, head, origin)
            };
            out[h * one] = best;
            out[h * one + 1] = sum;
        }
        let columns = self.cache.columns();
        let mut values = [&[][..]; TILE_PAGES];
        for (index, (values, page)) in values.iter_mut().zip(pages).enumerate() {
            let first = origin + index * KV_PAGE;
            let from = all.start.max(first) - first;
            let to = all.end.min(first + KV_PAGE) - first;
            *values = &page[width + from * columns..width + to * columns];
        }
        let values = &values[..pages.len()];
        // What is read after the last values: the keys of the next tile.
        let after = all_pages[TILE_PAGES].as_ptr();
        let mut seen = [&[][..]; H];
        for h in 0..H {
            seen[h] = &weights[h].as_flattened()[all.start - origin..all.end - origin];
        }
        let mut column = 0;
        while column < columns {
            let left = V::COLUMNS.min(columns - column);
            // SAFETY: the caller's promise.
            unsafe {
                column += match left {
                    4 => weighted_values::<E, V, H, 4>(seen, values, after, columns, column, out),
                    2 | 3 => {
                        weighted_values::<E, V, H, 2>(seen, values, after, columns, column, out)
                    }
                    _ => weighted_values::<E, V, H, 1>(seen, values, after, columns, column, out),
                };
            }
        }
    }
}

impl<E> PartialAttention<'_, E> {
    /// Makes of the scores of `count` positions the weights of those that a head of a query sees, and 0 of the others.
    /// Returns the greatest score and the sum of the weights.
    ///
    /// Whole vectors are computed, whatever is in them beside: what positions are left over would take longer one by one.
    ///
    /// # Safety
    /// See [`Vectorized::run`].
    #[inline(always)]
    unsafe fn softmax<V: F32x16>(
        &self,
        scores: &mut TileWeights,
        count: usize,
        seen: &Range<usize>,
        row: usize,
        head: usize,
        origin: usize,
    ) -> [f32; MAX_AND_SUM] {
        let vectors = &mut scores[..count.div_ceil(LANES)];
        if seen.is_empty() {
            for vector in vectors {
                *vector = [0.0; LANES];
            }
            return [f32::NEG_INFINITY, 0.0];
        }
        let numbers = vectors.as_flattened_mut();
        let scale = self.queries.scale;
        for score in numbers.iter_mut() {
            *score *= scale;
        }
        if let Some(cap) = self.queries.cap {
            for score in numbers.iter_mut() {
                *score = cap * tanh::<V>(*score / cap);
            }
        }
        numbers[..seen.start].fill(f32::NEG_INFINITY);
        numbers[seen.end..].fill(f32::NEG_INFINITY);
        if let Some(bias) = self.queries.bias {
            let own = self.queries.first + row;
            bias.add(head, own, origin + seen.start, &mut numbers[seen.clone()]);
        }
        // SAFETY: the caller's promise.
        let best = unsafe { max::<V>(numbers) };
        let (start, len) = (seen.start as u32, seen.len() as u32);
        for (index, vector) in vectors.iter_mut().enumerate() {
            for (lane, score) in vector.iter_mut().enumerate() {
                let weight = exp::<V>(*score - best);
                let place = (index * LANES) as u32 + lane as u32;
                let is_seen = place.wrapping_sub(start) < len;
                *score = if is_seen { weight } else { 0.0 };
            }
        }
        let numbers = vectors.as_flattened();
        // SAFETY: the caller's promise.
        [best, unsafe { sum::<V>(numbers) }]
    }
}

/// Scores: the products of queries and keys, two pages at a time.
///
/// # Safety
/// The processor has the instructions of `V`.
#[inline(always)]
unsafe fn scores<E: Element, V: F32x16, const H: usize>(
    queries: [&[f32]; H],
    pages: &[&[[E; LANES]]],
    width: usize,
    scores: &mut [TileWeights; H],
) {
    let last = pages.len() - 1;
    let keys = |page: usize| &pages[page][..width];
    // Behind the last keys come the first values.
    let next = |page: usize| match page <= last {
        true => keys(page),
        false => &pages[(page - last - 1).min(last)][width..][..width],
    };
    for index in (0..pages.len()).step_by(2) {
        let next = [next(index + 2), next(index + 3)];
        // SAFETY: the caller's promise.
        unsafe {
            if index < last {
                let pair = [keys(index), keys(index + 1)];
                products::<E, V, H, 2>(queries, pair, next, index, scores);
            } else {
                products::<E, V, H, 1>(queries, [keys(index)], [next[0]], index, scores);
            }
        }
    }
}

/// The scores of `B` pages, from page `index` of the tile on. The keys of the `next` pages are prefetched: hardware
/// prefetchers stop at the border of a memory page.
///
/// # Safety
/// The processor has the instructions of `V`.
#[inline(always)]
unsafe fn products<E: Element, V: F32x16, const H: usize, const B: usize>(
    queries: [&[f32]; H],
    keys: [&[[E; LANES]]; B],
    next: [&[[E; LANES]]; B],
    index: usize,
    scores: &mut [TileWeights; H],
) {
    let width = queries[0].len();
    let queries = queries.map(|query| &query[..width]);
    let keys = keys.map(|keys| &keys[..width]);
    let next = next.map(|next| &next[..width]);
    // SAFETY: the caller's promise.
    unsafe {
        let mut sums = [[V::splat(0.0); B]; H];
        for d in 0..width {
            let mut key = [V::splat(0.0); B];
            for b in 0..B {
                key[b] = E::load(&keys[b][d]);
                V::prefetch(&raw const next[b][d]);
            }
            for h in 0..H {
                let query = V::splat(queries[h][d]);
                for b in 0..B {
                    sums[h][b] = key[b].mul_add(query, sums[h][b]);
                }
            }
        }
        for h in 0..H {
            for b in 0..B {
                sums[h][b].store(&mut scores[h][index + b]);
            }
        }
    }
}

/// `Σ weight · value` over the positions of pages, for `N` vectors of a value from `column` on. Returns `N`.
///
/// # Safety
/// The processor has the instructions of `V`.
#[inline(always)]
unsafe fn weighted_values<E: Element, V: F32x16, const H: usize, const N: usize>(
    weights: [&[f32]; H],
    pages: &[&[[E; LANES]]],
    after: *const [E; LANES],
    columns: usize,
    column: usize,
    out: &mut [f32],
) -> usize {
    let one = MAX_AND_SUM + columns * LANES;
    // SAFETY: the caller's promise.
    unsafe {
        let mut sums = [[V::splat(0.0); N]; H];
        let mut start = 0;
        for (index, values) in pages.iter().enumerate() {
            let next = pages.get(index + 1).map_or(after, |page| page.as_ptr());
            let count = values.len() / columns;
            let weights = weights.map(|weights| weights[start..][..count].as_ptr());
            start += count;
            for (position, value) in values.chunks_exact(columns).enumerate() {
                let value = &value[column..][..N];
                let mut wide = [V::splat(0.0); N];
                for n in 0..N {
                    wide[n] = E::load(&value[n]);
                    V::prefetch(next.wrapping_add(position * columns + column + n));
                }
                for h in 0..H {
                    // Each slice of weights has as many numbers as there are positions here.
                    let weight = V::splat(*weights[h].add(position));
                    for n in 0..N {
                        sums[h][n] = wide[n].mul_add(weight, sums[h][n]);
                    }
                }
            }
        }
        for h in 0..H {
            let mixed = &mut out[h * one + MAX_AND_SUM..][..columns * LANES];
            let mixed = &mut mixed.as_chunks_mut().0[column..][..N];
            for n in 0..N {
                sums[h][n].store(&mut mixed[n]);
            }
        }
    }
    N
}

/// Resets the beginning of a partial result to that of no position; what follows counts for nothing then.
#[inline(always)]
pub(super) fn reset(max_and_sum: &mut [f32]) {
    max_and_sum[0] = f32::NEG_INFINITY;
    max_and_sum[1] = 0.0;
}

/// Merges the partial results of a head into `out`, in their order.
pub(super) struct MergePartials<'a, P> {
    pub(super) parts: P,
    pub(super) out: &'a mut [f32],
}

impl<'a, P: Iterator<Item = &'a [f32]>> Vectorized for MergePartials<'_, P> {
    #[inline(always)]
    unsafe fn run<V: F32x16>(self) {
        for part in self.parts {
            // SAFETY: the caller's promise.
            unsafe { merge_partial_softmax::<V>(self.out, part) };
        }
    }
}

/// Merges a partial softmax into another: both are rescaled to their common maximum.
///
/// # Safety
/// The processor has the instructions of `V`.
#[inline(always)]
unsafe fn merge_partial_softmax<V: F32x16>(out: &mut [f32], more: &[f32]) {
    let (max_and_sum, mixed) = out.split_at_mut(MAX_AND_SUM);
    let (more, more_mixed) = more.split_at(MAX_AND_SUM);
    if more[1] == 0.0 {
        return;
    }
    let chunks = mixed
        .as_chunks_mut()
        .0
        .iter_mut()
        .zip(more_mixed.as_chunks().0);
    if max_and_sum[1] == 0.0 {
        max_and_sum.copy_from_slice(more);
        for (mixed, more) in chunks {
            // SAFETY: the caller's promise.
            unsafe { V::load(more).store(mixed) };
        }
        return;
    }
    let best = max_and_sum[0].max(more[0]);
    let (kept, added) = (exp::<V>(max_and_sum[0] - best), exp::<V>(more[0] - best));
    max_and_sum[1] = max_and_sum[1] * kept + more[1] * added;
    max_and_sum[0] = best;
    // SAFETY: the caller's promise.
    unsafe {
        let (kept, added) = (V::splat(kept), V::splat(added));
        for (mixed, more) in chunks {
            let more = V::load(more).mul(added);
            V::load(mixed).mul_add(kept, more).store(mixed);
        }
    }
}
