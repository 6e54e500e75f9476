//! Sessions: one conversation's KV cache, and text around the generation over tokens.

use std::collections::VecDeque;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Instant;

use candle_core::DType;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::cached_sequence::CachedSequence;
use crate::cancel::{Cancel, Interrupt, Stop, StopReason};
use crate::chat::{Message, ReasoningSplitter, Split, encode_chat};
use crate::engines::CandleModel;
use crate::error::{Error, Result};
use crate::generate::{
    ChosenLogprob, ConstrainedAnswer, Constraint, Detokenizer, FinishReason, GenerateOptions,
    Generated, Next, Sampler, Sampling, Step, StopTexts, Thinking, TokenLogprob, generate_with,
    log_sum_exp, most_probable, prefill,
};
use crate::model::Model;

impl Default for Prompt {
    /// Nothing, which cannot be answered.
    fn default() -> Self {
        Prompt::Tokens(Vec::new())
    }
}

/// What to generate from.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
pub enum Prompt {
    /// A text. It becomes one user message when the model has a chat template, unless `raw`.
    Text {
        /// The text.
        text: String,
        /// Take it as it stands.
        #[serde(default)]
        raw: bool,
    },
    /// Token ids as they are; nothing is added.
    Tokens(Vec<u32>),
    /// A conversation, rendered by the model's chat template.
    Chat {
        /// The messages, oldest first.
        messages: Vec<Message>,
        /// Further variables of the template.
        #[serde(default)]
        variables: Map<String, Value>,
    },
}

/// One call.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GenerateRequest {
    /// Number of the call, to cancel it by; 0 for one that is not cancelled.
    #[serde(default)]
    pub call: u64,
    /// What to generate from.
    pub prompt: Prompt,
    /// How.
    #[serde(default)]
    pub options: GenerateOptions,
    /// What the answer has to follow. Thoughts before it are free.
    #[serde(default)]
    pub constraint: Option<Constraint>,
    /// Only take the prompt into the cache, so that a later call whose prompt begins like it starts
    /// from there. The outcome has no tokens then.
    #[serde(default)]
    pub prepare: bool,
    /// It is a turn of a conversation. What is in the cache for these stays there when other calls come in
    /// between; and it fails with [`Error::ContextFull`] unless the context has room for an answer behind the
    /// prompt: for `max_tokens`, or a quarter of the context if that is less.
    #[serde(default)]
    pub turn: bool,
}

/// A token and the text that became certain with it, empty while a character or a possible stop
/// text is unfinished.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Token<'a> {
    /// The token.
    pub id: u32,
    /// The new text of the answer.
    pub text: &'a str,
    /// The new text of the thought before it.
    pub reasoning: &'a str,
    /// Whether the token belongs to the thought.
    pub is_reasoning: bool,
    /// How probable it was, where log-probabilities were asked for.
    pub logprob: Option<&'a ChosenLogprob>,
}

/// Called with each token on the thread that called the session.
pub type TokenListener<'a> = dyn FnMut(Token) -> ControlFlow<Interrupt> + 'a;

/// The outcome of a call.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Generation {
    /// The new text, without special tokens, without the stop text that ended it and without what the model
    /// thought before.
    pub text: String,
    /// What the model thought before, where its chat template has tags for that; prompts of tokens and raw
    /// texts have none.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub reasoning: String,
    /// The new tokens, an end-of-sequence token that ended them included.
    pub token_ids: Vec<u32>,
    /// Why there are no more.
    pub finish_reason: FinishReason,
    /// Tokens of the prompt.
    pub prompt_tokens: usize,
    /// How many of them were in the KV cache already.
    pub cached_tokens: usize,
    /// The random sequence's start, for repeating a sampled answer.
    pub seed: u64,
    /// How probable each of the tokens was, where that was asked for.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub logprobs: Vec<ChosenLogprob>,
    /// What of the model's own file was not honoured, and may make the answer another one.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
    /// Milliseconds from the call to the first new token's logits.
    pub prefill_ms: f64,
    /// Milliseconds from there to the end.
    pub decode_ms: f64,
}

impl Generation {
    /// What a call has that ended before it began.
    fn nothing(finish_reason: FinishReason) -> Self {
        Self {
            text: String::new(),
            reasoning: String::new(),
            token_ids: Vec::new(),
            finish_reason,
            prompt_tokens: 0,
            cached_tokens: 0,
            seed: 0,
            logprobs: Vec::new(),
            warnings: Vec::new(),
            prefill_ms: 0.0,
            decode_ms: 0.0,
        }
    }
}

