//! The tokenizer and the chat template, put together from a GGUF file's metadata.
//!
//! The metadata hold what `tokenizer.json` holds, but only a name for how text is cut into words
//! (`tokenizer.ggml.pre`). What each name means is the published tokenizer of the models that it
//! stands for. A name that is not known is refused: the wrong cut gives other tokens.

use serde_json::{Map, Value, json};

use super::file::GgufFile;
use super::sentencepiece;
use crate::chat::ChatTemplate;
use crate::error::{Error, Result};
use crate::tokenizer::Tokenizer;

const PRE: &str = "tokenizer.ggml.pre";
const TOKENS: &str = "tokenizer.ggml.tokens";

/// How text becomes words, under one name.
struct Cut {
    names: &'static [&'static str],
    /// What happens to characters first.
    normalizer: fn() -> Value,
    /// How words are told apart.
    splits: fn() -> Vec<Value>,
    /// Whether a word that is a token is taken whole, however its merges would go.
    ignore_merges: bool,
    /// Whether texts begin with a beginning-of-sequence token when the file does not say.
    add_bos: bool,
}

const CUTS: &[Cut] = &[
    Cut {
        names: &["gpt2", "gpt-2"],
        normalizer: || Value::Null,
        splits: || vec![byte_level(true)],
        ignore_merges: false,
        add_bos: false,
    },
    // As gpt2, with every numeric character (½ and ① too) a word of its own.
    Cut {
        names: &["smollm"],
        normalizer: || Value::Null,
        splits: || {
            vec![
                json!({"type": "Digits", "individual_digits": true}),
                byte_level(true),
            ]
        },
        ignore_merges: false,
        add_bos: false,
    },
    Cut {
        names: &["llama-bpe", "llama3", "llama-v3"],
        normalizer: || Value::Null,
        splits: || vec![split(r"\p{N}{1,3}"), byte_level(false)],
        ignore_merges: true,
        add_bos: true,
    },
    Cut {
        names: &["qwen2"],
        normalizer: || json!({"type": "NFC"}),
        splits: || vec![split(r"\p{N}"), byte_level(false)],
        ignore_merges: false,
        add_bos: false,
    },
];

fn byte_level(use_regex: bool) -> Value {
    json!({
        "type": "ByteLevel",
        "add_prefix_space": false,
        "trim_offsets": true,
        "use_regex": use_regex,
    })
}

/// Contractions, words with one sign in front, numbers as `number` says, signs, and white space.
fn split(number: &str) -> Value {
    let pattern = [
        r"(?i:'s|'t|'re|'ve|'m|'ll|'d)",
        r"[^\r\n\p{L}\p{N}]?\p{L}+",
        number,
        r" ?[^\s\p{L}\p{N}]+[\r\n]*",
        r"\s*[\r\n]+",
        r"\s+(?!\S)",
        r"\s+",
    ]
    .join("|");
    json!({
        "type": "Split",
        "pattern": {"Regex": pattern},
        "behavior": "Isolated",
        "invert": false,
    })
}

/// The tokenizer that the metadata describe.
pub(super) fn tokenizer(file: &GgufFile) -> Result<Tokenizer> {
    const MODEL: &str = "tokenizer.ggml.model";
    let tokens = file.required_texts(TOKENS)?;
    let mut vocab = Map::with_capacity(tokens.len());
    for (id, token) in tokens.iter().enumerate() {
        if vocab.insert((*token).into(), id.into()).is_some() {
            return Err(file.invalid(TOKENS, format!("{token:?} occurs twice")));
        }
    }
    let vocab = Value::Object(vocab);
    let parts = match file.required_text(MODEL)? {
        "gpt2" => byte_level_parts(file, vocab)?,
        "llama" => sentencepiece::parts(file, &tokens, vocab)?,
        other => {
            return Err(unsupported(
                MODEL,
                other,
                "the tokenizers gpt2 (byte-level BPE) and llama (SentencePiece) are known",
            ));
        }
    };
    let document = json!({
        "version": "1.0",
        "truncation": null,
        "padding": null,
        "added_tokens": added_tokens(file, &tokens)?,
        "post_processor": post_processor(file, &tokens, &parts)?,
        "normalizer": parts.normalizer,
        "pre_tokenizer": parts.pre_tokenizer,
        "decoder": parts.decoder,
        "model": parts.model,
    });
    let text = serde_json::to_vec(&document).map_err(|e| Error::Tokenizer(e.to_string()))?;
    Tokenizer::from_json(&file.name(), &text)
}

