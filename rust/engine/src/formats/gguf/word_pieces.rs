//! WordPiece tokenizers (Schuster and Nakajima 2012), as BERT has them.
//!
//! llama.cpp's converter marks the pieces that begin a word with `▁` and takes the `##` of the others away; here they get
//! the spelling of `tokenizer.json` back.

use serde_json::json;

use super::file::GgufFile;
use super::tokenizer_parts::{self, SpecialTokens, TokenizerParts, Vocab};
use crate::error::Result;

/// What stands before a piece that begins a word in a GGUF file.
const BEGIN: char = '\u{2581}';

/// The token of a file as `tokenizer.json` spells it.
pub(super) fn spelled(token: &str) -> String {
    match token.strip_prefix(BEGIN) {
        Some(word) => word.into(),
        None if token.starts_with('[') && token.ends_with(']') => token.into(),
        None => format!("##{token}"),
    }
}

/// The parts of a tokenizer over pieces that were spelled anew.
pub(super) fn parts(file: &GgufFile, tokens: &[&str], vocab: &Vocab) -> Result<TokenizerParts> {
    let id = |keys: &[&str], text: &str| -> Result<Option<u32>> {
        for key in keys {
            if let Some(id) = file.id(&format!("tokenizer.ggml.{key}_token_id"))? {
                return Ok(Some(id));
            }
        }
        let place = tokens.iter().position(|token| *token == text);
        Ok(place.map(|place| place as u32))
    };
    let unknown = id(&["unknown"], "[UNK]")?.unwrap_or_default();
    Ok(TokenizerParts {
        // Published files with this tokenizer are of uncased models, and llama.cpp takes all for such.
        normalizer: json!({
            "type": "BertNormalizer",
            "clean_text": true,
            "handle_chinese_chars": true,
            "strip_accents": null,
            "lowercase": true,
        }),
        pre_tokenizer: json!({"type": "BertPreTokenizer"}),
        decoder: json!({"type": "WordPiece", "prefix": "##", "cleanup": true}),
        model: tokenizer_parts::model(
            json!({
                "type": "WordPiece",
                "unk_token": tokens.get(unknown as usize),
                "continuing_subword_prefix": "##",
                "max_input_chars_per_word": 100,
            }),
            vocab,
            None,
        )?,
        special_tokens: SpecialTokens {
            bos: true,
            eos: true,
            bos_id: id(&["cls"], "[CLS]")?,
            eos_id: id(&["seperator", "separator"], "[SEP]")?,
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_get_their_spelling_back() {
        for (stored, expected) in [
            ("▁the", "the"),
            ("ing", "##ing"),
            ("[CLS]", "[CLS]"),
            ("▁[", "["),
        ] {
            assert_eq!(spelled(stored), expected);
        }
    }
}
