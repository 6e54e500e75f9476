//! Generation over token ids: prefill, then one token after the other.

mod candidates;
mod constraint;
mod detokenizer;
mod logprobs;
mod lookahead;
mod ngrams;
mod options;
mod penalties;
mod rules;
mod sampler;
mod stop_texts;

use std::collections::VecDeque;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::Serialize;

pub use constraint::Constraint;
pub(crate) use constraint::{ConstrainedAnswer, Constraints, Mask, check_schema, compact, escaped};
pub(crate) use detokenizer::Detokenizer;
pub use logprobs::{ChosenLogprob, TokenLogprob};
pub(crate) use logprobs::{log_sum_exp, most_probable};
use lookahead::Lookahead;
pub use options::{DEFAULT_MAX_TOKENS, GenerateOptions, Sampling, Thinking};
pub use penalties::Dry;
pub use sampler::Sampler;
pub(crate) use stop_texts::StopTexts;

use crate::cancel::{Stop, StopReason};
use crate::engines::CandleModel;
use crate::error::{Error, Result};

/// Why a generation ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum FinishReason {
    /// The model said that it is done, by an end-of-sequence token.
    Stop,
    /// The token limit was reached.
    Length,
    /// The context has room for no more tokens.
    ContextFull,
    /// One of the stop texts occurred.
    StopString,
    /// Somebody asked to stop.
    Cancelled,
    /// The time of the call was over.
    Timeout,
    /// The model said that it is done, and waits for the tools that it called.
    ToolCalls,
}

impl From<StopReason> for FinishReason {
    fn from(reason: StopReason) -> Self {
        match reason {
            StopReason::Cancelled => FinishReason::Cancelled,
            StopReason::Timeout => FinishReason::Timeout,
        }
    }
}

/// One token as it is generated.
#[derive(Debug, Clone, PartialEq)]
pub struct Step {
    /// The token.
    pub id: u32,
    /// How probable it was, where that was asked for.
    pub logprob: Option<ChosenLogprob>,
    /// Set when no token follows, whatever the callback answers.
    pub finish: Option<FinishReason>,
}

/// Called with each token; a break ends the generation for the reason given.
pub type OnToken<'a> = dyn FnMut(Step) -> ControlFlow<FinishReason> + 'a;

/// What follows a token.
pub(crate) enum Next {
    /// The token that the sampler chooses.
    Sample,
    /// The token that the sampler chooses among those that don't end the answer.
    Unended,
    /// One of those that a grammar allows, or `also`.
    Among {
        /// Tells which ones, once the logits are there.
        answer: Arc<ConstrainedAnswer>,
        /// One more.
        also: Option<u32>,
    },
    /// These tokens, whatever the sampler would choose.
    Force(Vec<u32>),
}

/// What a generation over token ids produced.
#[derive(Debug, Clone, PartialEq)]
pub struct Generated {
    /// The new tokens, an end-of-sequence token that ended them included.
    pub tokens: Vec<u32>,
    /// Why there are no more.
    pub finish: FinishReason,
    /// Time from the call to the logits of the first new token.
    pub prefill: Duration,
    /// Time from there to the end.
    pub decode: Duration,
}

/// Runs a generation with a sampler of its own and no way to cancel it but the callback.
/// `prompt` is the whole sequence: the tokens that the model has in its cache already, and at least
/// one more.
pub fn generate<M: CandleModel + ?Sized>(
    model: &mut M,
    prompt: &[u32],
    sampling: &Sampling,
    on_token: Option<&mut OnToken>,
) -> Result<Generated> {
    let mut nothing = |_: Step| ControlFlow::Continue(());
    let on_token: &mut OnToken = match on_token {
        Some(on_token) => on_token,
        None => &mut nothing,
    };
    let mut sampler = Sampler::new(sampling, prompt.len(), &model.limits().eos_ids);
    let stop = Stop::default();
    let mut sample = |step: Step| on_token(step).map_continue(|()| Next::Sample);
    let first = Next::Sample;
    generate_with(
        model,
        prompt,
        sampling,
        &mut sampler,
        &stop,
        first,
        &mut sample,
    )
}

