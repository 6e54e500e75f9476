//! Sessions: one conversation's KV cache, and text around the generation over tokens.

mod grammar;
mod run;

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::cached_sequence::CachedSequence;
use crate::cancel::{Cancel, Interrupt, Stop, StopReason};
use crate::chat::{ChatTemplate, Message, ReasoningSplitter, encode_chat};
use crate::engines::CandleModel;
use crate::error::{Error, Result};
use crate::generate::{
    ChosenLogprob, Constraint, FinishReason, GenerateOptions, Sampling, Thinking, TokenLogprob,
    log_sum_exp, most_probable, prefill,
};
use crate::model::Model;
use crate::tools::{self, Tool, ToolCall, ToolChoice, ToolFormat, ToolParser};
use run::Run;

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
    /// What the model may call. Prompts of tokens and raw texts, which no chat template renders, take none.
    #[serde(default)]
    pub tools: Vec<Tool>,
    /// Whether it does.
    #[serde(default)]
    pub tool_choice: ToolChoice,
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

impl GenerateRequest {
    fn offers_tools(&self) -> bool {
        !self.tools.is_empty() && self.tool_choice != ToolChoice::None
    }
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
    /// Whether it belongs to a call of a tool, as far as is known.
    pub is_tool_call: bool,
    /// The calls of tools that it completes.
    pub tool_calls: &'a [ToolCall],
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
    /// The tools that the model calls, in order. They are not part of the text.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tool_calls: Vec<ToolCall>,
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
    /// Milliseconds until the model had a place for the call.
    pub wait_ms: f64,
    /// Milliseconds from there to the first new token's logits.
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
            tool_calls: Vec::new(),
            token_ids: Vec::new(),
            finish_reason,
            prompt_tokens: 0,
            cached_tokens: 0,
            seed: 0,
            logprobs: Vec::new(),
            warnings: Vec::new(),
            wait_ms: 0.0,
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
        let model = self.model.clone();
        let outcome = self.run(request, listener);
        let counts = model.counts();
        match &outcome {
            Ok(generation) => {
                counts.requests.add(1);
                counts.prompt_tokens.add(generation.prompt_tokens);
                counts.cached_tokens.add(generation.cached_tokens);
                counts.generated_tokens.add(generation.token_ids.len());
                counts.wait.add(milliseconds(generation.wait_ms));
                counts.prefill.add(milliseconds(generation.prefill_ms));
                counts.decode.add(milliseconds(generation.decode_ms));
            }
            Err(Error::QueueFull { .. }) => counts.rejected.add(1),
            Err(_) => counts.failed.add(1),
        }
        outcome
    }

    fn run(
        &mut self,
        request: &GenerateRequest,
        listener: &mut TokenListener,
    ) -> Result<Generation> {
        let start = Instant::now();
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
        let wait_ms = start.elapsed().as_secs_f64() * 1e3;
        let mut sampling = request.options.resolve(self.model.generation_defaults())?;
        tools::check(&request.tools, &request.tool_choice)?;
        let Encoded {
            prompt,
            reasoning,
            calls,
        } = self.encoded(request)?;
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
        let constraint = self.constraint(request)?;
        let cached = self.cached(request.turn, &prompt);
        let reused = cached.reuse(&prompt);
        if request.prepare {
            let prepared = prepare(cached, &prompt, reused, &stop)?;
            return Ok(Generation {
                wait_ms,
                ..prepared
            });
        }
        let mut run = Run::new(&model, &sampling, prompt.len(), reasoning, calls, listener);
        run.think_within(request.options.thinking)?;
        if let Some((name, constraint)) = constraint {
            run.constrain(name, &constraint, request.options.thinking)?;
        }
        let outcome = run.complete(&mut cached.sequence, &mut cached.dtype, &prompt, &stop);
        let Run {
            text,
            reasoning,
            tool_calls,
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
            finish_reason: match generated.finish {
                FinishReason::Stop if !tool_calls.is_empty() => FinishReason::ToolCalls,
                finish => finish,
            },
            tool_calls,
            token_ids: tokens,
            prompt_tokens: prompt.len(),
            cached_tokens: reused,
            seed: sampling.seed,
            logprobs,
            warnings: self.model.generation_warnings().to_vec(),
            wait_ms,
            prefill_ms: generated.prefill.as_secs_f64() * 1e3,
            decode_ms: generated.decode.as_secs_f64() * 1e3,
        })
    }

    /// What the answer of a request has to follow, and the argument that says so.
    fn constraint(&self, request: &GenerateRequest) -> Result<Option<(&'static str, Constraint)>> {
        if !request.offers_tools() {
            return Ok(request.constraint.clone().map(|one| ("constraint", one)));
        }
        let answer = match &request.constraint {
            None => None,
            Some(Constraint::JsonSchema(schema)) => Some(schema),
            Some(_) => {
                let reason = "of those, only a JSON schema goes together with tools";
                return Err(Error::argument("constraint", reason));
            }
        };
        let tokenizer = self.model.tokenizer();
        let special = |text: &str| {
            let id = tokenizer.id_of(text)?;
            tokenizer.special_text(id).map(|_| id)
        };
        let format = ToolFormat::of(self.model.chat_template()?.source());
        let (tools, choice) = (&request.tools, &request.tool_choice);
        let lark = tools::grammar(format, tools, choice, &special, answer)?;
        Ok(Some(("tools", Constraint::Lark(lark))))
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
                return self.encode_chat(&[message], &none, request);
            }
            Prompt::Chat {
                messages,
                variables,
            } => return self.encode_chat(messages, variables, request),
        };
        // What only a chat template can tell the model.
        let untold = [
            ("tools", request.offers_tools()),
            ("thinking", request.options.thinking.is_some()),
        ];
        if let Some((name, _)) = untold.into_iter().find(|(_, given)| *given) {
            let reason = "needs messages and a chat template, which tells the model of it";
            return Err(Error::argument(name, reason));
        }
        encoded.checked()
    }

    fn encode_chat(
        &self,
        messages: &[Message],
        variables: &Map<String, Value>,
        request: &GenerateRequest,
    ) -> Result<Encoded> {
        let template = self.model.chat_template()?;
        let mut variables = variables.clone();
        if let Some(thinking) = request.options.thinking {
            switch_thinking(template, thinking, &mut variables)?;
        }
        let format = ToolFormat::of(template.source());
        let mut messages = messages.to_vec();
        let offered = match request.offers_tools() {
            true => &request.tools[..],
            false => &[],
        };
        if !request.tools.is_empty() {
            format.fit(&mut messages, template);
        }
        if !offered.is_empty() {
            format.tell(offered, &mut messages, &mut variables, template);
        }
        let tokenizer = self.model.tokenizer();
        let prompt = encode_chat(template, tokenizer, &messages, &variables)?;
        let reasoning = match template.reasoning() {
            None => ReasoningSplitter::new(None, false),
            Some(tags) => {
                // The tags may be special tokens.
                let end = &prompt[prompt.len().saturating_sub(16)..];
                let is_open = tags.is_open(&tokenizer.decode(end, false)?);
                ReasoningSplitter::new(Some(tags), is_open)
            }
        };
        let encoded = Encoded {
            prompt,
            reasoning,
            calls: ToolParser::new(format, offered),
        };
        encoded.checked()
    }
}