/// Log-probabilities of given tokens.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Score {
    /// Natural logarithm of each token's probability given all before it, from the second on.
    pub logprobs: Vec<f32>,
    /// The most probable tokens behind the last one, best first.
    pub top: Vec<TokenLogprob>,
}

/// A sequence of calls that share a KV cache. One call at a time; [`Session::cancel`] is for other
/// threads.
pub struct Session {
    model: Arc<Model>,
    /// What calls that stand for themselves leave behind.
    single: CachedSequence,
    /// What turns of a conversation leave behind; made when the first one comes.
    turns: Option<CachedSequence>,
    cancel: Cancel,
}

impl Session {
    /// A session with an empty cache.
    pub fn new(model: Arc<Model>) -> Self {
        Self::with_cancel(model, Cancel::default())
    }

    /// A session whose calls are cancelled through `cancel`, which others may share.
    pub(crate) fn with_cancel(model: Arc<Model>, cancel: Cancel) -> Self {
        Self {
            single: CachedSequence::new(model.clone()),
            turns: None,
            model,
            cancel,
        }
    }

    /// The model.
    pub fn model(&self) -> &Arc<Model> {
        &self.model
    }

    /// The handle by which other threads cancel calls of this session.
    pub fn cancel(&self) -> Cancel {
        self.cancel.clone()
    }

    /// Generates. Tokens that the prompt shares with the cache are not computed again.
    pub fn generate(
        &mut self,
        request: &GenerateRequest,
        listener: &mut TokenListener,
    ) -> Result<Generation> {
        let stop = Stop::new(&self.cancel, request.call, request.options.deadline());
        let model = self.model.clone();
        let _place = match model
            .request_slots()
            .take(request.options.wait_when_full, &stop)
        {
            Err(Error::Cancelled) => {
                let reason = stop.reason().unwrap_or(StopReason::Cancelled);
                return Ok(Generation::nothing(reason.into()));
            }
            place => place?,
        };
        let mut sampling = request.options.resolve(self.model.generation_defaults())?;
        let Encoded { prompt, reasoning } = self.encoded(request)?;
        sampling.limit_length(prompt.len())?;
        if let Some(dry) = &mut sampling.dry {
            dry.breakers = self.model.tokens_with(&dry.breaker_texts)?;
        }
        self.model.limits().check(0, &prompt)?;
        if request.turn {
            let limit = self.model.limits().context_length;
            let needed = prompt.len() + sampling.max_tokens.min(limit / 4).max(1);
            if needed > limit {
                return Err(Error::ContextFull { needed, limit });
            }
        }
        self.check_bias(&sampling)?;
        let cached = self.cached(request.turn, &prompt);
        let reused = cached.reuse(&prompt);
        if request.prepare {
            return prepare(cached, &prompt, reused, &stop);
        }
        let mut run = Run::new(&model, &sampling, prompt.len(), reasoning, listener);
        run.think_within(request.options.thinking)?;
        if let Some(constraint) = &request.constraint {
            run.constrain(constraint, request.options.thinking)?;
        }
        let outcome = run.complete(&mut cached.sequence, &mut cached.dtype, &prompt, &stop);
        let Run {
            text,
            reasoning,
            tokens,
            logprobs,
            interrupt,
            sampler: _,
            ..
        } = run;
        cached.remember(&prompt, &tokens);
        let generated = outcome?;
        if interrupt == Some(Interrupt::Failed) {
            return Err(Error::CallbackFailed);
        }
        Ok(Generation {
            text,
            reasoning,
            token_ids: tokens,
            finish_reason: generated.finish,
            prompt_tokens: prompt.len(),
            cached_tokens: reused,
            seed: sampling.seed,
            logprobs,
            warnings: self.model.generation_warnings().to_vec(),
            prefill_ms: generated.prefill.as_secs_f64() * 1e3,
            decode_ms: generated.decode.as_secs_f64() * 1e3,
        })
    }

    fn check_bias(&self, sampling: &Sampling) -> Result<()> {
        let vocab_size = self.model.limits().vocab_size;
        match sampling
            .logit_bias
            .iter()
            .find(|(id, _)| **id as usize >= vocab_size)
        {
            None => Ok(()),
            Some((id, _)) => Err(Error::argument(
                "logit_bias",
                format!("token id {id} is not in the vocabulary of {vocab_size}"),
            )),
        }
    }

