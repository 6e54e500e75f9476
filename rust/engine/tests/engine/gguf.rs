//! Models in GGUF files: the same answers as transformers, or an error that names the thing.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use candle_core::quantized::GgmlDType;
use candle_core::quantized::gguf_file::Value;
use candle4j_engine::engines::Engine;
use candle4j_engine::error::{Code, Error};
use candle4j_engine::loader::LoadOptions;
use candle4j_engine::model::Model;
use candle4j_engine::session::Session;
use candle4j_kernels::{PackedMatrix, PackedType};
use serde_json::Map;

use crate::gguf_file::GgufFile;
use crate::golden::{expected, generate, logprobs, squares, tokens};

/// Checkpoints of what GGUF files can hold.
const CASES: &[&str] = &[
    "llama-plain",
    "llama-gqa",
    "llama-mqa",
    "llama-tied",
    "llama-theta",
    "llama-head-dim",
    "llama-attention-bias",
    "llama-both-biases",
    "llama-rope-linear",
    "llama-rope-llama3",
    "llama-rope-yarn",
    "qwen2-plain",
    "qwen2-tied",
    "qwen2-rope-yarn",
    "qwen3-plain",
    "qwen3-tied",
    "qwen3-head-dim",
    "qwen3-attention-bias",
    "qwen3-moe-norm-topk",
    "smollm3-plain",
    "granite-plain",
    "granite-biases",
    "olmo2-plain",
    "olmo2-bias",
    "gemma2-plain",
    "gemma3-plain",
    "phi3-plain",
    "phi3-window",
    "phi3-longrope",
    "exaone4-plain",
    "exaone4-full",
    "olmo3-plain",
    "olmo3-yarn",
    "glm4-plain",
    "glm4-no-bias",
    "ernie4-5-plain",
    "ernie4-5-biases",
    "hunyuan-plain",
    "hunyuan-alpha",
    "ministral3-plain",
    "cohere2-plain",
    "cohere2-bias",
    "starcoder2-plain",
    "mellum-plain",
    "granite4-rope",
    "lfm2-plain",
    "qwen3-5-plain",
    "qwen3-5-heads",
    "qwen3-5-moe-plain",
    "qwen3-next-plain",
    "lfm2-moe-plain",
    "glm4-moe-plain",
    "glm4-moe-groups",
    "gpt-oss-plain",
    "gemma4-plain",
    "gemma4-keys-as-values",
    "gemma4-experts",
    "mixtral-plain",
    "qwen2-moe-plain",
    "olmoe-plain",
    "granite-moe-plain",
    "granite-moe-shared",
    "ernie4-5-moe-plain",
    "granite4-hybrid",
    "deepseek-v2-plain",
    "deepseek-v2-groups",
    "deepseek-v3-plain",
    "falcon-h1-plain",
    "falcon-h1-norm",
    "nemotron-h-plain",
    "nemotron-h-experts",
];

fn with(engine: Engine) -> LoadOptions {
    LoadOptions {
        engine,
        ..LoadOptions::default()
    }
}

#[test]
fn a_file_of_floats_equals_transformers() {
    for case in CASES {
        let file = GgufFile::of(case, GgmlDType::F32);
        let model = file.load().unwrap_or_else(|e| panic!("{case}: {e}"));
        assert_eq!(model.info().engine, "fused");
        equals_transformers(case, model);
    }
}

#[test]
fn older_files_of_narrow_keys_and_values_equal_transformers() {
    for case in ["deepseek-v2-plain", "deepseek-v3-plain"] {
        let mut file = GgufFile::of(case, GgmlDType::F32);
        file.join_latent(4);
        equals_transformers(case, file.load().unwrap());
    }
}

#[test]
fn a_file_of_half_floats_gives_the_same_tokens() {
    for case in CASES {
        let model = GgufFile::of(case, GgmlDType::F16).load().unwrap();
        assert_eq!(model.info().precision, "f16");
        let mut session = Session::new(Arc::new(model));
        for sequence in &expected(case).sequences {
            let generation = generate(&mut session, &tokens(&sequence.prompt, 16));
            assert_eq!(generation.token_ids, sequence.greedy, "{case}");
        }
    }
}

