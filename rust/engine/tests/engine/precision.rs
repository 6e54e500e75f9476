//! Half precision: used where it is exact enough, left where it overflows.

use std::sync::Arc;

use candle_core::quantized::GgmlDType;
use candle4j_engine::device::Precision;
use candle4j_engine::engines::Engine;
use candle4j_engine::error::Error;
use candle4j_engine::formats::Quantization;
use candle4j_engine::loader::LoadOptions;
use candle4j_engine::model::Model;
use candle4j_engine::session::Session;
use safetensors::Dtype;

use crate::checkpoint::Checkpoint;
use crate::gguf_file::GgufFile;
use crate::golden::{expected, generate, logprobs, squares, tokens};

fn in_f16() -> LoadOptions {
    LoadOptions {
        precision: Precision::F16,
        ..Default::default()
    }
}

#[test]
fn f16_runs_in_f16_where_it_can() {
    let model = Checkpoint::copy("llama-plain")
        .load_with(&in_f16())
        .unwrap();
    let info = model.info();
    assert_eq!(info.precision, "f16");
    assert!(info.warnings.is_empty(), "{:?}", info.warnings);
}

/// A feed-forward block whose product exceeds 65504 for every token.
#[test]
fn f16_that_overflows_at_once_is_loaded_in_f32_with_a_warning() {
    let checkpoint = Checkpoint::copy("llama-plain");
    checkpoint.edit_weights(|tensors| {
        for name in ["gate_proj", "up_proj"] {
            let tensor = format!("model.layers.0.mlp.{name}.weight");
            tensors
                .get_mut(&tensor)
                .unwrap()
                .1
                .iter_mut()
                .for_each(|v| *v *= 3000.0);
        }
    });
    let prompt = &expected("llama-plain").sequences[0].prompt;
    let f16 = Arc::new(checkpoint.load_with(&in_f16()).unwrap());
    assert_eq!(f16.info().precision, "f32");
    assert_eq!(f16.info().warnings.len(), 1);
    assert!(f16.info().warnings[0].contains("f16 failed"));
    let f32 = Arc::new(checkpoint.load().unwrap());
    assert_eq!(
        generate(&mut Session::new(f16), &tokens(prompt, 16)).token_ids,
        generate(&mut Session::new(f32), &tokens(prompt, 16)).token_ids
    );
}

/// Only one token's embedding has anything in dimension 0, and only dimension 0 overflows, so
/// everything is well until that token comes.
fn overflows_at(token: usize) -> Checkpoint {
    let checkpoint = Checkpoint::copy("llama-plain");
    checkpoint.edit_weights(|tensors| {
        for (name, (shape, values)) in tensors.iter_mut() {
            let columns = *shape.last().unwrap();
            if name == "model.embed_tokens.weight" {
                for (row, chunk) in values.chunks_mut(columns).enumerate() {
                    chunk[0] = if row == token { 10.0 } else { 0.0 };
                }
            } else if name.ends_with("o_proj.weight") || name.ends_with("down_proj.weight") {
                values[..columns].fill(0.0);
            } else if name.ends_with("gate_proj.weight") || name.ends_with("up_proj.weight") {
                values.chunks_mut(columns).for_each(|row| row[0] = 400.0);
            }
        }
    });
    checkpoint
}

#[test]
fn f16_that_overflows_later_goes_on_in_f32() {
    let checkpoint = overflows_at(300);
    let f16 = Arc::new(checkpoint.load_with(&in_f16()).unwrap());
    assert_eq!(f16.info().precision, "f16");
    let f32 = Arc::new(checkpoint.load().unwrap());
    let prompt = [5, 6, 300, 7];
    let retried = generate(&mut Session::new(f16.clone()), &tokens(&prompt, 16));
    let expected = generate(&mut Session::new(f32), &tokens(&prompt, 16));
    assert_eq!(retried.token_ids, expected.token_ids);
    assert_eq!(f16.info().precision, "f32");
    assert!(f16.info().warnings[0].contains("f16 failed"));
}

