//! Names that would leave the cache.

use std::path::Path;

use candle4j_hub::error::Code;

use crate::server::{Act, HubFile, Model, Server, owned};
use crate::support::{Cache, ID, WEIGHTS, cache, model, names, sharded};

const HOSTILE: [&str; 13] = [
    "../x.safetensors",
    "../../../../x.safetensors",
    "a/../../x.safetensors",
    "/x.safetensors",
    "//srv/share/x.safetensors",
    "..\\x.safetensors",
    "\\\\srv\\share\\x.safetensors",
    "C:x.safetensors",
    "C:\\x.safetensors",
    "x\0.safetensors",
    "..",
    "a/..",
    "x\n.safetensors",
];

/// Checks that nothing was written but what belongs to the cache.
fn assert_nothing_written(cache: &Cache) {
    let around = names(cache.folder.path());
    assert!(around.is_empty() || around == ["hub"], "{around:?}");
    for folder in ["blobs", "snapshots", "refs"] {
        assert_eq!(names(&cache.path(folder)), [""; 0]);
    }
}

#[test]
fn row_08_hostile_names_in_the_list_of_files() {
    for name in HOSTILE {
        let mut model = model(100);
        model.files.push(HubFile::small(name, "evil"));
        let server = Server::start(&model);
        let cache = cache(&server);
        let error = cache.fetch().unwrap_err();
        assert_eq!(error.code(), Code::HubUnavailable, "{name:?}: {error}");
        assert!(!error.to_string().contains(['\0', '\n']), "{error}");
        assert_nothing_written(&cache);
        // Nothing was even asked for.
        assert!(
            server
                .asked()
                .iter()
                .all(|asked| asked.path.starts_with("/api/"))
        );
    }
}

#[test]
fn row_08_names_that_some_system_cannot_store() {
    // They are not needed, so they are no reason to refuse the model.
    let mut needless = model(100);
    for name in ["CON", "ab:c", "x.", "y ", "what?.md", "aux.json"] {
        needless.files.push(HubFile::small(name, "odd"));
    }
    let server = Server::start(&needless);
    assert!(cache(&server).fetch().is_ok());
}

#[test]
fn row_08_hostile_names_in_the_index() {
    let odd = ["CON.safetensors", "x:y.safetensors", "x./y.safetensors", ""];
    for name in HOSTILE.into_iter().chain(odd) {
        let index = serde_json::json!({ "weight_map": { "a": name } }).to_string();
        let model = Model::new(
            ID,
            vec![
                HubFile::small("config.json", "{}"),
                HubFile::small("model.safetensors.index.json", index),
            ],
        );
        let server = Server::start(&model);
        let cache = cache(&server);
        let error = cache.fetch().unwrap_err();
        assert_eq!(error.code(), Code::InvalidModel, "{name:?}: {error}");
        let around = names(cache.folder.path());
        assert_eq!(around, ["hub"]);
        // The index alone came; no file that it names was asked for.
        let asked = server.asked();
        let others = |asked: &&crate::server::Asked| {
            asked.path.contains("/resolve/") && !asked.path.ends_with("index.json")
        };
        assert_eq!(asked.iter().filter(others).count(), 0);
        assert!(!cache.path("refs/main").exists());
    }
}

#[test]
fn row_09_hostile_tags() {
    let long = format!("\"{}\"", "x".repeat(3000));
    for tag in [
        "\"../../../x\"",
        "\"..\\\\x\"",
        "\"/etc/x\"",
        "\"C:x\"",
        "\"..\"",
        "\"a/b\"",
        "W/\"../x\"",
        "\"NUL\"",
        "\"x.\"",
        long.as_str(),
    ] {
        for header in ["ETag", "X-Linked-Etag"] {
            let model = model(100);
            let headers = owned(&[(header, tag)]);
            let file = if header == "ETag" {
                "/config.json"
            } else {
                WEIGHTS
            };
            let server = Server::scripted(&model, move |asked| {
                asked.is("HEAD", file).then(|| Act::With(headers.clone()))
            });
            let cache = cache(&server);
            let error = cache.fetch().unwrap_err();
            assert_eq!(error.code(), Code::HubUnavailable, "{tag}: {error}");
            assert_nothing_written(&cache);
        }
    }
}

#[test]
fn row_09_hostile_commits() {
    for commit in [
        "../../x", "..", "/x", "a/b", "a\\b", "C:x", "a b", "", "CON", "\u{0}",
    ] {
        let mut model = model(100);
        model.commit = commit.to_owned();
        let server = Server::start(&model);
        let cache = cache(&server);
        let error = cache.fetch().unwrap_err();
        assert_eq!(error.code(), Code::HubUnavailable, "{commit:?}: {error}");
        assert_nothing_written(&cache);
    }
}

#[test]
fn row_09_hostile_revisions_are_no_ids() {
    for revision in ["../x", "/x", "a\\b", "a/../b", "x\0", ""] {
        let text = format!("{ID}@{revision}");
        let error = text.parse::<candle4j_hub::ModelId>().unwrap_err();
        assert_eq!(error.code(), Code::InvalidArgument, "{revision:?}");
    }
}

#[test]
fn references_and_snapshots_may_have_folders() {
    let mut model = model(100);
    model.revision = "feature/x".to_owned();
    let server = Server::start(&model);
    let cache = cache(&server);
    let snapshot = cache.fetch_id(&format!("{ID}@feature/x")).unwrap();
    crate::support::assert_complete(&snapshot, &model);
    assert!(cache.path("refs/feature/x").is_file());
    // One segment of the path, as Python sends it.
    assert!(server.asked()[0].path.ends_with("/revision/feature%2Fx"));
}

#[test]
fn names_that_differ_in_case_only() {
    let mut model = sharded(2, 100);
    let index = r#"{"weight_map": {"a": "x.safetensors", "b": "X.safetensors"}}"#;
    model.files[1] = HubFile::small("model.safetensors.index.json", index);
    for name in ["x.safetensors", "X.safetensors"] {
        model.files.push(HubFile::large(name, name));
    }
    let server = Server::start(&model);
    let cache = cache(&server);
    let error = cache.fetch().unwrap_err();
    assert!(error.to_string().contains("case"), "{error}");
}

#[cfg(unix)]
#[test]
fn links_inside_the_cache_lead_nothing_out_of_it() {
    use std::os::unix::fs::symlink;
    let model = Model::new(
        ID,
        vec![HubFile::large("deep/model-Q8_0.gguf", b"GGUF".to_vec())],
    );
    let server = Server::start(&model);
    let cache = cache(&server);
    let outside = tempfile::tempdir().unwrap();
    let snapshot = cache.path("snapshots").join(&model.commit);
    std::fs::create_dir_all(&snapshot).unwrap();
    symlink(outside.path(), snapshot.join("deep")).unwrap();
    let error = cache.fetch().unwrap_err();
    assert_eq!(error.code(), Code::Io, "{error}");
    assert_eq!(names(outside.path()), [""; 0]);
    assert!(Path::new(&outside.path()).is_dir());
}