#[test]
fn candles_model_equals_transformers() {
    for case in ["llama-plain", "llama-gqa", "llama-tied", "llama-theta"] {
        let file = GgufFile::of(case, GgmlDType::F32);
        let model = file.load_with(&with(Engine::Candle)).unwrap();
        assert_eq!(model.info().engine, "candle");
        equals_transformers(case, model);
    }
}

fn equals_transformers(case: &str, model: Model) {
    assert_eq!(model.info().precision, "f32");
    let mut session = Session::new(Arc::new(model));
    for sequence in &expected(case).sequences {
        let n = sequence.prompt.len();
        let generation = generate(&mut session, &tokens(&sequence.prompt, 16));
        assert_eq!(generation.token_ids, sequence.greedy, "{case}, {n} tokens");
        let score = session.score(0, &sequence.prompt, 5).unwrap();
        for (ours, theirs) in score.logprobs.iter().zip(&sequence.logprobs) {
            assert!(
                (ours - theirs).abs() < 1e-3,
                "{case}, {n}: {ours} for {theirs}"
            );
        }
    }
}

#[test]
fn tokenizer_template_and_ends_come_from_the_file() {
    let model = GgufFile::of("llama-gqa", GgmlDType::F32).load().unwrap();
    let expected = expected("llama-gqa");
    for text in &expected.text {
        let tokenizer = model.tokenizer();
        assert_eq!(tokenizer.encode(&text.text, false).unwrap(), text.ids);
        assert_eq!(
            tokenizer.encode(&text.text, true).unwrap(),
            text.ids_with_special
        );
        assert_eq!(
            tokenizer.decode(&text.ids_with_special, true).unwrap(),
            text.decoded_skip_special
        );
    }
    assert!(!expected.chat.is_empty());
    for chat in &expected.chat {
        let template = model.chat_template().unwrap();
        assert_eq!(
            template.render(&chat.messages, true, &Map::new()).unwrap(),
            chat.with_generation_prompt
        );
    }
    assert_eq!(model.limits().eos_ids, [377]);
    assert_eq!(model.limits().context_length, 512);
}

/// What SentencePiece itself makes of texts with tiny models.
#[derive(serde::Deserialize)]
struct Pieces {
    bpe: PiecesModel,
    unigram: PiecesModel,
}

#[derive(serde::Deserialize)]
struct PiecesModel {
    tokens: Vec<String>,
    scores: Vec<f32>,
    types: Vec<i32>,
    charsmap: String,
    texts: Vec<PiecesText>,
}

#[derive(serde::Deserialize)]
struct PiecesText {
    text: String,
    ids: Vec<u32>,
    decoded: String,
}

