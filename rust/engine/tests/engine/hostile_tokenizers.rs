//! Tokenizers that would fill the memory, overflow a stack or never end, and files that are too large
//! or no files: each is an error that names what it is about.

use std::time::{Duration, Instant};

use candle4j_engine::error::Error;
use candle4j_engine::loader::LoadOptions;
use candle4j_engine::model::Model;
use candle4j_engine::tokenizer::Tokenizer;
use serde_json::{Value, json};

use crate::golden::models;

fn document() -> Value {
    let bytes = std::fs::read(models().join("llama-plain").join("tokenizer.json")).unwrap();
    serde_json::from_slice(&bytes).unwrap()
}

fn with(key: &str, value: Value) -> Value {
    let mut document = document();
    document[key] = value;
    document
}

fn open(document: &Value) -> Result<Tokenizer, Error> {
    let start = Instant::now();
    let result = Tokenizer::from_json("tokenizer.json", document.to_string().as_bytes());
    assert!(start.elapsed() < Duration::from_secs(10));
    result
}

fn encode(document: &Value, text: &str) -> Result<Vec<u32>, Error> {
    let tokenizer = open(document)?;
    let start = Instant::now();
    let result = tokenizer.encode(text, true);
    assert!(
        start.elapsed() < Duration::from_secs(14),
        "{:?}",
        start.elapsed()
    );
    result
}

fn replace(pattern: Value, content: &str) -> Value {
    json!({"type": "Replace", "pattern": pattern, "content": content})
}

fn sequence(key: &str, steps: Vec<Value>) -> Value {
    let mut sequence = json!({"type": "Sequence"});
    sequence[key] = steps.into();
    sequence
}

fn split(pattern: &str) -> Value {
    json!({"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": false})
}

fn message(result: Result<impl std::fmt::Debug, Error>) -> String {
    result.map(|_| ()).unwrap_err().to_string()
}

#[test]
fn normalizers_that_grow() {
    let double = || replace(json!({"String": "a"}), "aa");
    for normalizer in [
        sequence("normalizers", vec![double(); 34]),
        sequence(
            "normalizers",
            vec![sequence("normalizers", vec![double(); 20]); 3],
        ),
        replace(json!({"String": ""}), &"b".repeat(1 << 20)),
        replace(json!({"Regex": "a|"}), &"b".repeat(1 << 20)),
        sequence(
            "normalizers",
            vec![json!({"type": "Prepend", "prepend": "x".repeat(60_000)}); 60],
        ),
    ] {
        let error = message(encode(&with("normalizer", normalizer), &"a".repeat(5000)));
        assert!(
            error.starts_with("tokenizer: ") && error.contains("grows from"),
            "{error}"
        );
    }
    // What real ones do.
    let real = sequence(
        "normalizers",
        vec![
            json!({"type": "Prepend", "prepend": "▁"}),
            replace(json!({"String": " "}), "▁"),
            json!({"type": "NFKD"}),
        ],
    );
    encode(&with("normalizer", real), &"a b ﷺ ".repeat(10_000)).unwrap();
}

#[test]
fn added_tokens_that_grow_when_they_are_normalized() {
    let mut document = with(
        "normalizer",
        sequence(
            "normalizers",
            vec![replace(json!({"String": "a"}), "aa"); 34],
        ),
    );
    document["added_tokens"]
        .as_array_mut()
        .unwrap()
        .push(json!({
            "id": 5000, "content": "aaaa", "single_word": false, "lstrip": false, "rstrip": false,
            "normalized": true, "special": false
        }));
    let error = message(open(&document));
    assert!(
        error.starts_with("tokenizer.json: ") && error.contains("grows from"),
        "{error}"
    );
}

#[test]
fn decoders_that_grow() {
    for decoder in [
        sequence("decoders", vec![replace(json!({"Regex": "."}), "aa"); 40]),
        replace(json!({"String": ""}), &"b".repeat(1 << 20)),
        sequence(
            "decoders",
            vec![json!({"type": "BPEDecoder", "suffix": ""}); 60],
        ),
    ] {
        let tokenizer = open(&with("decoder", decoder)).unwrap();
        let start = Instant::now();
        let error = message(tokenizer.decode(&[50, 51, 52, 53, 54, 55, 56].repeat(50), true));
        assert!(
            error.starts_with("tokenizer: ") && error.contains("grows from"),
            "{error}"
        );
        assert!(start.elapsed() < Duration::from_secs(10));
    }
}