#[test]
fn s10_every_session_falls_back_whatever_it_does() {
    let checkpoint = overflows_at(300);
    let f16 = Arc::new(checkpoint.load_with(&in_f16()).unwrap());
    let f32 = Arc::new(checkpoint.load().unwrap());
    let prompt = [5, 6, 300, 7];
    // All were made before the first one fails.
    let mut sessions: Vec<_> = (0..4).map(|_| Session::new(f16.clone())).collect();
    let expected = generate(&mut Session::new(f32.clone()), &tokens(&prompt, 16)).token_ids;
    let score = Session::new(f32).score(0, &prompt, 2).unwrap();
    std::thread::scope(|scope| {
        for (index, session) in sessions.iter_mut().enumerate() {
            let (expected, score) = (&expected, &score);
            scope.spawn(move || {
                if index % 2 == 0 {
                    assert_eq!(&session.score(0, &prompt, 2).unwrap(), score);
                }
                assert_eq!(&generate(session, &tokens(&prompt, 16)).token_ids, expected);
            });
        }
    });
    assert_eq!(f16.info().warnings.len(), 1);
    // A fork of a session that fell back is over the same weights.
    let mut fork = sessions[1].fork().unwrap();
    assert_eq!(
        generate(&mut fork, &tokens(&prompt, 16)).token_ids,
        expected
    );
}

/// Candle's Qwen2 computes rotary angles, and its Qwen3-MoE the router, in the weights' type.
#[test]
fn candles_models_that_are_inexact_in_half_precision_run_in_f32() {
    for case in ["qwen2-plain", "qwen3-moe-plain"] {
        for precision in [Precision::F16, Precision::Bf16] {
            let options = LoadOptions {
                engine: Engine::Candle,
                precision,
                ..Default::default()
            };
            let model = Arc::new(Checkpoint::copy(case).load_with(&options).unwrap());
            assert_eq!(model.info().precision, "f32");
            assert_eq!(model.info().warnings.len(), 1);
            let sequence = &expected(case).sequences[1];
            let generation = generate(&mut Session::new(model), &tokens(&sequence.prompt, 16));
            assert_eq!(generation.token_ids, sequence.greedy);
        }
    }
}

#[test]
fn weights_that_are_not_numbers_are_a_numeric_error_in_every_type() {
    for bad in [f32::NAN, f32::INFINITY] {
        let checkpoint = Checkpoint::copy("llama-plain");
        checkpoint.edit_weights(|tensors| {
            tensors.get_mut("model.norm.weight").unwrap().1[3] = bad;
        });
        for precision in [Precision::F32, Precision::F16] {
            let options = LoadOptions {
                precision,
                ..Default::default()
            };
            let model = Arc::new(checkpoint.load_with(&options).unwrap());
            let error = Session::new(model)
                .generate(&tokens(&[1, 2, 3], 4), &mut |_| {
                    std::ops::ControlFlow::Continue(())
                })
                .unwrap_err();
            assert!(matches!(error, Error::Numeric { .. }), "{error}");
        }
    }
}

/// On the CPU they are kept so, and widened when they are multiplied.
#[test]
fn weights_of_16_bits_give_what_they_do_in_32() {
    for case in ["llama-gqa", "qwen2-plain", "qwen3-tied", "qwen3-moe-plain"] {
        let prompt = &expected(case).sequences[1].prompt;
        let checkpoint = Checkpoint::copy(case);
        checkpoint.edit_weights(|tensors| {
            for (_, values) in tensors.values_mut() {
                for value in values {
                    *value = f32::from_bits(value.to_bits() & 0xffff_0000);
                }
            }
        });
        let wide = logprobs(checkpoint.load().unwrap(), prompt);
        checkpoint.rewrite_weights(Dtype::BF16, |_| ());
        let narrow = checkpoint.load().unwrap();
        assert_eq!(narrow.info().precision, "f32");
        assert_eq!(logprobs(narrow, prompt), wide, "{case}");
    }
}

fn quantized(quantization: Quantization) -> LoadOptions {
    LoadOptions {
        quantize: Some(quantization),
        ..Default::default()
    }
}

#[test]
fn a_folder_quantized_while_it_is_read_is_nearer_than_a_quantized_file() {
    let (mut ours, mut usual) = (0.0, 0.0);
    for case in ["llama-gqa", "qwen3-tied", "qwen2-tied", "llama-tied"] {
        let checkpoint = Checkpoint::copy(case);
        let folder = checkpoint.load_with(&quantized(Quantization::Q8_0));
        let folder = folder.unwrap();
        assert_eq!(folder.info().precision, "q8_0");
        let file = GgufFile::of(case, GgmlDType::Q8_0).load().unwrap();
        let prompt = &expected(case).sequences[1].prompt;
        let exact = logprobs(checkpoint.load().unwrap(), prompt);
        ours += squares(&logprobs(folder, prompt), &exact);
        usual += squares(&logprobs(file, prompt), &exact);
    }
    assert!(ours < usual, "{ours} instead of {usual}");
}

