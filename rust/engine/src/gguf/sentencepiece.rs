//! Tokenizers of the SentencePiece kind, which Llama 1 and 2 and the first Mistrals have.
//!
//! The file holds the pieces with their scores and no merges. Those follow from them: two pieces are
//! merged when their concatenation is a piece, those of the best score first, as the converter of
//! Hugging Face transformers has it.

use std::cmp::Reverse;
use std::collections::HashMap;

use serde_json::{Value, json};

use super::file::GgufFile;
use super::tokenizer::Parts;
use crate::error::Result;

/// What stands for a space inside of pieces.
const SPACE: &str = "\u{2581}";

/// What `tokenizer.json` has for such a tokenizer.
pub(super) fn parts(file: &GgufFile, tokens: &[&str], vocab: Value) -> Result<Parts> {
    const SCORES: &str = "tokenizer.ggml.scores";
    let scores = file.required_floats(SCORES)?;
    if scores.len() != tokens.len() {
        return Err(file.invalid(
            SCORES,
            format!("expected one for each of {} tokens", tokens.len()),
        ));
    }
    let prefix = file
        .flag("tokenizer.ggml.add_space_prefix")?
        .unwrap_or(true);
    let replace = json!({"type": "Replace", "pattern": {"String": " "}, "content": SPACE});
    let mut decoders = vec![
        json!({"type": "Replace", "pattern": {"String": SPACE}, "content": " "}),
        json!({"type": "ByteFallback"}),
        json!({"type": "Fuse"}),
    ];
    let normalizer = if prefix {
        decoders.push(json!({"type": "Strip", "content": " ", "start": 1, "stop": 0}));
        json!({"type": "Sequence", "normalizers": [{"type": "Prepend", "prepend": SPACE}, replace]})
    } else {
        replace
    };
    let unknown = match file.id("tokenizer.ggml.unknown_token_id")? {
        None => None,
        Some(id) => tokens.get(id as usize).copied(),
    };
    Ok(Parts {
        normalizer,
        pre_tokenizer: Value::Null,
        decoder: json!({"type": "Sequence", "decoders": decoders}),
        model: json!({
            "type": "BPE",
            "dropout": null,
            "unk_token": unknown,
            "continuing_subword_prefix": null,
            "end_of_word_suffix": null,
            "fuse_unk": true,
            "byte_fallback": true,
            "ignore_merges": false,
            "vocab": vocab,
            "merges": merges(tokens, &scores),
        }),
        plain: json!({
            "type": "TemplateProcessing",
            "single": [{"Sequence": {"id": "A", "type_id": 0}}],
            "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 0}}],
            "special_tokens": {},
        }),
        add_bos: true,
    })
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
