//! The tokenizer classes of encoders in Hugging Face transformers.
//!
//! Since version 5, such a class takes the vocabulary and the added tokens of a `tokenizer.json`, and sets how texts are
//! normalized, cut and surrounded itself, by the keys of `tokenizer_config.json`. Where the two files contradict each
//! other, what the class does counts.

use serde_json::{Map, Value, json};
use tokenizers::ModelWrapper;

use super::HfTokenizer;
use super::steps::{Normalizers, PostProcessors, PreTokenizers};
use super::vocabulary::Vocabulary;
use crate::error::{Error, Result};

pub(super) const FILE: &str = "tokenizer_config.json";

/// What reads a `tokenizer.json`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum TokenizerClass {
    /// The file alone says how texts become tokens.
    #[default]
    File,
    Bert,
    DistilBert,
    MpNet,
    Roberta,
    XlmRoberta,
    Camembert,
}

use TokenizerClass::{Bert, Camembert, DistilBert, MpNet, Roberta, XlmRoberta};

/// By the names of the classes.
const CLASSES: [(&str, TokenizerClass); 9] = [
    ("PreTrainedTokenizer", TokenizerClass::File),
    ("TokenizersBackend", TokenizerClass::File),
    ("BertTokenizer", Bert),
    ("ElectraTokenizer", Bert),
    ("DistilBertTokenizer", DistilBert),
    ("MPNetTokenizer", MpNet),
    ("RobertaTokenizer", Roberta),
    ("XLMRobertaTokenizer", XlmRoberta),
    ("CamembertTokenizer", Camembert),
];

/// Those that models have whose files name none, by `model_type`.
const MODELS: [(&str, TokenizerClass); 7] = [
    ("bert", Bert),
    ("nomic_bert", Bert),
    ("distilbert", Bert),
    ("mpnet", MpNet),
    ("roberta", Roberta),
    ("xlm-roberta", XlmRoberta),
    ("camembert", Camembert),
];

impl TokenizerClass {
    /// The class of an encoder's tokenizer: the one that `tokenizer_config.json` names, else `config.json`, else the family's.
    ///
    /// # Errors
    /// [`Error::UnsupportedModel`] for a class that is not known: it may set other things.
    pub(crate) fn of(
        family: &str,
        model: &Map<String, Value>,
        tokens: &Map<String, Value>,
    ) -> Result<TokenizerClass> {
        let known = |table: &[(&str, TokenizerClass)], name: &str| {
            let mut entries = table.iter();
            entries
                .find(|(entry, _)| *entry == name)
                .map(|(_, class)| *class)
        };
        let Some(own) = known(&MODELS, family) else {
            return Ok(TokenizerClass::File);
        };
        let named = |file, keys: &Map<String, Value>| {
            let name = keys.get("tokenizer_class")?.as_str()?;
            Some((file, name.strip_suffix("Fast").unwrap_or(name).to_owned()))
        };
        let Some((file, name)) = named(FILE, tokens).or_else(|| named("config.json", model)) else {
            return Ok(own);
        };
        known(&CLASSES, &name).ok_or_else(|| Error::UnsupportedModel {
            file: file.into(),
            key: "tokenizer_class".into(),
            value: name,
            reason: "this class is not known for encoders".into(),
        })
    }

    /// Whether the model is told which tokens belong to a pair's second text, unless `model_input_names` says otherwise.
    pub(crate) fn tells_pairs(self) -> bool {
        matches!(self, TokenizerClass::File | Bert)
    }

    /// Sets how texts are normalized and cut.
    pub(super) fn prepare(
        self,
        tokenizer: &mut HfTokenizer,
        config: &Map<String, Value>,
    ) -> Result<()> {
        self.check_model(tokenizer)?;
        let prefix_space = |default: bool| flag(config, "add_prefix_space", default);
        let (normalizer, pre_tokenizer) = match self {
            TokenizerClass::File => return Ok(()),
            Bert | DistilBert | MpNet => {
                word_piece(tokenizer, text(config, "unk_token").unwrap_or("[UNK]"));
                let normalizer = json!({
                    "type": "BertNormalizer",
                    "clean_text": true,
                    "handle_chinese_chars": flag(config, "tokenize_chinese_chars", true)?,
                    "strip_accents": config.get("strip_accents").unwrap_or(&Value::Null),
                    "lowercase": flag(config, "do_lower_case", true)?,
                });
                (
                    Some(read::<Normalizers>("strip_accents", normalizer)?),
                    json!({"type": "BertPreTokenizer"}),
                )
            }
            Roberta => {
                let pre_tokenizer = json!({
                    "type": "ByteLevel",
                    "add_prefix_space": prefix_space(false)?,
                    "trim_offsets": true,
                    "use_regex": true,
                });
                (None, pre_tokenizer)
            }
            XlmRoberta | Camembert => {
                let normalizer = tokenizer
                    .get_normalizer()
                    .and_then(Normalizers::precompiled);
                let pre_tokenizer = json!({
                    "type": "Sequence",
                    "pretokenizers": [
                        {"type": "WhitespaceSplit"},
                        {
                            "type": "Metaspace",
                            "replacement": "▁",
                            "prepend_scheme": if prefix_space(true)? { "always" } else { "never" },
                            "split": true,
                        },
                    ],
                });
                (normalizer, pre_tokenizer)
            }
        };
        tokenizer
            .with_normalizer(normalizer)
            .map_err(|e| invalid(&e.to_string()))?;
        tokenizer.with_pre_tokenizer(Some(read::<PreTokenizers>(
            "tokenizer_class",
            pre_tokenizer,
        )?));
        Ok(())
    }

