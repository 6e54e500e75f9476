//! LoRA adapters, merged into weights while they are read.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use candle4j_engine::device::Precision;
use candle4j_engine::error::{Code, Error};
use candle4j_engine::loader::LoadOptions;
use candle4j_engine::model::Model;
use candle4j_engine::session::Session;
use safetensors::tensor::{Dtype, TensorView};
use serde_json::{Map, Value, json};
use tempfile::TempDir;

use crate::checkpoint::Checkpoint;
use crate::golden::{generate, models, tokens};

const CASE: &str = "llama-plain";

const RANK: usize = 3;

/// The matrices that have an adapter.
const TARGETS: [&str; 4] = [
    "model.layers.0.self_attn.q_proj",
    "model.layers.1.self_attn.v_proj",
    "model.layers.1.mlp.down_proj",
    "lm_head",
];

type Tensors = HashMap<String, (Vec<usize>, Vec<f32>)>;

/// Numbers without a pattern, the same ones always.
fn numbers(count: usize, seed: usize) -> Vec<f32> {
    (0..count)
        .map(|i| ((i * 7919 + seed * 104_729) % 1009) as f32 / 1009.0 - 0.5)
        .collect()
}

/// `scale · up · down`, rows behind each other.
fn product(up: &[f32], down: &[f32], columns: usize, scale: f32) -> Vec<f32> {
    let row = |up: &[f32]| {
        (0..columns)
            .map(|column| {
                let terms = up.iter().enumerate();
                terms
                    .map(|(rank, up)| up * down[rank * columns + column])
                    .sum::<f32>()
                    * scale
            })
            .collect::<Vec<_>>()
    };
    up.chunks(RANK).flat_map(row).collect()
}

/// The two matrices of one target, its rows and its columns.
type Part = (String, Vec<f32>, Vec<f32>, [usize; 2]);

/// Those of each target of a model with these weights.
fn parts(weights: &Tensors) -> Vec<Part> {
    let of_target = |(seed, name): (usize, &&str)| {
        let shape = &weights[&format!("{name}.weight")].0;
        let (rows, columns) = (shape[0], shape[1]);
        let down = numbers(RANK * columns, seed);
        let up = numbers(rows * RANK, seed + 100);
        ((*name).to_owned(), down, up, [rows, columns])
    };
    TARGETS.iter().enumerate().map(of_target).collect()
}

struct Adapter {
    folder: TempDir,
}

impl Adapter {
    fn new(weights: &Tensors) -> Self {
        let folder = TempDir::new().unwrap();
        let mut tensors = Tensors::new();
        for (name, down, up, [rows, columns]) in parts(weights) {
            let at = |part: &str| format!("base_model.model.{name}.lora_{part}.weight");
            tensors.insert(at("A"), (vec![RANK, columns], down));
            tensors.insert(at("B"), (vec![rows, RANK], up));
        }
        // PEFT saves what it adapts of an output projection, too.
        let head = weights["lm_head.weight"].clone();
        tensors.insert("base_model.model.lm_head.base_layer.weight".into(), head);
        let adapter = Self { folder };
        adapter.write_config(&json!({
            "peft_type": "LORA", "r": RANK, "lora_alpha": 6, "bias": "none", "use_dora": false,
            "target_modules": ["q_proj", "v_proj", "down_proj", "lm_head"], "task_type": "CAUSAL_LM",
            "alpha_pattern": {"layers.1.mlp.down_proj": 1.5},
        }));
        adapter.write_weights(&tensors);
        adapter
    }

    fn write_config(&self, config: &Value) {
        let path = self.path().join("adapter_config.json");
        std::fs::write(path, config.to_string()).unwrap();
    }

    fn edit(&self, key: &str, value: Value) {
        let path = self.path().join("adapter_config.json");
        let mut config: Map<String, Value> =
            serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        config.insert(key.into(), value);
        self.write_config(&Value::Object(config));
    }