/// What `tokenizer.json` has besides its added tokens.
pub(super) struct Parts {
    pub(super) normalizer: Value,
    pub(super) pre_tokenizer: Value,
    pub(super) decoder: Value,
    pub(super) model: Value,
    /// The post-processor that adds nothing.
    pub(super) plain: Value,
    /// Whether texts begin with a beginning-of-sequence token when the file does not say.
    pub(super) add_bos: bool,
}

fn byte_level_parts(file: &GgufFile, vocab: Value) -> Result<Parts> {
    let pre = file.required_text(PRE)?;
    let cut = CUTS
        .iter()
        .find(|cut| cut.names.contains(&pre))
        .ok_or_else(|| unsupported(PRE, pre, "how this tokenizer cuts words is not known"))?;
    if file.flag("tokenizer.ggml.add_space_prefix")? == Some(true) {
        return Err(unsupported(
            "tokenizer.ggml.add_space_prefix",
            "true",
            "byte-level tokenizers put no space in front",
        ));
    }
    let merges = file
        .required_texts("tokenizer.ggml.merges")?
        .into_iter()
        .map(|merge| {
            merge
                .split_once(' ')
                .map(|(a, b)| json!([a, b]))
                .ok_or_else(|| {
                    file.invalid(
                        "tokenizer.ggml.merges",
                        format!("expected two parts with a space between, got {merge:?}"),
                    )
                })
        })
        .collect::<Result<Vec<Value>>>()?;
    Ok(Parts {
        normalizer: (cut.normalizer)(),
        pre_tokenizer: json!({"type": "Sequence", "pretokenizers": (cut.splits)()}),
        decoder: byte_level(true),
        model: json!({
            "type": "BPE",
            "dropout": null,
            "unk_token": null,
            "continuing_subword_prefix": null,
            "end_of_word_suffix": null,
            "fuse_unk": false,
            "byte_fallback": false,
            "ignore_merges": cut.ignore_merges,
            "vocab": vocab,
            "merges": merges,
        }),
        plain: byte_level(true),
        add_bos: cut.add_bos,
    })
}

fn unsupported(key: &str, value: &str, reason: &str) -> Error {
    Error::UnsupportedModel {
        file: String::new(),
        key: key.into(),
        value: value.into(),
        reason: reason.into(),
    }
}

fn part(name: &str) -> Value {
    json!({"Sequence": {"id": name, "type_id": 0}})
}

/// Tokens that are found in a text as they are: control tokens, and those that users defined.
fn added_tokens(file: &GgufFile, tokens: &[&str]) -> Result<Vec<Value>> {
    const KEY: &str = "tokenizer.ggml.token_type";
    const CONTROL: u64 = 3;
    const USER_DEFINED: u64 = 4;
    let types = file.required_numbers(KEY)?;
    if types.len() != tokens.len() {
        return Err(file.invalid(
            KEY,
            format!("expected one for each of {} tokens", tokens.len()),
        ));
    }
    Ok(tokens
        .iter()
        .zip(&types)
        .enumerate()
        .filter(|(_, (token, kind))| {
            matches!(**kind, CONTROL | USER_DEFINED) || END_OF_TURN.contains(token)
        })
        .map(|(id, (token, kind))| {
            json!({
                "id": id,
                "content": token,
                "single_word": false,
                "lstrip": false,
                "rstrip": false,
                "normalized": false,
                "special": *kind == CONTROL || END_OF_TURN.contains(token),
            })
        })
        .collect())
}

