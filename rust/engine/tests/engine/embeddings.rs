//! Encoders, embedders and rerankers against sentence-transformers; `scripts/fixtures/encoders.py` makes both.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use candle_core::quantized::GgmlDType;
use candle_core::quantized::gguf_file::Value;
use candle4j_engine::embedding::{
    EmbedRequest, Embedder, Prompt, RerankRequest, Reranker, TextOptions, TextQuantization,
};
use candle4j_engine::error::Error;
use candle4j_engine::formats::Quantization;
use serde::Deserialize;

use crate::gguf_file::GgufFile;

/// The greatest difference of a number.
const CLOSE: f32 = 1e-4;

#[derive(Deserialize)]
pub struct Expected {
    #[serde(default)]
    tokens: Vec<Vec<u32>>,
    #[serde(default)]
    token_vectors: Vec<Vec<f32>>,
    #[serde(default)]
    pub texts: Vec<String>,
    #[serde(default)]
    pub vectors: Vec<Vec<f32>>,
    #[serde(default)]
    prompt_tokens: Vec<usize>,
    #[serde(default)]
    prompts: BTreeMap<String, Vec<Vec<f32>>>,
    #[serde(default)]
    query: String,
    #[serde(default)]
    documents: Vec<String>,
    #[serde(default)]
    scores: Vec<Vec<f32>>,
}

pub fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/encoders")
        .join(name)
}

pub fn cases() -> BTreeMap<String, Expected> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/encoders.json");
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

#[test]
fn a_model_that_sees_later_positions_writes_no_text() {
    let folder = folder("embedding-gemma");
    for (path, expected) in [
        (folder.clone(), ["use_bidirectional_attention", "true"]),
        (
            folder.join("model.gguf"),
            ["general.architecture", "gemma-embedding"],
        ),
    ] {
        let loaded = candle4j_engine::model::Model::load(&path, &Default::default());
        match loaded.err() {
            Some(Error::UnsupportedModel {
                key, value, reason, ..
            }) => {
                assert_eq!([&key, &value], expected);
                assert!(reason.contains("embedder"), "{reason}");
            }
            other => panic!("{other:?}"),
        }
    }
}

/// What the file of EmbeddingGemma is refused with when a name in it is another.
fn without(name: &str) -> Option<Error> {
    let mut bytes = std::fs::read(folder("embedding-gemma").join("model.gguf")).unwrap();
    let place = bytes
        .windows(name.len())
        .position(|part| part == name.as_bytes());
    bytes[place.unwrap() + name.len() - 1] = b'X';
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.gguf");
    std::fs::write(&path, bytes).unwrap();
    Embedder::load(&path, &TextOptions::default()).err()
}

