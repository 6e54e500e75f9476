//! Writes a model of random weights at a published shape, with configuration and tokenizer, for
//! benchmarks and tests: `scripts/make-synthetic-model --shape qwen3-0.6b OUT`.
//!
//! The weights say nothing, but they take as long to compute with as trained ones.

use std::borrow::Cow;
use std::path::{Path, PathBuf};

use candle4j_engine::architectures::Architecture;
use candle4j_engine::architectures::config_file::ConfigFile;
use half::{bf16, f16};
use rand::{RngCore, SeedableRng};
use rand_chacha::ChaCha8Rng;
use safetensors::tensor::{Dtype, View};
use serde_json::{Map, Value, json};

const USAGE: &str = "\
usage: make-synthetic-model --shape SHAPE [--dtype bf16|f16|f32] [--seed N] OUT

SHAPE is one of qwen3-0.6b, qwen2.5-0.5b, llama-3.2-1b, gemma3-1b, qwen3.5-0.8b, tiny-llama,
tiny-mistral, tiny-qwen2, tiny-qwen3, qwen3-moe-tiny, and llama-like-gemma3-1b and
llama-like-qwen3.5-0.8b, Llamas with as many weights. OUT is a folder, made if it is not there.";

fn main() {
    if let Err(message) = run(std::env::args().skip(1).collect()) {
        eprintln!("make-synthetic-model: {message}");
        std::process::exit(2);
    }
}

struct Arguments {
    shape: String,
    dtype: Dtype,
    seed: u64,
    out: PathBuf,
}

fn parse(arguments: Vec<String>) -> Result<Arguments, String> {
    let (mut shape, mut dtype, mut seed, mut out) = (None, Dtype::BF16, 0, None);
    let mut rest = arguments.into_iter();
    while let Some(argument) = rest.next() {
        let mut value = || rest.next().ok_or(format!("{argument} needs a value"));
        match argument.as_str() {
            "--shape" => shape = Some(value()?),
            "--seed" => seed = value()?.parse().map_err(|e| format!("--seed: {e}"))?,
            "--dtype" => {
                dtype = match value()?.as_str() {
                    "bf16" => Dtype::BF16,
                    "f16" => Dtype::F16,
                    "f32" => Dtype::F32,
                    other => return Err(format!("--dtype: {other} is not bf16, f16 or f32")),
                }
            }
            "--help" | "-h" => {
                println!("{USAGE}");
                std::process::exit(0);
            }
            _ if argument.starts_with('-') => return Err(format!("{argument}?\n{USAGE}")),
            _ => out = Some(PathBuf::from(argument)),
        }
    }
    match (shape, out) {
        (Some(shape), Some(out)) => Ok(Arguments {
            shape,
            dtype,
            seed,
            out,
        }),
        _ => Err(USAGE.into()),
    }
}

fn run(arguments: Vec<String>) -> Result<(), String> {
    let Arguments {
        shape,
        dtype,
        seed,
        out,
    } = parse(arguments)?;
    let mut config = config(&shape).ok_or(format!("no shape {shape}\n{USAGE}"))?;
    config.insert("dtype".into(), name(dtype).into());
    let vocab_size = config["vocab_size"].as_u64().unwrap_or(0) as usize;
    let tokenizer = Tokenizer::new(vocab_size);
    config.insert("bos_token_id".into(), tokenizer.id(0).into());
    config.insert("eos_token_id".into(), tokenizer.id(2).into());

    let file = ConfigFile::new("config.json", &config);
    let architecture = Architecture::of("config.json", &config).map_err(|e| e.to_string())?;
    let decoder = (architecture.describe)(&file).map_err(|e| e.to_string())?;
    let tensors = decoder
        .tensors()
        .enumerate()
        .map(|(index, (name, shape))| {
            let tensor = RandomTensor {
                ones: name.ends_with("norm.weight"),
                shape,
                dtype,
                seed: seed.wrapping_mul(1 << 32).wrapping_add(index as u64),
            };
            (name, tensor)
        })
        .collect::<Vec<_>>();

    let io = |e: std::io::Error| format!("{}: {e}", out.display());
    std::fs::create_dir_all(&out).map_err(io)?;
    write(&out, "config.json", &Value::Object(config))?;
    write(
        &out,
        "generation_config.json",
        &json!({ "eos_token_id": tokenizer.id(2) }),
    )?;
    write(&out, "tokenizer.json", &tokenizer.json())?;
    write(&out, "tokenizer_config.json", &tokenizer.config())?;
    let metadata = [("format".to_owned(), "pt".to_owned())].into();
    safetensors::serialize_to_file(tensors, Some(metadata), &out.join("model.safetensors"))
        .map_err(|e| e.to_string())
}

