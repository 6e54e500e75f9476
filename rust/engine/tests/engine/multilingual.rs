//! Tokens of 10,000 lines in many languages, against transformers.

use candle_core::quantized::GgmlDType;
use candle_core::quantized::gguf_file::Value;
use candle4j_engine::tokenizer::Tokenizer;
use serde::Deserialize;
use sha2::{Digest, Sha256};

use crate::gguf_file::GgufFile;
use crate::golden::models;

#[derive(Deserialize)]
struct Text {
    phrases: Vec<String>,
    glue: Vec<String>,
    kinds: Vec<Kind>,
}

#[derive(Deserialize)]
struct Kind {
    pre: String,
    case: String,
    digests: Vec<String>,
}

impl Text {
    /// As `scripts/fixtures/multilingual.py` makes it.
    fn line(&self, index: usize) -> String {
        let phrase = |n: usize| &self.phrases[n % self.phrases.len()];
        let glue = |n: usize| &self.glue[n % self.glue.len()];
        let (first, second) = (phrase(index), phrase(7 * index + 3));
        let third = phrase(13 * index + index / self.phrases.len());
        let number = index * 9973 % 1_000_003;
        let (between, other) = (glue(index), glue(index / 5));
        format!("{first}{between}{second}{other}{number}{between}{third}")
    }

    fn digests(&self, tokenizer: &Tokenizer) -> Vec<String> {
        let thousand = |start: usize| {
            let mut digest = Sha256::new();
            for index in start..start + 1000 {
                let line = self.line(index);
                let ids = tokenizer.encode(&line, false).unwrap();
                for id in ids.iter().copied().chain([ids.len() as u32]) {
                    digest.update(id.to_le_bytes());
                }
            }
            let bytes = digest.finalize();
            bytes.iter().map(|byte| format!("{byte:02x}")).collect()
        };
        (0..10_000).step_by(1000).map(thousand).collect()
    }
}

#[test]
fn a_long_text_in_many_languages_has_the_tokens_of_transformers() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/multilingual.json");
    let text: Text = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    assert_eq!(text.kinds.len(), 9);
    for Kind { pre, case, digests } in &text.kinds {
        let mut file = GgufFile::of(case, GgmlDType::F32);
        let own = pre == "llama-bpe" || pre == "qwen2";
        if !own {
            file.set("tokenizer.ggml.pre", Value::String(pre.clone()));
        }
        let model = file.load().unwrap();
        assert_eq!(&text.digests(model.tokenizer()), digests, "GGUF, {pre}");
        if own {
            let folder = Tokenizer::open(&models().join(case).join("tokenizer.json")).unwrap();
            assert_eq!(&text.digests(&folder), digests, "folder, {pre}");
        }
    }
}
