//! What is in the cache already, and what must stay as it is.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use candle4j_hub::error::{Code, Error};

use crate::server::{Act, HubFile, Model, Server, answer, owned};
use crate::support::{
    ID, WEIGHTS, assert_complete, assert_files, cache, id, model, names, noise, sharded, silent,
};

const OTHER_COMMIT: &str = "89abcdef0123456789abcdef0123456789abcdef";

#[test]
fn the_layout_is_that_of_huggingface_hub() {
    let model = model(1000);
    let server = Server::start(&model);
    let cache = cache(&server);
    let snapshot = cache.fetch().unwrap();
    assert_eq!(
        names(&cache.options.cache),
        [".locks", "CACHEDIR.TAG", "models--ada--tiny"]
    );
    assert_eq!(
        fs::read_to_string(cache.path("refs/main")).unwrap(),
        model.commit
    );
    assert_eq!(snapshot.folder, cache.path("snapshots").join(&model.commit));
    for file in &snapshot.files {
        let tag = model.file(&file.name).tag();
        let link = fs::read_link(snapshot.folder.join(&file.name)).unwrap();
        assert_eq!(link.to_str().unwrap(), format!("../../blobs/{tag}"));
        let lock = cache
            .options
            .cache
            .join(".locks/models--ada--tiny")
            .join(format!("{tag}.lock"));
        assert!(lock.is_file());
    }
    // "{}" is the content of two files, and is there once.
    assert_eq!(cache.blobs().len(), 4);
    for name in ["chat_template.jinja", "chat_template.json"] {
        assert!(
            cache
                .path(".no_exist")
                .join(&model.commit)
                .join(name)
                .is_file()
        );
    }
}

#[test]
fn a_complete_model_is_used_without_any_request() {
    for model in [model(1000), sharded(3, 500)] {
        let server = Server::start(&model);
        let cache = cache(&server);
        let first = cache.fetch().unwrap();
        server.forget();
        assert_eq!(cache.fetch().unwrap(), first);
        assert_eq!(cache.fetch_id(&format!("{ID}@main")).unwrap(), first);
        assert_eq!(
            cache.fetch_id(&format!("{ID}@{}", model.commit)).unwrap(),
            first
        );
        assert_eq!(server.asked().len(), 0);
    }
}

#[test]
fn requests_are_those_of_python() {
    let model = model(1000);
    let server = Server::start(&model);
    cache(&server).fetch().unwrap();
    let asked = server.asked();
    assert_eq!(asked[0].path, "/api/models/ada/tiny/revision/main");
    let (mut heads, mut gets) = (0, 0);
    for asked in &asked[1..] {
        let start = format!("/ada/tiny/resolve/{}/", model.commit);
        assert!(asked.path.starts_with(&start), "{}", asked.path);
        match asked.method.as_str() {
            "HEAD" => heads += 1,
            _ => gets += 1,
        }
        assert!(asked.headers["user-agent"].starts_with("candle4j/"));
    }
    assert_eq!((heads, gets), (5, 4));
}

#[test]
fn pull_asks_whether_the_revision_moved_on() {
    let old = model(1000);
    let server = Server::start(&old);
    let cache = cache(&server);
    cache.fetch().unwrap();
    server.forget();
    assert_complete(&cache.pull().unwrap(), &old);
    // Nothing is fetched that is there.
    assert_eq!(server.sent(), 0);

    let mut new = old.clone();
    new.commit = OTHER_COMMIT.to_owned();
    new.files.retain(|file| file.name != WEIGHTS);
    new.files.push(HubFile::large(WEIGHTS, noise(77, 1000)));
    server.push(&new);
    assert_complete(&cache.fetch().unwrap(), &old);
    assert_complete(&cache.pull().unwrap(), &new);
    assert_complete(&cache.fetch().unwrap(), &new);
    assert_eq!(server.count("GET", WEIGHTS), 1);
    // The old one is still there by its commit.
    assert_complete(
        &cache.fetch_id(&format!("{ID}@{}", old.commit)).unwrap(),
        &old,
    );
}

