//! Answers that follow a grammar: a JSON schema, a regular expression, a Lark grammar, or one of some texts.
//!
//! The grammars are llguidance's, which answers after each token which ones may follow. There is one factory a
//! model, made when the first constraint comes, and one matcher a generation. A matcher works on a thread of its
//! own, so that the next mask is computed while the model computes the logits that it is for.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use llguidance::api::TopLevelGrammar;
use llguidance::{Matcher, ParserFactory};
use serde::Deserialize;
use serde_json::{Value, json};
use toktrie::{SimpleVob, TokEnv, TokRxInfo, TokTrie, TokenizerEnv};

use crate::error::{Error, Result};
use crate::stack;
use crate::tokenizer::{TokenBytes, Tokenizer};

/// The argument that constraints come in, for errors.
const NAME: &str = "constraint";

/// What an answer has to follow.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Constraint {
    /// A JSON document that a schema describes, on one line.
    JsonSchema(Value),
    /// A text that a regular expression describes as a whole.
    Regex(String),
    /// A text that a grammar in Lark's notation describes, as llguidance reads it.
    Lark(String),
    /// One of these texts.
    OneOf(Vec<String>),
}

impl Constraint {
    fn grammar(&self) -> Result<TopLevelGrammar> {
        Ok(match self {
            Constraint::JsonSchema(schema) => {
                check_schema(schema).map_err(|reason| Error::argument(NAME, reason))?;
                TopLevelGrammar::from_json_schema(compact(schema))
            }
            Constraint::Regex(regex) => TopLevelGrammar::from_regex(regex),
            Constraint::Lark(grammar) => TopLevelGrammar::from_lark(grammar.clone()),
            Constraint::OneOf(texts) if texts.is_empty() || texts.contains(&String::new()) => {
                return Err(Error::argument(
                    NAME,
                    "expected texts to choose from, none empty",
                ));
            }
            Constraint::OneOf(texts) => {
                // As a grammar, thousands of texts would be too many.
                let escaped: Vec<String> = texts.iter().map(|text| escaped(text)).collect();
                TopLevelGrammar::from_regex(&format!("({})", escaped.join("|")))
            }
        })
    }
}

/// Refuses what llguidance takes for less than it is: it counts the properties of an object, and the same one
/// may come twice.
pub(crate) fn check_schema(schema: &Value) -> std::result::Result<(), String> {
    match schema {
        Value::Object(keys) => {
            let required = keys
                .get("required")
                .and_then(Value::as_array)
                .map_or(0, Vec::len);
            if let Some(least) = keys.get("minProperties").and_then(Value::as_u64)
                && least > required.max(1) as u64
            {
                return Err(format!(
                    "minProperties {least} with {required} required properties is not supported"
                ));
            }
            keys.values().try_for_each(check_schema)
        }
        Value::Array(items) => items.iter().try_for_each(check_schema),
        _ => Ok(()),
    }
}

/// A regular expression for a text, also between two slashes.
pub(crate) fn escaped(text: &str) -> String {
    let mut escaped = String::new();
    for c in text.chars() {
        if r"\.+*?()|[]{}^$#&-~/".contains(c) {
            escaped.push('\\');
        }
        escaped.push(c);
    }
    escaped
}

/// A schema for documents on one line. Any amount of white space between two tokens would be allowed otherwise,
/// and small models do not stop.
pub(crate) fn compact(schema: &Value) -> Value {
    // True allows anything.
    let mut schema = match schema {
        Value::Bool(true) => json!({}),
        schema => schema.clone(),
    };
    if let Value::Object(schema) = &mut schema
        && !schema.contains_key("x-guidance")
    {
        let style = json!({
            "whitespace_flexible": false, "item_separator": ", ", "key_separator": ": ",
        });
        schema.insert("x-guidance".to_owned(), style);
    }
    schema
}

/// A model's tokens, as llguidance reads them.
struct Vocabulary {
    tokenizer: Arc<Tokenizer>,
    trie: TokTrie,
}

