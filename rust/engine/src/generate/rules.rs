//! Applies what a model's own file forbids and forces, as transformers' `LogitsProcessor`s do.

use crate::formats::TokenRules;

/// Where a generation is.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place<'a> {
    /// All tokens so far.
    pub(super) context: &'a [u32],
    /// How many of them are not new.
    pub(super) prompt: usize,
    /// Whether the next token is the last one that the limit allows.
    pub(super) last: bool,
}

impl TokenRules {
    pub(super) fn bias(&self, logits: &mut [f32], place: Place) {
        for (sequence, bias) in &self.sequence_bias {
            if let Some((last, before)) = sequence.split_last()
                && place.context.ends_with(before)
                && let Some(logit) = logits.get_mut(*last as usize)
            {
                *logit += bias;
            }
        }
    }

    /// What comes after the penalties. `eos` are the tokens that end an answer, `min_tokens` are
    /// generated before one of them may.
    pub(super) fn apply(&self, logits: &mut [f32], place: Place, eos: &[u32], min_tokens: usize) {
        let new = place.context.len() - place.prompt;
        if place.context.len() < self.min_length || new < min_tokens {
            forbid(logits, eos);
        }
        if place.last && !self.forced_eos.is_empty() {
            logits.fill(f32::NEG_INFINITY);
            for id in &self.forced_eos {
                if let Some(logit) = logits.get_mut(*id as usize) {
                    *logit = 0.0;
                }
            }
        }
        if let Some((start, factor)) = self.decay
            && new as i64 > start
        {
            let growth = factor.powf((new as i64 - start) as f64) - 1.0;
            for id in eos {
                if let Some(logit) = logits.get_mut(*id as usize)
                    && logit.is_finite()
                {
                    let grown = f64::from(*logit) + f64::from(logit.abs()) * growth;
                    *logit = grown.min(f64::from(f32::MAX)) as f32;
                }
            }
        }
        forbid(logits, &self.suppress_tokens);
        if new == 0 {
            forbid(logits, &self.begin_suppress_tokens);
        }
    }
}

fn forbid(logits: &mut [f32], ids: &[u32]) {
    for id in ids {
        if let Some(logit) = logits.get_mut(*id as usize) {
            *logit = f32::NEG_INFINITY;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NEVER: f32 = f32::NEG_INFINITY;

    fn applied(rules: &TokenRules, context: &[u32], prompt: usize, last: bool) -> [f32; 4] {
        let mut logits = [1.0, 2.0, -1.0, 0.5];
        let place = Place {
            context,
            prompt,
            last,
        };
        rules.bias(&mut logits, place);
        rules.apply(&mut logits, place, &[3], 2);
        logits
    }

    #[test]
    fn ends_come_when_they_may_and_must() {
        let rules = TokenRules {
            min_length: 5,
            forced_eos: vec![3],
            ..Default::default()
        };
        assert_eq!(applied(&rules, &[0; 4], 1, false), [1.0, 2.0, -1.0, NEVER]);
        assert_eq!(applied(&rules, &[0; 6], 5, false), [1.0, 2.0, -1.0, NEVER]);
        assert_eq!(applied(&rules, &[0; 6], 4, false), [1.0, 2.0, -1.0, 0.5]);
        assert_eq!(
            applied(&rules, &[0; 6], 1, true),
            [NEVER, NEVER, NEVER, 0.0]
        );
        let decay = TokenRules {
            decay: Some((2, 2.0)),
            ..Default::default()
        };
        assert_eq!(applied(&decay, &[0; 4], 2, false)[3], 0.5);
        assert_eq!(applied(&decay, &[0; 6], 2, false)[3], 0.5 + 0.5 * 3.0);
    }

    #[test]
    fn tokens_and_sequences_are_forbidden() {
        let rules = TokenRules {
            suppress_tokens: vec![0],
            begin_suppress_tokens: vec![1],
            sequence_bias: vec![(vec![2], 1.5), (vec![0, 1, 1], NEVER), (vec![9], 1.0)],
            ..Default::default()
        };
        assert_eq!(
            applied(&rules, &[7, 7], 2, false),
            [NEVER, NEVER, 0.5, NEVER]
        );
        assert_eq!(
            applied(&rules, &[7, 7, 0, 1], 2, false),
            [NEVER, NEVER, 0.5, 0.5]
        );
        assert_eq!(
            applied(&rules, &[7, 7, 1, 1], 2, false),
            [NEVER, 2.0, 0.5, 0.5]
        );
    }
}
