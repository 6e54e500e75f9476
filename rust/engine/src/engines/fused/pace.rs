//! How much of the waiting prompts a pass takes.

use std::time::{Duration, Instant};

/// Most rows of prompts in one pass.
const MOST_ROWS: usize = 512;

/// Fewest rows of prompts in one pass: fewer take hardly less time.
pub(super) const LEAST_ROWS: usize = 16;

/// Rows of the first pass with a prompt, before any was measured.
const FIRST_ROWS: usize = 64;

/// How long passes may take while nobody decodes: a call is still cancelled within this time.
const ALONE: Duration = Duration::from_millis(200);

/// How long after its last token a sequence counts as one that decodes.
const RECENT: Duration = Duration::from_secs(1);

/// Measures passes and says how many rows of prompts fit into the next one.
#[derive(Debug)]
pub(super) struct Pace {
    target: Duration,
    /// Seconds of a pass without prompts.
    decode: f64,
    /// Seconds that a row of a prompt adds.
    row: Option<f64>,
    last_decode: Option<Instant>,
}

impl Pace {
    /// A pace of passes that take about `target`.
    pub(super) fn new(target: Duration) -> Self {
        Self {
            target,
            decode: 0.0,
            row: None,
            last_decode: None,
        }
    }

    /// Rows of prompts for a pass beside `decodes` rows of others.
    pub(super) fn rows(&self, decodes: usize) -> usize {
        let Some(row) = self.row else {
            return FIRST_ROWS;
        };
        let recent = |last: Instant| last.elapsed() < RECENT;
        let (target, decode) = match decodes > 0 || self.last_decode.is_some_and(recent) {
            true => (self.target, self.decode),
            false => (self.target.max(ALONE), 0.0),
        };
        // Prompts get the target beside what others take: where that is long, at least half as much.
        let spare = target.as_secs_f64().max(decode / 2.0);
        ((spare / row) as usize).clamp(LEAST_ROWS, MOST_ROWS)
    }

    /// Takes in how long a pass took.
    pub(super) fn observe(&mut self, decodes: usize, rows: usize, took: Duration) {
        let took = took.as_secs_f64();
        if decodes > 0 {
            self.last_decode = Some(Instant::now());
        }
        if rows == 0 {
            self.decode = match self.decode {
                0.0 => took,
                before => before.mul_add(0.8, took * 0.2),
            };
            return;
        }
        let others = if decodes > 0 { self.decode } else { 0.0 };
        let row = (took - others).max(took / 10.0) / rows as f64;
        // What a prompt costs grows with its length, so the last pass counts most.
        self.row = Some(self.row.map_or(row, |before| (before + row) / 2.0));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn s1_passes_with_decoders_take_the_target() {
        let mut pace = Pace::new(50 * MS);
        assert_eq!(pace.rows(1), FIRST_ROWS);
        for _ in 0..20 {
            pace.observe(1, 0, 4 * MS);
            let rows = pace.rows(1);
            pace.observe(1, rows, 4 * MS + MS.mul_f64(rows as f64 / 2.0));
        }
        assert!((97..=102).contains(&pace.rows(1)), "{}", pace.rows(1));
        // Somebody who decoded just now comes back soon.
        assert!(pace.rows(0) <= 102);
    }

    #[test]
    fn s1_alone_a_prompt_may_take_more() {
        let mut pace = Pace::new(50 * MS);
        pace.observe(0, 64, 32 * MS);
        assert_eq!(pace.rows(0), 400);
        pace.observe(0, 300, 3 * MS);
        pace.observe(0, 300, 3 * MS);
        assert_eq!(pace.rows(0), MOST_ROWS);
    }

    #[test]
    fn s1_a_slow_model_still_takes_prompts() {
        let mut pace = Pace::new(50 * MS);
        pace.observe(1, 0, 400 * MS);
        pace.observe(1, 16, 410 * MS);
        assert!(pace.rows(1) > 4 * LEAST_ROWS);
        pace.observe(1, 16, 4000 * MS);
        assert_eq!(pace.rows(1), LEAST_ROWS);
    }
}
