//! The parts of a `tokenizer.json` that transform text, each within the [`budget`] of its text.
//!
//! They are those of the tokenizers library, except that sequences are flat lists of a limited number
//! of steps, and that replacing and splitting by a pattern looks at what it would produce before it
//! does.

use std::ops::Range;
use std::sync::Arc;

use fancy_regex::Regex;
use serde::de::{DeserializeOwned, Error as _};
use serde::{Deserialize, Deserializer};
use serde_json::Value;
use serde_json::value::RawValue;
use tokenizers::normalizers::utils::Lowercase;
use tokenizers::pattern::{Invert, Pattern};
use tokenizers::{
    Decoder, DecoderWrapper, Encoding, NormalizedString, Normalizer, NormalizerWrapper, Offsets,
    PostProcessor, PostProcessorWrapper, PreTokenizedString, PreTokenizer, PreTokenizerWrapper,
    SplitDelimiterBehavior,
};

use super::budget::{self, Failure};

/// The most steps of one part. Published tokenizers have up to ten.
const MOST_STEPS: usize = 64;

/// The deepest nesting of sequences. Published tokenizers have none.
const DEEPEST: usize = 8;

/// The most bytes of JSON of one part. The largest published one is a table of a third of a megabyte.
const MOST_JSON: usize = 4 << 20;

/// The most pre-tokenizers that write bytes as characters, which makes up to two of one.
const MOST_BYTE_LEVELS: usize = 4;

/// The most ids of all special tokens of a post-processor together.
const MOST_IDS: usize = 1024;

/// The most places of a post-processor's template. Published ones have up to six.
const MOST_PLACES: usize = 64;

/// A literal text or a regular expression.
#[derive(Debug, Clone)]
struct Matcher(Arc<Regex>);

impl Matcher {
    fn new(pattern: &PatternJson) -> Result<Self, String> {
        let source = match pattern {
            PatternJson::String(text) => &fancy_regex::escape(text).into_owned(),
            PatternJson::Regex(source) => source,
        };
        Regex::new(source)
            .map(|regex| Self(Arc::new(regex)))
            .map_err(|e| format!("pattern {source:?}: {e}"))
    }

    /// All matches. Over a run of a million spaces, `\\s+(?!\\S)` steps back more often than the regular
    /// expression's stack holds; such runs are looked at in short.
    fn find(&self, text: &str) -> Result<Vec<Range<usize>>, Failure> {
        match self.find_as_it_is(text) {
            Err(error) if error.is::<fancy_regex::Error>() => {
                let short = ShortRuns::of(text);
                if short.runs.is_empty() {
                    return Err(error);
                }
                self.find_as_it_is(&short.text)?
                    .into_iter()
                    .map(|found| {
                        let start = short.place(found.start);
                        let end = short.place(found.end);
                        start.zip(end).map(|(start, end)| start..end)
                    })
                    .collect::<Option<_>>()
                    .ok_or(error)
            }
            result => result,
        }
    }

    fn find_as_it_is(&self, text: &str) -> Result<Vec<Range<usize>>, Failure> {
        let mut matches = Vec::new();
        for found in self.0.find_iter(text) {
            // A single one may take a million steps.
            budget::check_time()?;
            matches.push(found?.range());
        }
        Ok(matches)
    }
}

/// A text whose long runs of one character are cut to a shorter length.
struct ShortRuns {
    text: String,
    /// Where each run that was cut begins, here and in the whole text, its length there, and the bytes
    /// of its character.
    runs: Vec<Run>,
}

struct Run {
    here: usize,
    there: usize,
    length: usize,
    width: usize,
}

impl ShortRuns {
    /// Characters that are left of a run. Patterns that count do not count so far.
    const LEFT: usize = 4096;

    /// How near to the borders of a run a match may begin or end for its place to be certain.
    const NEAR: usize = 64;

    fn of(text: &str) -> Self {
        let mut short = Self {
            text: String::new(),
            runs: Vec::new(),
        };
        let mut rest = text;
        while let Some(first) = rest.chars().next() {
            let there = text.len() - rest.len();
            let width = first.len_utf8();
            let length = rest.len() - rest.trim_start_matches(first).len();
            let left = length.min(Self::LEFT * width);
            if left < length {
                short.runs.push(Run {
                    here: short.text.len(),
                    there,
                    length,
                    width,
                });
            }
            short.text.push_str(&rest[..left]);
            rest = &rest[length..];
        }
        short
    }

