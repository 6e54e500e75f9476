//! The tokenizer and the chat template, put together from a GGUF file's metadata.
//!
//! The metadata hold what `tokenizer.json` holds, but only a name for how text is cut into words
//! (`tokenizer.ggml.pre`). What each name means is the published tokenizer of the models that it
//! stands for ([`pre_tokenizer`]). A name that is not known is refused: the wrong cut gives other tokens.

use serde::Serialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

use super::file::GgufFile;
use super::pre_tokenizer::{self, Alphabet, byte_level};
use super::sentencepiece;
use super::tokenizer_parts::{self, SpecialTokens, TokenizerParts, Vocab};
use super::word_pieces;
use crate::error::{Error, Result};
use crate::formats::TemplateSource;
use crate::tokenizer::Tokenizer;

const PRE: &str = "tokenizer.ggml.pre";
const MERGES: &str = "tokenizer.ggml.merges";
const TOKENS: &str = "tokenizer.ggml.tokens";

/// What kind of token each is.
const TYPES: &str = "tokenizer.ggml.token_type";

/// The kind of tokens that users defined.
const USER_DEFINED: u64 = 4;

/// The tokenizer that the metadata describe, and what is doubtful about it.
pub(super) fn tokenizer(file: &GgufFile) -> Result<(Tokenizer, Vec<String>)> {
    const MODEL: &str = "tokenizer.ggml.model";
    let texts = file.required_texts(TOKENS)?;
    // As llama.cpp calls tokens without a text, of which there may be many.
    let empty: Vec<String> = (0..texts.len())
        .filter(|id| texts[*id].is_empty())
        .map(|id| format!("[EMPTY_{id}]"))
        .collect();
    let mut names = empty.iter();
    let model = file.required_text(MODEL)?;
    let pieces: Vec<String> = match model {
        "bert" => texts
            .iter()
            .map(|text| word_pieces::spelled(text))
            .collect(),
        _ => Vec::new(),
    };
    let texts = match model {
        "bert" => pieces.iter().map(String::as_str).collect(),
        _ => texts,
    };
    let tokens: Vec<&str> = texts
        .iter()
        .map(|text| match *text {
            "" => names.next().map_or("", String::as_str),
            text => text,
        })
        .collect();
    let vocab = &Vocab::new(&tokens)
        .map_err(|token| file.invalid(TOKENS, format!("{token:?} occurs twice")))?;
    let mut warnings = Vec::new();
    let parts = match model {
        "gpt2" | "whitespace" => {
            let name = file.text(PRE)?;
            if name.is_none() {
                warnings.push(format!(
                    "{} does not say how its tokenizer cuts words ({PRE}): it was made by an old \
                     converter, and its answers may be worse than the model's",
                    file.name()
                ));
            }
            pair_parts(
                file,
                vocab,
                name.unwrap_or(pre_tokenizer::DEFAULT),
                &mut warnings,
            )?
        }
        "gemma4" => pair_parts(file, vocab, "gemma4", &mut warnings)?,
        "llama" => sentencepiece::pair_parts(file, &tokens, vocab)?,
        "t5" => sentencepiece::unigram_parts(file, &tokens)?,
        "bert" => word_pieces::parts(file, &tokens, vocab)?,
        other => {
            return Err(unsupported(
                MODEL,
                other,
                "the tokenizers gpt2 (byte-pair encoding), llama (SentencePiece), t5 (SentencePiece with \
                 unigrams) and bert (word pieces) are known",
            ));
        }
    };
    let document = Document {
        version: "1.0",
        added_tokens: added_tokens(file, &tokens)?,
        post_processor: post_processor(file, &tokens, &parts)?,
        normalizer: parts.normalizer,
        pre_tokenizer: parts.pre_tokenizer,
        decoder: parts.decoder,
        model: parts.model,
    };
    let text = serde_json::to_vec(&document).map_err(|e| Error::Tokenizer(e.to_string()))?;
    Ok((Tokenizer::from_json(&file.name(), &text)?, warnings))
}

/// A `tokenizer.json`.
#[derive(Serialize)]
struct Document {
    version: &'static str,
    added_tokens: Vec<Value>,
    post_processor: Value,
    normalizer: Value,
    pre_tokenizer: Value,
    decoder: Value,
    model: Box<RawValue>,
}

