//! Listing, removing and verifying what is in the cache.

use std::fs;
use std::time::{Duration, SystemTime};

use candle4j_hub::error::{Code, Error};
use candle4j_hub::{Hub, Verdict, Verified};

use crate::server::{HubFile, Model, Server};
use crate::support::{Cache, ID, WEIGHTS, assert_complete, cache, id, model, names, noise, silent};

const OTHER_COMMIT: &str = "89abcdef0123456789abcdef0123456789abcdef";

/// Two revisions of a model, which have all but the weights in common.
fn two_revisions(server: &Server, cache: &Cache) -> (Model, Model) {
    let one = model(10_000);
    let mut two = one.clone();
    two.commit = OTHER_COMMIT.to_owned();
    two.revision = "v2".to_owned();
    two.files.retain(|file| file.name != WEIGHTS);
    two.files.push(HubFile::large(WEIGHTS, noise(8, 20_000)));
    server.add(&two);
    cache.fetch().unwrap();
    cache.fetch_id(&format!("{ID}@v2")).unwrap();
    (one, two)
}

/// The sizes of what a model's snapshot has, contents that it has twice counted once.
fn small_files(model: &Model) -> u64 {
    let size = |name: &str| model.file(name).content.len() as u64;
    size("config.json") + size("tokenizer.json") + size("tokenizer_config.json")
}

#[test]
fn list_tells_sizes_and_revisions() {
    let server = Server::start(&model(10_000));
    let cache = cache(&server);
    assert_eq!(cache.hub().list().unwrap(), []);
    let (one, two) = two_revisions(&server, &cache);
    // What others keep there is passed over.
    for name in [
        "datasets--ada--data",
        "version.txt",
        "models--",
        "models--a--b--c--d",
    ] {
        fs::create_dir_all(cache.options.cache.join(name)).unwrap();
    }
    let models = cache.hub().list().unwrap();
    let ids: Vec<String> = models.iter().map(|model| model.id.to_string()).collect();
    assert_eq!(ids, [ID]);
    let model = &models[0];
    assert_eq!(model.folder, cache.path(""));
    let contents = 10_000 + 20_000 + small_files(&one);
    assert_eq!(model.size_on_disk, contents);
    assert_eq!(model.incomplete, 0);
    let used = model.last_used.unwrap();
    assert!(SystemTime::now().duration_since(used).unwrap() < Duration::from_secs(60));
    for (revision, (model, weights, reference)) in model
        .revisions
        .iter()
        .rev()
        .zip([(&one, 10_000, "main"), (&two, 20_000, "v2")])
    {
        assert_eq!(revision.commit, model.commit);
        assert_eq!(revision.refs, [reference]);
        assert_eq!(revision.files.len(), 5);
        // "{}" is there under two names.
        assert_eq!(revision.size, weights + small_files(model) + 2);
        assert!(revision.last_modified.is_some());
    }
}

#[test]
fn list_tells_of_downloads_that_did_not_end() {
    let server = Server::scripted(&model(500_000), |asked| {
        let cut = asked.is("GET", WEIGHTS);
        cut.then_some(crate::server::Act::Cut(300_000))
    });
    let mut cache = cache(&server);
    cache.options.retries = 0;
    cache.fetch().unwrap_err();
    // A small file that is all there may still be moved to its place while the failure of the large
    // one is told.
    let mut models = cache.hub().list().unwrap();
    loop {
        std::thread::sleep(Duration::from_millis(200));
        let later = cache.hub().list().unwrap();
        if later == models {
            break;
        }
        models = later;
    }
    assert!(models[0].incomplete >= 200_000, "{}", models[0].incomplete);
    assert!(models[0].size_on_disk >= models[0].incomplete);
    let removed = cache.hub().remove(&id(ID)).unwrap();
    assert_eq!(removed.bytes, models[0].size_on_disk);
    assert_eq!(cache.hub().list().unwrap(), []);
}

#[test]
fn remove_takes_all_of_a_model() {
    let server = Server::start(&model(10_000));
    let cache = cache(&server);
    two_revisions(&server, &cache);
    let size = cache.hub().list().unwrap()[0].size_on_disk;
    let removed = cache.hub().remove(&id(ID)).unwrap();
    assert_eq!(removed.bytes, size);
    assert_eq!(removed.commits.len(), 2);
    assert!(!cache.path("").exists());
    assert_eq!(cache.hub().list().unwrap(), []);
    let error = cache.hub().remove(&id(ID)).unwrap_err();
    assert_eq!(error.code(), Code::ModelNotCached);
    // And it can be fetched again.
    assert_complete(&cache.fetch().unwrap(), &model(10_000));
}

#[test]
fn remove_takes_what_only_one_revision_has() {
    for symlinks in [true, false] {
        let server = Server::start(&model(10_000));
        let mut cache = cache(&server);
        cache.options.symlinks = symlinks;
        let (one, two) = two_revisions(&server, &cache);
        let before = cache.hub().list().unwrap()[0].size_on_disk;
        let removed = cache.hub().remove(&id(&format!("{ID}@v2"))).unwrap();
        assert_eq!(removed.commits, [&*two.commit]);
        assert_eq!(removed.bytes, 20_000);
        assert_eq!(removed.files, 1);
        let after = cache.hub().list().unwrap()[0].clone();
        assert!(before - after.size_on_disk >= 20_000);
        assert_eq!(after.revisions.len(), 1);
        assert!(!cache.blobs().contains(&two.file(WEIGHTS).tag()));
        assert!(!cache.path("refs/v2").exists());
        server.forget();
        assert_complete(&cache.fetch().unwrap(), &one);
        assert_eq!(server.asked().len(), 0);
        let error = cache.hub().remove(&id(&format!("{ID}@v2"))).unwrap_err();
        assert_eq!(error.code(), Code::ModelNotCached);

        // By its commit, and the last one takes the model with it.
        let removed = cache
            .hub()
            .remove(&id(&format!("{ID}@{}", one.commit)))
            .unwrap();
        assert_eq!(removed.commits, [&*one.commit]);
        assert!(!cache.path("").exists());
    }
}

