//! Attention of some heads over a stretch of positions.

use std::ops::Range;

use super::cache::{KV_PAGE, Store};
use super::queries::Queries;
use crate::LANES;
use crate::dispatch::Vectorised;
use crate::element::Element;
use crate::lanes::Lanes;
use crate::numbers::{exp, greatest, sum};

/// Positions that are looked at together: their keys, values and weights stay in a core's cache.
pub(super) const STRETCH: usize = 256;

/// Pages of a stretch.
pub(super) const PAGES: usize = STRETCH / KV_PAGE;

/// What stands before the mixed values of a head: the greatest score, and the sum of the weights, which
/// are powers of what the scores lie below it.
pub(super) const SUMMARY: usize = 2;

/// A part of one sequence's attention: rows of queries, all heads of them that share keys and values,
/// and a range of positions.
pub(crate) struct Part<'a, E> {
    pub(super) store: Store<'a, E>,
    pub(super) queries: &'a Queries<'a>,
    pub(super) kv_head: usize,
    pub(super) rows: Range<usize>,
    pub(super) positions: Range<usize>,
    /// For each head of each row the summary, then the mixed values.
    pub(super) out: &'a mut [f32],
}

/// Fills `out`. What that is, to the last bit, does not depend on which rows and positions make up a part,
/// as long as the parts of a row are [put together](Join) in their order.
impl<E: Element> Vectorised for Part<'_, E> {
    #[inline(always)]
    unsafe fn run<L: Lanes>(self) {
        let one = self.store.summary_len();
        let heads = self.rows.len() * self.queries.group();
        let mut fresh = vec![0f32; L::HEADS * one];
        for out in self.out.chunks_exact_mut(one) {
            nothing(out);
        }
        let mut start = self.positions.start / STRETCH * STRETCH;
        while start < self.positions.end {
            let stretch =
                start.max(self.positions.start)..(start + STRETCH).min(self.positions.end);
            let mut pages = [&[][..]; PAGES + 1];
            self.store.pages(self.kv_head, &stretch, &mut pages);
            let mut head = 0;
            while head < heads {
                let count = L::HEADS.min(heads - head);
                let fresh = &mut fresh[..count * one];
                // SAFETY: the caller's promise.
                unsafe {
                    match count {
                        4 => self.heads::<L, 4>(&pages, &stretch, head, fresh),
                        3 => self.heads::<L, 3>(&pages, &stretch, head, fresh),
                        2 => self.heads::<L, 2>(&pages, &stretch, head, fresh),
                        _ => self.heads::<L, 1>(&pages, &stretch, head, fresh),
                    }
                    let out = &mut self.out[head * one..][..count * one];
                    for (out, fresh) in out.chunks_exact_mut(one).zip(fresh.chunks_exact(one)) {
                        fold::<L>(out, fresh);
                    }
                }
                head += count;
            }
            start += STRETCH;
        }
    }
}

