//! What a model has done since it was loaded, counted for those who watch it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde::Serialize;

/// Counts, and the state of the moment. Counts only grow.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct ModelMetrics {
    /// Generations that ended with an outcome, those of batches included.
    pub requests: u64,
    /// Generations that failed.
    pub failed: u64,
    /// Requests that were refused because the model had as many as it takes.
    pub rejected: u64,
    /// Requests under way.
    pub active: u64,
    /// Requests that wait for a place.
    pub waiting: u64,
    /// Tokens of prompts.
    pub prompt_tokens: u64,
    /// Those of them that were in a KV cache already.
    pub cached_tokens: u64,
    /// New tokens.
    pub generated_tokens: u64,
    /// Milliseconds that requests waited for a place.
    pub wait_ms: f64,
    /// Milliseconds from calls to the logits of their first new tokens.
    pub prefill_ms: f64,
    /// Milliseconds from there to the ends.
    pub decode_ms: f64,
    /// Forward passes, each of one sequence or more; those of the engine `fused` are counted.
    pub passes: u64,
    /// Sequences in all of these passes.
    pub pass_sequences: u64,
    /// Tokens that they computed.
    pub pass_tokens: u64,
    /// Milliseconds that they took.
    pub pass_ms: f64,
    /// Bytes that the keys and values of all sessions use now, what they share counted once; `None` where they
    /// are not counted.
    pub kv_cache_used: Option<u64>,
    /// Bytes that they may use.
    pub kv_cache_limit: Option<u64>,
}

/// A time that grows, from any thread.
#[derive(Debug, Default)]
pub(crate) struct Clock(AtomicU64);

impl Clock {
    pub(crate) fn add(&self, time: Duration) {
        let nanoseconds = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        self.0.fetch_add(nanoseconds, Ordering::Relaxed);
    }

    pub(crate) fn ms(&self) -> f64 {
        self.0.load(Ordering::Relaxed) as f64 / 1e6
    }
}

/// A number that grows, from any thread.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    pub(crate) fn add(&self, count: usize) {
        self.0.fetch_add(count as u64, Ordering::Relaxed);
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// What generations count.
#[derive(Debug, Default)]
pub(crate) struct RequestCounts {
    pub(crate) requests: Counter,
    pub(crate) failed: Counter,
    pub(crate) rejected: Counter,
    pub(crate) prompt_tokens: Counter,
    pub(crate) cached_tokens: Counter,
    pub(crate) generated_tokens: Counter,
    pub(crate) wait: Clock,
    pub(crate) prefill: Clock,
    pub(crate) decode: Clock,
}

/// What forward passes count.
#[derive(Debug, Default)]
pub struct PassCounts {
    pub(crate) passes: Counter,
    pub(crate) sequences: Counter,
    pub(crate) tokens: Counter,
    pub(crate) time: Clock,
}
