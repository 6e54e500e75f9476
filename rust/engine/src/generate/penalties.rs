//! What makes tokens less probable because of those before them.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::Sampling;

/// Penalties for repeating sequences ("don't repeat yourself"), after
/// <https://github.com/oobabooga/text-generation-webui/pull/5677>.
#[derive(Debug, Clone, PartialEq)]
pub struct Dry {
    /// What a sequence of the allowed length costs; above 0.
    pub multiplier: f64,
    /// By what the cost grows with each further token; at least 1.
    pub base: f64,
    /// The longest sequence that may be repeated for nothing.
    pub allowed_length: usize,
    /// Texts whose tokens no sequence reaches across, such as ends of lines.
    pub breaker_texts: Vec<String>,
    /// Those tokens.
    pub breakers: Arc<HashSet<u32>>,
}

/// Lowers the logits of tokens that would repeat something, where `sampling` asks for it. Of `context`, the
/// first `prompt` tokens are not the model's own.
pub(super) fn apply(sampling: &Sampling, logits: &mut [f32], context: &[u32], prompt: usize) {
    let window = sampling.repeat_window.unwrap_or(context.len());
    let start = context.len().saturating_sub(window);
    repetition(sampling.repeat_penalty as f32, logits, &context[start..]);
    let own = &context[start.max(prompt).min(context.len())..];
    occurrences(
        sampling.presence_penalty as f32,
        sampling.frequency_penalty as f32,
        logits,
        own,
    );
    if let Some(dry) = &sampling.dry {
        sequences(dry, logits, &context[start..]);
    }
    if sampling.no_repeat_ngram_size > 0 {
        repeated_ngrams(sampling.no_repeat_ngram_size, logits, context);
    }
}

/// Keskar et al. 2019 (CTRL): positive logits are divided, negative ones multiplied.
fn repetition(penalty: f32, logits: &mut [f32], recent: &[u32]) {
    if penalty == 1.0 {
        return;
    }
    for id in recent.iter().copied().collect::<HashSet<u32>>() {
        if let Some(logit) = logits.get_mut(id as usize) {
            *logit = if *logit > 0.0 {
                *logit / penalty
            } else {
                *logit * penalty
            };
        }
    }
}

/// As OpenAI's interface has them: one amount for a token that occurred, one for each time that it did.
fn occurrences(presence: f32, frequency: f32, logits: &mut [f32], own: &[u32]) {
    if presence == 0.0 && frequency == 0.0 {
        return;
    }
    let mut counts: HashMap<u32, f32> = HashMap::new();
    for id in own {
        *counts.entry(*id).or_default() += 1.0;
    }
    for (id, count) in counts {
        if let Some(logit) = logits.get_mut(id as usize) {
            *logit -= presence + frequency * count;
        }
    }
}

/// Lowers what would make the end of `context` the beginning of something that occurred: the longer what
/// would be repeated, the more.
fn sequences(dry: &Dry, logits: &mut [f32], context: &[u32]) {
    let reversed: Vec<u32> = context.iter().rev().copied().collect();
    let reach = reversed
        .iter()
        .position(|id| dry.breakers.contains(id))
        .unwrap_or(reversed.len());
    if reach < dry.allowed_length {
        return;
    }
    let mut longest: HashMap<u32, usize> = HashMap::new();
    for (place, length) in common_prefixes(&reversed).into_iter().enumerate().skip(1) {
        let length = length.min(reach);
        if length >= dry.allowed_length {
            let next = reversed[place - 1];
            let known = longest.entry(next).or_default();
            *known = length.max(*known);
        }
    }
    for (id, length) in longest {
        if let Some(logit) = logits.get_mut(id as usize)
            && !dry.breakers.contains(&id)
        {
            let over = (length - dry.allowed_length) as f64;
            let cost = dry.multiplier * dry.base.powf(over);
            *logit -= cost.min(f64::from(f32::MAX)) as f32;
        }
    }
}