impl<E: Element> Part<'_, E> {
    /// Fills `out` with what `H` heads from the one numbered `first` on see in a stretch.
    ///
    /// # Safety
    /// See [`Vectorised::run`].
    #[inline(always)]
    unsafe fn heads<L: Lanes, const H: usize>(
        &self,
        all_pages: &[&[[E; LANES]]; PAGES + 1],
        stretch: &Range<usize>,
        first: usize,
        out: &mut [f32],
    ) {
        let group = self.queries.group();
        let one = self.store.summary_len();
        let mut seen = [const { 0..0 }; H];
        let mut queries = [&[][..]; H];
        let mut all = stretch.end..stretch.start;
        for h in 0..H {
            let row = self.rows.start + (first + h) / group;
            let head = self.kv_head * group + (first + h) % group;
            queries[h] = self.queries.head(row, head);
            let range = self.queries.seen(row);
            seen[h] = range.start.max(stretch.start)..range.end.min(stretch.end);
            if !seen[h].is_empty() {
                all = all.start.min(seen[h].start)..all.end.max(seen[h].end);
            }
            nothing(&mut out[h * one..][..one]);
        }
        if all.is_empty() {
            return;
        }
        let width = self.queries.cache.width();
        // The pages of the stretch that some of the heads see.
        let base = stretch.start / STRETCH * STRETCH;
        let pages = &all_pages[(all.start - base) / KV_PAGE..(all.end - base).div_ceil(KV_PAGE)];
        let origin = all.start / KV_PAGE * KV_PAGE;
        let mut weights = [[[0f32; LANES]; STRETCH / LANES]; H];
        // SAFETY: the caller's promise.
        unsafe { scores::<E, L, H>(queries, pages, width, &mut weights) };
        for h in 0..H {
            let weights = &mut weights[h].as_flattened_mut()[..all.end - origin];
            if seen[h].is_empty() {
                weights.fill(0.0);
                continue;
            }
            weights[..seen[h].start - origin].fill(0.0);
            weights[seen[h].end - origin..].fill(0.0);
            let weights = &mut weights[seen[h].start - origin..seen[h].end - origin];
            for weight in weights.iter_mut() {
                *weight *= self.queries.scale;
            }
            let best = greatest(weights);
            for weight in weights.iter_mut() {
                *weight = exp(*weight - best);
            }
            out[h * one] = best;
            out[h * one + 1] = sum(weights);
        }
        let columns = self.store.columns();
        let mut values = [&[][..]; PAGES];
        for (index, (values, page)) in values.iter_mut().zip(pages).enumerate() {
            let first = origin + index * KV_PAGE;
            let from = all.start.max(first) - first;
            let to = all.end.min(first + KV_PAGE) - first;
            *values = &page[width + from * columns..width + to * columns];
        }
        let values = &values[..pages.len()];
        // What is read after the last values: the keys of the next stretch.
        let after = all_pages[PAGES].as_ptr();
        let mut seen = [&[][..]; H];
        for h in 0..H {
            seen[h] = &weights[h].as_flattened()[all.start - origin..all.end - origin];
        }
        let mut column = 0;
        while column < columns {
            let left = L::COLUMNS.min(columns - column);
            // SAFETY: the caller's promise.
            unsafe {
                column += match left {
                    4 => mix::<E, L, H, 4>(seen, values, after, columns, column, out),
                    2 | 3 => mix::<E, L, H, 2>(seen, values, after, columns, column, out),
                    _ => mix::<E, L, H, 1>(seen, values, after, columns, column, out),
                };
            }
        }
    }
}

/// The products of queries and the keys of pages, two pages at a time.
///
/// # Safety
/// The processor has the instructions of `L`.
#[inline(always)]
unsafe fn scores<E: Element, L: Lanes, const H: usize>(
    queries: [&[f32]; H],
    pages: &[&[[E; LANES]]],
    width: usize,
    scores: &mut [[[f32; LANES]; STRETCH / LANES]; H],
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
                products::<E, L, H, 2>(queries, pair, next, index, scores);
            } else {
                products::<E, L, H, 1>(queries, [keys(index)], [next[0]], index, scores);
            }
        }
    }
}