/// Byte-pair encoding by a list of merges.
fn pair_parts(
    file: &GgufFile,
    vocab: &Vocab,
    pre: &str,
    warnings: &mut Vec<String>,
) -> Result<TokenizerParts> {
    const PREFIX: &str = "tokenizer.ggml.add_space_prefix";
    let cut = pre_tokenizer::by_name(pre)
        .ok_or_else(|| unsupported(PRE, pre, "how this tokenizer cuts words is not known"))?;
    if file.flag(PREFIX)? == Some(true) {
        warnings.push(format!(
            "{PREFIX} = true is ignored, as llama.cpp does: byte-pair encodings put no space in front"
        ));
    }
    let merges = file
        .required_texts(MERGES)?
        .into_iter()
        .enumerate()
        .map(|(index, merge)| {
            let wrong = |what: String| file.invalid(MERGES, format!("entry {index}: {what}"));
            // A part may begin with a space itself.
            let behind = merge.chars().next().map_or(0, char::len_utf8);
            let at = merge[behind..].find(' ').ok_or_else(|| {
                wrong(format!(
                    "expected two parts with a space between, got {merge:?}"
                ))
            })?;
            let (left, right) = (&merge[..behind + at], &merge[behind + at + 1..]);
            for token in [left, right, &[left, right].concat()] {
                if !vocab.contains(token) {
                    return Err(wrong(format!(
                        "{merge:?} needs {token:?}, which is no token"
                    )));
                }
            }
            Ok((left, right))
        })
        .collect::<Result<Vec<_>>>()?;
    let of_bytes = cut.alphabet == Alphabet::Bytes;
    let with_marks = cut.alphabet == Alphabet::Characters;
    Ok(TokenizerParts {
        normalizer: match (cut.nfc, with_marks) {
            (true, _) => json!({"type": "NFC"}),
            (_, true) => sentencepiece::spaces_to_marks(),
            _ => Value::Null,
        },
        pre_tokenizer: json!({"type": "Sequence", "pretokenizers": cut.steps()}),
        decoder: if of_bytes {
            byte_level(true)
        } else {
            sentencepiece::decoder(with_marks, false)
        },
        model: tokenizer_parts::model(
            json!({
                "type": "BPE",
                "dropout": null,
                "unk_token": null,
                "continuing_subword_prefix": null,
                "end_of_word_suffix": null,
                "fuse_unk": false,
                "byte_fallback": !of_bytes,
                "ignore_merges": cut.ignore_merges,
            }),
            vocab,
            Some(&merges),
        )?,
        special_tokens: SpecialTokens {
            bos: cut.add_bos,
            eos: false,
            bos_id: None,
            eos_id: None,
        },
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

/// Tokens that are found in a text as they are: control tokens, and those that users defined.
fn added_tokens(file: &GgufFile, tokens: &[&str]) -> Result<Vec<Value>> {
    const CONTROL: u64 = 3;
    let types = file.required_numbers(TYPES)?;
    if types.len() != tokens.len() {
        return Err(file.invalid(
            TYPES,
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

/// Puts the tokens for beginning and end around texts, where the model wants them.
fn post_processor(file: &GgufFile, tokens: &[&str], parts: &TokenizerParts) -> Result<Value> {
    let mut special = Map::new();
    let mut token = |name: &str, default: bool, id: Option<u32>| -> Result<Option<&str>> {
        if !file
            .flag(&format!("tokenizer.ggml.add_{name}_token"))?
            .unwrap_or(default)
        {
            return Ok(None);
        }
        let key = format!("tokenizer.ggml.{name}_token_id");
        let id = file
            .id(&key)?
            .or(id)
            .ok_or_else(|| file.invalid(&key, format!("add_{name}_token needs it")))?;
        let token = *tokens
            .get(id as usize)
            .ok_or_else(|| file.invalid(&key, format!("there are {} tokens", tokens.len())))?;
        special.insert(
            token.into(),
            json!({"id": token, "ids": [id], "tokens": [token]}),
        );
        Ok(Some(token))
    };
    let special_tokens = parts.special_tokens;
    let first = token("bos", special_tokens.bos, special_tokens.bos_id)?;
    let last = token("eos", special_tokens.eos, special_tokens.eos_id)?;
    let text = |name: &str| -> Vec<Value> {
        let place = |token: &str| json!({"SpecialToken": {"id": token, "type_id": 0}});
        first
            .map(place)
            .into_iter()
            .chain([json!({"Sequence": {"id": name, "type_id": 0}})])
            .chain(last.map(place))
            .collect()
    };
    let pair = [text("A"), text("B")].concat();
    Ok(json!({
        "type": "TemplateProcessing",
        "single": text("A"),
        "pair": pair,
        "special_tokens": special,
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
pub(super) fn template(file: &GgufFile) -> Result<Option<TemplateSource>> {
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
    Ok(Some(TemplateSource {
        file: file.name(),
        source: source.to_owned(),
        variables,
    }))
}
