//! Damaged, incomplete and impossible models: an error that names the thing.

use std::fs::OpenOptions;
use std::io::Write;
use std::sync::Arc;

use candle4j_engine::error::{Code, Error};
use candle4j_engine::loader::LoadOptions;
use candle4j_engine::model::Model;
use candle4j_engine::session::Session;
use serde_json::{Value, json};

use crate::checkpoint::Checkpoint;

/// The error of loading a checkpoint after `damage`.
fn error_of(case: &str, damage: impl FnOnce(&Checkpoint)) -> Error {
    let checkpoint = Checkpoint::copy(case);
    damage(&checkpoint);
    match checkpoint.load() {
        Ok(_) => panic!("a damaged {case} was loaded"),
        Err(error) => error,
    }
}

#[test]
fn missing_files_are_named() {
    for file in ["config.json", "tokenizer.json", "model.safetensors"] {
        let error = error_of("llama-plain", |c| {
            std::fs::remove_file(c.path().join(file)).unwrap();
        });
        assert!(error.to_string().contains(file), "{file}: {error}");
    }
    let nowhere = Model::load("/no/such/folder".as_ref(), &LoadOptions::default());
    assert!(
        nowhere
            .err()
            .unwrap()
            .to_string()
            .contains("/no/such/folder")
    );
}

#[test]
fn tensors_missing_misshapen_or_of_odd_types_are_named() {
    const NAME: &str = "model.layers.1.mlp.up_proj.weight";
    let missing = error_of("llama-plain", |c| {
        c.edit_weights(|t| {
            t.remove(NAME);
        });
    });
    assert!(
        matches!(&missing, Error::InvalidTensor { tensor, got, .. }
            if tensor == NAME && got == "no such tensor"),
        "{missing}"
    );
    let misshapen = error_of("llama-plain", |c| {
        c.edit_weights(|t| {
            t.get_mut(NAME).unwrap().0 = vec![32, 64];
        });
    });
    assert!(
        matches!(&misshapen, Error::InvalidTensor { file, tensor, expected, got }
            if file == "model.safetensors" && tensor == NAME && expected == "shape [64, 32]" && got == "shape [32, 64]"),
        "{misshapen}"
    );
    let integers = error_of("llama-plain", |c| {
        rewrite_header(c, |header| {
            header[NAME]["dtype"] = json!("I32");
        });
    });
    assert!(
        matches!(&integers, Error::InvalidTensor { tensor, got, .. } if tensor == NAME && got == "I32"),
        "{integers}"
    );
}

/// Changes the JSON header of `model.safetensors` and leaves the data behind it.
fn rewrite_header(checkpoint: &Checkpoint, change: impl FnOnce(&mut Value)) {
    let path = checkpoint.path().join("model.safetensors");
    let bytes = std::fs::read(&path).unwrap();
    let length = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    let mut header: Value = serde_json::from_slice(&bytes[8..8 + length]).unwrap();
    change(&mut header);
    write_header(&path, &header.to_string(), &bytes[8 + length..]);
}

fn write_header(path: &std::path::Path, header: &str, data: &[u8]) {
    let mut file = std::fs::File::create(path).unwrap();
    file.write_all(&(header.len() as u64).to_le_bytes())
        .unwrap();
    file.write_all(header.as_bytes()).unwrap();
    file.write_all(data).unwrap();
}

#[test]
fn a_tensor_twice_in_one_header_is_named() {
    let error = error_of("llama-plain", |c| {
        let path = c.path().join("model.safetensors");
        let bytes = std::fs::read(&path).unwrap();
        let length = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
        let header = std::str::from_utf8(&bytes[8..8 + length]).unwrap();
        let parsed: Value = serde_json::from_str(header).unwrap();
        let again = format!(
            "{}, \"model.norm.weight\": {}}}",
            header.trim_end().trim_end_matches('}').to_owned() + "}",
            parsed["model.norm.weight"]
        );
        write_header(&path, &again, &bytes[8 + length..]);
    });
    assert!(error.to_string().contains("model.norm.weight"), "{error}");
}

#[test]
fn files_cut_short_empty_or_with_absurd_headers_are_errors() {
    let file = "model.safetensors";
    let truncate = |to: u64| {
        error_of("llama-plain", |c| {
            let path = c.path().join(file);
            OpenOptions::new()
                .write(true)
                .open(path)
                .unwrap()
                .set_len(to)
                .unwrap();
        })
    };
    for length in [0, 7, 100, 20_000] {
        assert_eq!(truncate(length).code(), Code::InvalidModel, "{length}");
    }
    for bytes in [
        u64::MAX.to_le_bytes().to_vec(),
        [&(1u64 << 40).to_le_bytes()[..], b"{}"].concat(),
        [&2u64.to_le_bytes()[..], b"[]"].concat(),
        [&20u64.to_le_bytes()[..], &[0xff; 20]].concat(),
    ] {
        let error = error_of("llama-plain", |c| {
            std::fs::write(c.path().join(file), bytes).unwrap();
        });
        assert!(error.to_string().contains(file), "{error}");
    }
}

