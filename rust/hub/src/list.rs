//! What is in the cache.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::SnapshotFile;
use super::cache::{Repository, walk};
use super::id::ModelId;
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
pub(crate) fn list(cache: &Path) -> Result<Vec<CachedModel>> {
    let folders = match fs::read_dir(cache) {
        Ok(folders) => folders,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(Error::io(cache, &error)),
    };
    // What other programs keep there is passed over.
    let models = folders.flatten().filter_map(|folder| {
        let name = folder.file_name();
        let name = name.to_str()?.strip_prefix("models--")?.replace("--", "/");
        let id = ModelId::new(&name).ok()?;
        folder.path().is_dir().then(|| model(cache, id))
    });
    let mut models: Vec<CachedModel> = models.collect();
    models.sort_by(|one, other| one.id.repository().cmp(other.id.repository()));
    Ok(models)
}

fn model(cache: &Path, id: ModelId) -> CachedModel {
    let repository = Repository::new(cache, &id, true);
    let mut last_used = None;
    let mut revisions: Vec<CachedRevision> = Vec::new();
    for commit in repository.commits() {
        let mut last_modified = None;
        let mut files = Vec::new();
        for (name, path) in walk(&repository.snapshot(&commit)) {
            // Nothing for a link to nothing.
            if let Ok(file) = fs::metadata(path) {
                last_modified = last_modified.max(file.modified().ok());
                last_used = last_used.max(file.accessed().ok());
                let size = file.len();
                files.push(SnapshotFile { name, size });
            }
        }
        files.sort_by(|one, other| one.name.cmp(&other.name));
        revisions.push(CachedRevision {
            refs: repository.references_to(&commit),
            size: files.iter().map(|file| file.size).sum(),
            files,
            last_modified,
            commit,
        });
    }
    revisions.sort_by_key(|revision| std::cmp::Reverse(revision.last_modified));
    let incomplete = walk(&repository.blobs())
        .filter(|(name, _)| name.ends_with(".incomplete"))
        .filter_map(|(_, path)| Some(fs::symlink_metadata(path).ok()?.len()))
        .sum();
    CachedModel {
        folder: repository.folder().to_owned(),
        size_on_disk: repository.usage().0,
        incomplete,
        last_used,
        revisions,
        id,
    }
}
