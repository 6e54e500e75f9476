//! Divides attention into tasks for the thread team, and merges their partial results.

use std::ops::Range;

use candle_core::DType;
use half::{bf16, f16};

use super::cache::KV_TILE;
use super::queries::Queries;
use super::tile::{MAX_AND_SUM, MergePartials, PartialAttention, partial_len, reset};
use crate::dispatch::dispatch;
use crate::simd::Element;
use crate::team::for_each_part;

/// Multiplications of queries and keys below which one thread does all.
const WORTH_THREADS: usize = 1 << 14;

/// Up to so many queries each KV tile is a task of its own; with more, there are enough tasks.
const FEW_ROWS: usize = 32;

/// Queries of a task where there are many: all of them use a KV tile while it is in a core's cache.
const TILE_ROWS: usize = 16;

/// Computes attention for the queries of several sequences. `out` becomes `[queries, heads × width]`, the queries of
/// all sequences behind each other.
///
/// A result depends, to the last bit, on its own query and the positions that it sees alone: not on the other
/// queries, nor on the number of threads.
///
/// # Panics
/// When `out` has another size, when the heads of queries are no multiple of those of keys, when there is another number of
/// sinks than of heads, or when a query sees more positions than its cache has room for.
pub fn attend(all: &[Queries], out: &mut [f32]) {
    for queries in all {
        let (heads, kv_heads) = (queries.heads, queries.cache.kv_heads());
        assert_eq!(heads % kv_heads, 0, "{heads} heads over {kv_heads}");
        let sinks = queries.sinks.map_or(heads, <[f32]>::len);
        assert_eq!(sinks, heads, "{sinks} sinks for {heads} heads");
        let end = queries.first + queries.rows.rows;
        assert!(end <= queries.cache.capacity(), "room for {end} positions");
    }
    let tiles: Vec<RowTile> = all.iter().flat_map(tiles).collect();
    let mut partials = vec![0f32; tiles.iter().map(RowTile::partials_len).sum()];
    let mut rest = &mut partials[..];
    let mut parts = Vec::new();
    for tile in &tiles {
        let (own, behind) = rest.split_at_mut(tile.partials_len());
        parts.extend(tile.parts(own));
        rest = behind;
    }
    let worth_threads = tiles.iter().map(RowTile::work).sum::<usize>() >= WORTH_THREADS;
    run(worth_threads, parts, |(task, out): (Task, &mut [f32])| {
        task.run(out);
    });
    let (mut rest, mut out) = (&partials[..], out);
    let mut answers = Vec::with_capacity(tiles.len());
    for tile in &tiles {
        let (own, behind) = rest.split_at(tile.partials_len());
        let (answer, out_behind) = out.split_at_mut(tile.answers_len());
        answers.push((tile, own, answer));
        (rest, out) = (behind, out_behind);
    }
    assert!(out.is_empty(), "the size of the output");
    run(
        worth_threads,
        answers,
        |(tile, own, answer): (&RowTile, _, _)| {
            tile.join(own, answer);
        },
    );
}

/// Calls `one` with each part, on all threads if that is worth it.
fn run<T: Send>(worth_threads: bool, parts: Vec<T>, one: impl Fn(T) + Sync) {
    match worth_threads {
        false => parts.into_iter().for_each(one),
        true => for_each_part(parts, one),
    }
}

/// The work of a thread: some queries, one head of keys and values, and a range of positions.
#[derive(Debug, Clone)]
struct Task<'a> {
    queries: &'a Queries<'a>,
    kv_head: usize,
    rows: Range<usize>,
    positions: Range<usize>,
}

/// Some queries of a sequence.
struct RowTile<'a> {
    queries: &'a Queries<'a>,
    rows: Range<usize>,
    /// Ranges of positions, ascending.
    splits: Vec<Range<usize>>,
}