/// Puts the beginning-of-sequence token in front of texts, where the model wants it.
fn post_processor(file: &GgufFile, tokens: &[&str], parts: &Parts) -> Result<Value> {
    const BOS: &str = "tokenizer.ggml.bos_token_id";
    if !file
        .flag("tokenizer.ggml.add_bos_token")?
        .unwrap_or(parts.add_bos)
    {
        return Ok(parts.plain.clone());
    }
    let id = file
        .id(BOS)?
        .ok_or_else(|| file.invalid(BOS, "add_bos_token needs it"))?;
    let token = tokens
        .get(id as usize)
        .ok_or_else(|| file.invalid(BOS, format!("there are {} tokens", tokens.len())))?;
    let bos = json!({"SpecialToken": {"id": token, "type_id": 0}});
    Ok(json!({
        "type": "TemplateProcessing",
        "single": [bos.clone(), part("A")],
        "pair": [bos.clone(), part("A"), bos, part("B")],
        "special_tokens": {(*token): {"id": token, "ids": [id], "tokens": [token]}},
    }))
}

/// Tokens that end a turn, by their texts, as llama.cpp has them: many files name only one of those that
/// their model uses, or mark them as ordinary text.
const END_OF_TURN: &[&str] = &[
    "<|eot_id|>",
    "<|im_end|>",
    "<|end|>",
    "<|return|>",
    "<|call|>",
    "<end_of_turn>",
    "<|endoftext|>",
    "<|end_of_text|>",
    "</s>",
    "<|eom_id|>",
    "<EOT>",
    "_<EOT>",
    "[EOT]",
    "[EOS]",
    "<end_of_utterance>",
    "<eos>",
    "<turn|>",
    "<｜end▁of▁sentence｜>",
];

/// The ids that end an answer: the end of the sequence, of a turn, and of a message, by the file's keys and
/// by the texts of its tokens.
pub(super) fn eos_ids(file: &GgufFile) -> Result<Vec<u32>> {
    /// As Ollama's converter writes them.
    const LIST: &str = "tokenizer.ggml.eos_token_ids";
    let mut ids = Vec::new();
    for name in ["eos", "eot", "eom"] {
        ids.extend(file.id(&format!("tokenizer.ggml.{name}_token_id"))?);
    }
    if file.value(LIST).is_some() {
        for id in file.required_numbers(LIST)? {
            let id = u32::try_from(id).map_err(|_| file.invalid(LIST, "expected token ids"))?;
            ids.push(id);
        }
    }
    let tokens = file.required_texts(TOKENS)?;
    ids.extend(
        (0..)
            .zip(&tokens)
            .filter(|(_, token)| END_OF_TURN.contains(token))
            .map(|(id, _)| id),
    );
    ids.sort_unstable();
    ids.dedup();
    Ok(ids)
}

/// The chat template, and the special tokens that it can name.
pub(super) fn template(file: &GgufFile) -> Result<Option<ChatTemplate>> {
    let Some(source) = file.text("tokenizer.chat_template")? else {
        return Ok(None);
    };
    let tokens = file.required_texts(TOKENS)?;
    let mut variables = Map::new();
    for (variable, name) in [
        ("bos_token", "bos"),
        ("eos_token", "eos"),
        ("unk_token", "unknown"),
        ("pad_token", "padding"),
    ] {
        if let Some(id) = file.id(&format!("tokenizer.ggml.{name}_token_id"))?
            && let Some(token) = tokens.get(id as usize)
        {
            variables.insert(variable.into(), (*token).into());
        }
    }
    ChatTemplate::parse(&file.name(), source.to_owned(), variables).map(Some)
}