    /// Sets what is put around texts.
    pub(super) fn finish(
        self,
        tokenizer: &mut HfTokenizer,
        config: &Map<String, Value>,
    ) -> Result<()> {
        let token = |key: &str, default: &'static str| -> Result<(String, u32)> {
            let text = text(config, key).unwrap_or(default);
            let id = tokenizer.token_to_id(text).ok_or_else(|| {
                invalid(&format!(
                    "{key}: {text:?} is not in the vocabulary of tokenizer.json"
                ))
            })?;
            Ok((text.to_owned(), id))
        };
        let around = match self {
            TokenizerClass::File => return Ok(()),
            Bert | DistilBert => {
                let (first, last) = (token("cls_token", "[CLS]")?, token("sep_token", "[SEP]")?);
                let pair = [("A", 0), ("", 0), ("B", 1), ("", 1)];
                template(&first, &last, &pair)
            }
            XlmRoberta | Camembert => {
                let (first, last) = (token("bos_token", "<s>")?, token("eos_token", "</s>")?);
                let pair = [("A", 0), ("", 0), ("", 0), ("B", 0), ("", 0)];
                template(&first, &last, &pair)
            }
            MpNet | Roberta => json!({
                "type": "RobertaProcessing",
                "sep": token("sep_token", "</s>")?,
                "cls": token("cls_token", "<s>")?,
                "trim_offsets": true,
                "add_prefix_space": false,
            }),
        };
        tokenizer.with_post_processor(Some(read::<PostProcessors>("tokenizer_class", around)?));
        Ok(())
    }

    /// Refuses a vocabulary of another kind than the class has.
    fn check_model(self, tokenizer: &HfTokenizer) -> Result<()> {
        let (fits, kind) = match (self, &tokenizer.get_model().0) {
            (TokenizerClass::File, _) => (true, ""),
            (Bert | DistilBert | MpNet, model) => {
                (matches!(model, ModelWrapper::WordPiece(_)), "WordPiece")
            }
            (Roberta, model) => (matches!(model, ModelWrapper::BPE(_)), "BPE"),
            (XlmRoberta | Camembert, model) => {
                (matches!(model, ModelWrapper::Unigram(_)), "Unigram")
            }
        };
        match fits {
            true => Ok(()),
            false => Err(invalid(&format!(
                "tokenizer_class: this class reads vocabularies of the kind {kind}, and tokenizer.json has another"
            ))),
        }
    }
}

/// Sets what the classes assume of word pieces, where the file has it otherwise.
fn word_piece(tokenizer: &mut HfTokenizer, unknown: &str) {
    const PREFIX: &str = "##";
    const LONGEST_WORD: usize = 100;
    if let ModelWrapper::WordPiece(model) = &tokenizer.get_model().0
        && (model.unk_token != unknown
            || model.continuing_subword_prefix != PREFIX
            || model.max_input_chars_per_word != LONGEST_WORD)
    {
        let mut model = model.clone();
        model.unk_token = unknown.into();
        model.continuing_subword_prefix = PREFIX.into();
        model.max_input_chars_per_word = LONGEST_WORD;
        tokenizer.with_model(Vocabulary(ModelWrapper::WordPiece(model)));
    }
}

/// The JSON of a template: `first`, a text and `last`; or with the texts `A` and `B` of a pair, and `last` where no text is
/// named. Each place says which text it belongs to.
fn template(first: &(String, u32), last: &(String, u32), pair: &[(&str, u32)]) -> Value {
    let special = |token: &(String, u32), kind: u32| json!({"SpecialToken": {"id": token.0, "type_id": kind}});
    let text = |name: &str, kind: u32| json!({"Sequence": {"id": name, "type_id": kind}});
    let places = |of: &[(&str, u32)]| {
        let behind = of.iter().map(|(name, kind)| match name.is_empty() {
            true => special(last, *kind),
            false => text(name, *kind),
        });
        std::iter::once(special(first, 0))
            .chain(behind)
            .collect::<Vec<Value>>()
    };
    let tokens: Map<String, Value> = [first, last]
        .into_iter()
        .map(|(text, id)| {
            let token = json!({"id": text, "ids": [id], "tokens": [text]});
            (text.clone(), token)
        })
        .collect();
    json!({
        "type": "TemplateProcessing",
        "single": places(&[("A", 0), ("", 0)]),
        "pair": places(pair),
        "special_tokens": tokens,
    })
}

fn flag(config: &Map<String, Value>, key: &str, default: bool) -> Result<bool> {
    match config.get(key) {
        None => Ok(default),
        Some(Value::Bool(flag)) => Ok(*flag),
        // As Python takes what is no truth value.
        Some(Value::Null) => Ok(false),
        Some(other) => Err(invalid(&format!(
            "{key}: expected true or false, got {other}"
        ))),
    }
}

/// The text of the token that has this name.
fn text<'a>(config: &'a Map<String, Value>, name: &str) -> Option<&'a str> {
    config.get(name).and_then(text_of)
}

/// A token's text, which is written as it is or inside of an object.
pub(super) fn text_of(value: &Value) -> Option<&str> {
    value
        .as_str()
        .or_else(|| value.get("content").and_then(Value::as_str))
}

/// A step by its JSON, in which the value of `key` may be wrong.
fn read<T: serde::de::DeserializeOwned>(key: &str, step: Value) -> Result<T> {
    serde_json::from_value(step).map_err(|e| invalid(&format!("{key}: {e}")))
}

fn invalid(reason: &str) -> Error {
    Error::InvalidFile {
        file: FILE.into(),
        reason: reason.into(),
    }
}
