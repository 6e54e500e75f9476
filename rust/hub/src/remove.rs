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

use super::cache::{Repository, remove_if_there, walk};
use super::fetch::not_cached;
use super::hash::BlobHash;
use super::id::ModelId;
use super::lock::{AGAIN, Lock};
use super::options::HubOptions;
use crate::error::{Error, Result};

/// How long somebody else may still work on what is to be removed.
const MAX_WAIT: Duration = Duration::from_secs(5);

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
pub(crate) fn remove(options: &HubOptions, id: &ModelId) -> Result<Removed> {
    let repository = Repository::new(&options.cache, id, options.symlinks);
    if !repository.folder().is_dir() {
        return Err(not_cached(options, id, "all of it".to_owned()));
    }
    let (bytes, files) = repository.usage();
    let all = repository.commits();
    let commits = match id.revision() {
        None => all.clone(),
        Some(revision) => match repository.commit_of(revision) {
            Some(commit) if all.contains(&commit) => vec![commit],
            _ => return Err(not_cached(options, id, format!("revision {revision}"))),
        },
    };
    match commits.len() == all.len() {
        true => remove_all(&repository)?,
        false => commits
            .iter()
            .try_for_each(|commit| remove_commit(&repository, commit))?,
    }
    let (bytes_left, files_left) = repository.usage();
    Ok(Removed {
        bytes: bytes.saturating_sub(bytes_left),
        files: files.saturating_sub(files_left),
        commits,
    })
}

fn remove_all(repository: &Repository) -> Result<()> {
    let deadline = Instant::now() + MAX_WAIT;
    loop {
        // Whoever fetches may have taken further locks since.
        let locks = walk(repository.locks()).map(|(_, path)| path);
        let locks = locks.filter(|path| path.extension().is_some_and(|end| end == "lock"));
        let _held = lock_all(locks)?;
        let removed = remove_folder(&repository.references())
            .and_then(|()| remove_folder(&repository.folder().join("snapshots")))
            .and_then(|()| remove_folder(repository.folder()));
        if removed.is_ok() || Instant::now() >= deadline {
            return removed;
        }
        thread::sleep(AGAIN);
    }
}

fn remove_commit(repository: &Repository, commit: &str) -> Result<()> {
    let hashes = hashes_of(repository, commit);
    let _held = lock_all(hashes.iter().map(|hash| repository.lock(hash)))?;
    for reference in repository.references_to(commit) {
        delete(&repository.references().join(reference))?;
    }
    remove_folder(&repository.snapshot(commit))?;
    remove_folder(&repository.absences(commit))?;
    delete(&repository.notes(commit))?;
    // Read now, under the locks: nobody can link to these contents before they are let go.
    let others = repository.commits();
    let shared = others.iter().flat_map(|other| hashes_of(repository, other));
    let shared: BTreeSet<BlobHash> = shared.collect();
    let mut unshared = hashes.difference(&shared);
    unshared.try_for_each(|hash| delete(&repository.blob(hash)))
}

/// The hashes of all contents that a commit's snapshot has.
fn hashes_of(repository: &Repository, commit: &str) -> BTreeSet<BlobHash> {
    let notes = repository.recall(commit).unwrap_or_default();
    let files = repository.files_of(commit);
    let hashes = files
        .keys()
        .filter_map(|name| repository.hash_of(commit, name, &notes));
    hashes.collect()
}

fn lock_all(paths: impl Iterator<Item = PathBuf>) -> Result<Vec<Lock>> {
    let deadline = Instant::now() + MAX_WAIT;
    let lock = |path: PathBuf| loop {
        match Lock::try_acquire(&path)? {
            Some(lock) => return Ok(lock),
            None if Instant::now() < deadline => thread::sleep(AGAIN),
            None => {
                return Err(Error::Io {
                    path: path.display().to_string(),
                    reason: "is held by another process, which is fetching this model".to_owned(),
                });
            }
        }
    };
    // In one order, so that two that remove do not wait for each other.
    let paths: BTreeSet<PathBuf> = paths.collect();
    paths.into_iter().map(lock).collect()
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