impl TokenizerEnv for Vocabulary {
    fn tok_trie(&self) -> &TokTrie {
        &self.trie
    }

    fn tokenize_bytes(&self, bytes: &[u8]) -> Vec<u32> {
        self.trie.tokenize_with_greedy_fallback(bytes, |text| {
            // What a grammar spells like a special token is text.
            if self
                .tokenizer
                .special()
                .iter()
                .any(|(name, _)| text.contains(name.as_str()))
            {
                return self.trie.greedy_tokenize(text.as_bytes());
            }
            let ids = self.tokenizer.encode(text, false).unwrap_or_default();
            // Some tokenizers put a space before each text.
            match self.trie.decode(&ids) == text.as_bytes() {
                true => ids,
                false => self.trie.greedy_tokenize(text.as_bytes()),
            }
        })
    }
}

/// Makes matchers for one model.
pub(crate) struct Constraints {
    factory: ParserFactory,
    eos: Vec<u32>,
}

impl Constraints {
    /// Reads the vocabulary of a model with logits for so many tokens, whose answers end with one of `eos`.
    pub(crate) fn new(tokenizer: &Arc<Tokenizer>, vocab_size: usize, eos: &[u32]) -> Result<Self> {
        let [first, ..] = eos else {
            let reason = "the model has no end-of-sequence token to end an answer with";
            return Err(Error::argument(NAME, reason));
        };
        let mut words = vec![Vec::new(); vocab_size];
        for (word, token) in words.iter_mut().zip(tokenizer.token_bytes()) {
            *word = match token {
                TokenBytes::Text(bytes) => bytes,
                TokenBytes::Special(name) => {
                    let mut bytes = vec![TokTrie::SPECIAL_TOKEN_MARKER];
                    bytes.extend_from_slice(name.as_bytes());
                    bytes
                }
            };
        }
        let trie = TokTrie::from(&TokRxInfo::new(vocab_size as u32, *first), &words);
        let vocabulary: TokEnv = Arc::new(Vocabulary {
            tokenizer: Arc::clone(tokenizer),
            trie: trie.with_eos_tokens(eos),
        });
        let mut factory = ParserFactory::new_simple(&vocabulary)
            .map_err(|error| Error::Compute(format!("{NAME}: {error}")))?;
        factory.quiet();
        Ok(Self {
            factory,
            eos: eos.to_vec(),
        })
    }

    /// Begins an answer. `name` is the argument that the constraint comes from.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] for a constraint that is wrong, or has something that is not supported; it is
    /// named, and nothing is left out silently.
    pub(crate) fn start(&self, name: &str, constraint: &Constraint) -> Result<ConstrainedAnswer> {
        let grammar = constraint.grammar()?;
        let refuse = |reason: String| Error::argument(name, reason);
        // Schemas may be nested deeply.
        let matcher = stack::run(|| {
            let parser = self.factory.create_parser(grammar);
            let mut matcher = Matcher::new(parser);
            match matcher.get_error() {
                Some(error) => Err(refuse(one_line(&error))),
                None => match matcher.grammar_warnings() {
                    warnings if warnings.is_empty() => Ok(matcher),
                    warnings => Err(refuse(warnings.join("; "))),
                },
            }
        })??;
        ConstrainedAnswer::new(name, matcher, self.eos.clone())
    }
}

/// An error's text without its line breaks, and without its end where it is long.
fn one_line(error: &str) -> String {
    const LONGEST: usize = 400;
    let lines: Vec<&str> = error
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .collect();
    lines.join(" ").chars().take(LONGEST).collect()
}

/// The tokens that are allowed.
#[derive(Clone)]
pub(crate) struct Mask(SimpleVob);

impl Mask {
    /// Takes all other tokens out of logits.
    pub(crate) fn apply(&self, logits: &mut [f32]) {
        let words = self.0.as_slice();
        for (i, logits) in logits.chunks_mut(u32::BITS as usize).enumerate() {
            let allowed = words.get(i).copied().unwrap_or(0);
            if allowed == u32::MAX {
                continue;
            }
            for (bit, logit) in logits.iter_mut().enumerate() {
                if allowed >> bit & 1 == 0 {
                    *logit = f32::NEG_INFINITY;
                }
            }
        }
    }

