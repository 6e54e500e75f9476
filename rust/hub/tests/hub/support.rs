//! What the tests have in common.

use std::fs;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::time::Duration;

use candle4j_hub::error::Result;
use candle4j_hub::progress::Progress;
use candle4j_hub::{Hub, HubOptions, ModelId, Snapshot};
use tempfile::TempDir;

use crate::server::{HubFile, Model, Server};

/// The model of most tests.
pub(crate) const ID: &str = "ada/tiny";

/// Bytes that look like weights and differ from `seed` to `seed`.
pub(crate) fn noise(seed: u64, size: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut bytes = Vec::with_capacity(size + 8);
    while bytes.len() < size {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(size);
    bytes
}

/// A model in one file of this size.
pub(crate) fn model(size: usize) -> Model {
    Model::new(
        ID,
        vec![
            HubFile::small(".gitattributes", "* text"),
            HubFile::small("README.md", "# Tiny"),
            HubFile::small("config.json", r#"{"model_type": "llama"}"#),
            HubFile::small("generation_config.json", "{}"),
            HubFile::large("model.safetensors", noise(1, size)),
            HubFile::large("tokenizer.json", noise(2, 5_000)),
            HubFile::small("tokenizer_config.json", "{}"),
        ],
    )
}

/// A model in so many shards.
pub(crate) fn sharded(shards: usize, size: usize) -> Model {
    let name = |shard: usize| format!("model-{:05}-of-{shards:05}.safetensors", shard + 1);
    let map: serde_json::Map<String, serde_json::Value> = (0..shards)
        .map(|shard| (format!("layer.{shard}"), name(shard).into()))
        .collect();
    let index = serde_json::json!({ "metadata": {}, "weight_map": map }).to_string();
    let mut files = vec![
        HubFile::small("config.json", "{}"),
        HubFile::small("model.safetensors.index.json", index),
    ];
    for shard in 0..shards {
        files.push(HubFile::large(&name(shard), noise(shard as u64 + 10, size)));
    }
    Model::new(ID, files)
}

/// A cache folder, and the options of a hub that keeps things there.
pub(crate) struct Cache {
    pub(crate) folder: TempDir,
    pub(crate) options: HubOptions,
}

/// A new cache for `server`, with limits that suit tests.
pub(crate) fn cache(server: &Server) -> Cache {
    let folder = tempfile::tempdir().unwrap();
    let mut options = options(&folder.path().join("hub"));
    options.endpoint = server.url();
    Cache { folder, options }
}

/// Options with limits that suit tests.
pub(crate) fn options(cache: &Path) -> HubOptions {
    let mut options = HubOptions::new(cache);
    options.connect_limit = Duration::from_secs(2);
    options.header_limit = Duration::from_secs(2);
    options.idle_limit = Duration::from_secs(2);
    options.backoff = Duration::from_millis(5);
    options.longest_wait = Duration::from_secs(3);
    options.retries = 3;
    options
}

impl Cache {
    pub(crate) fn hub(&self) -> Hub {
        Hub::new(self.options.clone()).unwrap()
    }

    pub(crate) fn fetch(&self) -> Result<Snapshot> {
        self.fetch_id(ID)
    }

    pub(crate) fn fetch_id(&self, id: &str) -> Result<Snapshot> {
        self.hub().fetch(&id.parse().unwrap(), &mut silent)
    }

    pub(crate) fn pull(&self) -> Result<Snapshot> {
        self.hub().pull(&ID.parse().unwrap(), &mut silent)
    }

    /// A path in the model's folder.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.options.cache.join("models--ada--tiny").join(name)
    }

    /// The names of blobs, without what is unfinished.
    pub(crate) fn blobs(&self) -> Vec<String> {
        let mut names = names(&self.path("blobs"));
        names.retain(|name| !name.ends_with(".incomplete"));
        names
    }

    /// The names of what is unfinished.
    pub(crate) fn unfinished(&self) -> Vec<String> {
        let mut names = names(&self.path("blobs"));
        names.retain(|name| name.ends_with(".incomplete"));
        names
    }
}

/// The names in a folder; none when it is not there.
pub(crate) fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut names: Vec<String> = entries
        .map(|entry| entry.file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

/// A listener that does not listen.
pub(crate) fn silent(_: &Progress) -> ControlFlow<candle4j_hub::progress::Interrupt> {
    ControlFlow::Continue(())
}

pub(crate) fn id(text: &str) -> ModelId {
    text.parse().unwrap()
}

/// Checks that a snapshot has exactly these files of the model, with the right contents.
pub(crate) fn assert_files(snapshot: &Snapshot, model: &Model, names: &[&str]) {
    let there: Vec<&str> = snapshot
        .files
        .iter()
        .map(|file| file.name.as_str())
        .collect();
    let mut expected = names.to_vec();
    expected.sort_unstable();
    assert_eq!(there, expected);
    for file in &snapshot.files {
        let content = fs::read(snapshot.folder.join(&file.name)).unwrap();
        assert!(content == **model.file(&file.name).content, "{}", file.name);
        assert_eq!(file.size, content.len() as u64);
    }
    assert_eq!(snapshot.commit, model.commit);
}

/// Checks that a snapshot is all that is needed of [`model`].
pub(crate) fn assert_complete(snapshot: &Snapshot, model: &Model) {
    assert_files(
        snapshot,
        model,
        &[
            "config.json",
            "generation_config.json",
            "model.safetensors",
            "tokenizer.json",
            "tokenizer_config.json",
        ],
    );
}

pub(crate) const WEIGHTS: &str = "model.safetensors";
