//! One content, from the Hub into the cache.
//!
//! A blob gets its name only when it is complete and checked against the hash that its tag promises.
//! Until then it has another name, so whatever ends the work leaves the cache as it was, and a partial
//! file to go on with.

use std::fs::{self, File};
use std::io;
use std::sync::Arc;

use super::api;
use super::cache::{Repository, substitute_tag};
use super::digest::{Promise, hash_file};
use super::events::{Gauge, Job};
use super::id::ModelId;
use super::lock::Lock;
use super::partial::{Partial, remove_if_there};
use super::request::Client;
use super::space;
use super::transfer::{Outcome, Source, Transfer};
use super::xet::Xet;
use crate::error::{Error, Result};

/// A content that is wanted, under one or several names.
#[derive(Debug, Clone)]
pub(super) struct Wanted {
    /// The files of the commit that have this content.
    pub(super) names: Vec<String>,
    /// What the Hub said about it.
    pub(super) info: api::FileInfo,
}

impl Wanted {
    /// The name by which the files are called in messages and in requests.
    pub(super) fn name(&self) -> &str {
        &self.names[0]
    }
}

/// What all contents of one commit are fetched with.
pub(super) struct Fetch<'a> {
    pub(super) client: &'a Client,
    pub(super) id: &'a ModelId,
    pub(super) commit: &'a str,
    pub(super) repository: &'a Repository,
    pub(super) xet: Xet<'a>,
    pub(super) job: &'a Arc<Job>,
}

