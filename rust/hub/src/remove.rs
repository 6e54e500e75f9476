//! Removing models from the cache.
//!
//! What leads to a content goes before the content, so that an end in between leaves nothing that leads
//! to nothing. Contents are deleted under the locks under which others fetch and link them.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use super::cache::{Repository, read_limited};
use super::id::ModelId;
use super::lock::Lock;
use super::options::HubOptions;
use super::partial::remove_if_there;
use super::space;
use super::walk::walk;
use crate::error::{Error, Result};

/// How long somebody else may still work on what is to be removed.
const LONGEST_WAIT: Duration = Duration::from_secs(5);

/// How often a lock that somebody else has is tried again.
const AGAIN: Duration = Duration::from_millis(50);

/// What [`Hub::remove`](super::Hub::remove) removed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Removed {
    /// Bytes that the disk has back.
    pub bytes: u64,
    /// How many contents were deleted.
    pub files: usize,
    /// The commits whose snapshots are gone.
    pub commits: Vec<String>,
}

/// See [`Hub::remove`](super::Hub::remove).
pub(super) fn remove(options: &HubOptions, id: &ModelId) -> Result<Removed> {
    let repository = Repository::new(&options.cache, id, options.symlinks);
    if !repository.folder().is_dir() {
        return Err(not_there(options, id, "all of it".to_owned()));
    }
    let Some(revision) = id.revision() else {
        return remove_all(options, &repository);
    };
    let commits = repository.commits();
    let commit = repository
        .commit_of(revision)
        .filter(|commit| commits.contains(commit));
    match commit {
        None => Err(not_there(options, id, format!("revision {revision}"))),
        Some(_) if commits.len() == 1 => remove_all(options, &repository),
        Some(commit) => remove_commit(options, &repository, commit),
    }
}

/// The error for a model, or a part of it, that the cache does not have.
pub(super) fn not_there(options: &HubOptions, id: &ModelId, missing: String) -> Error {
    Error::ModelNotCached {
        id: id.to_string(),
        cache: options.cache.display().to_string(),
        missing,
    }
}

fn remove_all(options: &HubOptions, repository: &Repository) -> Result<Removed> {
    let mut locks = BTreeSet::new();
    walk(&repository.locks(), &mut |name, path| {
        if name.ends_with(".lock") {
            locks.insert(path.to_owned());
        }
    });
    let _held = lock_all(&locks)?;
    let stores = shared_contents(options, repository, None);
    let (bytes, files) = space::reclaimable(repository.folder());
    let mut removed = Removed {
        bytes,
        files,
        commits: repository.commits(),
    };
    for folder in [repository.references(), repository.snapshots()] {
        remove_folder(&folder)?;
    }
    remove_folder(repository.folder())?;
    sweep(options, stores, &mut removed);
    Ok(removed)
}

fn remove_commit(options: &HubOptions, repository: &Repository, commit: String) -> Result<Removed> {
    let tags: BTreeSet<String> = tags_of(repository, &commit);
    let locks = tags.iter().map(|tag| repository.lock(tag)).collect();
    let _held = lock_all(&locks)?;

    let mut removed = Removed::default();
    let (bytes, files) = space::reclaimable(&repository.snapshot(&commit));
    removed.bytes += bytes;
    removed.files += files;
    for (name, target) in repository.all_references() {
        if target == commit {
            delete(&repository.references().join(name))?;
        }
    }
    remove_folder(&repository.snapshot(&commit))?;
    for notes in repository.notes(&commit) {
        if notes.is_dir() {
            remove_folder(&notes)?;
        } else {
            delete(&notes)?;
        }
    }

    // Read now, under the locks: nobody can link to these contents before they are let go.
    let mut shared = BTreeSet::new();
    for other in repository.commits() {
        shared.append(&mut tags_of(repository, &other));
    }
    let unshared: BTreeSet<&String> = tags.difference(&shared).collect();
    let stores = shared_contents(options, repository, Some(&unshared));
    for tag in unshared {
        let blob = repository.blob(tag);
        let Ok(file) = fs::symlink_metadata(&blob) else {
            continue;
        };
        delete(&blob)?;
        if file.is_file() && space::is_last_name(&file) {
            removed.bytes += space::taken(&file);
            removed.files += 1;
        }
    }
    sweep(options, stores, &mut removed);
    removed.commits.push(commit);
    Ok(removed)
}