#[test]
fn blocks_that_do_not_fit_the_rows_become_q8_0() {
    // Rows of 32 and 64 numbers hold no block of 256.
    let checkpoint = Checkpoint::copy("llama-gqa");
    let prompt = &expected("llama-gqa").sequences[1].prompt;
    let score = |quantization| {
        let model = checkpoint.load_with(&quantized(quantization)).unwrap();
        Session::new(Arc::new(model)).score(0, prompt, 5).unwrap()
    };
    let eight = score(Quantization::Q8_0);
    for wanted in [Quantization::Q4K, Quantization::Q5K, Quantization::Q6K] {
        assert_eq!(score(wanted), eight);
    }
    assert_ne!(score(Quantization::Q4_0), eight);
}

#[test]
fn quantizing_is_for_folders_and_the_fused_engine() {
    let candle = LoadOptions {
        engine: Engine::Candle,
        ..quantized(Quantization::Q8_0)
    };
    let half = LoadOptions {
        precision: Precision::F16,
        ..quantized(Quantization::Q8_0)
    };
    let checkpoint = Checkpoint::copy("llama-gqa");
    for (options, name) in [(candle, "quantize"), (half, "precision")] {
        let error = checkpoint.load_with(&options).err().unwrap();
        assert!(
            matches!(&error, Error::InvalidArgument { name: n, .. } if n == name),
            "{error}"
        );
    }
    let file = GgufFile::of("llama-gqa", GgmlDType::Q8_0);
    let error = file.load_with(&quantized(Quantization::Q4K)).err().unwrap();
    assert!(
        matches!(&error, Error::InvalidArgument { name, .. } if name == "quantize"),
        "{error}"
    );
}

/// Everything that the model says of the token behind a long prompt: natural logarithms, by id.
fn distribution(model: &Arc<Model>, prompt: &[u32]) -> Vec<f32> {
    let mut request = tokens(prompt, 1);
    request.options.logprobs = Some(usize::MAX);
    let generation = generate(&mut Session::new(model.clone()), &request);
    let mut all = vec![f32::NEG_INFINITY; model.limits().vocab_size];
    for token in &generation.logprobs[0].top {
        all[token.id as usize] = token.logprob;
    }
    all
}

/// In 16 bits positions above a few hundred cannot be told apart, unless the rotary angles are
/// computed in 32.
#[test]
fn half_precision_agrees_at_far_positions() {
    for case in ["llama-gqa", "qwen2-plain", "qwen3-plain"] {
        let checkpoint = Checkpoint::copy(case);
        checkpoint.edit("config.json", |config| {
            config.insert("max_position_embeddings".into(), 20_000.into());
        });
        let load = |precision| {
            let options = LoadOptions {
                engine: Engine::Fused,
                precision,
                ..Default::default()
            };
            Arc::new(checkpoint.load_with(&options).unwrap())
        };
        let exact = load(Precision::F32);
        for (precision, bound) in [(Precision::F16, 1e-2), (Precision::Bf16, 5e-2)] {
            let half = load(precision);
            // The farthest only once, for its time.
            let positions = match case {
                "qwen2-plain" => [300, 4000, 16_000].as_slice(),
                _ => &[300, 4000],
            };
            for &position in positions {
                let prompt: Vec<u32> = (0..position).map(|i| (i * 37 + i / 7) % 300).collect();
                let (ours, theirs) = (distribution(&half, &prompt), distribution(&exact, &prompt));
                let divergence: f32 = theirs
                    .iter()
                    .zip(&ours)
                    .map(|(p, q)| p.exp() * (p - q))
                    .sum();
                assert!(
                    divergence < bound,
                    "{case}, {precision:?}, {position}: {divergence}"
                );
                let best = |all: &[f32]| (0..all.len()).max_by(|a, b| all[*a].total_cmp(&all[*b]));
                let mut sorted = theirs.clone();
                sorted.sort_by(f32::total_cmp);
                let lead = sorted[sorted.len() - 1] - sorted[sorted.len() - 2];
                if lead > 0.5 {
                    assert_eq!(
                        best(&ours),
                        best(&theirs),
                        "{case}, {precision:?}, {position}"
                    );
                }
            }
        }
    }
}
