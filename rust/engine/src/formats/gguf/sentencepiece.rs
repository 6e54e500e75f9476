//! Tokenizers of the SentencePiece kind, which Llama 1 and 2 and the first Mistrals have.
//!
//! The file holds the pieces with their scores and no merges. For byte-pair encoding those follow from
//! them: two pieces are merged when their concatenation is a piece, those of the best score first, as the
//! converter of Hugging Face transformers has it. With unigrams, the cut with the best sum of scores is taken.

use std::cmp::Reverse;
use std::collections::HashMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::file::GgufFile;
use super::tokenizer_parts::{self, SpecialTokens, TokenizerParts, Vocab};
use crate::error::Result;

/// What stands for a space inside of pieces.
const SPACE: &str = "\u{2581}";

/// What `tokenizer.json` has for byte-pair encoding.
pub(super) fn pair_parts(
    file: &GgufFile,
    tokens: &[&str],
    vocab: &Vocab,
) -> Result<TokenizerParts> {
    let scores = scores(file, tokens)?;
    let prefix = file.flag(PREFIX)?.unwrap_or(true);
    let unknown = file.id(UNKNOWN)?.unwrap_or(0);
    Ok(TokenizerParts {
        normalizer: if prefix {
            json!({"type": "Sequence", "normalizers": [prepend(), spaces_to_marks()]})
        } else {
            spaces_to_marks()
        },
        pre_tokenizer: Value::Null,
        decoder: decoder(true, prefix),
        model: tokenizer_parts::model(
            json!({
                "type": "BPE",
                "dropout": null,
                "unk_token": tokens.get(unknown as usize),
                "continuing_subword_prefix": null,
                "end_of_word_suffix": null,
                "fuse_unk": true,
                "byte_fallback": true,
                "ignore_merges": false,
            }),
            vocab,
            Some(&merges(tokens, &scores)),
        )?,
        special_tokens: SpecialTokens {
            bos: true,
            eos: false,
            bos_id: Some(1),
            eos_id: Some(2),
        },
    })
}

/// What `tokenizer.json` has for unigrams.
pub(super) fn unigram_parts(file: &GgufFile, tokens: &[&str]) -> Result<TokenizerParts> {
    const CHARSMAP: &str = "tokenizer.ggml.precompiled_charsmap";
    const COLLAPSE: &str = "tokenizer.ggml.remove_extra_whitespaces";
    let scores = scores(file, tokens)?;
    let vocab: Vec<(&str, f32)> = tokens.iter().copied().zip(scores).collect();
    let mut normalizers = Vec::new();
    if file.value(CHARSMAP).is_some() {
        let bytes = file
            .required_numbers(CHARSMAP)?
            .into_iter()
            .map(|byte| u8::try_from(byte).map_err(|_| file.invalid(CHARSMAP, "expected bytes")))
            .collect::<Result<Vec<u8>>>()?;
        check_charsmap(&bytes).map_err(|reason| file.invalid(CHARSMAP, reason))?;
        let text = STANDARD.encode(bytes);
        normalizers.push(json!({"type": "Precompiled", "precompiled_charsmap": text}));
    }
    if file.flag(COLLAPSE)?.unwrap_or(false) {
        normalizers.push(json!({"type": "Strip", "strip_left": true, "strip_right": true}));
        normalizers.push(json!({"type": "Replace", "pattern": {"Regex": " {2,}"}, "content": " "}));
    }
    let prefix = file.flag(PREFIX)?.unwrap_or(false);
    if prefix {
        normalizers.push(prepend());
    }
    normalizers.push(spaces_to_marks());
    let has_bytes = tokens.contains(&"<0x00>") && tokens.contains(&"<0xFF>");
    Ok(TokenizerParts {
        normalizer: json!({"type": "Sequence", "normalizers": normalizers}),
        pre_tokenizer: Value::Null,
        decoder: decoder(true, prefix),
        model: tokenizer_parts::model(
            json!({
                "type": "Unigram",
                "unk_id": file.id(UNKNOWN)?.unwrap_or(2),
                "byte_fallback": has_bytes,
            }),
            &vocab,
            None,
        )?,
        special_tokens: SpecialTokens {
            bos: false,
            eos: true,
            bos_id: None,
            eos_id: Some(1),
        },
    })
}

