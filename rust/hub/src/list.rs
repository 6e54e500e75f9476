//! What is in the cache.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::SnapshotFile;
use super::cache::Repository;
use super::id::ModelId;
use super::space;
use super::walk::walk;
use crate::error::{Error, Result};

/// A model in the cache.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CachedModel {
    /// The model, without a revision.
    pub id: ModelId,
    /// Its folder.
    pub folder: PathBuf,
    /// Its revisions, the one that was last changed first.
    pub revisions: Vec<CachedRevision>,
    /// Bytes that it takes on disk, contents that several revisions share counted once, and what is
    /// left of downloads that did not end.
    pub size_on_disk: u64,
    /// How many of these bytes belong to downloads that did not end.
    pub incomplete: u64,
    /// When one of its files was last read, as far as the file system notes that.
    pub last_used: Option<SystemTime>,
}

/// A revision of a model in the cache.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CachedRevision {
    /// The commit.
    pub commit: String,
    /// The branches and tags that stood for it when they were last asked for.
    pub refs: Vec<String>,
    /// The files that are there.
    pub files: Vec<SnapshotFile>,
    /// The size of all its files, also of those that other revisions have too.
    pub size: u64,
    /// When one of its files last changed.
    pub last_modified: Option<SystemTime>,
}

/// See [`Hub::list`](super::Hub::list).
pub(super) fn list(cache: &Path) -> Result<Vec<CachedModel>> {
    let folders = match fs::read_dir(cache) {
        Ok(folders) => folders,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(Error::io(cache, &error)),
    };
    let mut models = Vec::new();
    for folder in folders {
        let folder = folder.map_err(|error| Error::io(cache, &error))?;
        let name = folder.file_name();
        let id = name
            .to_str()
            .and_then(|name| name.strip_prefix("models--"))
            .and_then(|name| ModelId::new(&name.replace("--", "/")).ok());
        // What other programs keep there is not ours to judge.
        if let Some(id) = id
            && folder.path().is_dir()
        {
            models.push(model(cache, id));
        }
    }
    models.sort_by(|one, other| one.id.repository().cmp(other.id.repository()));
    Ok(models)
}

fn model(cache: &Path, id: ModelId) -> CachedModel {
    let repository = Repository::new(cache, &id, true);
    let references = repository.all_references();
    let mut last_used = None;
    let mut elsewhere = BTreeSet::new();
    let mut revisions: Vec<CachedRevision> = Vec::new();
    for commit in repository.commits() {
        let mut last_modified = None;
        let mut files = Vec::new();
        walk(&repository.snapshot(&commit), &mut |name, path| {
            let Ok(file) = fs::metadata(path) else {
                return;
            };
            last_modified = last_modified.max(file.modified().ok());
            last_used = last_used.max(file.accessed().ok());
            // Python may keep contents of several models in one place.
            if let Ok(target) = fs::canonicalize(path)
                && !lies_in(&target, repository.folder())
            {
                elsewhere.insert((target, file.len()));
            }
            let size = file.len();
            files.push(SnapshotFile { name, size });
        });
        files.sort_by(|one, other| one.name.cmp(&other.name));
        let refs = references
            .iter()
            .filter(|(_, target)| *target == commit)
            .map(|(name, _)| name.clone())
            .collect();
        revisions.push(CachedRevision {
            refs,
            size: files.iter().map(|file| file.size).sum(),
            files,
            last_modified,
            commit,
        });
    }
    revisions.sort_by_key(|revision| std::cmp::Reverse(revision.last_modified));

    let mut incomplete = 0;
    walk(&repository.blobs(), &mut |name, path| {
        if name.ends_with(".incomplete")
            && let Ok(file) = fs::symlink_metadata(path)
        {
            incomplete += space::taken(&file);
        }
    });
    let shared: u64 = elsewhere.iter().map(|(_, size)| size).sum();
    CachedModel {
        folder: repository.folder().to_owned(),
        size_on_disk: space::reclaimable(repository.folder()).0 + shared,
        incomplete,
        last_used,
        revisions,
        id,
    }
}

fn lies_in(target: &Path, folder: &Path) -> bool {
    fs::canonicalize(folder).is_ok_and(|folder| target.starts_with(folder))
}
