//! Hashing once more what is in the cache.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::sync::Arc;

use super::cache::Repository;
use super::digest::{Promise, hash_file};
use super::events::{Gauge, Job};
use super::id::ModelId;
use super::options::HubOptions;
use super::remove::not_there;
use crate::error::{Error, Result};
use crate::progress::Phase;

/// What [`Hub::verify`](super::Hub::verify) found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified {
    /// The commit whose files were looked at.
    pub commit: String,
    /// The files, by name.
    pub files: Vec<VerifiedFile>,
}

impl Verified {
    /// Whether no file is corrupt or missing.
    pub fn is_intact(&self) -> bool {
        let bad = |file: &VerifiedFile| {
            matches!(file.verdict, Verdict::Corrupt { .. } | Verdict::Missing)
        };
        !self.files.iter().any(bad)
    }
}

/// What was found about one file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifiedFile {
    /// Its name in the repository.
    pub name: String,
    /// Its size; 0 when it is missing.
    pub size: u64,
    /// Whether it is what it should be.
    pub verdict: Verdict,
}

/// Whether a file is what it should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Its hash is right.
    Intact,
    /// Its hash or its size is wrong.
    Corrupt {
        /// What was promised.
        expected: String,
        /// What is there.
        got: String,
    },
    /// It was fetched once and is not there, or is a link to nothing.
    Missing,
    /// Nobody knows its hash. Its size is right, as far as that is known.
    Unknown,
}

/// See [`Hub::verify`](super::Hub::verify).
pub(super) fn verify(options: &HubOptions, id: &ModelId, job: &Arc<Job>) -> Result<Verified> {
    let repository = Repository::new(&options.cache, id, options.symlinks);
    let revision = id.revision_or_default();
    let Some(commit) = repository.commit_of(revision) else {
        return Err(not_there(options, id, format!("revision {revision}")));
    };
    let ours = repository.recall_own(&commit).unwrap_or_default();
    let known = repository.recall(&commit);
    let mut names = repository.names_of(&commit);
    if names.is_empty() {
        return Err(not_there(options, id, format!("files of commit {commit}")));
    }
    names.extend(ours.files.keys().cloned());

    let sizes = repository.files_of(&commit);
    let gauges = job.plan(
        Phase::Verify,
        names
            .iter()
            .map(|name| (name.clone(), Some(sizes.get(name).copied().unwrap_or(0)))),
    );
    let mut files = Vec::new();
    // Several names may lead to one content, which is hashed once.
    let mut hashed: BTreeMap<String, Promise> = BTreeMap::new();
    for (name, gauge) in names.into_iter().zip(&gauges) {
        let verdict = match sizes.get(&name) {
            None => Verdict::Missing,
            Some(size) => {
                let note = known.files.get(&name);
                let tag = repository
                    .tag_of(&commit, &name)
                    .or_else(|| note.and_then(|note| note.tag.clone()));
                let promise = tag.as_deref().map_or(Promise::Nothing, Promise::of_tag);
                match note.map(|note| note.size) {
                    Some(expected) if expected != *size => Verdict::Corrupt {
                        expected: format!("{expected} bytes"),
                        got: format!("{size} bytes"),
                    },
                    _ if !promise.can_be_checked() => Verdict::Unknown,
                    _ => {
                        let linked = repository.tag_of(&commit, &name);
                        let got = match linked.as_ref().and_then(|tag| hashed.get(tag)) {
                            Some(got) => got.clone(),
                            None => hash(&repository, &commit, &name, &promise, job, gauge)?,
                        };
                        if let Some(tag) = linked {
                            hashed.insert(tag, got.clone());
                        }
                        judge(&promise, &got)
                    }
                }
            }
        };
        let size = sizes.get(&name).copied().unwrap_or(0);
        gauge.done(size);
        files.push(VerifiedFile {
            name,
            size,
            verdict,
        });
    }
    Ok(Verified { commit, files })
}

fn hash(
    repository: &Repository,
    commit: &str,
    name: &str,
    promise: &Promise,
    job: &Job,
    gauge: &Gauge,
) -> Result<Promise> {
    let path = repository.pointer(commit, name);
    let failed = |error: &io::Error| Error::io(&path, error);
    let file = File::open(&path).map_err(|error| failed(&error))?;
    let result = hash_file(&file, promise, |at| {
        gauge.at(at);
        job.check().map_err(Ended::ByCaller)
    });
    match result {
        Ok(hash) => Ok(promise.with_hash(hash)),
        Err(Ended::ByCaller(error)) => Err(error),
        Err(Ended::ByFile(error)) => Err(failed(&error)),
    }
}

enum Ended {
    ByCaller(Error),
    ByFile(io::Error),
}

impl From<io::Error> for Ended {
    fn from(error: io::Error) -> Self {
        Ended::ByFile(error)
    }
}

fn judge(promise: &Promise, got: &Promise) -> Verdict {
    if promise == got {
        return Verdict::Intact;
    }
    Verdict::Corrupt {
        expected: promise.shown(),
        got: got.shown(),
    }
}