fn pieces() -> Pieces {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/sentencepiece.json");
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

/// A file with such a tokenizer.
fn file_with(pieces: &PiecesModel, kind: &str) -> GgufFile {
    let mut file = GgufFile::of("llama-plain", GgmlDType::F32);
    file.remove("tokenizer.ggml.pre");
    file.remove("tokenizer.ggml.merges");
    let list = |values: Vec<Value>| Value::Array(values);
    let texts = pieces.tokens.iter().cloned().map(Value::String).collect();
    let scores = pieces.scores.iter().copied().map(Value::F32).collect();
    let types = pieces.types.iter().copied().map(Value::I32).collect();
    for (key, value) in [
        ("model", Value::String(kind.into())),
        ("tokens", list(texts)),
        ("scores", list(scores)),
        ("token_type", list(types)),
        ("unknown_token_id", Value::U32(0)),
        ("bos_token_id", Value::U32(1)),
        ("eos_token_id", Value::U32(2)),
    ] {
        file.set(&format!("tokenizer.ggml.{key}"), value);
    }
    file
}

fn assert_pieces(model: &Model, pieces: &PiecesModel, first: &[u32], last: &[u32]) {
    assert!(pieces.texts.len() >= 10);
    for PiecesText { text, ids, decoded } in &pieces.texts {
        let tokenizer = model.tokenizer();
        assert_eq!(&tokenizer.encode(text, false).unwrap(), ids, "{text:?}");
        assert_eq!(&tokenizer.decode(ids, false).unwrap(), decoded, "{text:?}");
        let around = [first, ids, last].concat();
        assert_eq!(tokenizer.encode(text, true).unwrap(), around, "{text:?}");
    }
}

#[test]
fn pieces_become_the_tokens_of_sentencepiece() {
    let pieces = pieces().bpe;
    let mut file = file_with(&pieces, "llama");
    assert_pieces(&file.load().unwrap(), &pieces, &[1], &[]);
    // These ids are what llama.cpp takes when there are none.
    file.remove("tokenizer.ggml.bos_token_id");
    file.remove("tokenizer.ggml.unknown_token_id");
    assert_pieces(&file.load().unwrap(), &pieces, &[1], &[]);
    file.set("tokenizer.ggml.add_bos_token", Value::Bool(false));
    file.set("tokenizer.ggml.add_eos_token", Value::Bool(true));
    assert_pieces(&file.load().unwrap(), &pieces, &[], &[2]);
}

#[test]
fn unigrams_become_the_tokens_of_sentencepiece() {
    let pieces = pieces().unigram;
    let mut file = file_with(&pieces, "t5");
    let bytes = STANDARD.decode(&pieces.charsmap).unwrap();
    let bytes = bytes.into_iter().map(Value::U8).collect();
    file.set("tokenizer.ggml.precompiled_charsmap", Value::Array(bytes));
    file.set("tokenizer.ggml.add_space_prefix", Value::Bool(true));
    file.set("tokenizer.ggml.remove_extra_whitespaces", Value::Bool(true));
    assert_pieces(&file.load().unwrap(), &pieces, &[], &[2]);
}

#[test]
fn files_without_a_way_of_cutting_words_are_cut_as_llama_cpp_does_with_a_warning() {
    let mut file = GgufFile::of("llama-plain", GgmlDType::F32);
    file.set("tokenizer.ggml.pre", Value::String("default".into()));
    let named = file.load().unwrap();
    assert_eq!(named.info().warnings, Vec::<String>::new());
    file.remove("tokenizer.ggml.pre");
    let unnamed = file.load().unwrap();
    let warnings = unnamed.info().warnings;
    assert!(
        matches!(&warnings[..], [text] if text.contains("tokenizer.ggml.pre")),
        "{warnings:?}"
    );
    let encode = |model: &Model| model.tokenizer().encode("a 12345, b!", false).unwrap();
    assert_eq!(encode(&named), encode(&unnamed));
}

#[test]
fn small_numbers_are_multiplied_as_they_are() {
    let prompt = &expected("llama-gqa").sequences[1].prompt;
    for (dtype, name) in [
        (GgmlDType::Q4_0, "q4_0"),
        (GgmlDType::Q4_1, "q4_1"),
        (GgmlDType::Q5_0, "q5_0"),
        (GgmlDType::Q5_1, "q5_1"),
        (GgmlDType::Q8_0, "q8_0"),
    ] {
        if !PackedMatrix::supports(dtype) {
            continue;
        }
        let mut floats = GgufFile::of("llama-gqa", dtype);
        floats.requantize(GgmlDType::F32);
        let exact = logprobs(floats.load().unwrap(), prompt);
        let packed = GgufFile::of("llama-gqa", dtype).load().unwrap();
        assert_eq!(packed.info().precision, name);
        let wrong = squares(&logprobs(packed, prompt), &exact) / exact.len() as f32;
        // Keys and values are rounded to 16 bits, and so is what weights are multiplied with.
        assert!(wrong < 2e-5, "{name}: {wrong}");
    }
}

#[test]
fn types_that_candle_computes_slowly_are_loaded_as_q8_0() {
    let prompt = &expected("llama-gqa").sequences[1].prompt;
    let (mut ours, mut usual) = (0.0, 0.0);
    let candle = LoadOptions {
        engine: Engine::Candle,
        ..LoadOptions::default()
    };
    for dtype in [GgmlDType::Q4_1, GgmlDType::Q5_0, GgmlDType::Q5_1] {
        let requantized = |to| {
            let mut file = GgufFile::of("llama-gqa", dtype);
            file.requantize(to);
            file.load_with(&candle).unwrap()
        };
        let packed = GgufFile::of("llama-gqa", dtype).load_with(&candle).unwrap();
        assert_eq!(packed.info().precision, "q8_0");
        let exact = logprobs(requantized(GgmlDType::F32), prompt);
        ours += squares(&logprobs(packed, prompt), &exact);
        usual += squares(&logprobs(requantized(GgmlDType::Q8_0), prompt), &exact);
    }
    // The scales are chosen with more care than those of a file that was converted.
    assert!(ours < usual, "{ours} instead of {usual}");
}

#[test]
fn wide_feed_forward_blocks_are_computed_as_precisely_as_narrow_ones() {
    for dtype in [GgmlDType::Q8_0, GgmlDType::Q4_1] {
        let narrow = GgufFile::of("llama-gqa", dtype);
        let mut wide = GgufFile::of("llama-gqa", dtype);
        // A width at which a kernel may round what it multiplies by blocks of 256.
        wide.widen_feed_forward(256);
        let prompt = &expected("llama-gqa").sequences[2].prompt;
        let score = |file: GgufFile| {
            let model = Arc::new(file.load().unwrap());
            Session::new(model).score(0, prompt, 5).unwrap()
        };
        let (narrow, wide) = (score(narrow), score(wide));
        for (ours, theirs) in wide.logprobs.iter().zip(&narrow.logprobs) {
            assert!(
                (ours - theirs).abs() < 0.5,
                "{dtype:?}: {ours} for {theirs}"
            );
        }
    }
}

#[test]
fn sequences_over_one_file_are_independent() {
    let model = Arc::new(GgufFile::of("llama-gqa", GgmlDType::F32).load().unwrap());
    let sequences = &expected("llama-gqa").sequences;
    let mut sessions: Vec<Session> = (0..2).map(|_| Session::new(model.clone())).collect();
    for _ in 0..2 {
        for (session, sequence) in sessions.iter_mut().zip(&sequences[1..]) {
            let generation = generate(session, &tokens(&sequence.prompt, 16));
            assert_eq!(generation.token_ids, sequence.greedy);
        }
    }
}

/// The error of loading a file after `damage`.
fn error_of(damage: impl FnOnce(&mut GgufFile)) -> Error {
    let mut file = GgufFile::of("llama-gqa", GgmlDType::F32);
    damage(&mut file);
    match file.load() {
        Ok(_) => panic!("a damaged file was loaded"),
        Err(error) => error,
    }
}

#[test]
fn what_is_not_understood_is_refused_by_name() {
    let text = |text: &str| Value::String(text.into());
    for (key, value) in [
        ("general.architecture", text("mamba")),
        ("llama.rope.scaling.type", text("longrope")),
        ("llama.rope.scaling.alpha", Value::F32(1000.0)),
        ("llama.attention.causal", Value::Bool(false)),
        ("llama.nextn_predict_layers", Value::U32(1)),
        ("llama.rope.dimension_count", Value::U32(4)),
        ("llama.attention.value_length", Value::U32(64)),
        ("tokenizer.ggml.model", text("rwkv")),
        ("tokenizer.ggml.pre", text("unheard-of")),
    ] {
        let error = error_of(|file| file.set(key, value));
        assert!(
            matches!(&error, Error::UnsupportedModel { key: k, .. } if k == key),
            "{key}: {error}"
        );
    }
    let error = error_of(|file| file.add_vector("blk.0.attn_sinks.weight", 4));
    assert!(
        matches!(&error, Error::UnsupportedModel { key, .. } if key == "blk.0.attn_sinks.weight"),
        "{error}"
    );
    let half_biased = error_of(|file| file.add_vector("blk.1.attn_q.bias", 32));
    assert!(
        matches!(&half_biased, Error::UnsupportedModel { key, .. } if key == "blk.1.attn_q.bias"),
        "{half_biased}"
    );
    let too_short = error_of(|file| file.add_vector("rope_freqs.weight", 3));
    assert!(
        matches!(&too_short, Error::InvalidTensor { tensor, .. } if tensor == "rope_freqs.weight"),
        "{too_short}"
    );
}

#[test]
fn hybrids_that_are_not_understood_are_refused_by_name() {
    for (case, key, value) in [
        (
            "lfm2-plain",
            "lfm2.attention.sliding_window",
            Value::U32(16),
        ),
        (
            "lfm2-plain",
            "lfm2.attention.head_count_kv",
            Value::Array(vec![Value::I32(0), Value::I32(2)]),
        ),
        (
            "qwen3-5-plain",
            "qwen35.nextn_predict_layers",
            Value::U32(4),
        ),
    ] {
        let mut file = GgufFile::of(case, GgmlDType::F32);
        file.set(key, value);
        let error = file.load().err().expect(key).to_string();
        assert!(error.contains(key), "{error}");
    }
}

#[test]
fn what_candle_would_compute_wrongly_is_refused_by_name() {
    for (case, key) in [
        ("llama-head-dim", "attention.key_length"),
        ("llama-attention-bias", "attn_q.bias"),
        ("llama-rope-linear", "rope_type"),
        ("llama-rope-llama3", "rope_type"),
        ("qwen2-plain", "general.architecture"),
    ] {
        let file = GgufFile::of(case, GgmlDType::F32);
        let error = file.load_with(&with(Engine::Candle)).err().unwrap();
        assert!(
            matches!(&error, Error::UnsupportedModel { key: k, .. } if k == key),
            "{case}: {error}"
        );
    }
}

#[test]
fn impossible_values_are_refused_by_name() {
    for (key, value) in [
        ("llama.attention.head_count", Value::U32(0)),
        ("llama.attention.head_count_kv", Value::U32(3)),
        ("llama.block_count", Value::U32(u32::MAX)),
        ("llama.context_length", Value::I32(-1)),
        ("llama.rope.freq_base", Value::F32(f32::NAN)),
        (
            "llama.attention.layer_norm_rms_epsilon",
            Value::String("small".into()),
        ),
        (
            "tokenizer.ggml.merges",
            Value::Array(vec![Value::String("ab".into())]),
        ),
        ("tokenizer.ggml.tokens", Value::Array(vec![Value::U32(1)])),
        (
            "tokenizer.ggml.token_type",
            Value::Array(vec![Value::I32(1)]),
        ),
        ("tokenizer.ggml.bos_token_id", Value::U32(100_000)),
        ("tokenizer.ggml.eos_token_id", Value::F32(0.5)),
    ] {
        let error = error_of(|file| file.set(key, value));
        assert!(
            matches!(&error, Error::InvalidConfig { key: k, file, .. } if k == key && file == "tiny.gguf"),
            "{key}: {error}"
        );
    }
    let indivisible = error_of(|file| {
        file.remove("llama.attention.key_length");
        file.set("llama.attention.head_count", Value::U32(6));
    });
    assert!(
        matches!(&indivisible, Error::InvalidConfig { key, .. } if key == "llama.attention.head_count"),
        "{indivisible}"
    );
    for key in [
        "llama.embedding_length",
        "llama.block_count",
        "tokenizer.ggml.tokens",
        "tokenizer.ggml.model",
        "general.architecture",
    ] {
        let error = error_of(|file| file.remove(key));
        assert_eq!(error.code(), Code::InvalidModel, "{key}: {error}");
        assert!(error.to_string().contains(key), "{key}: {error}");
    }
    // Candle divides by it.
    let alignment = error_of(|file| file.set("general.alignment", Value::U32(0)));
    assert_eq!(alignment.code(), Code::InvalidModel, "{alignment}");
    let merge = error_of(|file| {
        let pair = Value::String("nowhere nothing".into());
        file.set("tokenizer.ggml.merges", Value::Array(vec![pair]));
    });
    assert_eq!(merge.code(), Code::InvalidModel, "{merge}");
}

#[test]
fn tensors_missing_or_misshapen_are_named() {
    const NAME: &str = "blk.1.ffn_up.weight";
    let missing = error_of(|file| file.tensors.retain(|(name, ..)| name != NAME));
    assert!(
        matches!(&missing, Error::InvalidTensor { tensor, .. } if tensor == NAME),
        "{missing}"
    );
    let misshapen = error_of(|file| {
        let (_, tensor, _) = file.tensors.iter_mut().find(|(n, ..)| n == NAME).unwrap();
        *tensor = tensor.t().unwrap().contiguous().unwrap();
    });
    assert!(
        matches!(&misshapen, Error::InvalidTensor { tensor, expected, got, .. }
            if tensor == NAME && expected == "shape [64, 32]" && got == "shape [32, 64]"),
        "{misshapen}"
    );
}

#[test]
fn a_file_cut_short_anywhere_is_an_error() {
    let file = GgufFile::of("llama-gqa", GgmlDType::Q4_1);
    let bytes = file.bytes();
    let ends = (0..64)
        .chain((64..bytes.len()).step_by(bytes.len() / 97))
        .chain([bytes.len() - 33]);
    for end in ends {
        let error = file.load_bytes(&bytes[..end]).err();
        let error = error.unwrap_or_else(|| panic!("cut to {end} of {} bytes", bytes.len()));
        assert_eq!(error.code(), Code::InvalidModel, "{end}: {error}");
    }
    let text = file
        .load_bytes(b"this is a text and no model")
        .err()
        .unwrap();
    assert!(
        text.to_string()
            .contains("tiny.gguf: not a readable GGUF file"),
        "{text}"
    );
    let missing = Model::load("/no/such/file.gguf".as_ref(), &LoadOptions::default());
    assert!(
        missing
            .err()
            .unwrap()
            .to_string()
            .contains("/no/such/file.gguf")
    );
}

#[test]
fn changed_bytes_never_panic() {
    let file = GgufFile::of("llama-gqa", GgmlDType::Q8_0);
    let bytes = file.bytes();
    let metadata_end = bytes.len() / 3;
    for index in (4..metadata_end).step_by(7) {
        let mut changed = bytes.clone();
        changed[index] ^= 0xff;
        // Some changes mean another legal model; those that do not must be errors.
        if let Ok(model) = file.load_bytes(&changed) {
            let _ = Session::new(Arc::new(model)).score(0, &[1, 2, 3], 1);
        }
    }
}

/// Sparse files cost nothing to make; what is read of them must not cost much either.
#[test]
fn endless_metadata_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("sparse.gguf");
    for (kind, told) in [(0u32, "entries"), (8, "entries"), (9, "entries")] {
        let mut bytes = b"GGUF\x03\0\0\0".to_vec();
        bytes.extend(0u64.to_le_bytes());
        bytes.extend(1u64.to_le_bytes());
        bytes.extend(1u64.to_le_bytes());
        bytes.push(b'k');
        bytes.extend(9u32.to_le_bytes());
        bytes.extend(kind.to_le_bytes());
        bytes.extend(60_000_000u64.to_le_bytes());
        std::fs::write(&path, bytes).unwrap();
        std::fs::OpenOptions::new()
            .write(true)
            .open(&path)
            .unwrap()
            .set_len(1 << 30)
            .unwrap();
        let start = std::time::Instant::now();
        let error = Model::load(&path, &LoadOptions::default())
            .err()
            .unwrap()
            .to_string();
        assert!(
            error.starts_with("sparse.gguf") && error.contains(told),
            "{error}"
        );
        assert!(start.elapsed().as_secs() < 5);
    }
}