#[test]
fn sequences_that_are_deep_or_long() {
    let nest = |depth: usize, key: &str, inner: Value| {
        (0..depth).fold(inner, |inner, _| sequence(key, vec![inner]))
    };
    for (part, key, inner) in [
        ("normalizer", "normalizers", json!({"type": "NFC"})),
        (
            "pre_tokenizer",
            "pretokenizers",
            json!({"type": "Whitespace"}),
        ),
        ("decoder", "decoders", json!({"type": "Fuse"})),
        (
            "post_processor",
            "processors",
            json!({"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": false, "use_regex": false}),
        ),
    ] {
        open(&with(part, nest(3, key, inner.clone()))).unwrap();
        for depth in [20, 60, 200, 2000] {
            let error = message(open(&with(part, nest(depth, key, inner.clone()))));
            assert!(error.starts_with("tokenizer.json: "), "{error}");
        }
        let error = message(open(&with(part, sequence(key, vec![inner; 10_000]))));
        assert!(error.contains("64"), "{error}");
    }
    let byte_level = json!({"type": "ByteLevel", "add_prefix_space": true, "trim_offsets": false, "use_regex": false});
    let error = message(open(&with(
        "pre_tokenizer",
        sequence("pretokenizers", vec![byte_level; 40]),
    )));
    assert!(error.contains("more than 4"), "{error}");
    let error = message(open(&with(
        "normalizer",
        json!({"type": "Sequence", "normalizers": vec![0; 4 << 20]}),
    )));
    assert!(error.contains("at most 4194304"), "{error}");
    let text = json!({"Sequence": {"id": "A", "type_id": 0}});
    let template = json!({"type": "TemplateProcessing", "single": [text.clone()], "pair": [text.clone()],
        "special_tokens": {"x": {"id": "x", "ids": vec![1; 100_000], "tokens": vec!["x"; 100_000]}}});
    let error = message(open(&with("post_processor", template)));
    assert!(error.contains("100000 ids; at most 1024"), "{error}");
    let template = json!({"type": "TemplateProcessing", "single": vec![text.clone(); 100_000],
        "pair": [text], "special_tokens": {}});
    let error = message(open(&with("post_processor", template)));
    assert!(error.contains("100001 places; at most 64"), "{error}");
}

#[test]
fn regular_expressions_that_take_long() {
    let text = format!("{}b", "a".repeat(60_000));
    for pattern in [
        r"(a+)+$(?=x)",
        r"(?=(a+)+c)a",
        r"(a|aa)+c(?!d)",
        r"(?s).*z(?=x)|a",
        r"(?:(?:a*)*)*(?=c)",
        r"(a*)\1\1c",
    ] {
        let document = with("pre_tokenizer", split(pattern));
        // Refused by name, or fast after all; never tokens that another cut would give.
        if let Err(error) = encode(&document, &text) {
            assert!(error.to_string().starts_with("tokenizer: "), "{error}");
        }
    }
    for pattern in [
        "(".repeat(100_000),
        format!("{}a{}", "(?=".repeat(50_000), ")".repeat(50_000)),
        "a{1000}{1000}{1000}".into(),
        "(?:(?=a)a){1000}{1000}{1000}".into(),
        r"\p{L}{1000}{1000}".into(),
        "a|".repeat(200_000),
    ] {
        if let Err(error) = open(&with("pre_tokenizer", split(&pattern))) {
            assert!(error.to_string().starts_with("tokenizer.json: "), "{error}");
        }
    }
}

/// As the published tokenizers of Qwen and Llama 3 have it.
const WORDS: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";

#[test]
fn a_million_of_one_character() {
    let byte_level = json!({"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": false});
    let document = with(
        "pre_tokenizer",
        sequence("pretokenizers", vec![split(WORDS), byte_level]),
    );
    let tokenizer = open(&document).unwrap();
    for (before, character, after) in [
        ("", " ", ""),
        ("a", " ", "b"),
        ("a ", "\n", " b"),
        ("x", "\t", ""),
        ("", "a", " b"),
        ("", ".", "x"),
    ] {
        let long = |count: usize| format!("{before}{}{after}", character.repeat(count));
        let ids = tokenizer.encode(&long(1_000_000), false).unwrap();
        assert_eq!(tokenizer.decode(&ids, false).unwrap(), long(1_000_000));
        // The same cut as of a run that nothing has to be done about.
        let short = tokenizer.encode(&long(100_000), false).unwrap();
        assert_eq!(ids[..20], short[..20], "{before:?} {character:?}");
        assert_eq!(
            ids[ids.len() - 3..],
            short[short.len() - 3..],
            "{before:?} {character:?}"
        );
    }
}

#[test]
fn words_that_take_long() {
    let mut document = document();
    document["model"]["continuing_subword_prefix"] = "x".repeat(20 << 20).into();
    for text in ["a".repeat(256), "a".repeat(8000), "a".repeat(100_000)] {
        let _ = encode(&document, &text);
    }
}

#[test]
fn files_that_are_too_large_or_none() {
    for (name, limit) in [
        ("config.json", "8388608"),
        ("generation_config.json", "8388608"),
        ("tokenizer_config.json", "8388608"),
        ("chat_template.jinja", "1048576"),
        ("tokenizer.json", "134217728"),
        ("model.safetensors.index.json", "25165824"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        for entry in std::fs::read_dir(models().join("llama-plain")).unwrap() {
            let entry = entry.unwrap();
            if name != "model.safetensors.index.json" || entry.file_name() != "model.safetensors" {
                std::fs::copy(entry.path(), folder.path().join(entry.file_name())).unwrap();
            }
        }
        let file = std::fs::File::create(folder.path().join(name)).unwrap();
        file.set_len(3 << 30).unwrap();
        let start = Instant::now();
        let error = message(Model::load(folder.path(), &LoadOptions::default()).map(|_| ()));
        assert!(
            error.contains(name) && error.contains("3221225472 bytes") && error.contains(limit),
            "{error}"
        );
        if name == "model.safetensors.index.json" {
            continue;
        }
        std::fs::remove_file(folder.path().join(name)).unwrap();
        std::fs::create_dir(folder.path().join(name)).unwrap();
        let error = message(Model::load(folder.path(), &LoadOptions::default()).map(|_| ()));
        assert!(
            error.contains(name) && error.contains("regular file"),
            "{error}"
        );
        assert!(start.elapsed() < Duration::from_secs(5));
    }
}
