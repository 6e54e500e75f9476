//! Folders and files as they are found: which of several counts, and what is told of those that are
//! something else.

use std::fs;
use std::path::Path;

use candle_core::quantized::GgmlDType;
use candle_core::quantized::gguf_file::Value as Gguf;
use candle4j_engine::error::Error;
use candle4j_engine::loader::LoadOptions;
use candle4j_engine::model::Model;
use candle4j_engine::session::Session;
use serde_json::{Map, Value, json};

use crate::checkpoint::Checkpoint;
use crate::gguf_file::GgufFile;
use crate::golden::{expected, generate, tokens};

fn assert_golden(model: Model, case: &str) {
    let mut session = Session::new(std::sync::Arc::new(model));
    let sequence = &expected(case).sequences[0];
    let generation = generate(&mut session, &tokens(&sequence.prompt, 16));
    assert_eq!(generation.token_ids, sequence.greedy, "{case}");
}

/// Header and data of `model.safetensors`.
fn safetensors(folder: &Path) -> (Map<String, Value>, Vec<u8>) {
    let bytes = fs::read(folder.join("model.safetensors")).unwrap();
    let length = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    (
        serde_json::from_slice(&bytes[8..8 + length]).unwrap(),
        bytes[8 + length..].to_vec(),
    )
}

fn write_safetensors(path: &Path, header: &Map<String, Value>, data: &[u8]) {
    let header = serde_json::to_vec(header).unwrap();
    let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
    bytes.extend(header);
    bytes.extend(data);
    fs::write(path, bytes).unwrap();
}

#[test]
fn one_file_counts_before_an_old_index() {
    let checkpoint = Checkpoint::copy("llama-plain");
    let index =
        json!({"weight_map": {"model.embed_tokens.weight": "model-00001-of-00002.safetensors"}});
    fs::write(
        checkpoint.path().join("model.safetensors.index.json"),
        index.to_string(),
    )
    .unwrap();
    assert_golden(checkpoint.load().unwrap(), "llama-plain");
}

#[test]
fn of_an_index_only_the_names_of_files_count() {
    let checkpoint = Checkpoint::copy("llama-sharded");
    checkpoint.edit("model.safetensors.index.json", |index| {
        let map = index["weight_map"].as_object_mut().unwrap();
        let first = map.values().next().unwrap().clone();
        // A head that is tied, and a tensor that lies in another shard.
        map.insert("lm_head.of_old".into(), first.clone());
        let moved = map.keys().next_back().unwrap().clone();
        map.insert(moved, first);
    });
    assert_golden(checkpoint.load().unwrap(), "llama-sharded");
}

#[test]
fn tensors_that_nobody_needs_may_have_any_type() {
    let checkpoint = Checkpoint::copy("llama-plain");
    let (mut header, mut data) = safetensors(checkpoint.path());
    for (name, dtype, bytes) in [
        ("model.position_ids", "I64", 16),
        ("model.mask", "BOOL", 2),
        ("model.scales", "F8_E4M3", 2),
    ] {
        header.insert(
            name.into(),
            json!({"dtype": dtype, "shape": [2], "data_offsets": [data.len(), data.len() + bytes]}),
        );
        data.extend(vec![0; bytes]);
    }
    let path = checkpoint.path().join("model.safetensors");
    write_safetensors(&path, &header, &data);
    assert_golden(checkpoint.load().unwrap(), "llama-plain");

    header["model.norm.weight"]["dtype"] = "I32".into();
    write_safetensors(&path, &header, &data);
    let error = checkpoint.load().err().unwrap().to_string();
    assert!(
        error.contains("model.norm.weight") && error.contains("got I32"),
        "{error}"
    );
}

#[test]
fn a_decoder_without_its_head_has_shorter_names() {
    let checkpoint = Checkpoint::copy("llama-tied");
    let (header, data) = safetensors(checkpoint.path());
    let bare = header
        .into_iter()
        .map(|(name, info)| {
            (
                name.strip_prefix("model.").unwrap_or(&name).to_owned(),
                info,
            )
        })
        .collect();
    write_safetensors(&checkpoint.path().join("model.safetensors"), &bare, &data);
    assert_golden(checkpoint.load().unwrap(), "llama-tied");
}