    /// Allows one more token.
    pub(crate) fn allow(&mut self, id: u32) {
        self.0.allow_token(id);
    }
}

impl std::fmt::Debug for Mask {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Mask({} tokens)", self.0.num_set())
    }
}

impl PartialEq for Mask {
    fn eq(&self, other: &Self) -> bool {
        self.0.as_slice() == other.0.as_slice()
    }
}

/// What a matcher is asked.
enum Question {
    /// Takes a token, if there is one, and answers with those that must follow; when there are none, with the
    /// mask of those that may, too.
    Follow(Option<u32>),
    /// Takes a token and answers with nothing.
    Take(u32),
    /// Answers with the mask.
    Mask,
}

/// The state of an answer that follows a grammar.
pub(crate) struct ConstrainedAnswer {
    /// Questions go to the matcher's thread, which ends when this is dropped.
    questions: Sender<Question>,
    forced: Mutex<Receiver<Result<Vec<u32>>>>,
    masks: Mutex<Receiver<Result<Mask>>>,
}

impl ConstrainedAnswer {
    fn new(name: &str, mut matcher: Matcher, eos: Vec<u32>) -> Result<Self> {
        let name = name.to_owned();
        let (questions, asked) = channel();
        let (forced_sender, forced) = channel();
        let (mask_sender, masks) = channel();
        let work = move || {
            for question in asked {
                let answered = match question {
                    Question::Take(token) => {
                        // Of a matcher that failed, the next answer tells.
                        let _ = matcher.consume_token(token);
                        true
                    }
                    Question::Mask => mask_sender.send(mask(&name, &mut matcher)).is_ok(),
                    Question::Follow(token) => {
                        let forced = forced_tokens(&name, &mut matcher, token, &eos);
                        let open = forced.as_ref().is_ok_and(Vec::is_empty);
                        forced_sender.send(forced).is_ok()
                            && (!open || mask_sender.send(mask(&name, &mut matcher)).is_ok())
                    }
                };
                if !answered {
                    return;
                }
            }
        };
        thread::Builder::new()
            .name("candle4j-mask".to_owned())
            .spawn(work)
            .map_err(|error| Error::Compute(format!("no thread for a grammar: {error}")))?;
        let answer = Self {
            questions,
            forced: Mutex::new(forced),
            masks: Mutex::new(masks),
        };
        answer.ask(Question::Follow(None));
        Ok(answer)
    }

    fn ask(&self, question: Question) {
        // Of a thread that is gone, its answers tell.
        let _ = self.questions.send(question);
    }

    /// Takes a token. [`Self::forced`] then tells what must follow it.
    pub(crate) fn follow(&self, token: u32) {
        self.ask(Question::Follow(Some(token)));
    }

    /// Takes a token that is followed by another one that is known.
    pub(crate) fn take(&self, token: u32) {
        self.ask(Question::Take(token));
    }

    /// Asks for a mask where tokens are forced, which come without one.
    pub(crate) fn ask_mask(&self) {
        self.ask(Question::Mask);
    }

    /// The tokens that must follow; none when there is a choice. Once at the beginning, and for each
    /// [`Self::follow`].
    pub(crate) fn forced(&self) -> Result<Vec<u32>> {
        received(&self.forced)
    }

    /// The tokens of which one may follow: once where none are forced, and for each [`Self::ask_mask`].
    pub(crate) fn mask(&self) -> Result<Mask> {
        received(&self.masks)
    }
}

fn received<T>(receiver: &Mutex<Receiver<Result<T>>>) -> Result<T> {
    let receiver = receiver.lock().unwrap_or_else(PoisonError::into_inner);
    let gone = || Err(Error::Compute("the thread of a grammar is gone".into()));
    receiver.recv().unwrap_or_else(|_| gone())
}