/// The tags of all contents that a commit's snapshot links to.
fn tags_of(repository: &Repository, commit: &str) -> BTreeSet<String> {
    let names = repository.names_of(commit);
    let noted = repository.recall_own(commit).unwrap_or_default();
    let tag = |name: &String| {
        let linked = repository.tag_of(commit, name);
        linked.or_else(|| noted.files.get(name).and_then(|note| note.tag.clone()))
    };
    names.iter().filter_map(tag).collect()
}

fn lock_all(paths: &BTreeSet<PathBuf>) -> Result<Vec<Lock>> {
    let deadline = Instant::now() + LONGEST_WAIT;
    let mut held = Vec::new();
    for path in paths {
        loop {
            if let Some(lock) = Lock::try_acquire(path)? {
                held.push(lock);
                break;
            }
            if Instant::now() >= deadline {
                return Err(Error::Io {
                    path: path.display().to_string(),
                    reason: "is held by another process, which is fetching this model".to_owned(),
                });
            }
            thread::sleep(AGAIN);
        }
    }
    Ok(held)
}

fn remove_folder(path: &Path) -> Result<()> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(Error::io(path, &error)),
        _ => Ok(()),
    }
}

fn delete(path: &Path) -> Result<()> {
    remove_if_there(path).map_err(|error| Error::io(path, &error))
}

/// Contents that Python keeps once for several models: `CACHE/blobs/XX/HASH`, to which blobs of models
/// are links, with a list of these links beside each. Those to which the given blobs of a model lead;
/// all of its blobs when none are given.
fn shared_contents(
    options: &HubOptions,
    repository: &Repository,
    tags: Option<&BTreeSet<&String>>,
) -> BTreeSet<PathBuf> {
    let store = options.cache.join("blobs");
    if !store.join(".huggingface-shared-blobs").is_file() {
        return BTreeSet::new();
    }
    let mut contents = BTreeSet::new();
    walk(&repository.blobs(), &mut |name, path| {
        if tags.is_none_or(|tags| tags.contains(&name))
            && let Some(content) = content_of(path, &store)
        {
            contents.insert(content);
        }
    });
    contents
}

/// The shared content that a blob is a link to.
fn content_of(blob: &Path, store: &Path) -> Option<PathBuf> {
    let target = fs::read_link(blob).ok()?;
    let hash = target.file_name()?.to_str()?;
    let prefix = target.parent()?.file_name()?.to_str()?;
    let is_hash = hash.len() == 64 && hash.bytes().all(|byte| byte.is_ascii_hexdigit());
    let content = store.join(prefix).join(hash);
    let same = fs::canonicalize(blob).ok()? == fs::canonicalize(&content).ok()?;
    (is_hash && hash.starts_with(prefix) && same).then_some(content)
}

/// Deletes shared contents to which no model's blob leads any more. As Python does it, a list of links
/// that is missing or unreadable is a reason to keep what it belongs to.
fn sweep(options: &HubOptions, contents: BTreeSet<PathBuf>, removed: &mut Removed) {
    let store = options.cache.join("blobs");
    for content in contents {
        let beside = |ending: &str| {
            let name = content.file_name().unwrap_or_default().to_string_lossy();
            content.with_file_name(format!("{name}{ending}"))
        };
        let Ok(_held) = lock_all(&BTreeSet::from([beside(".lock")])) else {
            continue;
        };
        let Ok(links) = read_limited(&beside(".refs"), 16 << 20) else {
            continue;
        };
        let Ok(links) = String::from_utf8(links) else {
            continue;
        };
        let is_used = links.lines().any(|link| {
            super::names::check(link).is_err()
                || content_of(&options.cache.join(link), &store).as_ref() == Some(&content)
        });
        let Ok(file) = fs::symlink_metadata(&content) else {
            continue;
        };
        if !is_used && file.is_file() && fs::remove_file(&content).is_ok() {
            removed.bytes += space::taken(&file);
            removed.files += 1;
            // Without the content its list means nothing.
            let _ = fs::remove_file(beside(".refs"));
        }
    }
}
