//! Which files are fetched.

use candle4j_hub::error::Code;

use crate::server::{HubFile, Model, Server};
use crate::support::{ID, assert_files, cache, noise, sharded};

fn with(names: &[&str]) -> Model {
    let file = |(seed, name): (usize, &&str)| match *name {
        "config.json" | "tokenizer.json" => HubFile::small(name, format!("{{\"{name}\": 1}}")),
        name => HubFile::large(name, noise(seed as u64, 500)),
    };
    Model::new(ID, names.iter().enumerate().map(file).collect())
}

#[test]
fn shards_that_the_index_names_and_no_others() {
    let mut model = sharded(3, 1000);
    for name in [
        "consolidated.safetensors",
        "model-00004-of-00004.safetensors",
        "model.fp16.safetensors",
        "pytorch_model-00001-of-00002.bin",
        "pytorch_model.bin.index.json",
        "original/params.json",
    ] {
        model.files.push(HubFile::large(name, noise(50, 100)));
    }
    let server = Server::start(&model);
    let cache = cache(&server);
    let snapshot = cache.fetch().unwrap();
    assert_files(
        &snapshot,
        &model,
        &[
            "config.json",
            "model-00001-of-00003.safetensors",
            "model-00002-of-00003.safetensors",
            "model-00003-of-00003.safetensors",
            "model.safetensors.index.json",
        ],
    );
    assert_eq!(snapshot.gguf, None);
    assert_eq!(server.count("GET", ".safetensors"), 3);
    assert_eq!(server.count("GET", "model.safetensors.index.json"), 1);
}

#[test]
fn one_gguf_file_by_its_quantisation() {
    let model = with(&[
        "config.json",
        "m-Q4_K_M.gguf",
        "m-Q8_0.gguf",
        "README.md",
        "tokenizer.json",
    ]);
    let server = Server::start(&model);
    let cache = cache(&server);
    let snapshot = cache.fetch_id("ada/tiny:q8_0").unwrap();
    assert_files(
        &snapshot,
        &model,
        &["config.json", "m-Q8_0.gguf", "tokenizer.json"],
    );
    assert_eq!(snapshot.gguf, Some(snapshot.folder.join("m-Q8_0.gguf")));
    // The cache knows that there are others, so it does not take this one for the preferred one.
    let snapshot = cache.fetch().unwrap();
    assert_eq!(snapshot.gguf, Some(snapshot.folder.join("m-Q4_K_M.gguf")));
    server.forget();
    for id in ["ada/tiny", "ada/tiny:Q4_K_M", "ada/tiny:Q8_0"] {
        cache.fetch_id(id).unwrap();
    }
    assert_eq!(server.asked().len(), 0);
    let error = cache.fetch_id("ada/tiny:Q2_K").unwrap_err();
    assert_eq!(error.code(), Code::FileNotFound);
    assert!(error.to_string().contains("Q4_K_M, Q8_0"), "{error}");
}

#[test]
fn split_gguf_files_and_folders() {
    let parts = [
        "Q8_0/m-Q8_0-00001-of-00002.gguf",
        "Q8_0/m-Q8_0-00002-of-00002.gguf",
    ];
    let model = with(&[parts[0], parts[1], "m-F16.gguf"]);
    let server = Server::start(&model);
    let cache = cache(&server);
    let snapshot = cache.fetch().unwrap();
    assert_files(&snapshot, &model, &parts);
    assert_eq!(snapshot.gguf, Some(snapshot.folder.join(parts[0])));
}

#[test]
fn several_quantisations_and_none_that_is_preferred() {
    let model = with(&["m-Q2_K.gguf", "m-Q3_K_S.gguf"]);
    let server = Server::start(&model);
    let error = cache(&server).fetch().unwrap_err();
    assert_eq!(error.code(), Code::InvalidArgument);
    assert!(error.to_string().contains("Q2_K, Q3_K_S"), "{error}");
}

#[test]
fn no_weights_at_all() {
    for names in [
        &["config.json", "pytorch_model.bin"][..],
        &["config.json", "model.fp16.safetensors"],
        &["config.json"],
        &[],
    ] {
        let model = with(names);
        let server = Server::start(&model);
        let error = cache(&server).fetch().unwrap_err();
        assert_eq!(error.code(), Code::FileNotFound);
        assert!(error.to_string().contains("model.safetensors"), "{error}");
        assert!(error.to_string().contains("gguf"), "{error}");
    }
    let model = with(&["model.safetensors"]);
    let server = Server::start(&model);
    let error = cache(&server).fetch().unwrap_err();
    assert!(error.to_string().contains("config.json"), "{error}");
}
