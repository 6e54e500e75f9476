//! Finds where the last n-gram of a text occurred before, by hash chains as LZ77 compressors do.

use std::collections::HashMap;

/// Shortest match in tokens.
const SHORTEST: usize = 3;

/// Longest match that is told from shorter ones.
const LONGEST: usize = 32;

/// Most places that are compared, from the last one.
const MOST_PLACES: usize = 32;

/// The places of all n-grams of [`SHORTEST`] tokens.
#[derive(Debug, Default)]
pub(super) struct Ngrams {
    /// The last place behind an n-gram.
    last: HashMap<[u32; SHORTEST], usize>,
    /// For each place, the one before it with the same n-gram.
    before: Vec<Option<usize>>,
}

/// A place where the last tokens occurred.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Match {
    /// The index of the token that followed there.
    pub(super) next: usize,
    /// How many tokens are equal.
    pub(super) length: usize,
}

impl Ngrams {
    /// Indexes the new tokens of `context` and finds the longest match of its end; of equally long ones the last.
    pub(super) fn find(&mut self, context: &[u32]) -> Option<Match> {
        for end in self.before.len()..=context.len() {
            let before = match last_of(&context[..end]) {
                Some(sequence) => self.last.insert(sequence, end),
                None => None,
            };
            self.before.push(before);
        }
        let mut best: Option<Match> = None;
        let mut place = self.before[context.len()];
        for _ in 0..MOST_PLACES {
            let Some(next) = place else {
                break;
            };
            let pairs = context[..next].iter().rev().zip(context.iter().rev());
            let length = pairs.take(LONGEST).take_while(|(a, b)| a == b).count();
            if best.is_none_or(|best| length > best.length) {
                best = Some(Match { next, length });
            }
            place = self.before[next];
        }
        best
    }
}

fn last_of(context: &[u32]) -> Option<[u32; SHORTEST]> {
    context.last_chunk().copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(context: &[u32]) -> Option<(usize, usize)> {
        let found = Ngrams::default().find(context);
        found.map(|found| (found.next, found.length))
    }

    #[test]
    fn the_longest_match_counts_and_of_equal_ones_the_last() {
        assert_eq!(found(&[]), None);
        assert_eq!(found(&[1, 2, 3, 4]), None);
        assert_eq!(found(&[2, 3, 9, 2, 3]), None);
        assert_eq!(found(&[1, 2, 3, 9, 1, 2, 3]), Some((3, 3)));
        assert_eq!(found(&[1, 2, 3, 8, 1, 2, 3, 9, 1, 2, 3]), Some((7, 3)));
        assert_eq!(
            found(&[5, 1, 2, 3, 8, 1, 2, 3, 9, 5, 1, 2, 3]),
            Some((4, 4))
        );
        assert_eq!(found(&[7; 6]), Some((5, 5)));
    }

    #[test]
    fn what_comes_later_is_taken_in() {
        let mut ngrams = Ngrams::default();
        let context = [1, 2, 3, 4, 5, 1, 2, 3, 4];
        assert_eq!(ngrams.find(&context[..4]), None);
        assert_eq!(ngrams.find(&context[..7]), None);
        let found = Match { next: 4, length: 4 };
        assert_eq!(ngrams.find(&context), Some(found));
    }
}