/// Divides the queries of a sequence.
fn tiles<'a>(queries: &'a Queries<'a>) -> Vec<RowTile<'a>> {
    let count = queries.rows.rows;
    (0..count)
        .step_by(TILE_ROWS)
        .map(|start| {
            let rows = start..(start + TILE_ROWS).min(count);
            let seen = queries.seen_by(&rows);
            let each = match count <= FEW_ROWS {
                true => KV_TILE,
                false => seen.end,
            };
            let splits = (seen.start / each * each..seen.end)
                .step_by(each)
                .map(|start| start.max(seen.start)..(start + each).min(seen.end))
                .collect();
            RowTile {
                queries,
                rows,
                splits,
            }
        })
        .collect()
}

impl Task<'_> {
    fn run(self, out: &mut [f32]) {
        match self.queries.cache.dtype() {
            DType::F32 => self.run_as::<f32>(out),
            DType::F16 => self.run_as::<f16>(out),
            _ => self.run_as::<bf16>(out),
        }
    }

    fn run_as<E: Element>(self, out: &mut [f32]) {
        let partial = PartialAttention::<E> {
            cache: self.queries.cache.typed(),
            queries: self.queries,
            kv_head: self.kv_head,
            rows: self.rows,
            positions: self.positions,
            out,
        };
        dispatch(self.queries.cache.instructions(), partial);
    }
}

impl<'a> RowTile<'a> {
    /// The tasks, each with the memory of its partial results.
    fn parts<'b>(
        &'b self,
        partials: &'b mut [f32],
    ) -> impl Iterator<Item = (Task<'a>, &'b mut [f32])> {
        let tasks = (0..self.queries.cache.kv_heads()).flat_map(move |kv_head| {
            self.splits.iter().map(move |positions| Task {
                queries: self.queries,
                kv_head,
                rows: self.rows.clone(),
                positions: positions.clone(),
            })
        });
        tasks.zip(partials.chunks_exact_mut(self.part_len()))
    }

    /// Length of the partial results of a task.
    fn part_len(&self) -> usize {
        self.rows.len() * self.queries.group() * partial_len(self.queries.cache.width())
    }

    /// Length of all partial results.
    fn partials_len(&self) -> usize {
        self.queries.cache.kv_heads() * self.splits.len() * self.part_len()
    }

    /// Length of the results.
    fn answers_len(&self) -> usize {
        self.rows.len() * self.queries.heads * self.queries.cache.width()
    }

    /// Multiplications of queries and keys.
    fn work(&self) -> usize {
        let positions: usize = self.splits.iter().map(ExactSizeIterator::len).sum();
        self.rows.len() * positions * self.queries.cache.row_len()
    }

    /// Merges the partial results of all tasks, and divides by the sums of the weights.
    fn join(&self, partials: &[f32], answers: &mut [f32]) {
        let (heads, group) = (self.queries.heads, self.queries.group());
        let cache = self.queries.cache;
        let partial = partial_len(cache.width());
        let mut seen = vec![0f32; partial];
        for (index, answer) in answers.chunks_exact_mut(cache.width()).enumerate() {
            let (row, head) = (index / heads, index % heads);
            let first = head / group * self.splits.len();
            let at = (row * group + head % group) * partial;
            let parts = partials
                .chunks_exact(self.part_len())
                .skip(first)
                .take(self.splits.len())
                .map(|part| &part[at..][..partial]);
            reset(&mut seen[..MAX_AND_SUM]);
            let join = MergePartials {
                parts,
                out: &mut seen,
            };
            dispatch(cache.instructions(), join);
            let (max_and_sum, mixed) = seen.split_at(MAX_AND_SUM);
            let [greatest, sum] = [max_and_sum[0], max_and_sum[1]];
            let sink = self
                .queries
                .sinks
                .map_or(0.0, |sinks| (sinks[head] - greatest).exp());
            for (answer, mixed) in answer.iter_mut().zip(mixed) {
                *answer = mixed / (sum + sink);
            }
        }
    }
}