    /// The place in the whole text, unless it lies where a run was cut.
    fn place(&self, here: usize) -> Option<usize> {
        let behind = self.runs.partition_point(|run| run.here <= here);
        let Some(run) = behind.checked_sub(1).map(|index| &self.runs[index]) else {
            return Some(here);
        };
        let left = Self::LEFT * run.width;
        let inside = here - run.here;
        if inside <= Self::NEAR * run.width {
            Some(run.there + inside)
        } else if inside + Self::NEAR * run.width >= left {
            Some(run.there + run.length + inside - left)
        } else {
            None
        }
    }
}

#[derive(Deserialize)]
enum PatternJson {
    String(String),
    Regex(String),
}

/// A pattern each of whose matches becomes so many bytes.
struct Replaced<'a> {
    matcher: &'a Matcher,
    /// Bytes of what a match becomes; `None` when the text stays as it is.
    content: Option<usize>,
}

impl Pattern for &Replaced<'_> {
    fn find_matches(&self, inside: &str) -> tokenizers::Result<Vec<(Offsets, bool)>> {
        if inside.is_empty() {
            return Ok(vec![((0, 0), false)]);
        }
        let mut splits = Vec::new();
        let mut last = 0;
        let mut length = inside.len();
        for found in self.matcher.find(inside)? {
            if let Some(content) = self.content {
                length = (length - found.len()).saturating_add(content);
            }
            if found.start != last {
                splits.push(((last, found.start), false));
            }
            splits.push(((found.start, found.end), true));
            last = found.end;
        }
        if last != inside.len() {
            splits.push(((last, inside.len()), false));
        }
        budget::grow(inside.len(), length)?;
        Ok(splits)
    }
}

/// Replaces what a pattern finds; as a normalizer and as a decoder.
#[derive(Debug, Clone)]
struct Replace {
    matcher: Matcher,
    content: String,
}

impl Replace {
    fn read(value: Value) -> Result<Self, String> {
        #[derive(Deserialize)]
        struct Json {
            pattern: PatternJson,
            content: String,
        }
        let json: Json = serde_json::from_value(value).map_err(|e| e.to_string())?;
        Ok(Self {
            matcher: Matcher::new(&json.pattern)?,
            content: json.content,
        })
    }

    fn pattern(&self) -> Replaced<'_> {
        Replaced {
            matcher: &self.matcher,
            content: Some(self.content.len()),
        }
    }

    fn decode(&self, token: &str) -> Result<String, Failure> {
        let mut text = String::new();
        for ((start, end), is_match) in (&self.pattern()).find_matches(token)? {
            text.push_str(if is_match {
                &self.content
            } else {
                &token[start..end]
            });
        }
        Ok(text)
    }
}

/// Splits where a pattern finds something.
#[derive(Debug, Clone)]
struct Split {
    matcher: Matcher,
    behavior: SplitDelimiterBehavior,
    invert: bool,
}

impl Split {
    fn read(value: Value) -> Result<Self, String> {
        #[derive(Deserialize)]
        struct Json {
            pattern: PatternJson,
            behavior: SplitDelimiterBehavior,
            invert: bool,
        }
        let json: Json = serde_json::from_value(value).map_err(|e| e.to_string())?;
        Ok(Self {
            matcher: Matcher::new(&json.pattern)?,
            behavior: json.behavior,
            invert: json.invert,
        })
    }

    fn split(&self, text: &mut PreTokenizedString) -> tokenizers::Result<()> {
        let pattern = Replaced {
            matcher: &self.matcher,
            content: None,
        };
        text.split(|_, part| {
            budget::check_time()?;
            if self.invert {
                part.split(Invert(&pattern), self.behavior)
            } else {
                part.split(&pattern, self.behavior)
            }
        })
    }
}

/// The steps that normalize a text.
#[derive(Debug, Clone)]
pub(super) struct Normalizers(Vec<NormalizerStep>);

#[derive(Debug, Clone)]
enum NormalizerStep {
    Replace(Replace),
    Other(Arc<NormalizerWrapper>),
}

impl<'de> Deserialize<'de> for Normalizers {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        steps(deserializer, "normalizers", |kind, value| match kind {
            "Replace" => Replace::read(value).map(NormalizerStep::Replace),
            _ => match other(value)? {
                NormalizerWrapper::Sequence(_) => Err(untyped()),
                step => Ok(NormalizerStep::Other(Arc::new(step))),
            },
        })
        .map(Self)
    }
}

