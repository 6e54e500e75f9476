//! Hashing once more what is in the cache. What is damaged is taken out of it, so that no model is loaded
//! from it and the next fetch gets it again.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::cache::Repository;
use super::fetch::not_cached;
use super::hash::{BlobHash, hash_file};
use super::id::ModelId;
use super::job::Job;
use super::options::HubOptions;
use crate::error::Result;
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
        let fine = |file: &VerifiedFile| matches!(file.verdict, Verdict::Intact | Verdict::Unknown);
        self.files.iter().all(fine)
    }
}

/// What was found about one file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifiedFile {
    /// Its name in the repository.
    pub name: String,
    /// Its size in bytes; 0 when it is missing.
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
pub(crate) fn verify(options: &HubOptions, id: &ModelId, job: &Arc<Job>) -> Result<Verified> {
    let repository = Repository::new(&options.cache, id, options.symlinks);
    let revision = id.revision_or_default();
    let Some(commit) = repository.commit_of(revision) else {
        return Err(not_cached(options, id, format!("revision {revision}")));
    };
    let notes = repository.recall(&commit).unwrap_or_default();
    let mut sizes = repository.files_of(&commit);
    if sizes.is_empty() {
        let missing = format!("files of commit {commit}");
        return Err(not_cached(options, id, missing));
    }
    for name in notes.files.keys() {
        sizes.entry(name.clone()).or_default();
    }
    let planned = sizes
        .iter()
        .map(|(name, size)| (name.clone(), size.unwrap_or(0)));
    let gauges = job.plan(Phase::Verify, planned);
    // Several names may lead to one content, which is hashed once.
    let mut hashed: BTreeMap<BlobHash, BlobHash> = BTreeMap::new();
    let mut files = Vec::new();
    for ((name, size), gauge) in sizes.into_iter().zip(&gauges) {
        let noted = notes.files.get(&name).map(|note| note.size);
        let note = notes.files.get(&name);
        let promised = note.and_then(|note| BlobHash::of_tag(&note.tag));
        let promised = promised.or_else(|| repository.hash_of(&commit, &name, &notes));
        let verdict = match (size, noted, promised) {
            (None, _, _) => Verdict::Missing,
            (Some(size), Some(noted), _) if size != noted => Verdict::Corrupt {
                expected: format!("{noted} bytes"),
                got: format!("{size} bytes"),
            },
            (_, _, None) => Verdict::Unknown,
            (_, _, Some(promised)) => {
                let path = repository.pointer(&commit, &name);
                let shared = path.is_symlink();
                let known = hashed.get(&promised).filter(|_| shared).cloned();
                let got = match known {
                    Some(got) => got,
                    None => hash_file(&path, &promised, job, gauge)?,
                };
                if shared {
                    hashed.insert(promised.clone(), got.clone());
                }
                match got == promised {
                    true => Verdict::Intact,
                    false => Verdict::Corrupt {
                        expected: promised.to_string(),
                        got: got.to_string(),
                    },
                }
            }
        };
        if let (Verdict::Corrupt { .. }, Some(hash)) =
            (&verdict, repository.hash_of(&commit, &name, &notes))
        {
            repository.discard(&commit, &name, &hash);
        }
        gauge.done();
        files.push(VerifiedFile {
            name,
            size: size.unwrap_or(0),
            verdict,
        });
    }
    Ok(Verified { commit, files })
}