    fn write_weights(&self, tensors: &Tensors) {
        let views = tensors.iter().map(|(name, (shape, numbers))| {
            let bytes = bytemuck::cast_slice(numbers);
            (
                name,
                TensorView::new(Dtype::F32, shape.clone(), bytes).unwrap(),
            )
        });
        let path = self.path().join("adapter_model.safetensors");
        safetensors::serialize_to_file(views, None, &path).unwrap();
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    fn load(&self, model: &Path) -> Result<Model, Error> {
        let options = LoadOptions {
            adapter: Some(self.path().to_path_buf()),
            precision: Precision::F32,
            ..LoadOptions::default()
        };
        Model::load(model, &options)
    }
}

fn weights_of(checkpoint: &Checkpoint) -> Tensors {
    let mut found = Tensors::new();
    checkpoint.edit_weights(|tensors| found = tensors.clone());
    found
}

#[test]
fn a_model_with_an_adapter_is_the_one_whose_weights_were_merged() {
    let merged = Checkpoint::copy(CASE);
    let weights = weights_of(&merged);
    let adapter = Adapter::new(&weights);
    merged.edit_weights(|tensors| {
        for (name, down, up, [_, columns]) in parts(&weights) {
            let alpha = if name.contains("down_proj") { 1.5 } else { 6.0 };
            let change = product(&up, &down, columns, alpha / RANK as f32);
            let tensor = tensors.get_mut(&format!("{name}.weight")).unwrap();
            for (number, change) in tensor.1.iter_mut().zip(change) {
                *number += change;
            }
        }
    });
    let mut expected = Session::new(Arc::new(merged.load().unwrap()));
    let mut ours = Session::new(Arc::new(adapter.load(&models().join(CASE)).unwrap()));
    let mut plain = Session::new(crate::golden::load(CASE));
    let prompt: Vec<u32> = (5..45).collect();
    let of = |session: &mut Session| {
        let answer = generate(session, &tokens(&prompt, 16)).token_ids;
        (answer, session.score(0, &prompt, 1).unwrap().logprobs)
    };
    let (answer, logprobs) = of(&mut ours);
    let (expected_answer, expected_logprobs) = of(&mut expected);
    assert_eq!(answer, expected_answer);
    for (ours, theirs) in logprobs.iter().zip(&expected_logprobs) {
        assert!((ours - theirs).abs() < 1e-3, "{ours} for {theirs}");
    }
    let (_, without) = of(&mut plain);
    let differs = |(a, b): (&f32, &f32)| (a - b).abs() > 0.1;
    assert!(
        logprobs.iter().zip(&without).any(differs),
        "nothing was merged"
    );
}

#[test]
fn the_root_of_the_rank_divides_where_it_is_said() {
    let weights = weights_of(&Checkpoint::copy(CASE));
    let prompt: Vec<u32> = (5..25).collect();
    let of = |adapter: &Adapter| {
        let model = adapter.load(&models().join(CASE)).unwrap();
        let mut session = Session::new(Arc::new(model));
        session.score(0, &prompt, 1).unwrap().logprobs
    };
    let by_root = Adapter::new(&weights);
    by_root.edit("use_rslora", true.into());
    by_root.edit("alpha_pattern", json!({}));
    let by_rank = Adapter::new(&weights);
    by_rank.edit("alpha_pattern", json!({}));
    by_rank.edit("lora_alpha", (6.0 * (RANK as f64).sqrt()).into());
    for (a, b) in of(&by_root).iter().zip(of(&by_rank)) {
        assert!((a - b).abs() < 1e-4, "{a} and {b}");
    }
}

#[test]
fn a_pattern_that_takes_too_long_is_an_error() {
    let weights = weights_of(&Checkpoint::copy(CASE));
    let adapter = Adapter::new(&weights);
    adapter.edit("alpha_pattern", json!({"(.+)+\\1!": 2.0}));
    match adapter.load(&models().join(CASE)) {
        Err(Error::InvalidFile { file, reason }) => {
            assert_eq!(file, "adapter_config.json");
            assert!(reason.contains("alpha_pattern"), "{reason}");
        }
        other => panic!("{:?}", other.err()),
    }
}

#[test]
fn adapters_that_are_not_merged_are_refused_by_name() {
    let weights = weights_of(&Checkpoint::copy(CASE));
    let model = models().join(CASE);
    for (key, value) in [
        ("peft_type", json!("IA3")),
        ("bias", json!("lora_only")),
        ("use_dora", json!(true)),
        ("fan_in_fan_out", json!(true)),
        ("trainable_token_indices", json!([1, 2])),
        ("target_parameters", json!(["experts.gate_up_proj"])),
        ("layer_replication", json!([[0, 2], [1, 2]])),
        ("kasa_config", json!({"beta": 0.1})),
        // Their model's own weights are not those of the folder.
        ("init_lora_weights", json!("pissa_niter_4")),
    ] {
        let adapter = Adapter::new(&weights);
        adapter.edit(key, value);
        match adapter.load(&model) {
            Err(Error::UnsupportedModel {
                file, key: named, ..
            }) => {
                assert_eq!(
                    (file.as_str(), named.as_str()),
                    ("adapter_config.json", key)
                );
            }
            other => panic!("{key}: {:?}", other.err()),
        }
    }
}

#[test]
fn adapters_of_other_models_name_the_tensor() {
    let weights = weights_of(&Checkpoint::copy(CASE));
    let adapter = Adapter::new(&weights);
    let at = |name: &str| format!("base_model.model.model.layers.0.self_attn.q_proj.{name}");
    for (name, shape, named) in [
        ("lora_A.weight", vec![RANK, 16], "q_proj.lora_A"),
        (
            "lora_magnitude_vector.weight",
            vec![32],
            "lora_magnitude_vector",
        ),
        ("lora_embedding_A", vec![RANK, 32], "lora_embedding_A"),
    ] {
        let count = shape.iter().product();
        let mut tensors = Tensors::from([(at(name), (shape, numbers(count, 1)))]);
        if name.starts_with("lora_A") {
            let up = (vec![32, RANK], numbers(32 * RANK, 1));
            tensors.insert(at("lora_B.weight"), up);
        }
        adapter.write_weights(&tensors);
        match adapter.load(&models().join(CASE)) {
            Err(Error::InvalidTensor { tensor, .. }) => assert!(tensor.contains(named), "{tensor}"),
            other => panic!("{name}: {:?}", other.err()),
        }
    }
    let whole = Tensors::from([(
        "base_model.model.model.layers.9.self_attn.q_proj.weight".to_owned(),
        (vec![32, 32], numbers(32 * 32, 1)),
    )]);
    adapter.write_weights(&whole);
    let error = adapter.load(&models().join(CASE)).err().unwrap();
    assert_eq!(error.code(), Code::InvalidModel, "{error}");
    for file in ["adapter_model.safetensors", "adapter_config.json"] {
        std::fs::remove_file(adapter.path().join(file)).unwrap();
        let error = adapter.load(&models().join(CASE)).err().unwrap();
        assert_eq!(error.code(), Code::InvalidModel, "{error}");
        assert!(error.to_string().contains(file), "{error}");
    }
}