/// How many tokens the whole list and its rest from each place on begin with in common (Gusfield's Z
/// algorithm).
fn common_prefixes(list: &[u32]) -> Vec<usize> {
    let mut lengths = vec![0; list.len()];
    // The stretch that reaches farthest of those found so far.
    let (mut start, mut end) = (0, 0);
    for place in 1..list.len() {
        let mut length = 0;
        if place < end {
            length = lengths[place - start].min(end - place);
        }
        while place + length < list.len() && list[length] == list[place + length] {
            length += 1;
        }
        if place + length > end {
            (start, end) = (place, place + length);
        }
        lengths[place] = length;
    }
    lengths
}

/// Forbids what would end a sequence of `size` tokens that occurred.
fn repeated_ngrams(size: usize, logits: &mut [f32], context: &[u32]) {
    let Some(first) = (context.len() + 1).checked_sub(size) else {
        return;
    };
    let prefix = &context[first..];
    for ngram in context.windows(size) {
        let (head, last) = ngram.split_at(size - 1);
        if head == prefix
            && let Some(logit) = logits.get_mut(last[0] as usize)
        {
            *logit = f32::NEG_INFINITY;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sampling(change: impl FnOnce(&mut Sampling)) -> Sampling {
        let mut sampling = Sampling::default();
        change(&mut sampling);
        sampling
    }

    fn applied(sampling: &Sampling, context: &[u32], prompt: usize) -> [f32; 5] {
        let mut logits = [1.0, 2.0, -1.0, 0.5, 3.0];
        apply(sampling, &mut logits, context, prompt);
        logits
    }

    #[test]
    fn repetition_counts_its_window_and_each_token_once() {
        let all = sampling(|s| s.repeat_penalty = 2.0);
        assert_eq!(applied(&all, &[0, 0, 2], 3), [0.5, 2.0, -2.0, 0.5, 3.0]);
        let last = sampling(|s| {
            s.repeat_penalty = 2.0;
            s.repeat_window = Some(1);
        });
        assert_eq!(applied(&last, &[0, 0, 2], 3), [1.0, 2.0, -2.0, 0.5, 3.0]);
    }

    #[test]
    fn presence_and_frequency_count_what_the_model_said_itself() {
        let both = sampling(|s| {
            s.presence_penalty = 0.5;
            s.frequency_penalty = 0.25;
        });
        assert_eq!(
            applied(&both, &[0, 1, 4, 4, 3], 2),
            [1.0, 2.0, -1.0, -0.25, 2.0]
        );
        let windowed = sampling(|s| {
            s.presence_penalty = 0.5;
            s.repeat_window = Some(1);
        });
        assert_eq!(
            applied(&windowed, &[0, 1, 4, 4, 3], 2),
            [1.0, 2.0, -1.0, 0.0, 3.0]
        );
    }

    #[test]
    fn sequences_cost_the_more_the_longer_they_are() {
        let dry = |breakers: &[u32]| {
            let breakers = Arc::new(breakers.iter().copied().collect());
            sampling(|s| {
                s.dry = Some(Dry {
                    multiplier: 1.0,
                    base: 2.0,
                    allowed_length: 1,
                    breaker_texts: Vec::new(),
                    breakers,
                });
            })
        };
        // 1 2 3 4 … 1 2 3: four would follow a sequence of three.
        let context = [1, 2, 3, 4, 0, 1, 2, 3];
        let after = applied(&dry(&[]), &context, 0);
        assert_eq!(after, [1.0, 2.0, -1.0, 0.5, 3.0 - 4.0]);
        // Nothing reaches across a breaker.
        assert_eq!(applied(&dry(&[2]), &context, 0)[4], 3.0 - 1.0);
        assert_eq!(applied(&dry(&[3]), &context, 0)[4], 3.0);
        // Nor is one penalised.
        assert_eq!(applied(&dry(&[4]), &context, 0)[4], 3.0);
    }

    #[test]
    fn ngrams_do_not_occur_twice() {
        let three = sampling(|s| s.no_repeat_ngram_size = 3);
        let after = applied(&three, &[1, 2, 4, 0, 1, 2], 0);
        assert_eq!(after, [1.0, 2.0, -1.0, 0.5, f32::NEG_INFINITY]);
        assert_eq!(applied(&three, &[1], 0), [1.0, 2.0, -1.0, 0.5, 3.0]);
        let one = sampling(|s| s.no_repeat_ngram_size = 1);
        assert_eq!(applied(&one, &[4, 0], 0)[0], f32::NEG_INFINITY);
    }
}
