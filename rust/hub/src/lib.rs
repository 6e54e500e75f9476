//! Models from the Hugging Face Hub: found, fetched, checked, kept and removed again.
//!
//! [`Hub::fetch`] is all that loading a model needs: it looks into the cache first, which is the one
//! that Python's huggingface_hub uses, and asks the Hub only for what is missing. A revision is resolved
//! to a commit once, everything is fetched by that commit, and nothing gets a place in the cache before
//! its hash is right.
//!
//! It is built on reqwest, and not on the official client above it, because no call of hf-hub 1.0 leaves
//! room for that:
//!
//! - `list_tree` and `get_paths_info` lose the SHA-256 of large files: the Hub calls it `lfs.oid` there,
//!   hf-hub reads `lfs.sha256`.
//! - `get_file_metadata` follows redirects, after which `X-Linked-Etag`, the hash, is gone.
//! - `info` reads a document of any length into memory; with it alone there is no hash.
//! - `download_file_stream` does not tell the status nor `Content-Range`, so that a resumed download
//!   cannot be told from a whole one, and sends a HEAD before each range.
//! - All of them take a token from the environment when they are given none, and send it to wherever a
//!   `Link` header leads; none has a time limit for silence, and `Retry-After` is heeded by none.
//!
//! | file | subject |
//! |---|---|
//! | `id` | names of models |
//! | `options`, `token` | settings and the environment |
//! | `names` | which names from outside may become paths |
//! | `http` | requests, redirects, retries |
//! | `api` | what the Hub says about models and files |
//! | `select` | which files are needed |
//! | `cache`, `lock` | the cache on disk |
//! | `blob`, `partial`, `hash` | one content: lock, fetch, check, publish |
//! | `fetch`, `list`, `remove`, `verify` | the verbs |
//! | `job`, `progress` | a verb's thread, its progress, and how a caller stops it |

#![forbid(unsafe_code)]

mod api;
mod blob;
mod cache;
pub mod error;
mod fetch;
mod hash;
mod http;
mod id;
mod job;
mod list;
mod lock;
mod names;
mod options;
mod partial;
pub mod progress;
mod remove;
mod select;
mod token;
mod verify;

use std::path::PathBuf;
use std::sync::Arc;

use reqwest::Url;

pub use self::id::ModelId;
pub use self::list::{CachedModel, CachedRevision};
pub use self::options::HubOptions;
pub use self::remove::Removed;
pub use self::token::Token;
pub use self::verify::{Verdict, Verified, VerifiedFile};
use crate::error::{Error, Result};
use crate::progress::Listener;

/// A Hub, and the cache of what was fetched from it.
///
/// Every operation blocks until it is done; those that take long report to a [`Listener`], which runs
/// on the calling thread and can end them within a second. A `Hub` can be shared between threads, and
/// several processes can use one cache at a time.
#[derive(Debug, Clone)]
pub struct Hub {
    shared: Arc<Shared>,
}

/// What the operations of one Hub share.
#[derive(Debug)]
struct Shared {
    options: HubOptions,
    endpoint: Url,
}

/// A model's files in the cache.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// The folder in which the files lie, by their names in the repository.
    pub folder: PathBuf,
    /// The commit that they belong to.
    pub commit: String,
    /// The files that are needed, by name.
    pub files: Vec<SnapshotFile>,
    /// The GGUF file to open, if the model is one; the first one, if it is split.
    pub gguf: Option<PathBuf>,
}

/// One file of a [`Snapshot`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SnapshotFile {
    /// Its name in the repository, with `/` between folders.
    pub name: String,
    /// Its size in bytes.
    pub size: u64,
}

impl Hub {
    /// A Hub as `options` say. Nothing is read or asked yet.
    pub fn new(mut options: HubOptions) -> Result<Hub> {
        let endpoint = options.check()?;
        // The folder of a snapshot is good from wherever it is used.
        options.cache = std::path::absolute(&options.cache)
            .map_err(|error| Error::io(&options.cache, &error))?;
        Ok(Hub {
            shared: Arc::new(Shared { options, endpoint }),
        })
    }