#[test]
fn sampling_of_a_file_is_proposed_and_the_rest_told() {
    let mut file = GgufFile::of("llama-plain", GgmlDType::F32);
    file.set("general.sampling.top_k", Value::I32(20));
    file.set("general.sampling.top_p", Value::F32(0.5));
    file.set("general.sampling.penalty_repeat", Value::F32(-1.0));
    file.set("general.sampling.mirostat", Value::I32(2));
    let model = file.load().unwrap();
    let proposed = model.generation_defaults();
    assert_eq!(proposed.top_k, Some(20));
    assert_eq!(proposed.top_p, Some(0.5));
    assert_eq!(proposed.temperature, Some(0.8));
    let warnings = model.generation_warnings();
    assert!(
        matches!(warnings, [bad, other] if bad.contains("penalty_repeat") && other.contains("mirostat = 2")),
        "{warnings:?}"
    );
    file.set("general.sampling.temp", Value::F32(0.0));
    let greedy = file.load().unwrap();
    assert_eq!(greedy.generation_defaults().temperature, Some(0.0));
}

#[test]
fn types_of_code_books_are_computed_as_what_they_stand_for() {
    const IQ4_NL: u32 = 20;
    let levels = [
        -127., -104., -83., -65., -49., -35., -22., -10., 1., 13., 25., 38., 53., 69., 89., 113.,
    ];
    let prompt = &expected("llama-gqa").sequences[1].prompt;
    let packed = GgufFile::of("llama-gqa", GgmlDType::Q4_0);
    // Both have 18 bytes for 32 numbers.
    let bytes = packed.bytes_with_type(IQ4_NL);
    for engine in [Engine::Fused, Engine::Candle] {
        let loaded = packed.load_bytes_with(&bytes, &with(engine)).unwrap();
        let multiplied = engine == Engine::Fused && PackedMatrix::supports(PackedType::Iq4Nl);
        let name = if multiplied { "iq4_nl" } else { "q8_0" };
        assert_eq!(loaded.info().precision, name);
        let ours = logprobs(loaded, prompt);
        let mut exact = GgufFile::of("llama-gqa", GgmlDType::Q4_0);
        exact.relevel(&levels);
        let exact = logprobs(exact.load_with(&with(engine)).unwrap(), prompt);
        // The numbers are large, and so are those that come out.
        let nothing = vec![0.0; exact.len()];
        let wrong = squares(&ours, &exact) / squares(&exact, &nothing);
        // Candle rounds what it multiplies with to 8 bits.
        let most = if engine == Engine::Fused { 1e-5 } else { 2e-2 };
        assert!(wrong < most, "{engine:?}: {wrong}");
    }
}