fn write(folder: &Path, name: &str, value: &Value) -> Result<(), String> {
    let path = folder.join(name);
    let text = serde_json::to_string_pretty(value).map_err(|e| e.to_string())?;
    std::fs::write(&path, text).map_err(|e| format!("{}: {e}", path.display()))
}

/// The configurations as published, but for the names of tokens.
fn config(shape: &str) -> Option<Map<String, Value>> {
    let value = match shape {
        "qwen3-0.6b" => json!({
            "model_type": "qwen3", "architectures": ["Qwen3ForCausalLM"], "hidden_size": 1024,
            "intermediate_size": 3072, "num_hidden_layers": 28, "num_attention_heads": 16,
            "num_key_value_heads": 8, "head_dim": 128, "vocab_size": 151_936,
            "max_position_embeddings": 40_960, "rope_theta": 1_000_000.0, "rms_norm_eps": 1e-6,
            "attention_bias": false, "tie_word_embeddings": true, "hidden_act": "silu",
            "use_sliding_window": false, "sliding_window": null, "max_window_layers": 28,
        }),
        "qwen2.5-0.5b" => json!({
            "model_type": "qwen2", "architectures": ["Qwen2ForCausalLM"], "hidden_size": 896,
            "intermediate_size": 4864, "num_hidden_layers": 24, "num_attention_heads": 14,
            "num_key_value_heads": 2, "vocab_size": 151_936, "max_position_embeddings": 32_768,
            "rope_theta": 1_000_000.0, "rms_norm_eps": 1e-6, "tie_word_embeddings": true,
            "hidden_act": "silu", "use_sliding_window": false, "sliding_window": 32_768,
            "max_window_layers": 21,
        }),
        "llama-3.2-1b" => json!({
            "model_type": "llama", "architectures": ["LlamaForCausalLM"], "hidden_size": 2048,
            "intermediate_size": 8192, "num_hidden_layers": 16, "num_attention_heads": 32,
            "num_key_value_heads": 8, "head_dim": 64, "vocab_size": 128_256,
            "max_position_embeddings": 131_072, "rope_theta": 500_000.0, "rms_norm_eps": 1e-5,
            "rope_scaling": { "rope_type": "llama3", "factor": 32.0, "low_freq_factor": 1.0,
                "high_freq_factor": 4.0, "original_max_position_embeddings": 8192 },
            "attention_bias": false, "mlp_bias": false, "tie_word_embeddings": true,
            "hidden_act": "silu",
        }),
        "gemma3-1b" => json!({
            "model_type": "gemma3_text", "architectures": ["Gemma3ForCausalLM"], "hidden_size": 1152,
            "intermediate_size": 6912, "num_hidden_layers": 26, "num_attention_heads": 4,
            "num_key_value_heads": 1, "head_dim": 256, "vocab_size": 262_144,
            "max_position_embeddings": 32_768, "rope_theta": 1_000_000.0, "rms_norm_eps": 1e-6,
            "rope_local_base_freq": 10_000.0, "sliding_window": 512, "sliding_window_pattern": 6,
            "query_pre_attn_scalar": 256, "attention_bias": false, "tie_word_embeddings": true,
            "hidden_activation": "gelu_pytorch_tanh",
        }),
        "qwen3.5-0.8b" => json!({
            "model_type": "qwen3_5_text", "architectures": ["Qwen3_5ForCausalLM"], "hidden_size": 1024,
            "intermediate_size": 3584, "num_hidden_layers": 24, "num_attention_heads": 8,
            "num_key_value_heads": 2, "head_dim": 256, "vocab_size": 248_320,
            "max_position_embeddings": 262_144, "rms_norm_eps": 1e-6, "full_attention_interval": 4,
            "rope_parameters": { "rope_type": "default", "rope_theta": 10_000_000.0,
                "partial_rotary_factor": 0.25 },
            "linear_num_key_heads": 16, "linear_num_value_heads": 16, "linear_key_head_dim": 128,
            "linear_value_head_dim": 128, "linear_conv_kernel_dim": 4, "attention_bias": false,
            "tie_word_embeddings": true, "hidden_act": "silu",
        }),
        "llama-like-gemma3-1b" => of_family(
            "llama",
            "LlamaForCausalLM",
            json!({
                "hidden_size": 1152, "intermediate_size": 6912, "num_hidden_layers": 26,
                "num_attention_heads": 4, "num_key_value_heads": 1, "head_dim": 256,
                "vocab_size": 262_144,
            }),
        ),
        "llama-like-qwen3.5-0.8b" => of_family(
            "llama",
            "LlamaForCausalLM",
            json!({
                "hidden_size": 1024, "intermediate_size": 4608, "num_hidden_layers": 24,
                "num_attention_heads": 16, "num_key_value_heads": 8, "head_dim": 128,
                "vocab_size": 248_320,
            }),
        ),
        "tiny-llama" => of_family("llama", "LlamaForCausalLM", json!({ "head_dim": 64 })),
        "tiny-mistral" => of_family(
            "mistral",
            "MistralForCausalLM",
            json!({ "sliding_window": null }),
        ),
        "tiny-qwen2" => of_family("qwen2", "Qwen2ForCausalLM", json!({})),
        "tiny-qwen3" => of_family("qwen3", "Qwen3ForCausalLM", json!({ "head_dim": 64 })),
        "qwen3-moe-tiny" => of_family(
            "qwen3_moe",
            "Qwen3MoeForCausalLM",
            json!({ "head_dim": 64, "num_experts": 8, "num_experts_per_tok": 2,
                "moe_intermediate_size": 256, "norm_topk_prob": true }),
        ),
        _ => return None,
    };
    match value {
        Value::Object(config) => Some(config),
        _ => None,
    }
}