    /// The options that it was made with, with an absolute cache folder.
    pub fn options(&self) -> &HubOptions {
        &self.shared.options
    }

    /// Everything that is needed to load a model, from the cache or else from the Hub.
    ///
    /// A revision that is complete in the cache is used without any request, however old it is; see
    /// [`pull`](Hub::pull). When other programs have put files into the cache and it cannot be told
    /// whether they are all, the Hub is asked once; if it cannot be reached, they are used as they are.
    ///
    /// # Errors
    ///
    /// [`ModelNotFound`](Error::ModelNotFound), [`RevisionNotFound`](Error::RevisionNotFound),
    /// [`FileNotFound`](Error::FileNotFound), [`GatedModel`](Error::GatedModel) and
    /// [`Unauthorized`](Error::Unauthorized) as the Hub says;
    /// [`ModelNotCached`](Error::ModelNotCached) when something is missing in offline mode;
    /// [`HubUnavailable`](Error::HubUnavailable) when the Hub does not answer, or not sensibly;
    /// [`Checksum`](Error::Checksum) when wrong bytes came twice;
    /// [`DiskFull`](Error::DiskFull) and [`Io`](Error::Io) for the cache;
    /// [`InvalidFile`](Error::InvalidFile) for an index of shards that is none;
    /// [`InvalidArgument`](Error::InvalidArgument) when there are several GGUF files to choose from.
    /// [`Cancelled`](Error::Cancelled) or [`CallbackFailed`](Error::CallbackFailed) when the listener
    /// ended it. What was fetched until then is kept, and a next call goes on from there.
    pub fn fetch(&self, id: &ModelId, progress: &mut Listener<'_>) -> Result<Snapshot> {
        let (shared, id) = (Arc::clone(&self.shared), id.clone());
        job::run(progress, move |job| fetch::fetch(&shared, &id, job))
    }

    /// Like [`fetch`](Hub::fetch), but always asks the Hub which commit the revision is now. In offline
    /// mode the two are the same.
    pub fn pull(&self, id: &ModelId, progress: &mut Listener<'_>) -> Result<Snapshot> {
        let (shared, id) = (Arc::clone(&self.shared), id.clone());
        job::run(progress, move |job| fetch::pull(&shared, &id, job))
    }

    /// The models in the cache, by name.
    pub fn list(&self) -> Result<Vec<CachedModel>> {
        list::list(&self.shared.options.cache)
    }

    /// Removes a model from the cache: all of it, or only one revision when `id` names one. Contents that
    /// other revisions have as well stay. A quantisation in `id` makes no difference.
    ///
    /// # Errors
    ///
    /// [`ModelNotCached`](Error::ModelNotCached) when there is nothing to remove, and
    /// [`Io`](Error::Io) when files cannot be deleted, or when another process is fetching them and
    /// does not end within a few seconds.
    pub fn remove(&self, id: &ModelId) -> Result<Removed> {
        remove::remove(&self.shared.options, id)
    }

    /// Hashes what is in the cache of a model's revision once more. No request is made. Files that are
    /// damaged are taken out of the cache, so that the next [`fetch`](Hub::fetch) gets them again.
    ///
    /// # Errors
    ///
    /// [`ModelNotCached`](Error::ModelNotCached) when nothing of it is there, [`Io`](Error::Io) when
    /// something cannot be read. That files are damaged is no error but a [`Verdict`].
    pub fn verify(&self, id: &ModelId, progress: &mut Listener<'_>) -> Result<Verified> {
        let (shared, id) = (Arc::clone(&self.shared), id.clone());
        job::run(progress, move |job| {
            verify::verify(&shared.options, &id, job)
        })
    }
}
