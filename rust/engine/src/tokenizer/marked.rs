//! Texts in which a mark tells what only reads like a special token from what is one.

use std::collections::HashSet;

use serde_json::Value;
use tokenizers::models::unigram::Unigram;
use tokenizers::{
    AddedVocabulary, Encoding, Model, ModelWrapper, OffsetReferential, OffsetType,
    PreTokenizedString, PreTokenizer, SplitDelimiterBehavior,
};

use super::HfTokenizer;

/// Encodes `text` as the library does, but for the marks, which stay until special tokens were found and then
/// leave the text as if they had never been there.
///
/// Where the vocabulary itself has a special token among its words, unigrams do without it. Where that does
/// not help, the text is taken apart where a mark was.
pub(super) fn encode(
    tokenizer: &HfTokenizer,
    text: &str,
    mark: char,
) -> tokenizers::Result<Vec<u32>> {
    let added = tokenizer.get_added_vocabulary();
    let plain = text.replace(mark, "");
    // Others, such as the token for what is unknown, do not come from a spelling.
    let spelled: HashSet<u32> = added
        .get_added_tokens_decoder()
        .iter()
        .filter(|(_, token)| {
            added.is_special_token(&token.content) && plain.contains(&token.content)
        })
        .map(|(id, _)| *id)
        .collect();
    let found = added.extract_and_normalize(tokenizer.get_normalizer(), text);
    let meant = found
        .get_splits(OffsetReferential::Original, OffsetType::None)
        .iter()
        .filter_map(|(_, _, tokens)| tokens.as_ref())
        .flatten()
        .filter(|token| spelled.contains(&token.id))
        .count();
    let are_meant = |ids: &[u32]| ids.iter().filter(|id| spelled.contains(id)).count() == meant;
    let mut parts = found.clone();
    parts.normalize(|part| {
        if part.get().contains(mark) {
            part.filter(|c| c != mark);
        }
        Ok(())
    })?;
    let ids = finish(tokenizer, parts.clone(), tokenizer.get_model())?;
    if are_meant(&ids) {
        return Ok(ids);
    }
    if let ModelWrapper::Unigram(model) = tokenizer.get_model() {
        let ids = finish(tokenizer, parts, &without_special(model, added)?)?;
        if are_meant(&ids) {
            return Ok(ids);
        }
    }
    let mut parts = found;
    parts.split(|_, part| part.split(mark, SplitDelimiterBehavior::Removed))?;
    finish(tokenizer, parts, tokenizer.get_model())
}

/// A character that texts hardly ever contain.
const UNSEEN: char = '\u{10FFFF}';

/// What comes behind special tokens and normalization.
fn finish(
    tokenizer: &HfTokenizer,
    mut parts: PreTokenizedString,
    model: &impl Model,
) -> tokenizers::Result<Vec<u32>> {
    if let Some(words) = tokenizer.get_pre_tokenizer() {
        words.pre_tokenize(&mut parts)?;
    }
    model.tokenize_in_pretokenized(&mut parts, None)?;
    let encoding: Encoding = parts.into_encoding(None, 0, OffsetType::None)?;
    Ok(encoding.get_ids().to_vec())
}

/// The same unigrams, with special tokens spelled as no text is.
fn without_special(model: &Unigram, added: &AddedVocabulary) -> tokenizers::Result<Unigram> {
    // Its unknown token shows in its JSON alone.
    let mut document = serde_json::to_value(model)?;
    let vocab = document.get_mut("vocab").and_then(Value::as_array_mut);
    for entry in vocab.into_iter().flatten() {
        if let Some(Value::String(token)) = entry.get_mut(0)
            && added.is_special_token(token)
        {
            token.insert(0, UNSEEN);
        }
    }
    Ok(serde_json::from_str(&document.to_string())?)
}