/// Runs a generation. `sampler` keeps its state, so that an interrupted generation can be taken up.
pub(crate) fn generate_with<M: CandleModel + ?Sized>(
    model: &mut M,
    prompt: &[u32],
    sampling: &Sampling,
    sampler: &mut Sampler,
    stop: &Stop,
    first: Next,
    on_token: &mut dyn FnMut(Step) -> ControlFlow<FinishReason, Next>,
) -> Result<Generated> {
    let start = Instant::now();
    let limits = model.limits().clone();
    let cached = model.position();
    if prompt.len() <= cached {
        return Err(Error::argument(
            "prompt",
            "expected at least one token behind those in the cache",
        ));
    }
    limits.check(0, prompt)?;
    let room = limits.context_length - prompt.len();
    if room == 0 {
        return Err(Error::ContextFull {
            needed: prompt.len() + 1,
            limit: limits.context_length,
        });
    }
    let mut generated = Generated {
        tokens: Vec::new(),
        finish: FinishReason::Cancelled,
        prefill: Duration::ZERO,
        decode: Duration::ZERO,
    };
    let mut logits = Vec::new();
    let ended = prefill(model, prompt, stop, &mut logits)?;
    generated.prefill = start.elapsed();
    if let Some(reason) = ended {
        generated.finish = reason;
        return Ok(generated);
    }

    let limit = sampling.max_tokens.min(room);
    // A limit of the context is none that the model knows of.
    let last = |count: usize| count + 1 == sampling.max_tokens;
    let mut context = prompt.to_vec();
    let mut next = first;
    let mut forced = VecDeque::new();
    // Tokens that the model has not seen yet. Forced ones go through it together, unless each one's
    // probability is to be told.
    let mut unseen = 0;
    let mut lookahead = Lookahead::new(model, stop, sampling.prompt_lookup);
    generated.finish = loop {
        if let Some(reason) = stop.reason() {
            break reason.into();
        }
        if let Next::Force(ids) = &mut next {
            forced.extend(ids.drain(..));
        }
        let last = last(generated.tokens.len());
        let id = match (forced.pop_front(), &next) {
            (Some(id), _) => sampler.force(&logits, id),
            (None, Next::Among { answer, also }) => {
                let mut mask = answer.mask()?;
                also.iter().for_each(|id| mask.allow(*id));
                sampler.next_among(&mut logits, &context, last, &mask)?
            }
            (None, Next::Unended) => {
                for id in &limits.eos_ids {
                    if let Some(logit) = logits.get_mut(*id as usize) {
                        *logit = f32::NEG_INFINITY;
                    }
                }
                sampler.next(&mut logits, &context, last)?
            }
            (None, _) => sampler.next(&mut logits, &context, last)?,
        };
        context.push(id);
        unseen += 1;
        generated.tokens.push(id);
        let finish = if !sampling.ignore_eos && limits.eos_ids.contains(&id) {
            Some(FinishReason::Stop)
        } else if generated.tokens.len() >= limit {
            // Where both limits are one, the caller's is named.
            Some(match limit < sampling.max_tokens {
                true => FinishReason::ContextFull,
                false => FinishReason::Length,
            })
        } else {
            None
        };
        let step = Step {
            id,
            logprob: sampler.take_logprob(),
            finish,
        };
        match on_token(step) {
            ControlFlow::Break(reason) => break reason,
            ControlFlow::Continue(then) => next = then,
        }
        if let Some(reason) = finish {
            break reason;
        }
        let known = !forced.is_empty() || matches!(&next, Next::Force(ids) if !ids.is_empty());
        if !known || sampling.logprobs.is_some() {
            // Nobody asks what follows the last token.
            let most = (limit - generated.tokens.len()).saturating_sub(1);
            let outcome = lookahead.forward(&context, unseen, most, &mut logits);
            if let Some(reason) = stopped(outcome, stop)? {
                break reason;
            }
            unseen = 0;
        }
    };
    generated.decode = start.elapsed() - generated.prefill;
    Ok(generated)
}

/// Appends what of the prompt is not in the cache yet; answers with the reason when the call was stopped in
/// between.
pub(crate) fn prefill<M: CandleModel + ?Sized>(
    model: &mut M,
    prompt: &[u32],
    stop: &Stop,
    logits: &mut Vec<f32>,
) -> Result<Option<FinishReason>> {
    model.expect_length(prompt.len());
    let outcome = model.forward(&prompt[model.position()..], stop, logits);
    stopped(outcome, stop)
}

/// What became of a forward pass: the reason when the call was stopped before its end.
fn stopped(outcome: Result<()>, stop: &Stop) -> Result<Option<FinishReason>> {
    match outcome {
        Ok(()) => Ok(None),
        Err(Error::Cancelled) => {
            let reason = stop.reason().unwrap_or(StopReason::Cancelled);
            Ok(Some(reason.into()))
        }
        Err(error) => Err(error),
    }
}