/// Tells a template whether the model is to think.
fn switch_thinking(
    template: &ChatTemplate,
    thinking: Thinking,
    variables: &mut Map<String, Value>,
) -> Result<()> {
    let on = thinking != Thinking::Off;
    match (template.thinking_switch(), template.reasoning()) {
        (Some(switch), _) => {
            variables.insert(switch.to_owned(), on.into());
            Ok(())
        }
        (None, Some(_)) if on => Ok(()),
        (None, None) if !on => Ok(()),
        (None, Some(_)) => {
            let reason = "the model's chat template has no switch to turn thinking off";
            Err(Error::argument("thinking", reason))
        }
        (None, None) => {
            let reason = "the model's chat template knows no thinking";
            Err(Error::argument("thinking", reason))
        }
    }
}

fn milliseconds(ms: f64) -> Duration {
    Duration::try_from_secs_f64(ms / 1e3).unwrap_or_default()
}

/// A prompt, and how what follows it is split into thought, answer and calls of tools.
struct Encoded {
    prompt: Vec<u32>,
    reasoning: ReasoningSplitter,
    calls: ToolParser,
}

impl Encoded {
    /// A prompt that no chat template made.
    fn plain(prompt: Vec<u32>) -> Self {
        Self {
            prompt,
            reasoning: ReasoningSplitter::new(None, false),
            calls: ToolParser::new(ToolFormat::Json, &[]),
        }
    }

    fn checked(self) -> Result<Self> {
        if self.prompt.is_empty() {
            return Err(Error::argument("prompt", "expected at least one token"));
        }
        Ok(self)
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