const PREFIX: &str = "tokenizer.ggml.add_space_prefix";
const UNKNOWN: &str = "tokenizer.ggml.unknown_token_id";

fn scores(file: &GgufFile, tokens: &[&str]) -> Result<Vec<f32>> {
    const SCORES: &str = "tokenizer.ggml.scores";
    let scores = file.required_floats(SCORES)?;
    if scores.len() != tokens.len() {
        return Err(file.invalid(
            SCORES,
            format!("expected one for each of {} tokens", tokens.len()),
        ));
    }
    Ok(scores)
}

/// Makes sure that no step through the table of characters leaves it: a double array of units of 32 bits
/// (Darts), whose length in bytes comes first, and the texts that characters become.
fn check_charsmap(bytes: &[u8]) -> std::result::Result<(), &'static str> {
    let (length, rest) = bytes.split_first_chunk::<4>().ok_or("it is cut short")?;
    let length = u32::from_le_bytes(*length) as usize;
    let (trie, texts) = rest.split_at_checked(length).ok_or("it is cut short")?;
    let (units, more) = trie.as_chunks::<4>();
    if units.is_empty() || !more.is_empty() {
        return Err("expected units of 32 bits");
    }
    for (place, unit) in units
        .iter()
        .map(|unit| u32::from_le_bytes(*unit))
        .enumerate()
    {
        // A leaf holds where its text begins; any other unit is followed by one for each byte. Units without
        // an offset are not used, but for the first.
        let is_leaf = unit >> 31 == 1;
        let is_used = unit >> 10 != 0 || place == 0;
        let target = place ^ ((unit >> 10) as usize) << ((unit & (1 << 9)) >> 6);
        if !is_leaf && is_used && target | 255 >= units.len().next_multiple_of(256) {
            return Err("a step leads out of its table");
        }
    }
    match std::str::from_utf8(texts) {
        Ok(_) if units.len().is_multiple_of(256) => Ok(()),
        Ok(_) => Err("its table is no whole number of blocks"),
        Err(_) => Err("its texts are not UTF-8"),
    }
}

fn prepend() -> Value {
    json!({"type": "Prepend", "prepend": SPACE})
}

/// The normalizer that writes spaces as pieces have them.
pub(super) fn spaces_to_marks() -> Value {
    json!({"type": "Replace", "pattern": {"String": " "}, "content": SPACE})
}

/// The decoder: bytes to characters, marks to spaces where there are any, and without the space that was put
/// in front.
pub(super) fn decoder(marks: bool, prefix: bool) -> Value {
    let mut decoders = Vec::new();
    if marks {
        decoders.push(json!({"type": "Replace", "pattern": {"String": SPACE}, "content": " "}));
    }
    decoders.push(json!({"type": "ByteFallback"}));
    decoders.push(json!({"type": "Fuse"}));
    if prefix {
        decoders.push(json!({"type": "Strip", "content": " ", "start": 1, "stop": 0}));
    }
    json!({"type": "Sequence", "decoders": decoders})
}

/// The pairs of pieces that make a piece: the best first, and of several for one score those with the
/// longer parts first.
fn merges<'a>(tokens: &[&'a str], scores: &[f32]) -> Vec<(&'a str, &'a str)> {
    let ids: HashMap<&str, usize> = tokens.iter().enumerate().map(|(i, t)| (*t, i)).collect();
    let mut found = Vec::new();
    for (token, score) in tokens.iter().zip(scores) {
        let mut pairs: Vec<(&str, &str)> = token
            .char_indices()
            .skip(1)
            .map(|(at, _)| token.split_at(at))
            .filter(|(left, right)| ids.contains_key(left) && ids.contains_key(right))
            .collect();
        pairs.sort_by_key(|(left, right)| (ids[left], ids[right]));
        found.extend(pairs.into_iter().map(|pair| (pair, *score)));
    }
    let chars = |text: &str| Reverse(text.chars().count());
    found.sort_by(|((a, b), left), ((c, d), right)| {
        right
            .total_cmp(left)
            .then_with(|| chars(a).cmp(&chars(c)))
            .then_with(|| chars(b).cmp(&chars(d)))
    });
    found.into_iter().map(|(pair, _)| pair).collect()
}