impl Fetch<'_> {
    /// Whether a content is in the snapshot already, under all of its names and with the right size.
    pub(super) fn is_there(&self, wanted: &Wanted) -> bool {
        wanted.names.iter().all(|name| {
            let pointer = self.repository.pointer(self.commit, name);
            let tagged = match &wanted.info.tag {
                Some(tag) => match self.repository.tag_of(self.commit, name) {
                    Some(linked) => linked == *tag,
                    // A copy or a hard link has no tag.
                    None => true,
                },
                None => true,
            };
            let fits = |length: u64| wanted.info.size.is_none_or(|size| size == length);
            tagged && fs::metadata(pointer).is_ok_and(|file| file.is_file() && fits(file.len()))
        })
    }

    /// How many bytes of a content are still to be written.
    pub(super) fn lacking(&self, wanted: &Wanted) -> u64 {
        let (Some(size), Some(tag)) = (wanted.info.size, &wanted.info.tag) else {
            return 0;
        };
        if fs::metadata(self.repository.blob(tag)).is_ok_and(|blob| blob.len() == size) {
            return 0;
        }
        let paths = self.repository.partial(tag, None);
        let started = fs::metadata(&paths.data).or_else(|_| fs::metadata(&paths.foreign));
        size.saturating_sub(started.map_or(0, |file| space::taken(&file)))
    }

    /// Brings a content into the cache and the snapshot, and returns its size.
    pub(super) async fn run(&self, wanted: &Wanted, gauge: &Gauge) -> Result<u64> {
        let tag = match &wanted.info.tag {
            Some(tag) => tag.clone(),
            None => substitute_tag(self.commit, wanted.name()),
        };
        let lock = Lock::acquire(&self.repository.lock(&tag)).await;
        let lock = lock.map_err(|error| match error {
            Error::Io { reason, .. } => self.repository.unwritable(&std::io::Error::other(reason)),
            other => other,
        })?;
        // Somebody may have removed the model while this waited.
        self.repository.prepare()?;
        let tag = match self.existing(&tag, wanted).await? {
            true => tag,
            false => self.download(&tag, wanted, gauge, &lock).await?,
        };
        for name in &wanted.names {
            self.repository.link(self.commit, name, &tag)?;
        }
        let blob = self.repository.blob(&tag);
        let size = fs::metadata(&blob).map_err(|error| Error::io(&blob, &error))?;
        drop(lock);
        gauge.done(size.len());
        Ok(size.len())
    }

    /// Whether the blob is there. One that cannot be right is deleted.
    async fn existing(&self, tag: &str, wanted: &Wanted) -> Result<bool> {
        let blob = self.repository.blob(tag);
        let Ok(metadata) = fs::metadata(&blob) else {
            // Nothing, or a link to nothing.
            remove_if_there(&blob).map_err(|error| Error::io(&blob, &error))?;
            return Ok(false);
        };
        let fits = wanted.info.size.is_none_or(|size| size == metadata.len());
        let right = metadata.is_file() && fits && self.has_promised_hash(tag, wanted).await?;
        if !right {
            tracing::warn!(
                "{} has {} bytes and is fetched again",
                blob.display(),
                metadata.len()
            );
            remove_if_there(&blob).map_err(|error| Error::io(&blob, &error))?;
        }
        Ok(right)
    }

    /// Whether a blob of the right size is what it is named. That was seen to when it was made; only where the Hub
    /// does not say the size, it is hashed again.
    async fn has_promised_hash(&self, tag: &str, wanted: &Wanted) -> Result<bool> {
        let promise = Promise::of_tag(tag);
        if wanted.info.size.is_some() || !promise.can_be_checked() {
            return Ok(true);
        }
        let (blob, job) = (self.repository.blob(tag), Arc::clone(self.job));
        let hashed = tokio::task::spawn_blocking(move || {
            let file = File::open(&blob).map_err(|error| Error::io(&blob, &error))?;
            let hash =
                hash_file::<Ended>(&file, &promise, |_| job.check().map_err(Ended::ByCaller));
            match hash {
                Ok(hash) => Ok(promise.with_hash(hash) == promise),
                Err(Ended::ByCaller(error)) => Err(error),
                Err(Ended::ByFile(error)) => Err(Error::io(&blob, &error)),
            }
        });
        hashed
            .await
            .unwrap_or_else(|error| Err(Error::Panic(error.to_string())))
    }

    /// Fetches a content and makes it a blob, whose name is returned. What was wrong is fetched once
    /// more from the start.
    async fn download(
        &self,
        tag: &str,
        wanted: &Wanted,
        gauge: &Gauge,
        lock: &Lock,
    ) -> Result<String> {
        let promise = Promise::of_tag(tag);
        // Without a lock another process may be at the same file.
        let owner = (!lock.excludes()).then(std::process::id);
        let paths = self.repository.partial(tag, owner);
        let mut again = false;
        loop {
            // Bytes that no hash will check are not taken from an earlier run.
            let resume = promise.can_be_checked() && !again;
            let partial = Partial::open(&paths, wanted.info.size, resume)
                .map_err(|error| space::write_error(&paths.data, 0, &error))?;
            let source = Source {
                client: self.client,
                id: self.id,
                commit: self.commit,
                name: wanted.name(),
                url: api::file_url(self.client, self.id, self.commit, wanted.name())?,
                tag: wanted.info.tag.as_deref(),
                promise: &promise,
            };
            let transfer = Transfer::new(source, gauge, partial, wanted.info.size)?;
            if let (Some(hash), Some(size), false) = (&wanted.info.xet, wanted.info.size, again)
                && self.client.options().xet
            {
                self.xet.fetch(&transfer, hash, size).await?;
            }
            let (expected, got) = match transfer.run().await? {
                Outcome::Complete { file, size, hash } => {
                    let got = hash.map(|hash| promise.with_hash(hash));
                    match got {
                        Some(got) if promise.can_be_checked() && got != promise => {
                            (promise.shown(), got.shown())
                        }
                        got => {
                            let name = match (&wanted.info.tag, got) {
                                (None, Some(Promise::Sha256(hash))) => hash,
                                _ => tag.to_owned(),
                            };
                            // A server may have sent more once than it does now.
                            let published = file.set_len(size).and_then(|()| {
                                // What no hash can check again waits for the disk.
                                if !promise.can_be_checked() {
                                    file.sync_all()?;
                                }
                                fs::rename(&paths.data, self.repository.blob(&name))
                            });
                            published
                                .map_err(|error| space::write_error(&paths.data, 0, &error))?;
                            paths
                                .remove()
                                .map_err(|error| Error::io(&paths.data, &error))?;
                            return Ok(name);
                        }
                    }
                }
                Outcome::Wrong { expected, got } => (expected, got),
            };
            paths
                .remove()
                .map_err(|error| Error::io(&paths.data, &error))?;
            let name = wanted.name();
            if again {
                return Err(Error::Checksum {
                    file: name.to_owned(),
                    expected,
                    got,
                });
            }
            tracing::warn!("{name}: expected {expected}, got {got}; fetching it again");
            again = true;
        }
    }
}

/// Why hashing ended before the end.
enum Ended {
    ByCaller(Error),
    ByFile(io::Error),
}

impl From<io::Error> for Ended {
    fn from(error: io::Error) -> Self {
        Ended::ByFile(error)
    }
}
