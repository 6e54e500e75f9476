//! Texts in which some characters are masked, so that they begin no special token.

use std::collections::HashSet;
use std::ops::RangeInclusive;

use serde_json::Value;
use tokenizers::models::unigram::Unigram;
use tokenizers::{
    AddedVocabulary, Encoding, Model, ModelWrapper, OffsetReferential, OffsetType,
    PreTokenizedString, PreTokenizer, SplitDelimiterBehavior,
};

use super::HfTokenizer;

/// Characters and what stands for them in a text until special tokens were found.
#[derive(Debug, Clone)]
pub(crate) struct Masks(Vec<(char, char)>);

impl Masks {
    /// Characters that are never exchanged between programs, so that texts hardly ever contain them.
    pub(crate) const NONCHARACTERS: RangeInclusive<char> = '\u{FDD0}'..='\u{FDEF}';

    /// Masks for characters that are none of those `taken`; `None` when there are too few.
    pub(crate) fn new(characters: &HashSet<char>, taken: &HashSet<char>) -> Option<Self> {
        let mut free = Self::NONCHARACTERS.filter(|c| !taken.contains(c));
        let pairs = characters.iter().map(|c| Some((*c, free.next()?)));
        pairs.collect::<Option<_>>().map(Self)
    }

    /// What stands for a character, if anything does.
    pub(crate) fn of(&self, c: char) -> Option<char> {
        let found = self.0.iter().find(|(own, _)| *own == c);
        found.map(|(_, mask)| *mask)
    }

    /// The character that another stands for, or the other itself.
    fn behind(&self, c: char) -> char {
        let found = self.0.iter().find(|(_, mask)| *mask == c);
        found.map_or(c, |(own, _)| *own)
    }

    /// A text without masks.
    pub(crate) fn restored(&self, text: &str) -> String {
        text.chars().map(|c| self.behind(c)).collect()
    }

    fn is_mask(&self, c: char) -> bool {
        self.0.iter().any(|(_, mask)| *mask == c)
    }
}

/// Encodes `text` as the library does, but for the masks, which stay until special tokens were found and then
/// become what they stand for.
///
/// Where the vocabulary itself has a special token among its words, unigrams do without it. Where that does
/// not help, the text is taken apart behind the masked characters.
pub(super) fn encode(
    tokenizer: &HfTokenizer,
    text: &str,
    masks: &Masks,
) -> tokenizers::Result<Vec<u32>> {
    let added = tokenizer.get_added_vocabulary();
    let plain = masks.restored(text);
    // Others do not come from a spelling, nor need the token for what is unknown.
    let unknown = unknown_id(tokenizer);
    let spelled: HashSet<u32> = added
        .get_added_tokens_decoder()
        .iter()
        .filter(|(_, token)| {
            added.is_special_token(&token.content) && plain.contains(&token.content)
        })
        .map(|(id, _)| *id)
        .filter(|id| Some(*id) != unknown)
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
        if part.get().contains(|c| masks.is_mask(c)) {
            part.map(|c| masks.behind(c));
        }
        Ok(())
    })?;
    let ids = finish(tokenizer, parts.clone(), tokenizer.get_model())?;
    if are_meant(&ids) {
        return Ok(ids);
    }
    if let ModelWrapper::Unigram(model) = &tokenizer.get_model().0 {
        let ids = finish(tokenizer, parts, &without_special(model, added)?)?;
        if are_meant(&ids) {
            return Ok(ids);
        }
    }
    let mut parts = found;
    parts.split(|_, part| {
        let is_mask = |c: char| masks.is_mask(c);
        part.split(is_mask, SplitDelimiterBehavior::MergedWithPrevious)
    })?;
    parts.normalize(|part| {
        part.map(|c| masks.behind(c));
        Ok(())
    })?;
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

/// The token for what is unknown, where there may be one.
fn unknown_id(tokenizer: &HfTokenizer) -> Option<u32> {
    match &tokenizer.get_model().0 {
        ModelWrapper::BPE(model) => tokenizer.token_to_id(model.get_unk_token().as_ref()?),
        // It shows in the JSON alone, and where it has a name it has this one.
        ModelWrapper::Unigram(_) => tokenizer.token_to_id("<unk>"),
        _ => None,
    }
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