fn forced_tokens(
    name: &str,
    matcher: &mut Matcher,
    token: Option<u32>,
    eos: &[u32],
) -> Result<Vec<u32>> {
    if let Some(token) = token {
        matcher
            .consume_token(token)
            .map_err(|e| failed(name, &e.to_string()))?;
    }
    match matcher.get_error() {
        Some(error) => Err(failed(name, &error)),
        None if matcher.is_stopped() => Ok(vec![eos[0]]),
        None => Ok(matcher.compute_ff_tokens()),
    }
}

fn mask(name: &str, matcher: &mut Matcher) -> Result<Mask> {
    let mask = matcher.compute_mask_or_eos();
    mask.map(Mask).map_err(|e| failed(name, &e.to_string()))
}

/// Some grammars turn out to be too much on the way.
fn failed(name: &str, error: &str) -> Error {
    Error::argument(name, one_line(error))
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::time::Instant;

    use super::*;
    use crate::loader::LoadOptions;
    use crate::model::Model;

    /// Prints how long masks take, over answers chosen at random: with the path of a GGUF file or a
    /// `tokenizer.json` in the environment variable TOKENIZER.
    #[test]
    #[ignore = "measures; run it in the release profile"]
    fn time_of_masks() {
        let path = std::env::var("TOKENIZER").unwrap();
        let path = Path::new(&path);
        let tokenizer = if path
            .extension()
            .is_some_and(|extension| extension == "json")
        {
            Arc::new(Tokenizer::open(path).unwrap())
        } else {
            Arc::clone(
                Model::load(path, &LoadOptions::default())
                    .unwrap()
                    .tokenizer(),
            )
        };
        let size = tokenizer.vocab_size();
        let eos = ["<|im_end|>", "<|endoftext|>", "</s>"]
            .iter()
            .find_map(|name| tokenizer.id_of(name));
        let constraints = Constraints::new(&tokenizer, size, &[eos.unwrap()]).unwrap();
        let schema = json!({
            "type": "object", "additionalProperties": false,
            "required": ["name", "email", "age", "tags", "place", "note"],
            "properties": {
                "name": {"type": "string"},
                "email": {"type": "string", "pattern": "^\\w{1,20}@[a-z]+\\.(org|com)$"},
                "age": {"type": "integer", "minimum": 0, "maximum": 120},
                "tags": {"type": "array", "items": {"enum": ["red", "green", "blue"]}},
                "place": {"anyOf": [{"$ref": "#/$defs/place"}, {"type": "null"}]},
                "note": {"type": "string", "maxLength": 200},
            },
            "$defs": {"place": {
                "type": "object", "additionalProperties": false, "required": ["x", "y", "kind"],
                "properties": {
                    "x": {"type": "number"}, "y": {"type": "number", "maximum": 4.5},
                    "kind": {"const": "place"},
                },
            }},
        });
        let matcher = |constraint: &Constraint| {
            let grammar = constraint.grammar().unwrap();
            Matcher::new(constraints.factory.create_parser(grammar))
        };
        let (mut times, mut chosen) = (Vec::new(), 1_usize);
        for _ in 0..200 {
            let mut matcher = matcher(&Constraint::JsonSchema(schema.clone()));
            for _ in 0..150 {
                for token in matcher.compute_ff_tokens() {
                    matcher.consume_token(token).unwrap();
                }
                if matcher.is_stopped() {
                    break;
                }
                let start = Instant::now();
                let Mask(mask) = mask(NAME, &mut matcher).unwrap();
                times.push(start.elapsed());
                let allowed: Vec<u32> = mask.iter().collect();
                chosen = chosen
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1);
                let token = allowed[(chosen >> 33) % allowed.len()];
                matcher.consume_token(token).unwrap();
            }
        }
        times.sort_unstable();
        let at = |share: f64| times[((times.len() - 1) as f64 * share) as usize];
        println!(
            "{size} tokens, {} masks: p50 {:?}, p99 {:?}",
            times.len(),
            at(0.5),
            at(0.99)
        );
    }
}
