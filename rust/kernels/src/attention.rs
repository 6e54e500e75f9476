//! Attention of queries over cached keys and values (Vaswani et al. 2017), several heads of which may
//! share keys (Ainslie et al. 2023, GQA).
//!
//! Scores are never all there at once: positions are taken a stretch at a time, each with a softmax of
//! its own, and what the stretches give is put together (Dao et al. 2022, "FlashAttention"). Where there
//! are few queries, stretches are threads' parts, so that there is work for all however few heads there
//! are (Dao et al. 2023, "Flash-Decoding for long-context inference").

mod cache;
mod queries;
mod stretch;

use std::ops::Range;

pub use cache::{KV_PAGE, KvCache, KvMemory, KvPage, Strided};
pub use queries::Queries;

use crate::dispatch::dispatch;
use crate::team::for_each_part;
use stretch::{Join, STRETCH, SUMMARY, nothing};

/// Numbers of keys that are looked at below which one thread does all.
const WORTH_THREADS: usize = 1 << 14;

/// Rows up to which each stretch of positions is a part; above, rows are enough parts.
const FEW: usize = 32;

/// Rows of a part where there are many: with all heads of a group, they look at a stretch while it is in
/// a core's cache.
const ROWS: usize = 16;

/// Lets the queries of several sequences look at their keys and values. The answers, a row of
/// `heads × width` numbers for each query, are written to `out` one behind the other.
///
/// An answer depends on its own query and what it sees alone, to the last bit: not on which other rows
/// are asked for with it, and not on the number of threads.
///
/// # Panics
/// When `out` has another size, when the heads of queries are no multiple of those of keys, or when a
/// query sees more positions than its cache has room for.
pub fn attend(all: &[Queries], out: &mut [f32]) {
    for queries in all {
        let (heads, kv_heads) = (queries.heads, queries.cache.kv_heads());
        assert_eq!(heads % kv_heads, 0, "{heads} heads over {kv_heads}");
        let end = queries.first + queries.rows.rows;
        assert!(end <= queries.cache.capacity(), "room for {end} positions");
    }
    let tiles: Vec<Tile> = all.iter().flat_map(tiles).collect();
    let mut summaries = vec![0f32; tiles.iter().map(Tile::summaries_len).sum()];
    let mut rest = &mut summaries[..];
    let mut parts = Vec::new();
    for tile in &tiles {
        let (own, behind) = rest.split_at_mut(tile.summaries_len());
        parts.extend(tile.parts(own));
        rest = behind;
    }
    let worth_threads = tiles.iter().map(Tile::work).sum::<usize>() >= WORTH_THREADS;
    run(worth_threads, parts, |(span, out): (Span, &mut [f32])| {
        span.queries.cache.attend(span, out);
    });
    let (mut rest, mut out) = (&summaries[..], out);
    let mut answers = Vec::with_capacity(tiles.len());
    for tile in &tiles {
        let (own, behind) = rest.split_at(tile.summaries_len());
        let (answer, out_behind) = out.split_at_mut(tile.answers_len());
        answers.push((tile, own, answer));
        (rest, out) = (behind, out_behind);
    }
    assert!(out.is_empty(), "the size of the output");
    run(
        worth_threads,
        answers,
        |(tile, own, answer): (&Tile, _, _)| {
            tile.join(own, answer);
        },
    );
}

/// Calls `one` with each part, on several threads if that is worth it.
fn run<T: Send>(worth_threads: bool, parts: Vec<T>, one: impl Fn(T) + Sync) {
    match worth_threads {
        false => parts.into_iter().for_each(one),
        true => for_each_part(parts, one),
    }
}

/// What a thread looks at: some rows, the heads that share one of keys, and a range of positions.
#[derive(Debug, Clone)]
pub(crate) struct Span<'a> {
    queries: &'a Queries<'a>,
    kv_head: usize,
    rows: Range<usize>,
    positions: Range<usize>,
}

/// Some rows of a sequence.
struct Tile<'a> {
    queries: &'a Queries<'a>,
    rows: Range<usize>,
    /// Ranges of positions, in their order.
    splits: Vec<Range<usize>>,
}

/// The rows of a sequence, in their order.
fn tiles<'a>(queries: &'a Queries<'a>) -> Vec<Tile<'a>> {
    let count = queries.rows.rows;
    (0..count)
        .step_by(ROWS)
        .map(|start| {
            let rows = start..(start + ROWS).min(count);
            let seen = queries.seen_by(&rows);
            let each = match count <= FEW {
                true => STRETCH,
                false => seen.end,
            };
            let splits = (seen.start / each * each..seen.end)
                .step_by(each)
                .map(|start| start.max(seen.start)..(start + each).min(seen.end))
                .collect();
            Tile {
                queries,
                rows,
                splits,
            }
        })
        .collect()
}

impl<'a> Tile<'a> {
    /// Its parts, each with the place for what it sees.
    fn parts<'b>(
        &'b self,
        summaries: &'b mut [f32],
    ) -> impl Iterator<Item = (Span<'a>, &'b mut [f32])> {
        let spans = (0..self.queries.cache.kv_heads()).flat_map(move |kv_head| {
            self.splits.iter().map(move |positions| Span {
                queries: self.queries,
                kv_head,
                rows: self.rows.clone(),
                positions: positions.clone(),
            })
        });
        spans.zip(summaries.chunks_exact_mut(self.part_len()))
    }

    /// Numbers of a part.
    fn part_len(&self) -> usize {
        self.rows.len() * self.queries.group() * self.queries.cache.summary_len()
    }

    /// Numbers of all parts.
    fn summaries_len(&self) -> usize {
        self.queries.cache.kv_heads() * self.splits.len() * self.part_len()
    }

    /// Numbers of the answers.
    fn answers_len(&self) -> usize {
        self.rows.len() * self.queries.heads * self.queries.cache.width()
    }

    /// Numbers of keys that rows look at.
    fn work(&self) -> usize {
        let positions: usize = self.splits.iter().map(ExactSizeIterator::len).sum();
        self.rows.len() * positions * self.queries.cache.row_len()
    }

    /// Makes answers of what all parts have seen.
    fn join(&self, summaries: &[f32], answers: &mut [f32]) {
        let (heads, group) = (self.queries.heads, self.queries.group());
        let cache = self.queries.cache;
        let mut seen = vec![0f32; cache.summary_len()];
        for (index, answer) in answers.chunks_exact_mut(cache.width()).enumerate() {
            let (row, head) = (index / heads, index % heads);
            let first = head / group * self.splits.len();
            let at = (row * group + head % group) * cache.summary_len();
            let parts = summaries
                .chunks_exact(self.part_len())
                .skip(first)
                .take(self.splits.len())
                .map(|part| &part[at..][..cache.summary_len()]);
            nothing(&mut seen);
            let join = Join {
                parts,
                out: &mut seen,
            };
            dispatch(cache.instructions(), join);
            let (summary, mixed) = seen.split_at(SUMMARY);
            for (answer, mixed) in answer.iter_mut().zip(mixed) {
                *answer = mixed / summary[1];
            }
        }
    }
}