    /// The cache for a call. Turns of a conversation have one of their own, so that no call in between throws
    /// their beginning away; but where nothing is lost by it, a turn goes on from the other one, which may have
    /// been prepared for it.
    fn cached(&mut self, turn: bool, prompt: &[u32]) -> &mut CachedSequence {
        if !turn {
            return &mut self.single;
        }
        let turns = self
            .turns
            .get_or_insert_with(|| CachedSequence::new(self.model.clone()));
        if self.single.begins(prompt) && self.single.shared(prompt) > turns.shared(prompt) {
            std::mem::swap(turns, &mut self.single);
        }
        turns
    }

    /// Another session that goes on from here: what is in the cache is copied and not computed
    /// again, where the engine can. Its calls are cancelled on their own.
    pub fn fork(&self) -> Result<Self> {
        let turns = self.turns.as_ref();
        Ok(Self {
            model: self.model.clone(),
            single: self.single.fork()?,
            turns: turns.map(CachedSequence::fork).transpose()?,
            cancel: Cancel::default(),
        })
    }

    /// Log-probabilities of `tokens`, and the `top` most probable that follow them. Cancelling the
    /// number `call` ends it as [`Error::Cancelled`].
    pub fn score(&mut self, call: u64, tokens: &[u32], top: usize) -> Result<Score> {
        if tokens.is_empty() {
            return Err(Error::argument("tokens", "expected at least one token"));
        }
        self.model.limits().check(0, tokens)?;
        let stop = Stop::new(&self.cancel, call, None);
        self.single.clear();
        let outcome = self
            .single
            .or_in_f32(|sequence| score(sequence, tokens, top, &stop));
        // Also of a call that was stopped or failed on the way.
        self.single.remember(tokens, &[]);
        outcome
    }

    /// Empties the cache.
    pub fn clear(&mut self) {
        self.single.clear();
        self.turns = None;
    }

    /// The prompt's tokens, as the model sees them.
    pub fn encode(&self, prompt: &Prompt) -> Result<Vec<u32>> {
        let request = GenerateRequest {
            prompt: prompt.clone(),
            ..GenerateRequest::default()
        };
        Ok(self.encoded(&request)?.prompt)
    }

    fn encoded(&self, request: &GenerateRequest) -> Result<Encoded> {
        let none = Map::new();
        let encoded = match &request.prompt {
            Prompt::Tokens(ids) => Encoded::plain(ids.clone()),
            Prompt::Text { text, raw } if *raw || !self.model.can_chat() => {
                Encoded::plain(self.model.tokenizer().encode(text, true)?)
            }
            Prompt::Text { text, .. } => {
                let message = Message {
                    role: "user".into(),
                    content: Some(text.clone()),
                    more: Map::new(),
                };
                self.encode_chat(&[message], &none, request.options.thinking)?
            }
            Prompt::Chat {
                messages,
                variables,
            } => self.encode_chat(messages, variables, request.options.thinking)?,
        };
        if encoded.prompt.is_empty() {
            return Err(Error::argument("prompt", "expected at least one token"));
        }
        Ok(encoded)
    }

    fn encode_chat(
        &self,
        messages: &[Message],
        variables: &Map<String, Value>,
        thinking: Option<Thinking>,
    ) -> Result<Encoded> {
        let template = self.model.chat_template()?;
        let mut variables = variables.clone();
        if let Some(thinking) = thinking {
            let on = thinking != Thinking::Off;
            match (template.thinking_switch(), template.reasoning()) {
                (Some(switch), _) => {
                    variables.insert(switch.to_owned(), on.into());
                }
                (None, Some(_)) if on => {}
                (None, None) if !on => {}
                (None, Some(_)) => {
                    let reason = "the model's chat template has no switch to turn thinking off";
                    return Err(Error::argument("thinking", reason));
                }
                (None, None) => {
                    let reason = "the model's chat template knows no thinking";
                    return Err(Error::argument("thinking", reason));
                }
            }
        }
        let tokenizer = self.model.tokenizer();
        let prompt = encode_chat(template, tokenizer, messages, &variables)?;
        let reasoning = match template.reasoning() {
            None => ReasoningSplitter::new(None, false),
            Some(tags) => {
                // The tags may be special tokens.
                let end = &prompt[prompt.len().saturating_sub(16)..];
                let is_open = tags.is_open(&tokenizer.decode(end, false)?);
                ReasoningSplitter::new(Some(tags), is_open)
            }
        };
        Ok(Encoded { prompt, reasoning })
    }
}

