//! One generation under way: tokens become text, and text is watched for thoughts, calls of tools and stops.

use std::ops::ControlFlow;

use candle_core::DType;

use super::grammar::Grammar;
use super::{Token, TokenListener};
use crate::cancel::{Interrupt, Stop};
use crate::chat::{ReasoningSplitter, Split};
use crate::engines::CandleModel;
use crate::error::{Error, Result};
use crate::generate::{
    ChosenLogprob, Constraint, Detokenizer, FinishReason, Generated, Next, Sampler, Sampling, Step,
    StopTexts, Thinking, generate_with,
};
use crate::model::Model;
use crate::tools::{Calls, ToolCall, ToolParser};

/// What became certain of an answer.
struct Parts {
    reasoning: String,
    text: String,
    calls: Vec<ToolCall>,
}

/// One generation under way: tokens become text, and text is watched for stops.
pub(super) struct Run<'a, 'b> {
    model: &'a Model,
    sampling: &'a Sampling,
    pub(super) sampler: Sampler,
    detokenizer: Detokenizer<'a>,
    splitter: ReasoningSplitter,
    calls: ToolParser,
    stops: StopTexts,
    listener: &'a mut TokenListener<'b>,
    /// How many more tokens of a thought there may be, and what ends it then.
    budget: Option<(usize, Vec<u32>)>,
    /// Tokens that end a thought and are still to come.
    ending: usize,
    grammar: Option<Grammar>,
    pub(super) text: String,
    pub(super) reasoning: String,
    pub(super) tool_calls: Vec<ToolCall>,
    pub(super) tokens: Vec<u32>,
    pub(super) logprobs: Vec<ChosenLogprob>,
    pub(super) interrupt: Option<Interrupt>,
    failure: Option<Error>,
}

impl<'a, 'b> Run<'a, 'b> {
    pub(super) fn new(
        model: &'a Model,
        sampling: &'a Sampling,
        prompt: usize,
        splitter: ReasoningSplitter,
        calls: ToolParser,
        listener: &'a mut TokenListener<'b>,
    ) -> Self {
        Self {
            model,
            sampling,
            sampler: Sampler::new(sampling, prompt, &model.limits().eos_ids),
            detokenizer: Detokenizer::new(model.tokenizer()),
            splitter,
            calls,
            stops: StopTexts::new(&sampling.stop),
            listener,
            budget: None,
            ending: 0,
            grammar: None,
            text: String::new(),
            reasoning: String::new(),
            tool_calls: Vec::new(),
            tokens: Vec::new(),
            logprobs: Vec::new(),
            interrupt: None,
            failure: None,
        }
    }

    /// Bounds the thought, if that was asked for.
    pub(super) fn think_within(&mut self, thinking: Option<Thinking>) -> Result<()> {
        if let (Some(Thinking::Budget(tokens)), Some(tags)) = (thinking, self.splitter.tags()) {
            let end = self.model.tokenizer().encode(&tags.ending(), false)?;
            self.budget = Some((tokens, end));
        }
        Ok(())
    }

    /// Generates to the end. When half precision fails on the way, the weights are loaded again in
    /// F32 and the generation goes on from the tokens it has.
    pub(super) fn complete(
        &mut self,
        sequence: &mut Box<dyn CandleModel>,
        dtype: &mut Option<DType>,
        prompt: &[u32],
        stop: &Stop,
    ) -> Result<Generated> {
        match self.generate(sequence.as_mut(), prompt, stop) {
            Err(error) if self.failure.is_none() => {
                (*sequence, *dtype) = self.model.retry_in_f32(error, *dtype)?;
                let mut so_far = prompt.to_vec();
                so_far.extend(&self.tokens);
                self.generate(sequence.as_mut(), &so_far, stop)
            }
            outcome => outcome,
        }
    }

    fn generate(
        &mut self,
        sequence: &mut dyn CandleModel,
        prompt: &[u32],
        stop: &Stop,
    ) -> Result<Generated> {
        // The sampler moves into the loop's reach and back, since the callback needs the rest.
        let idle = Sampler::new(self.sampling, prompt.len(), &[]);
        let mut sampler = std::mem::replace(&mut self.sampler, idle);
        let limited = Sampling {
            max_tokens: self.sampling.max_tokens - self.tokens.len(),
            ..self.sampling.clone()
        };
        let first = self.first()?;
        let outcome = generate_with(
            sequence,
            prompt,
            &limited,
            &mut sampler,
            stop,
            first,
            &mut |step| self.take(step),
        );
        self.sampler = sampler;
        if let Some(error) = self.failure.take() {
            return Err(error);
        }
        let generated = outcome?;
        if matches!(
            generated.finish,
            FinishReason::Cancelled | FinishReason::Timeout
        ) {
            // Nobody listens any more, but the text should be that of the tokens.
            let rest = self.rest()?;
            let (passed, _) = self.stops.push(&rest.text);
            self.reasoning.push_str(&rest.reasoning);
            self.text.push_str(&passed);
            self.text.push_str(&self.stops.finish());
            self.tool_calls.extend(rest.calls);
        }
        Ok(generated)
    }

    /// Splits what became certain of the text into thought, answer and calls.
    fn split(&mut self, text: &str) -> Parts {
        let Split { reasoning, text } = self.splitter.push(text);
        let Calls { text, calls } = self.calls.push(&text);
        Parts {
            reasoning,
            text,
            calls,
        }
    }

    /// What is still held back when no token follows.
    fn rest(&mut self) -> Result<Parts> {
        let text = self.detokenizer.finish()?;
        let mut parts = self.split(&text);
        let held = self.splitter.finish();
        parts.reasoning.push_str(&held.reasoning);
        for calls in [self.calls.push(&held.text), self.calls.finish()] {
            parts.text.push_str(&calls.text);
            parts.calls.extend(calls.calls);
        }
        Ok(parts)
    }