#[test]
fn what_is_something_else_is_told() {
    let error_of = |file: &str, contents: &[u8]| {
        let checkpoint = Checkpoint::copy("llama-plain");
        fs::write(checkpoint.path().join(file), contents).unwrap();
        checkpoint.load().err().unwrap().to_string()
    };
    let pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n";
    for file in ["config.json", "tokenizer.json", "model.safetensors"] {
        let error = error_of(file, pointer);
        assert!(
            error.starts_with(file) && error.contains("Git LFS pointer"),
            "{error}"
        );
        let error = error_of(file, b"\n<!DOCTYPE html><html></html>");
        assert!(
            error.starts_with(file) && error.contains("HTML page"),
            "{error}"
        );
        let error = error_of(file, b"");
        assert!(
            error.starts_with(file) && error.contains("empty"),
            "{error}"
        );
    }
    for (contents, kind) in [
        (&b"PK\x03\x04rest"[..], "PyTorch"),
        (b"GGUF\x03\0\0\0", "a GGUF file"),
        (&[0; 4096], "nothing but zeros"),
    ] {
        let error = error_of("model.safetensors", contents);
        assert!(
            error.starts_with("model.safetensors") && error.contains(kind),
            "{error}"
        );
    }
}

#[test]
fn folders_without_weights_or_configuration_are_told_apart() {
    let error_of = |removed: &[&str], added: &[&str]| {
        let checkpoint = Checkpoint::copy("llama-plain");
        for name in removed {
            fs::remove_file(checkpoint.path().join(name)).unwrap();
        }
        for name in added {
            fs::write(checkpoint.path().join(name), "{}").unwrap();
        }
        checkpoint.load().err().unwrap().to_string()
    };
    let weights = &["model.safetensors"][..];
    for (removed, added, told) in [
        (weights, &["pytorch_model.bin"][..], "PyTorch's format"),
        (weights, &["adapter_model.safetensors"], "LoRA adapter"),
        (weights, &["model-Q4_K_M.gguf"], "give the file"),
        (weights, &[], "there are no weights"),
        (&["config.json"], &["adapter_config.json"], "LoRA adapter"),
        (&["config.json"], &["model-Q4_K_M.gguf"], "give the file"),
        (&["config.json"], &[], "no such file"),
    ] {
        let error = error_of(removed, added);
        assert!(error.contains(told), "{error}");
    }
    let missing = Model::load(Path::new("/no/such/folder"), &LoadOptions::default());
    let error = missing.err().unwrap().to_string();
    assert!(error.contains("no such file or folder"), "{error}");
}

#[test]
fn documents_may_begin_with_a_byte_order_mark() {
    let checkpoint = Checkpoint::copy("llama-plain");
    for name in ["config.json", "tokenizer.json", "tokenizer_config.json"] {
        let path = checkpoint.path().join(name);
        let mut bytes = b"\xEF\xBB\xBF".to_vec();
        bytes.extend(fs::read(&path).unwrap());
        fs::write(&path, bytes).unwrap();
    }
    assert_golden(checkpoint.load().unwrap(), "llama-plain");
}

/// Writes a file in so many parts, as llama.cpp's tool splits it, and gives the path of the first.
fn split(folder: &Path, case: &str, count: usize) -> std::path::PathBuf {
    let whole = GgufFile::of(case, GgmlDType::F32);
    for number in 0..count {
        let mut part = GgufFile::of(case, GgmlDType::F32);
        part.tensors = whole
            .tensors
            .iter()
            .enumerate()
            .filter(|(index, _)| index % count == number)
            .map(|(_, tensor)| tensor.clone())
            .collect();
        if number > 0 {
            part.metadata.clear();
        }
        part.set("split.no", Gguf::U16(number as u16));
        part.set("split.count", Gguf::U16(count as u16));
        part.set("split.tensors.count", Gguf::I32(whole.tensors.len() as i32));
        let name = format!("m-Q8_0-{:05}-of-{count:05}.gguf", number + 1);
        fs::write(folder.join(name), part.bytes()).unwrap();
    }
    folder.join(format!("m-Q8_0-00001-of-{count:05}.gguf"))
}