#[test]
fn row_28_a_push_between_the_configuration_and_the_weights() {
    let old = sharded(3, 1000);
    let mut new = old.clone();
    new.commit = OTHER_COMMIT.to_owned();
    for file in &mut new.files {
        if file.large {
            *file = HubFile::large(&file.name, noise(99, 1000));
        }
    }
    let pushed = Arc::new(AtomicBool::new(false));
    let seen = Arc::clone(&pushed);
    let server = Server::scripted(&old, move |asked| {
        if asked.is("HEAD", "/config.json") {
            seen.store(true, Ordering::SeqCst);
        }
        // Whatever is asked for by the branch is the new commit's from then on.
        let by_branch = asked.path.contains("/resolve/main/");
        (by_branch && seen.load(Ordering::SeqCst)).then(|| answer(500, &[]))?
    });
    server.add(&Model {
        revision: "later".to_owned(),
        ..new
    });
    let cache = cache(&server);
    let snapshot = cache.fetch().unwrap();
    assert!(pushed.load(Ordering::SeqCst));
    assert_eq!(snapshot.commit, old.commit);
    for file in &snapshot.files {
        let content = fs::read(snapshot.folder.join(&file.name)).unwrap();
        assert!(content == **old.file(&file.name).content);
    }
    // The revision was resolved once, and then only the commit was named.
    let asked = server.asked();
    assert_eq!(
        asked
            .iter()
            .filter(|asked| asked.path.contains("main"))
            .count(),
        1
    );
}

#[test]
fn row_28_files_of_another_commit_are_refused() {
    let model = model(1000);
    let server = Server::scripted(&model, |asked| {
        let headers = owned(&[("X-Repo-Commit", OTHER_COMMIT)]);
        asked.is("HEAD", WEIGHTS).then_some(Act::With(headers))
    });
    let error = cache(&server).fetch().unwrap_err();
    assert_eq!(error.code(), Code::HubUnavailable);
    assert!(error.to_string().contains(OTHER_COMMIT), "{error}");
}

#[test]
fn offline_no_request_is_made() {
    let model = model(1000);
    let server = Server::start(&model);
    let mut cache = cache(&server);
    cache.options.offline = true;
    for result in [cache.fetch(), cache.pull()] {
        let error = result.unwrap_err();
        let Error::ModelNotCached { id, missing, .. } = &error else {
            panic!("{error}");
        };
        assert_eq!(id, ID);
        assert!(missing.contains("revision main"), "{error}");
        assert!(missing.contains("HF_HUB_OFFLINE"), "{error}");
    }
    assert_eq!(server.asked().len(), 0);

    cache.options.offline = false;
    cache.fetch().unwrap();
    server.forget();
    cache.options.offline = true;
    assert_complete(&cache.fetch().unwrap(), &model);
    assert_complete(&cache.pull().unwrap(), &model);
    let blob = cache.path("blobs").join(model.file(WEIGHTS).tag());
    fs::write(&blob, b"short").unwrap();
    let error = cache.fetch().unwrap_err();
    assert!(error.to_string().contains(WEIGHTS), "{error}");
    fs::remove_file(&blob).unwrap();
    assert_eq!(cache.fetch().unwrap_err().code(), Code::ModelNotCached);
    assert_eq!(server.asked().len(), 0);
}

/// Puts files into the cache as other programs do, without any notes.
fn fill_by_hand(cache: &crate::support::Cache, model: &Model, names: &[&str]) {
    let snapshot = cache.path("snapshots").join(&model.commit);
    for folder in [cache.path("blobs"), cache.path("refs"), snapshot.clone()] {
        fs::create_dir_all(folder).unwrap();
    }
    fs::write(cache.path("refs/main"), &model.commit).unwrap();
    for name in names {
        let file = model.file(name);
        fs::write(cache.path("blobs").join(file.tag()), &**file.content).unwrap();
        let target = format!("../../blobs/{}", file.tag());
        #[cfg(unix)]
        std::os::unix::fs::symlink(target, snapshot.join(name)).unwrap();
        #[cfg(windows)]
        fs::copy(cache.path("blobs").join(file.tag()), snapshot.join(name)).unwrap();
    }
}