impl Normalizers {
    /// The table of a SentencePiece model among them, alone.
    pub(super) fn precompiled(&self) -> Option<Self> {
        let is_table = |step: &&NormalizerStep| match step {
            NormalizerStep::Other(step) => matches!(**step, NormalizerWrapper::Precompiled(_)),
            NormalizerStep::Replace(_) => false,
        };
        let table = self.0.iter().find(is_table)?;
        Some(Self(vec![table.clone()]))
    }

    /// These, and before them one that writes texts small, unless that is a step of its own already.
    pub(super) fn lower_case(steps: Option<&Self>) -> Self {
        let is_small = |step: &NormalizerStep| match step {
            NormalizerStep::Other(step) => matches!(**step, NormalizerWrapper::Lowercase(_)),
            NormalizerStep::Replace(_) => false,
        };
        let mut all = steps.map_or(Vec::new(), |steps| steps.0.clone());
        if !all.iter().any(is_small) {
            let step = Arc::new(NormalizerWrapper::Lowercase(Lowercase));
            all.insert(0, NormalizerStep::Other(step));
        }
        Self(all)
    }
}

impl Normalizer for Normalizers {
    fn normalize(&self, text: &mut NormalizedString) -> tokenizers::Result<()> {
        for step in &self.0 {
            let before = text.get().len();
            match step {
                NormalizerStep::Replace(replace) => {
                    text.replace(&replace.pattern(), &replace.content)?;
                }
                NormalizerStep::Other(step) => {
                    step.normalize(text)?;
                    budget::grow(before, text.get().len())?;
                }
            }
            budget::check_time()?;
        }
        Ok(())
    }
}

/// The steps that cut a text into words.
#[derive(Debug, Clone)]
pub(super) struct PreTokenizers(Vec<PreTokenizerStep>);

#[derive(Debug, Clone)]
enum PreTokenizerStep {
    Split(Split),
    Other(Arc<PreTokenizerWrapper>),
}

impl<'de> Deserialize<'de> for PreTokenizers {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut byte_levels = 0;
        steps(deserializer, "pretokenizers", |kind, value| match kind {
            "ByteLevel" if byte_levels == MOST_BYTE_LEVELS => Err(format!(
                "more than {MOST_BYTE_LEVELS} pre-tokenizers of the kind ByteLevel"
            )),
            "ByteLevel" => {
                byte_levels += 1;
                other(value).map(|step| PreTokenizerStep::Other(Arc::new(step)))
            }
            "Split" => Split::read(value).map(PreTokenizerStep::Split),
            _ => match other(value)? {
                PreTokenizerWrapper::Sequence(_) => Err(untyped()),
                step => Ok(PreTokenizerStep::Other(Arc::new(step))),
            },
        })
        .map(Self)
    }
}

impl PreTokenizer for PreTokenizers {
    fn pre_tokenize(&self, text: &mut PreTokenizedString) -> tokenizers::Result<()> {
        for step in &self.0 {
            match step {
                PreTokenizerStep::Split(split) => split.split(text)?,
                PreTokenizerStep::Other(step) => step.pre_tokenize(text)?,
            }
            budget::check_time()?;
        }
        Ok(())
    }
}

/// The steps that make text of tokens.
#[derive(Debug, Clone)]
pub(super) struct Decoders(Vec<DecoderStep>);

#[derive(Debug, Clone)]
enum DecoderStep {
    Replace(Replace),
    Other(Arc<DecoderWrapper>),
}

impl<'de> Deserialize<'de> for Decoders {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        steps(deserializer, "decoders", |kind, value| match kind {
            "Replace" => Replace::read(value).map(DecoderStep::Replace),
            _ => match other(value)? {
                DecoderWrapper::Sequence(_) => Err(untyped()),
                step => Ok(DecoderStep::Other(Arc::new(step))),
            },
        })
        .map(Self)
    }
}

impl Decoder for Decoders {
    fn decode_chain(&self, tokens: Vec<String>) -> tokenizers::Result<Vec<String>> {
        let length = |tokens: &[String]| tokens.iter().map(String::len).sum::<usize>();
        let mut tokens = tokens;
        for step in &self.0 {
            tokens = match step {
                DecoderStep::Replace(replace) => tokens
                    .iter()
                    .map(|token| replace.decode(token))
                    .collect::<Result<_, _>>()?,
                DecoderStep::Other(step) => {
                    let before = length(&tokens);
                    let after = step.decode_chain(tokens)?;
                    budget::grow(before, length(&after))?;
                    after
                }
            };
            budget::check_time()?;
        }
        Ok(tokens)
    }
}