#[test]
fn gguf_files_in_parts_are_one_model() {
    let folder = tempfile::tempdir().unwrap();
    let first = split(folder.path(), "llama-gqa", 3);
    let load = |path: &Path| Model::load(path, &LoadOptions::default());
    assert_golden(load(&first).unwrap(), "llama-gqa");

    let second = folder.path().join("m-Q8_0-00002-of-00003.gguf");
    let error = load(&second).err().unwrap();
    assert!(
        matches!(&error, Error::InvalidConfig { reason, .. } if reason.contains("part 2 of 3; give the first")),
        "{error}"
    );
    fs::remove_file(&second).unwrap();
    let error = load(&first).err().unwrap().to_string();
    assert!(
        error.starts_with("m-Q8_0-00002-of-00003.gguf") && error.contains("not there"),
        "{error}"
    );
    let renamed = folder.path().join("model.gguf");
    fs::rename(&first, &renamed).unwrap();
    let error = load(&renamed).err().unwrap().to_string();
    assert!(error.contains("-00001-of-00003.gguf"), "{error}");
}

#[test]
fn what_is_no_gguf_file_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("m.gguf");
    for (contents, kind) in [
        (
            &b"version https://git-lfs.github.com/spec/v1\n"[..],
            "Git LFS pointer",
        ),
        (b"<html>", "HTML page"),
        (b"PK\x03\x04", "ZIP archive"),
        (b"", "empty"),
    ] {
        fs::write(&path, contents).unwrap();
        let error = Model::load(&path, &LoadOptions::default())
            .err()
            .unwrap()
            .to_string();
        assert!(
            error.starts_with("m.gguf") && error.contains(kind),
            "{error}"
        );
    }
}

/// Early Llama 3 files name the end of the text alone; Ollama's have a list.
#[test]
fn ends_of_turns_are_found_by_text_and_in_lists() {
    let eos = |change: &dyn Fn(&mut GgufFile)| {
        let mut file = GgufFile::of("llama-gqa", GgmlDType::F32);
        change(&mut file);
        file.load().unwrap().limits().eos_ids.clone()
    };
    let rename = |file: &mut GgufFile, id: usize, text: &str| {
        let key = "tokenizer.ggml.tokens";
        let place = file.metadata.iter_mut().find(|(k, _)| k == key).unwrap();
        let Gguf::Array(tokens) = &mut place.1 else {
            unreachable!()
        };
        tokens[id] = Gguf::String(text.into());
    };
    let before = eos(&|_| {});
    for text in ["<|eot_id|>", "<|im_end|>", "<end_of_turn>", "<EOT>"] {
        let found = eos(&|file| rename(file, 380, text));
        assert!(
            found.contains(&380) && found.len() == before.len() + 1,
            "{text}: {found:?}"
        );
    }
    let listed = eos(&|file| {
        file.set(
            "tokenizer.ggml.eos_token_ids",
            Gguf::Array(vec![Gguf::I32(7), Gguf::I32(9)]),
        );
    });
    assert!(listed.contains(&7) && listed.contains(&9), "{listed:?}");
}

/// As vLLM does; transformers looks at the configurations alone.
#[test]
fn the_end_of_the_tokenizers_settings_counts_too() {
    let checkpoint = Checkpoint::copy("llama-plain");
    let model = checkpoint.load().unwrap();
    let text = model.tokenizer().token_of(77).unwrap();
    assert!(!model.limits().eos_ids.contains(&77));
    for value in [json!(text), json!({"content": text})] {
        checkpoint.edit("tokenizer_config.json", |config| {
            config.insert("eos_token".into(), value);
        });
        assert!(checkpoint.load().unwrap().limits().eos_ids.contains(&77));
    }
}