/// Converters leave the layers over the vectors out unless they are asked for them.
#[test]
fn a_gguf_file_without_the_layers_over_its_vectors_is_refused() {
    match without("dense_2.weight") {
        Some(Error::InvalidTensor { tensor, got, .. }) => {
            assert_eq!(tensor, "dense_2.weight");
            assert!(got.contains("dense-modules"), "{got}");
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_gguf_file_without_its_window_is_refused() {
    match without("gemma-embedding.attention.sliding_window") {
        Some(Error::InvalidConfig { key, .. }) => {
            assert_eq!(key, "gemma-embedding.attention.sliding_window");
        }
        other => panic!("{other:?}"),
    }
}

fn load(name: &str) -> Embedder {
    Embedder::load(&folder(name), &TextOptions::default()).unwrap_or_else(|e| panic!("{name}: {e}"))
}

pub fn request() -> EmbedRequest {
    EmbedRequest {
        texts: Vec::new(),
        tokens: Vec::new(),
        prompt: Prompt::Default,
        normalize: false,
        truncate: true,
        dimensions: None,
        call: 0,
    }
}

pub fn vectors(embedder: &Embedder, request: &EmbedRequest) -> Vec<Vec<f32>> {
    let results = embedder.embed(request).unwrap();
    results
        .into_iter()
        .map(|result| result.unwrap().vector)
        .collect()
}

pub fn assert_close(name: &str, got: &[Vec<f32>], expected: &[Vec<f32>]) {
    assert_eq!(got.len(), expected.len(), "{name}");
    for (index, (got, expected)) in got.iter().zip(expected).enumerate() {
        assert_eq!(got.len(), expected.len(), "{name} {index}");
        for (got, expected) in got.iter().zip(expected) {
            assert!(
                (got - expected).abs() <= CLOSE,
                "{name} {index}: {got} instead of {expected}"
            );
        }
    }
}

#[test]
fn vectors_are_those_of_sentence_transformers() {
    for (name, case) in cases() {
        if case.vectors.is_empty() {
            continue;
        }
        let embedder = load(&name);
        let of_texts = EmbedRequest {
            texts: case.texts.clone(),
            ..request()
        };
        let together = vectors(&embedder, &of_texts);
        assert_close(&name, &together, &case.vectors);
        let counts: Vec<usize> = embedder
            .embed(&of_texts)
            .unwrap()
            .into_iter()
            .map(|result| result.unwrap().tokens)
            .collect();
        assert_eq!(counts, case.prompt_tokens, "{name}");
        let given = vectors(
            &embedder,
            &EmbedRequest {
                tokens: case.tokens.clone(),
                ..request()
            },
        );
        assert_close(&name, &given, &case.token_vectors);
        for (prompt, expected) in &case.prompts {
            let prompted = EmbedRequest {
                texts: case.texts.clone(),
                prompt: Prompt::Named(prompt.clone()),
                ..request()
            };
            assert_close(
                &format!("{name} {prompt}"),
                &vectors(&embedder, &prompted),
                expected,
            );
        }
        // Alone they are what they are in company, to the last bit.
        for (text, expected) in case.texts.iter().zip(&together) {
            let alone = EmbedRequest {
                texts: vec![text.clone()],
                ..request()
            };
            assert_eq!(&vectors(&embedder, &alone)[0], expected, "{name}: {text:?}");
        }
    }
}

#[test]
fn scores_are_those_of_sentence_transformers() {
    for (name, case) in cases() {
        if case.scores.is_empty() {
            continue;
        }
        let reranker = Reranker::load(&folder(&name), &TextOptions::default())
            .unwrap_or_else(|e| panic!("{name}: {e}"));
        let request = RerankRequest {
            query: case.query.clone(),
            documents: case.documents.clone(),
            instruction: None,
            raw: false,
            truncate: true,
            call: 0,
        };
        let scores: Vec<Vec<f32>> = reranker
            .score(&request)
            .unwrap()
            .into_iter()
            .map(|result| result.unwrap().scores)
            .collect();
        assert_close(&name, &scores, &case.scores);
    }
}

#[test]
fn gguf_files_give_what_their_folders_do() {
    let cases = cases();
    for (name, architecture) in [
        ("bert-cls", "bert"),
        ("nomic-bert", "nomic_bert"),
        ("embedding-gemma", "gemma3_text"),
    ] {
        let path = folder(name).join("model.gguf");
        let embedder = Embedder::load(&path, &TextOptions::default())
            .unwrap_or_else(|e| panic!("{name}: {e}"));
        assert_eq!(embedder.info().architecture, architecture);
        let case = &cases[name];
        let of_texts = EmbedRequest {
            texts: case.texts.clone(),
            ..request()
        };
        assert_close(name, &vectors(&embedder, &of_texts), &case.vectors);
        let given = EmbedRequest {
            tokens: case.tokens.clone(),
            ..request()
        };
        assert_close(name, &vectors(&embedder, &given), &case.token_vectors);
    }
}

#[test]
fn gguf_files_of_decoders_say_how_they_pool() {
    let embedder = |pooling: Option<u32>| {
        let mut file = GgufFile::of("llama-gqa", GgmlDType::F32);
        if let Some(number) = pooling {
            file.set("llama.pooling_type", Value::U32(number));
        }
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("model.gguf");
        std::fs::write(&path, file.bytes()).unwrap();
        Embedder::load(&path, &TextOptions::default())
    };
    let tokens = vec![vec![5, 9, 33, 70]];
    let of = |embedder: &Embedder, tokens: &[Vec<u32>]| {
        vectors(
            embedder,
            &EmbedRequest {
                tokens: tokens.to_vec(),
                ..request()
            },
        )
    };
    let last = embedder(None).unwrap();
    assert_eq!(of(&embedder(Some(3)).unwrap(), &tokens), of(&last, &tokens));
    // The state of a token does not depend on those behind it, so that the last ones of the beginnings are all states.
    let beginnings: Vec<Vec<u32>> = (1..=4).map(|len| tokens[0][..len].to_vec()).collect();
    let states = of(&last, &beginnings);
    let mean: Vec<f32> = (0..states[0].len())
        .map(|place| states.iter().map(|state| state[place]).sum::<f32>() / 4.0)
        .collect();
    assert_close("mean", &of(&embedder(Some(1)).unwrap(), &tokens), &[mean]);
    assert_eq!(
        of(&embedder(Some(2)).unwrap(), &tokens)[0],
        states[0],
        "the first"
    );
    match embedder(Some(4)).err() {
        Some(Error::UnsupportedModel { key, .. }) => assert_eq!(key, "llama.pooling_type"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn several_threads_share_passes() {
    let embedder = load("bert-mean");
    let texts: Vec<String> = (0..40)
        .map(|i| format!("text number {i} of many"))
        .collect();
    let all = EmbedRequest {
        texts: texts.clone(),
        ..request()
    };
    let expected = vectors(&embedder, &all);
    std::thread::scope(|scope| {
        for chunk in 0..8 {
            let (embedder, texts, expected) = (&embedder, &texts, &expected);
            scope.spawn(move || {
                for index in (chunk * 5)..(chunk * 5 + 5) {
                    let alone = EmbedRequest {
                        texts: vec![texts[index].clone()],
                        ..request()
                    };
                    assert_eq!(vectors(embedder, &alone)[0], expected[index]);
                }
            });
        }
    });
}

#[test]
fn one_text_fails_no_other() {
    let embedder = load("bert-short");
    let results = embedder
        .embed(&EmbedRequest {
            texts: vec!["short".into(), "long ".repeat(40), String::new()],
            truncate: false,
            ..request()
        })
        .unwrap();
    assert!(results[0].is_ok() && results[2].is_ok());
    assert!(
        matches!(results[1], Err(Error::ContextFull { limit: 16, needed }) if needed > 40),
        "{:?}",
        results[1]
    );
    let cut = embedder
        .embed(&EmbedRequest {
            texts: vec!["long ".repeat(40)],
            ..request()
        })
        .unwrap();
    let cut = cut[0].as_ref().unwrap();
    assert_eq!(cut.tokens, 16);
    assert!(cut.left_out > 20);
    let tokens = embedder
        .embed(&EmbedRequest {
            tokens: vec![vec![3, 4], vec![100_000], Vec::new()],
            ..request()
        })
        .unwrap();
    assert!(tokens[0].is_ok() && tokens[1].is_err() && tokens[2].is_err());
}

#[test]
fn cancelled_calls_end() {
    let embedder = load("bert-mean");
    embedder.cancel(7);
    let cancelled = embedder.embed(&EmbedRequest {
        texts: vec!["text".into()],
        call: 7,
        ..request()
    });
    assert!(matches!(cancelled, Err(Error::Cancelled)));
    assert_eq!(
        vectors(
            &embedder,
            &EmbedRequest {
                texts: vec!["text".into()],
                call: 8,
                ..request()
            }
        )
        .len(),
        1
    );
}

#[test]
fn quantized_weights_are_near() {
    let exact = load("nomic-bert");
    let unknown = serde_json::from_str::<TextOptions>(r#"{"quantize": "q9"}"#).unwrap_err();
    assert!(unknown.to_string().contains("q9"), "{unknown}");
    assert!(unknown.to_string().contains("q8_0"), "{unknown}");
    let named: TextOptions = serde_json::from_str(r#"{"quantize": "i16"}"#).unwrap();
    assert_eq!(named.quantize, Some(TextQuantization::I16));
    for (quantize, name, least) in [
        (TextQuantization::Blocks(Quantization::Q8_0), "q8_0", 0.99),
        (TextQuantization::I16, "i16", 0.999_99),
    ] {
        let options = TextOptions {
            quantize: Some(quantize),
            ..TextOptions::default()
        };
        let rounded = Embedder::load(&folder("nomic-bert"), &options).unwrap();
        assert_eq!(rounded.info().precision, name);
        let of = EmbedRequest {
            texts: vec!["The quick brown fox".into()],
            normalize: true,
            ..request()
        };
        let (a, b) = (vectors(&exact, &of), vectors(&rounded, &of));
        let cosine: f32 = a[0].iter().zip(&b[0]).map(|(a, b)| a * b).sum();
        assert!(cosine > least, "{name}: {cosine}");
        assert_ne!(a, b, "{name}");
    }
}