    fn take(&mut self, step: Step) -> ControlFlow<FinishReason, Next> {
        self.tokens.push(step.id);
        let was_reasoning = self.splitter.is_reasoning();
        let was_call = self.calls.is_call();
        let mut parts = match self.detokenizer.push(step.id) {
            Ok(text) => self.split(&text),
            Err(error) => return self.fail(error),
        };
        let (mut piece, mut found) = self.stops.push(&parts.text);
        if let Some(text) = self.model.tokenizer().special_text(step.id) {
            if self.splitter.is_tag(text) {
                let split = self.splitter.push_tag(text);
                parts.reasoning.push_str(&split.reasoning);
                let calls = self.calls.push(&split.text);
                let (passed, now_found) = self.stops.push(&calls.text);
                piece.push_str(&passed);
                found |= now_found;
                parts.calls.extend(calls.calls);
            } else if self.splitter.is_reasoning() {
                // A thought is only ended by its tag.
            } else if self.calls.is_tag(text) && !found {
                let calls = self.calls.push(text);
                let (passed, now_found) = self.stops.push(&calls.text);
                piece.push_str(&passed);
                found = now_found;
                parts.calls.extend(calls.calls);
            } else if !found
                && !self.stops.is_empty()
                // What ends an answer anyway need not stop it.
                && step.finish != Some(FinishReason::Stop)
            {
                let (passed, now_found) = self.stops.push_special(text);
                piece.push_str(&passed);
                found = now_found;
            }
        }
        if step.finish.is_some() && !found {
            match self.rest() {
                Ok(rest) => {
                    let (passed, now_found) = self.stops.push(&rest.text);
                    parts.reasoning.push_str(&rest.reasoning);
                    parts.calls.extend(rest.calls);
                    piece.push_str(&passed);
                    found = now_found;
                }
                Err(error) => return self.fail(error),
            }
            if !found {
                piece.push_str(&self.stops.finish());
            }
        }
        self.text.push_str(&piece);
        self.reasoning.push_str(&parts.reasoning);
        let token = Token {
            id: step.id,
            text: &piece,
            reasoning: &parts.reasoning,
            is_reasoning: was_reasoning || self.splitter.is_reasoning(),
            is_tool_call: was_call || self.calls.is_call(),
            tool_calls: &parts.calls,
            logprob: step.logprob.as_ref(),
        };
        let answer = (self.listener)(token);
        self.tool_calls.extend(parts.calls);
        self.logprobs.extend(step.logprob);
        if let ControlFlow::Break(interrupt) = answer {
            self.interrupt = Some(interrupt);
            return ControlFlow::Break(FinishReason::Cancelled);
        }
        if found {
            return ControlFlow::Break(FinishReason::StopString);
        }
        if step.finish.is_some() {
            return ControlFlow::Continue(Next::Sample);
        }
        match self.next(step.id, was_reasoning) {
            Ok(next) => ControlFlow::Continue(next),
            Err(error) => self.fail(error),
        }
    }

    /// Lets the answer follow a grammar.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] with the `name` of the argument that the constraint comes from.
    pub(super) fn constrain(
        &mut self,
        name: &str,
        constraint: &Constraint,
        thinking: Option<Thinking>,
    ) -> Result<()> {
        if self.sampling.ignore_eos {
            let reason = "an answer that follows a grammar ends with it";
            return Err(Error::argument("ignore_eos", reason));
        }
        let answer = self.model.constraints()?.start(name, constraint)?;
        let tags = self
            .splitter
            .tags()
            .filter(|_| thinking != Some(Thinking::Off));
        let thought = tags.and_then(|tags| self.model.tokenizer().id_of(tags.first_token()));
        self.grammar = Some(Grammar::new(answer, thought));
        Ok(())
    }

    /// What comes first, or after weights were loaded again.
    fn first(&mut self) -> Result<Next> {
        let is_reasoning = self.splitter.is_reasoning();
        match &mut self.grammar {
            None => Ok(Next::Sample),
            Some(_) if is_reasoning => Ok(Next::Unended),
            Some(grammar) if self.tokens.is_empty() => grammar.begin(true),
            Some(grammar) => Ok(grammar.again()),
        }
    }

    /// What follows a token: what ends a thought whose budget is used up, or what the grammar says.
    fn next(&mut self, id: u32, was_reasoning: bool) -> Result<Next> {
        if self.ending > 0 {
            self.ending -= 1;
            return match &mut self.grammar {
                Some(grammar) if self.ending == 0 => grammar.begin(false),
                Some(_) => Ok(Next::Unended),
                None => Ok(Next::Sample),
            };
        }
        // A thought that ended the answer would leave it without its form.
        let free = match &self.grammar {
            Some(_) => Next::Unended,
            None => Next::Sample,
        };
        if self.splitter.is_reasoning() {
            return Ok(match &mut self.budget {
                Some((left, end)) if *left <= 1 => {
                    let end = std::mem::take(end);
                    self.budget = None;
                    self.ending = end.len();
                    Next::Force(end)
                }
                Some((left, _)) => {
                    *left -= 1;
                    free
                }
                None => free,
            });
        }
        match &mut self.grammar {
            None => Ok(Next::Sample),
            Some(grammar) if was_reasoning => grammar.begin(false),
            Some(grammar) => grammar.follow(id),
        }
    }

    fn fail(&mut self, error: Error) -> ControlFlow<FinishReason, Next> {
        self.failure = Some(error);
        ControlFlow::Break(FinishReason::Cancelled)
    }
}