#[test]
fn remove_waits_for_others_but_not_for_ever() {
    let model = model(10_000);
    let server = Server::start(&model);
    let cache = cache(&server);
    cache.fetch().unwrap();
    let lock = cache
        .options
        .cache
        .join(".locks/models--ada--tiny")
        .join(format!("{}.lock", model.file(WEIGHTS).tag()));
    let lock = fs::File::open(lock).unwrap();
    lock.lock().unwrap();
    let hub = cache.hub();
    let waiting = std::thread::spawn(move || hub.remove(&id(ID)));
    std::thread::sleep(Duration::from_millis(200));
    assert!(cache.path("refs/main").exists());
    drop(lock);
    assert!(waiting.join().unwrap().is_ok());
    assert!(!cache.path("").exists());
}

#[cfg(unix)]
#[test]
fn remove_deletes_links_and_not_what_they_lead_to() {
    let server = Server::start(&model(10_000));
    let cache = cache(&server);
    let snapshot = cache.fetch().unwrap();
    let outside = tempfile::tempdir().unwrap();
    fs::write(outside.path().join("precious"), "precious").unwrap();
    std::os::unix::fs::symlink(outside.path(), snapshot.folder.join("elsewhere")).unwrap();
    std::os::unix::fs::symlink(outside.path(), cache.path("blobs").join("other")).unwrap();
    cache.hub().list().unwrap();
    cache.hub().remove(&id(ID)).unwrap();
    assert_eq!(names(outside.path()), ["precious"]);
}

fn verdicts(verified: &Verified, name: &str) -> Verdict {
    let file = verified
        .files
        .iter()
        .find(|file| file.name == name)
        .unwrap();
    file.verdict.clone()
}

#[test]
fn verify_finds_what_is_damaged() {
    for symlinks in [true, false] {
        let model = model(10_000);
        let server = Server::start(&model);
        let mut cache = cache(&server);
        cache.options.symlinks = symlinks;
        let hub: Hub = cache.hub();
        let verify = || hub.verify(&id(ID), &mut silent);
        assert_eq!(verify().unwrap_err().code(), Code::ModelNotCached);
        let snapshot = cache.fetch().unwrap();
        server.forget();
        let verified = verify().unwrap();
        assert!(verified.is_intact());
        assert_eq!(verified.commit, model.commit);
        assert_eq!(verified.files.len(), 5);
        assert!(
            verified
                .files
                .iter()
                .all(|file| file.verdict == Verdict::Intact)
        );

        let path = |name: &str| snapshot.folder.join(name);
        let mut content = model.file(WEIGHTS).content.to_vec();
        content[5_000] ^= 1;
        fs::write(path(WEIGHTS), content).unwrap();
        fs::write(path("config.json"), "{}").unwrap();
        fs::remove_file(path("tokenizer.json")).unwrap();
        let verified = verify().unwrap();
        assert!(!verified.is_intact());
        let tag = model.file(WEIGHTS).tag();
        match verdicts(&verified, WEIGHTS) {
            Verdict::Corrupt { expected, got } => {
                assert_eq!(expected, format!("SHA-256 {tag}"));
                assert_ne!(expected, got);
            }
            other => panic!("{other:?}"),
        }
        assert!(matches!(
            verdicts(&verified, "config.json"),
            Verdict::Corrupt { .. }
        ));
        assert_eq!(verdicts(&verified, "tokenizer.json"), Verdict::Missing);
        assert_eq!(
            verdicts(&verified, "generation_config.json"),
            Verdict::Intact
        );
        assert_eq!(server.asked().len(), 0);
    }
}

#[test]
fn what_verify_finds_damaged_is_fetched_again() {
    for symlinks in [true, false] {
        let model = model(10_000);
        let server = Server::start(&model);
        let mut cache = cache(&server);
        cache.options.symlinks = symlinks;
        let snapshot = cache.fetch().unwrap();
        let mut content = model.file(WEIGHTS).content.to_vec();
        content[5_000] ^= 1;
        fs::write(snapshot.folder.join(WEIGHTS), content).unwrap();
        let verify = || cache.hub().verify(&id(ID), &mut silent).unwrap();
        assert!(!verify().is_intact());
        server.forget();
        assert_complete(&cache.fetch().unwrap(), &model);
        assert_eq!(server.count("GET", WEIGHTS), 1);
        assert!(verify().is_intact());
    }
}

#[test]
fn verify_can_be_stopped() {
    let server = Server::start(&model(10_000));
    let cache = cache(&server);
    let snapshot = cache.fetch().unwrap();
    // Zeros that take no room, but time to hash.
    let weights = fs::OpenOptions::new()
        .write(true)
        .open(snapshot.folder.join("config.json"))
        .unwrap();
    weights.set_len(3 << 30).unwrap();
    fs::remove_dir_all(cache.path(".candle4j")).unwrap();
    let begin = std::time::Instant::now();
    let result = cache.hub().verify(&id(ID), &mut |_| {
        std::ops::ControlFlow::Break(candle4j_hub::progress::Interrupt::Stop)
    });
    assert_eq!(result, Err(Error::Cancelled));
    assert!(begin.elapsed() < Duration::from_secs(1));
}