#[test]
fn a_type_that_cannot_be_read_is_refused_by_tensor_and_type() {
    let file = GgufFile::of("llama-gqa", GgmlDType::Q4_0);
    for (number, name) in [
        (40, "NVFP4"),
        (27, "I64"),
        (31, "given up"),
        (4711, "unknown"),
    ] {
        let error = file
            .load_bytes(&file.bytes_with_type(number))
            .err()
            .unwrap();
        let text = error.to_string();
        assert!(matches!(error, Error::UnsupportedModel { .. }), "{text}");
        for part in [".weight", &format!("type {number}"), name] {
            assert!(text.contains(part), "{text}");
        }
        assert_eq!(text.lines().count(), 1, "{text}");
    }
}

#[test]
fn f5_counts_beyond_what_is_there_are_refused_at_once() {
    let start = std::time::Instant::now();
    for count in [1 << 31, u32::MAX] {
        for case in ["qwen3-moe-norm-topk", "llama-plain"] {
            let mut file = GgufFile::of(case, GgmlDType::F32);
            let family = if case == "llama-plain" {
                "llama"
            } else {
                "qwen3moe"
            };
            file.set(&format!("{family}.expert_count"), Value::U32(count));
            assert!(file.load().is_err());
        }
        for key in ["block_count", "vocab_size", "feed_forward_length"] {
            let mut file = GgufFile::of("llama-plain", GgmlDType::F32);
            file.set(&format!("llama.{key}"), Value::U32(count));
            let _ = file.load();
        }
    }
    assert!(start.elapsed().as_secs() < 5, "{:?}", start.elapsed());
}

#[test]
fn f7_a_merge_of_no_tokens_is_named() {
    let mut file = GgufFile::of("llama-plain", GgmlDType::F32);
    let merge = Value::Array(vec![Value::String("zz yy".into())]);
    file.set("tokenizer.ggml.merges", merge);
    let error = file.load().err().unwrap().to_string();
    assert!(error.contains("tokenizer.ggml.merges"), "{error}");
    assert!(error.contains("zz"), "{error}");
    assert!(!error.contains("line 1"), "{error}");
}
