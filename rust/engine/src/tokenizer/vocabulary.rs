//! A tokenizer's vocabulary, and how words become its tokens.

use std::borrow::Cow;
use std::collections::HashMap;
use std::path::{Path, PathBuf};

use serde::de::Error as _;
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;
use tokenizers::models::TrainerWrapper;
use tokenizers::{Model, ModelWrapper, Token};

/// One of the library's models, read from its JSON directly. The library itself reads it into a buffer and a JSON value
/// first: copies of a whole vocabulary.
#[derive(Debug, Clone)]
pub(super) struct Vocabulary(pub(super) ModelWrapper);

impl<'de> Deserialize<'de> for Vocabulary {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        struct Kind<'a> {
            #[serde(rename = "type", borrow, default)]
            kind: Option<Cow<'a, str>>,
        }

        let json = <&RawValue>::deserialize(deserializer)?.get();
        let kind = serde_json::from_str::<Kind>(json).map(|json| json.kind);
        let model = match kind.as_ref().map(Option::as_deref) {
            Ok(Some("BPE")) => serde_json::from_str(json).map(ModelWrapper::BPE),
            Ok(Some("WordPiece")) => serde_json::from_str(json).map(ModelWrapper::WordPiece),
            Ok(Some("WordLevel")) => serde_json::from_str(json).map(ModelWrapper::WordLevel),
            Ok(Some("Unigram")) => serde_json::from_str(json).map(ModelWrapper::Unigram),
            // Old files do not say which it is.
            _ => serde_json::from_str(json),
        };
        model.map(Self).map_err(D::Error::custom)
    }
}

impl Model for Vocabulary {
    type Trainer = TrainerWrapper;

    fn tokenize(&self, word: &str) -> tokenizers::Result<Vec<Token>> {
        self.0.tokenize(word)
    }

    fn token_to_id(&self, token: &str) -> Option<u32> {
        self.0.token_to_id(token)
    }

    fn id_to_token(&self, id: u32) -> Option<String> {
        self.0.id_to_token(id)
    }

    fn get_vocab(&self) -> HashMap<String, u32> {
        self.0.get_vocab()
    }

    fn get_vocab_size(&self) -> usize {
        self.0.get_vocab_size()
    }

    fn save(&self, folder: &Path, name: Option<&str>) -> tokenizers::Result<Vec<PathBuf>> {
        self.0.save(folder, name)
    }

    fn get_trainer(&self) -> TrainerWrapper {
        self.0.get_trainer()
    }
}