/// A prompt, and how what follows it is split into thought and answer.
struct Encoded {
    prompt: Vec<u32>,
    reasoning: ReasoningSplitter,
}

impl Encoded {
    /// A prompt that no chat template made.
    fn plain(prompt: Vec<u32>) -> Self {
        Self {
            prompt,
            reasoning: ReasoningSplitter::new(None, false),
        }
    }
}

/// Takes a prompt into the cache.
fn prepare(
    cached: &mut CachedSequence,
    prompt: &[u32],
    reused: usize,
    stop: &Stop,
) -> Result<Generation> {
    let start = Instant::now();
    let outcome = cached.or_in_f32(|sequence| prefill(sequence, prompt, stop, &mut Vec::new()));
    cached.remember(prompt, &[]);
    let finish_reason = outcome?.unwrap_or(FinishReason::Length);
    Ok(Generation {
        prompt_tokens: prompt.len(),
        cached_tokens: reused,
        prefill_ms: start.elapsed().as_secs_f64() * 1e3,
        ..Generation::nothing(finish_reason)
    })
}

/// Scores tokens on an empty sequence.
fn score(sequence: &mut dyn CandleModel, tokens: &[u32], top: usize, stop: &Stop) -> Result<Score> {
    let mut score = Score {
        logprobs: Vec::with_capacity(tokens.len() - 1),
        top: Vec::new(),
    };
    sequence.forward_each(tokens, stop, &mut |index, logits| {
        let total = log_sum_exp(logits);
        match tokens.get(index + 1) {
            Some(next) => score.logprobs.push(logits[*next as usize] - total),
            None => score.top = most_probable(logits, total, top),
        }
        Ok(())
    })?;
    Ok(score)
}

/// One generation under way: tokens become text, and text is watched for stops.
struct Run<'a, 'b> {
    model: &'a Model,
    sampling: &'a Sampling,
    sampler: Sampler,
    detokenizer: Detokenizer<'a>,
    splitter: ReasoningSplitter,
    stops: StopTexts,
    listener: &'a mut TokenListener<'b>,
    /// How many more tokens of a thought there may be, and what ends it then.
    budget: Option<(usize, Vec<u32>)>,
    /// Tokens that end a thought and are still to come.
    ending: usize,
    grammar: Option<Grammar>,
    text: String,
    reasoning: String,
    tokens: Vec<u32>,
    logprobs: Vec<ChosenLogprob>,
    interrupt: Option<Interrupt>,
    failure: Option<Error>,
}

impl<'a, 'b> Run<'a, 'b> {
    fn new(
        model: &'a Model,
        sampling: &'a Sampling,
        prompt: usize,
        splitter: ReasoningSplitter,
        listener: &'a mut TokenListener<'b>,
    ) -> Self {
        Self {
            model,
            sampling,
            sampler: Sampler::new(sampling, prompt, &model.limits().eos_ids),
            detokenizer: Detokenizer::new(model.tokenizer()),
            splitter,
            stops: StopTexts::new(&sampling.stop),
            listener,
            budget: None,
            ending: 0,
            grammar: None,
            text: String::new(),
            reasoning: String::new(),
            tokens: Vec::new(),
            logprobs: Vec::new(),
            interrupt: None,
            failure: None,
        }
    }

    /// Bounds the thought, if that was asked for.
    fn think_within(&mut self, thinking: Option<Thinking>) -> Result<()> {
        if let (Some(Thinking::Budget(tokens)), Some(tags)) = (thinking, self.splitter.tags()) {
            let end = format!("\n{}\n\n", tags.end);
            let end = self.model.tokenizer().encode(&end, false)?;
            self.budget = Some((tokens, end));
        }
        Ok(())
    }