/// What is put around the tokens of a text.
#[derive(Debug, Clone)]
pub(super) struct PostProcessors(PostProcessorWrapper);

impl<'de> Deserialize<'de> for PostProcessors {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = document(deserializer)?;
        let ids = special_ids(&value, 0).map_err(D::Error::custom)?;
        if ids > MOST_IDS {
            return Err(D::Error::custom(format!(
                "the post-processor's special tokens have {ids} ids; at most {MOST_IDS} are read"
            )));
        }
        let places = places(&value, 0).map_err(D::Error::custom)?;
        if places > MOST_PLACES {
            return Err(D::Error::custom(format!(
                "the post-processor has {places} places; at most {MOST_PLACES} are read"
            )));
        }
        other(value).map(Self).map_err(D::Error::custom)
    }
}

impl PostProcessor for PostProcessors {
    fn added_tokens(&self, is_pair: bool) -> usize {
        self.0.added_tokens(is_pair)
    }

    fn process_encodings(
        &self,
        encodings: Vec<Encoding>,
        add_special_tokens: bool,
    ) -> tokenizers::Result<Vec<Encoding>> {
        self.0.process_encodings(encodings, add_special_tokens)
    }
}

/// How many times a post-processor names the text or puts a token beside it.
fn places(value: &Value, depth: usize) -> Result<usize, String> {
    if depth > DEEPEST {
        return Err(too_deep("processors"));
    }
    let list = |key: &str| value.get(key).and_then(Value::as_array);
    let mut count = list("single").map_or(0, Vec::len) + list("pair").map_or(0, Vec::len);
    for inner in list("processors").into_iter().flatten() {
        count += 1 + places(inner, depth + 1)?;
    }
    Ok(count)
}

/// How many ids a post-processor's special tokens have.
fn special_ids(value: &Value, depth: usize) -> Result<usize, String> {
    if depth > DEEPEST {
        return Err(too_deep("processors"));
    }
    let tokens = value.get("special_tokens").and_then(Value::as_object);
    let mut count = tokens.map_or(0, |tokens| {
        tokens
            .values()
            .filter_map(|token| token.get("ids").and_then(Value::as_array))
            .map(Vec::len)
            .sum()
    });
    let inner = value.get("processors").and_then(Value::as_array);
    for inner in inner.into_iter().flatten() {
        count += special_ids(inner, depth + 1)?;
    }
    Ok(count)
}

/// A part's JSON, which takes many times its bytes once it is parsed.
fn document<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Value, D::Error> {
    let text = Box::<RawValue>::deserialize(deserializer)?;
    let length = text.get().len();
    if length > MOST_JSON {
        return Err(D::Error::custom(format!(
            "a part of {length} bytes; at most {MOST_JSON} are read"
        )));
    }
    serde_json::from_str(text.get()).map_err(D::Error::custom)
}

/// Reads a step, or the sequence of steps that it is, as one list.
fn steps<'de, D: Deserializer<'de>, S>(
    deserializer: D,
    key: &str,
    mut read: impl FnMut(&str, Value) -> Result<S, String>,
) -> Result<Vec<S>, D::Error> {
    let mut list = Vec::new();
    flatten(document(deserializer)?, key, 0, &mut |kind, value| {
        if list.len() == MOST_STEPS {
            return Err(format!("more than {MOST_STEPS} {key}"));
        }
        list.push(read(kind, value)?);
        Ok(())
    })
    .map_err(D::Error::custom)?;
    Ok(list)
}

fn flatten(
    mut value: Value,
    key: &str,
    depth: usize,
    take: &mut dyn FnMut(&str, Value) -> Result<(), String>,
) -> Result<(), String> {
    if depth > DEEPEST {
        return Err(too_deep(key));
    }
    let kind = value.get("type").and_then(Value::as_str).map(str::to_owned);
    if kind.as_deref() != Some("Sequence") {
        return take(kind.as_deref().unwrap_or_default(), value);
    }
    let Some(Value::Array(inner)) = value.get_mut(key).map(Value::take) else {
        return Err(format!("a Sequence without {key}"));
    };
    for value in inner {
        flatten(value, key, depth + 1, take)?;
    }
    Ok(())
}

fn too_deep(key: &str) -> String {
    format!("{key} are nested deeper than {DEEPEST} levels")
}

fn untyped() -> String {
    "a sequence without its type".into()
}

fn other<T: DeserializeOwned>(value: Value) -> Result<T, String> {
    serde_json::from_value(value).map_err(|e| e.to_string())
}