#[test]
fn what_other_programs_stored_is_used() {
    let model = model(1000);
    let all = [
        "config.json",
        "generation_config.json",
        WEIGHTS,
        "tokenizer.json",
        "tokenizer_config.json",
    ];
    let server = Server::start(&model);
    let mut cache = cache(&server);
    fill_by_hand(&cache, &model, &all);
    cache.options.offline = true;
    assert_complete(&cache.fetch().unwrap(), &model);
    cache.options.offline = false;

    // Nobody noted whether that is all, so the Hub is asked, once.
    assert_complete(&cache.fetch().unwrap(), &model);
    assert_eq!(server.sent(), 0);
    server.forget();
    assert_complete(&cache.fetch().unwrap(), &model);
    assert_eq!(server.asked().len(), 0);
}

#[test]
fn what_other_programs_left_out_is_fetched() {
    let model = model(1000);
    let server = Server::start(&model);
    let cache = cache(&server);
    fill_by_hand(&cache, &model, &["config.json", WEIGHTS]);
    assert_complete(&cache.fetch().unwrap(), &model);
    assert_eq!(server.count("GET", WEIGHTS), 0);
    assert_eq!(server.count("GET", "tokenizer.json"), 1);
    // It is asked about by the commit that is there, so that the model stays the same.
    assert!(server.asked()[0].path.ends_with(&model.commit));
}

#[test]
fn what_is_there_is_used_when_the_hub_does_not_answer() {
    let model = model(1000);
    let server = Server::scripted(&model, |_| answer(503, &[]));
    let cache = cache(&server);
    fill_by_hand(&cache, &model, &["config.json", WEIGHTS]);
    assert_files(&cache.fetch().unwrap(), &model, &["config.json", WEIGHTS]);
    assert_eq!(server.asked().len(), 1);
    // Not when that is not enough to load it.
    let second = crate::support::cache(&server);
    fill_by_hand(&second, &model, &[WEIGHTS]);
    assert_eq!(second.fetch().unwrap_err().code(), Code::HubUnavailable);
}

#[test]
fn without_symbolic_links() {
    let model = model(1000);
    let server = Server::start(&model);
    let mut cache = cache(&server);
    cache.options.symlinks = false;
    let snapshot = cache.fetch().unwrap();
    assert_complete(&snapshot, &model);
    for file in &snapshot.files {
        let there = fs::symlink_metadata(snapshot.folder.join(&file.name)).unwrap();
        assert!(there.is_file());
    }
    server.forget();
    assert_complete(&cache.fetch().unwrap(), &model);
    assert_eq!(server.asked().len(), 0);
    assert_complete(&cache.pull().unwrap(), &model);
    assert_eq!(server.sent(), 0);
}

#[test]
fn several_threads_at_once() {
    let model = sharded(3, 100_000);
    let server = Server::scripted(&model, |asked| {
        asked
            .is("GET", ".safetensors")
            .then_some(Act::Slowly(5_000))
    });
    let cache = cache(&server);
    let hub = cache.hub();
    let threads: Vec<_> = (0..4)
        .map(|_| {
            let hub = hub.clone();
            std::thread::spawn(move || hub.fetch(&id(ID), &mut silent).unwrap())
        })
        .collect();
    for thread in threads {
        let snapshot = thread.join().unwrap();
        assert_eq!(snapshot.files.len(), 5);
    }
    assert_eq!(server.count("GET", ".safetensors"), 3);
}

#[test]
fn a_model_without_an_owner() {
    let mut model = model(1000);
    model.id = "tiny".to_owned();
    let server = Server::start(&model);
    let cache = cache(&server);
    let snapshot = cache.fetch_id("tiny").unwrap();
    assert_complete(&snapshot, &model);
    assert!(cache.options.cache.join("models--tiny").is_dir());
}

#[test]
fn an_interrupted_download_has_no_reference() {
    let model = sharded(2, 1000);
    let server = Server::scripted(&model, |asked| {
        let last = asked.is("GET", "model-00002-of-00002.safetensors");
        last.then(|| answer(403, &[]))?
    });
    let cache = cache(&server);
    assert_eq!(cache.fetch().unwrap_err().code(), Code::Unauthorized);
    assert!(!cache.path("refs/main").exists());
}