/// A configuration of small sizes, but for those of `more`.
fn of_family(model_type: &str, class: &str, more: Value) -> Value {
    let mut config = json!({
        "model_type": model_type, "architectures": [class], "hidden_size": 256,
        "intermediate_size": 512, "num_hidden_layers": 4, "num_attention_heads": 4,
        "num_key_value_heads": 2, "vocab_size": 1024, "max_position_embeddings": 4096,
        "rope_theta": 10_000.0, "rms_norm_eps": 1e-6, "tie_word_embeddings": true,
        "hidden_act": "silu",
    });
    if let (Value::Object(config), Value::Object(more)) = (&mut config, more) {
        config.extend(more);
    }
    config
}

/// A tensor of independent normal numbers, made when it is written, so that memory holds one.
struct RandomTensor {
    shape: Vec<usize>,
    dtype: Dtype,
    ones: bool,
    seed: u64,
}

/// Spread of the weights; that of transformers' own initialisation.
const DEVIATION: f32 = 0.02;

impl View for RandomTensor {
    fn dtype(&self) -> Dtype {
        self.dtype
    }

    fn shape(&self) -> &[usize] {
        &self.shape
    }

    fn data_len(&self) -> usize {
        self.shape.iter().product::<usize>() * self.dtype.bitsize() / 8
    }