#[test]
fn shards_outside_the_folder_or_missing_are_errors() {
    const INDEX: &str = "model.safetensors.index.json";
    for name in ["../model.safetensors", "/etc/passwd", "a\\b", ""] {
        let escaping = error_of("llama-sharded", |c| {
            c.edit(INDEX, |index| {
                index["weight_map"]["model.norm.weight"] = name.into();
            });
        });
        assert!(escaping.to_string().contains(INDEX), "{escaping}");
    }
    let gone = error_of("llama-sharded", |c| {
        std::fs::remove_file(c.path().join("model-00002-of-00003.safetensors")).unwrap();
    });
    assert!(gone.to_string().contains("model-00002-of-00003"), "{gone}");
}

#[test]
fn numbers_that_cannot_be_are_refused_by_name() {
    let keys = [
        "hidden_size",
        "intermediate_size",
        "num_hidden_layers",
        "num_attention_heads",
        "num_key_value_heads",
        "vocab_size",
        "head_dim",
        "max_position_embeddings",
    ];
    for key in keys {
        for value in [json!(0), json!(-1), json!(u64::MAX), json!(1.5), json!("8")] {
            let error = error_of("llama-plain", |c| {
                c.edit("config.json", |config| {
                    config.insert(key.into(), value.clone());
                });
            });
            assert!(
                matches!(&error, Error::InvalidConfig { key: k, .. } if k == key),
                "{key} = {value}: {error}"
            );
        }
        // Not believed, or not what the tensors say. Nothing of that size is allocated.
        let error = error_of("llama-plain", |c| {
            c.edit("config.json", |config| {
                config.insert(key.into(), json!(1_000_000_000));
            });
        });
        assert_eq!(error.code(), Code::InvalidModel, "{key}: {error}");
    }
    let indivisible = error_of("llama-plain", |c| {
        c.edit("config.json", |config| {
            config.insert("num_key_value_heads".into(), json!(3));
        });
    });
    assert!(indivisible.to_string().contains("num_key_value_heads"));
}

#[test]
fn keys_that_change_the_result_are_refused_by_name() {
    for (key, value) in [
        ("quantization_config", json!({"bits": 4})),
        ("attention_chunk_size", json!(64)),
        ("is_causal", json!(false)),
        (
            "layer_types",
            json!(["sliding_attention", "full_attention"]),
        ),
        ("per_layer_config", json!({"0": {"hidden_size": 8}})),
        ("partial_rotary_factor", json!(0.5)),
        ("rope_scaling", json!({"rope_type": "su", "factor": 2.0})),
    ] {
        let error = error_of("llama-plain", |c| {
            c.edit("config.json", |config| {
                config.insert(key.into(), value.clone());
            });
        });
        assert_eq!(error.code(), Code::UnsupportedModel, "{key}: {error}");
    }
    let unknown = error_of("llama-plain", |c| {
        c.edit("config.json", |config| {
            config.insert("model_type".into(), "mamba".into());
            config.insert("architectures".into(), json!(["MambaForCausalLM"]));
        });
    });
    assert!(
        matches!(&unknown, Error::UnsupportedModel { key, value, .. }
            if key == "model_type" && value == "\"mamba\""),
        "{unknown}"
    );
}

#[test]
fn an_architecture_is_found_by_either_key_and_by_its_experts() {
    let by_class = Checkpoint::copy("qwen2-plain");
    by_class.edit("config.json", |config| {
        config.remove("model_type");
    });
    assert_eq!(by_class.load().unwrap().info().architecture, "qwen2");
    let by_experts = Checkpoint::copy("qwen3-moe-plain");
    by_experts.edit("config.json", |config| {
        config.insert("model_type".into(), "qwen3".into());
    });
    assert_eq!(by_experts.load().unwrap().info().architecture, "qwen3_moe");
}

#[test]
fn malformed_tokenizers_are_errors() {
    let whole = Checkpoint::copy("llama-plain");
    let json: Value =
        serde_json::from_slice(&std::fs::read(whole.path().join("tokenizer.json")).unwrap())
            .unwrap();
    let mut without_vocabulary = json.clone();
    without_vocabulary["model"]
        .as_object_mut()
        .unwrap()
        .remove("vocab");
    let mut strange_merges = json.clone();
    strange_merges["model"]["merges"] = json!([["no", "such"]]);
    let mut wrong_types = json.clone();
    wrong_types["added_tokens"] = json!("none");
    let mut bad_expression = json.clone();
    bad_expression["pre_tokenizer"] = json!({"type": "Split", "pattern": {"Regex": "(?<"},
        "behavior": "Isolated", "invert": false});
    for broken in [
        json!({}),
        json!([]),
        without_vocabulary,
        strange_merges,
        wrong_types,
        bad_expression,
    ] {
        let error = error_of("llama-plain", |c| {
            std::fs::write(c.path().join("tokenizer.json"), broken.to_string()).unwrap();
        });
        assert!(
            matches!(&error, Error::InvalidFile { file, .. } if file == "tokenizer.json"),
            "{error}"
        );
    }
}