/// The products of queries and the keys of `B` pages, the first of which has the number `index` among
/// the scores. Memory is asked for the keys that come `next`: processors do so by themselves, but not across
/// the borders of pages of memory, of which heads have a lot.
///
/// # Safety
/// The processor has the instructions of `L`.
#[inline(always)]
unsafe fn products<E: Element, L: Lanes, const H: usize, const B: usize>(
    queries: [&[f32]; H],
    keys: [&[[E; LANES]]; B],
    next: [&[[E; LANES]]; B],
    index: usize,
    scores: &mut [[[f32; LANES]; STRETCH / LANES]; H],
) {
    let width = queries[0].len();
    let queries = queries.map(|query| &query[..width]);
    let keys = keys.map(|keys| &keys[..width]);
    let next = next.map(|next| &next[..width]);
    // SAFETY: the caller's promise.
    unsafe {
        let mut sums = [[L::splat(0.0); B]; H];
        for d in 0..width {
            let mut key = [L::splat(0.0); B];
            for b in 0..B {
                key[b] = E::load(&keys[b][d]);
                L::prefetch(&raw const next[b][d]);
            }
            for h in 0..H {
                let query = L::splat(queries[h][d]);
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

/// Writes the sums of the values of pages, each times its weight, for `N` sixteens of a value from `column`
/// on. Answers with `N`.
///
/// # Safety
/// The processor has the instructions of `L`.
#[inline(always)]
unsafe fn mix<E: Element, L: Lanes, const H: usize, const N: usize>(
    weights: [&[f32]; H],
    pages: &[&[[E; LANES]]],
    after: *const [E; LANES],
    columns: usize,
    column: usize,
    out: &mut [f32],
) -> usize {
    let one = SUMMARY + columns * LANES;
    // SAFETY: the caller's promise.
    unsafe {
        let mut sums = [[L::splat(0.0); N]; H];
        let mut start = 0;
        for (index, values) in pages.iter().enumerate() {
            let next = pages.get(index + 1).map_or(after, |page| page.as_ptr());
            let count = values.len() / columns;
            let weights = weights.map(|weights| &weights[start..][..count]);
            start += count;
            for (position, value) in values.chunks_exact(columns).enumerate() {
                let value = &value[column..][..N];
                let mut wide = [L::splat(0.0); N];
                for n in 0..N {
                    wide[n] = E::load(&value[n]);
                    L::prefetch(next.wrapping_add(position * columns + column + n));
                }
                for h in 0..H {
                    let weight = L::splat(weights[h][position]);
                    for n in 0..N {
                        sums[h][n] = wide[n].mul_add(weight, sums[h][n]);
                    }
                }
            }
        }
        for h in 0..H {
            let mixed = &mut out[h * one + SUMMARY..][..columns * LANES];
            let mixed = &mut mixed.as_chunks_mut().0[column..][..N];
            for n in 0..N {
                sums[h][n].store(&mut mixed[n]);
            }
        }
    }
    N
}

/// What a head is that has seen no position.
pub(super) fn nothing(out: &mut [f32]) {
    out.fill(0.0);
    out[0] = f32::NEG_INFINITY;
}

/// Puts parts of a head, each as long as `out`, together in their order.
pub(super) struct Join<'a, P> {
    pub(super) parts: P,
    /// What was seen before.
    pub(super) out: &'a mut [f32],
}

impl<'a, P: Iterator<Item = &'a [f32]>> Vectorised for Join<'_, P> {
    #[inline(always)]
    unsafe fn run<L: Lanes>(self) {
        for part in self.parts {
            // SAFETY: the caller's promise.
            unsafe { fold::<L>(self.out, part) };
        }
    }
}

/// Adds what a head has seen in `more` to what it saw before.
///
/// # Safety
/// The processor has the instructions of `L`.
#[inline(always)]
unsafe fn fold<L: Lanes>(out: &mut [f32], more: &[f32]) {
    let (summary, mixed) = out.split_at_mut(SUMMARY);
    let (more, more_mixed) = more.split_at(SUMMARY);
    if more[1] == 0.0 {
        return;
    }
    let best = summary[0].max(more[0]);
    let (kept, added) = (exp(summary[0] - best), exp(more[0] - best));
    summary[1] = summary[1] * kept + more[1] * added;
    summary[0] = best;
    let mixed = mixed.as_chunks_mut().0;
    // SAFETY: the caller's promise.
    unsafe {
        let (kept, added) = (L::splat(kept), L::splat(added));
        for (mixed, more) in mixed.iter_mut().zip(more_mixed.as_chunks().0) {
            let more = L::load(more).mul(added);
            L::load(mixed).mul_add(kept, more).store(mixed);
        }
    }
}