    fn data(&self) -> Cow<'_, [u8]> {
        let mut bytes = Vec::with_capacity(self.data_len());
        let mut random = ChaCha8Rng::seed_from_u64(self.seed);
        for _ in 0..self.shape.iter().product() {
            let value = if self.ones {
                1.0
            } else {
                normal(random.next_u64()) * DEVIATION
            };
            match self.dtype {
                Dtype::F32 => bytes.extend_from_slice(&value.to_le_bytes()),
                Dtype::F16 => bytes.extend_from_slice(&f16::from_f32(value).to_le_bytes()),
                _ => bytes.extend_from_slice(&bf16::from_f32(value).to_le_bytes()),
            }
        }
        bytes.into()
    }
}

/// Near enough to normal: the sum of four uniform numbers, scaled to unit variance.
fn normal(bits: u64) -> f32 {
    let sum: f32 = (0..4)
        .map(|i| f32::from((bits >> (16 * i)) as u16) / 65_536.0 - 0.5)
        .sum();
    sum * 3f32.sqrt()
}

fn name(dtype: Dtype) -> &'static str {
    match dtype {
        Dtype::F32 => "float32",
        Dtype::F16 => "float16",
        _ => "bfloat16",
    }
}

/// A byte-level tokenizer of a given size: the bytes, two spaces as one token, since llama.cpp takes none without a merge,
/// invented words that no text is made of, and three special tokens at the end.
struct Tokenizer {
    vocab_size: usize,
}

const SPECIAL: [&str; 3] = ["<|begin|>", "<|turn|>", "<|end|>"];

impl Tokenizer {
    fn new(vocab_size: usize) -> Self {
        Self { vocab_size }
    }

    fn id(&self, special: usize) -> usize {
        self.vocab_size - SPECIAL.len() + special
    }

    fn json(&self) -> Value {
        let mut vocabulary = Map::new();
        for character in byte_alphabet() {
            vocabulary.insert(character.to_string(), vocabulary.len().into());
        }
        vocabulary.insert("ĠĠ".into(), vocabulary.len().into());
        while vocabulary.len() < self.vocab_size - SPECIAL.len() {
            let number = vocabulary.len();
            vocabulary.insert(format!("Ġword{number}"), number.into());
        }
        let added: Vec<Value> = SPECIAL
            .iter()
            .enumerate()
            .map(|(index, content)| {
                json!({ "id": self.id(index), "content": content, "single_word": false,
                    "lstrip": false, "rstrip": false, "normalized": false, "special": true })
            })
            .collect();
        json!({
            "version": "1.0",
            "truncation": null,
            "padding": null,
            "added_tokens": added,
            "normalizer": null,
            "pre_tokenizer": { "type": "ByteLevel", "add_prefix_space": false,
                "trim_offsets": true, "use_regex": true },
            "post_processor": null,
            "decoder": { "type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true,
                "use_regex": true },
            "model": { "type": "BPE", "dropout": null, "unk_token": null,
                "continuing_subword_prefix": null, "end_of_word_suffix": null,
                "fuse_unk": false, "byte_fallback": false, "ignore_merges": false,
                "vocab": vocabulary, "merges": [["Ġ", "Ġ"]] },
        })
    }

    fn config(&self) -> Value {
        json!({
            "tokenizer_class": "PreTrainedTokenizerFast",
            "bos_token": SPECIAL[0],
            "eos_token": SPECIAL[2],
            "chat_template": "{{ bos_token }}{% for message in messages %}<|turn|>\
                {{ message['role'] }}\n{{ message['content'] }}{{ eos_token }}{% endfor %}\
                {% if add_generation_prompt %}<|turn|>assistant\n{% endif %}",
        })
    }
}

/// The characters that byte-level tokenizers write the 256 bytes as: printable ones stand for
/// themselves, the others come from U+0100 on (Radford et al. 2019, GPT-2).
fn byte_alphabet() -> Vec<char> {
    let mut next = 0x100;
    (0..=255u8)
        .map(|byte| match byte {
            b'!'..=b'~' | 0xA1..=0xAC | 0xAE..=0xFF => char::from(byte),
            _ => {
                next += 1;
                char::from_u32(next - 1).unwrap_or(' ')
            }
        })
        .collect()
}