#[test]
fn other_spellings_of_legal_configurations_load() {
    let checkpoint = Checkpoint::copy("qwen2-plain");
    checkpoint.edit("config.json", |config| {
        for key in ["sliding_window", "rope_scaling", "max_window_layers"] {
            config.insert(key.into(), Value::Null);
        }
        config.insert("use_mrope".into(), Value::Null);
        for key in ["use_sliding_window", "hidden_act", "tie_word_embeddings"] {
            config.remove(key);
        }
    });
    checkpoint.load().unwrap();
}

/// The configuration as transformers 4 writes it means the same.
#[test]
fn both_forms_of_configurations_describe_the_same_model() {
    let mut compared = 0;
    for case in crate::golden::cases() {
        let folder = crate::golden::models().join(&case);
        if !folder.join("config.v4.json").is_file() {
            continue;
        }
        let checkpoint = Checkpoint::copy(&case);
        let Ok(new_form) = checkpoint.load() else {
            continue;
        };
        std::fs::copy(
            folder.join("config.v4.json"),
            checkpoint.path().join("config.json"),
        )
        .unwrap();
        let old_form = checkpoint.load().unwrap();
        assert_eq!(old_form.description(), new_form.description(), "{case}");
        compared += 1;
    }
    assert!(compared >= 15, "{compared} compared");
}

#[test]
fn quantizations_that_are_not_read_are_refused_by_name() {
    let compressed = |format: &str| json!({"quant_method": "compressed-tensors", "format": format});
    for (quantization, key, named) in [
        (json!({"quant_method": "bitsandbytes"}), "", "bitsandbytes"),
        (json!({"quant_method": "awq", "bits": 3}), ".bits", "3"),
        (
            json!({"quant_method": "awq", "version": "gemv"}),
            ".version",
            "gemv",
        ),
        (json!({"quant_method": "gptq", "bits": 3}), ".bits", "3"),
        (
            json!({"quant_method": "gptq", "bits": 4, "format": "marlin"}),
            ".format",
            "marlin",
        ),
        (
            json!({"quant_method": "awq", "backend": "llm-awq"}),
            ".backend",
            "llm-awq",
        ),
        (
            json!({"quant_method": "gptq", "bits": 4, "checkpoint_format": "marlin"}),
            ".checkpoint_format",
            "marlin",
        ),
        (
            json!({"quant_method": "gptq", "bits": 4, "dynamic": {"-:.*": {}}}),
            ".dynamic",
            "-:.*",
        ),
        (compressed("nvfp4-pack-quantized"), ".format", "nvfp4"),
        (
            json!({"quant_method": "fp8", "weight_block_size": [128]}),
            ".weight_block_size",
            "128",
        ),
    ] {
        let error = error_of("llama-awq", |c| {
            c.edit("config.json", |config| {
                config.insert("quantization_config".into(), quantization);
            });
        });
        let Error::UnsupportedModel {
            key: found, value, ..
        } = &error
        else {
            panic!("{error}");
        };
        assert_eq!(found, &format!("quantization_config{key}"), "{error}");
        assert!(value.contains(named), "{error}");
    }
}

#[test]
fn packed_matrices_whose_tensors_do_not_fit_are_named() {
    let awq = json!({"quant_method": "awq", "bits": 4});
    let gptq = |bits: u32| json!({"quant_method": "gptq", "bits": bits});
    for (case, quantization, named) in [
        ("llama-awq", gptq(4), "scales"),
        ("qwen2-gptq", awq, "scales"),
        ("llama-gptq-order", gptq(2), "qzeros"),
        (
            "llama-plain",
            json!({"quant_method": "compressed-tensors"}),
            "",
        ),
    ] {
        let checkpoint = Checkpoint::copy(case);
        checkpoint.edit("config.json", |config| {
            config.insert("quantization_config".into(), quantization);
        });
        match checkpoint.load() {
            // Nothing is packed there, or all fits.
            Ok(_) => assert_eq!(named, "", "{case}"),
            Err(Error::InvalidTensor { tensor, .. }) => {
                assert!(tensor.contains(named), "{case}: {tensor}");
            }
            Err(error) => panic!("{case}: {error}"),
        }
    }
}

#[test]
fn the_format_of_gptq_says_what_zero_points_are() {
    let prompt: Vec<u32> = (5..25).collect();
    let of = |keys: Value| {
        let checkpoint = Checkpoint::copy("qwen2-gptq");
        checkpoint.edit("config.json", |config| {
            let quantization = config["quantization_config"].as_object_mut().unwrap();
            quantization.extend(keys.as_object().unwrap().clone());
        });
        let mut session = Session::new(Arc::new(checkpoint.load().unwrap()));
        session.score(0, &prompt, 1).unwrap().logprobs
    };
    let plain = of(json!({}));
    assert_eq!(plain, of(json!({"format": "gptq"})));
    assert_eq!(
        plain,
        of(json!({"checkpoint_format": "gptq", "format": "gptq_v2"}))
    );
    let newer = of(json!({"format": "gptq_v2"}));
    assert_ne!(plain, newer);
    assert_eq!(newer, of(json!({"checkpoint_format": "gptq_v2"})));
}