    /// Generates to the end. When half precision fails on the way, the weights are loaded again in
    /// F32 and the generation goes on from the tokens it has.
    fn complete(
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
            let split = self.rest()?;
            let (passed, _) = self.stops.push(&split.text);
            self.reasoning.push_str(&split.reasoning);
            self.text.push_str(&passed);
            self.text.push_str(&self.stops.finish());
        }
        Ok(generated)
    }

    /// What is still held back when no token follows.
    fn rest(&mut self) -> Result<Split> {
        let rest = self.detokenizer.finish()?;
        let mut split = self.splitter.push(&rest);
        let held = self.splitter.finish();
        split.reasoning.push_str(&held.reasoning);
        split.text.push_str(&held.text);
        Ok(split)
    }

    fn take(&mut self, step: Step) -> ControlFlow<FinishReason, Next> {
        self.tokens.push(step.id);
        let was_reasoning = self.splitter.is_reasoning();
        let mut split = match self.detokenizer.push(step.id) {
            Ok(text) => self.splitter.push(&text),
            Err(error) => return self.fail(error),
        };
        let (mut piece, mut found) = self.stops.push(&split.text);
        let mut reasoning = std::mem::take(&mut split.reasoning);
        if let Some(text) = self.model.tokenizer().special_text(step.id) {
            if self.splitter.is_tag(text) {
                reasoning.push_str(&self.splitter.push(text).reasoning);
            } else if !found
                && !self.stops.is_empty()
                && !self.splitter.is_reasoning()
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
                Ok(split) => {
                    let (passed, now_found) = self.stops.push(&split.text);
                    reasoning.push_str(&split.reasoning);
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
        self.reasoning.push_str(&reasoning);
        let is_reasoning = was_reasoning || self.splitter.is_reasoning();
        let token = Token {
            id: step.id,
            text: &piece,
            reasoning: &reasoning,
            is_reasoning,
            logprob: step.logprob.as_ref(),
        };
        let answer = (self.listener)(token);
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
    fn constrain(&mut self, constraint: &Constraint, thinking: Option<Thinking>) -> Result<()> {
        if self.sampling.ignore_eos {
            let reason = "an answer that follows a grammar ends with it";
            return Err(Error::argument("ignore_eos", reason));
        }
        let answer = Arc::new(self.model.constraints()?.start(constraint)?);
        let tags = self
            .splitter
            .tags()
            .filter(|_| thinking != Some(Thinking::Off));
        self.grammar = Some(Grammar {
            answer,
            first: None,
            outstanding: VecDeque::new(),
            thought: tags.and_then(|tags| self.model.tokenizer().id_of(tags.start)),
        });
        Ok(())
    }

    /// What comes first, or after weights were loaded again.
    fn first(&mut self) -> Result<Next> {
        let is_reasoning = self.splitter.is_reasoning();
        match &mut self.grammar {
            None => Ok(Next::Sample),
            Some(_) if is_reasoning => Ok(Next::Sample),
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
                _ => Ok(Next::Sample),
            };
        }
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
                    Next::Sample
                }
                None => Next::Sample,
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

/// A grammar and how far its answer is.
struct Grammar {
    answer: Arc<ConstrainedAnswer>,
    /// What the answer begins with, once that was asked for.
    first: Option<Vec<u32>>,
    /// Tokens that are forced and still to come.
    outstanding: VecDeque<u32>,
    /// The token by which a thought may begin before the answer.
    thought: Option<u32>,
}

impl Grammar {
    /// The beginning of the answer; or of a thought, if one `may` come before it.
    fn begin(&mut self, may_think: bool) -> Result<Next> {
        let asked_before = self.first.is_some();
        let first = match &self.first {
            Some(first) => first.clone(),
            None => self.answer.forced()?,
        };
        self.first = Some(first.clone());
        let also = self.thought.filter(|_| may_think);
        if !first.is_empty() && also.is_none() {
            self.outstanding.extend(&first);
            return Ok(Next::Force(first));
        }
        if !first.is_empty() || asked_before {
            self.answer.ask_mask();
        }
        Ok(Next::Among {
            answer: self.answer.clone(),
            also,
        })
    }

    /// What follows a token of the answer.
    fn follow(&mut self, id: u32) -> Result<Next> {
        if self.outstanding.pop_front().is_some() && !self.outstanding.is_empty() {
            self.answer.take(id);
            return Ok(Next::Sample);
        }
        self.answer.follow(id);
        let forced = self.answer.forced()?;
        if forced.is_empty() {
            return Ok(Next::Among {
                answer: self.answer.clone(),
                also: None,
            });
        }
        self.outstanding.extend(&forced);
        Ok(Next::Force(forced))
    }

    /// What was to follow when a pass failed.
    fn again(&self) -> Next {
        if self.outstanding.is_empty() {
            return Next::Among {
                answer: self.answer.clone(),
                also: None,
            };
        }
        Next::Force(self.outstanding.iter().copied().collect())
    }
}
