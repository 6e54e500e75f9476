//! A blob that is still being fetched: a file that grows from its start, and the hash of it.
//!
//! Writing and hashing run on a thread of their own, beside the network. What an earlier call left
//! behind only saves work: it is read and hashed again, and nothing becomes a blob before the hash of
//! the whole is right. The thread keeps the blob's lock until it has ended, so that two never write to
//! one file.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use tokio::sync::mpsc;
use tokio::task::{JoinHandle, spawn_blocking};

use super::cache::remove_if_there;
use super::hash::BlobHash;
use super::lock::Lock;
use crate::error::{Error, Result};

/// How many pieces from the network may wait to be written.
const QUEUE: usize = 64;

/// See the module.
pub(crate) struct PartialFile {
    path: PathBuf,
    hash: BlobHash,
    size: u64,
    lock: Arc<Lock>,
    len: u64,
    writer: Option<Writer>,
    abandoned: Arc<AtomicBool>,
}

struct Writer {
    sender: mpsc::Sender<Bytes>,
    result: JoinHandle<Result<BlobHash>>,
}

impl PartialFile {
    /// The file at `path` for a content of `size` bytes. What is there is kept if `resume`.
    pub(crate) fn open(
        path: PathBuf,
        hash: &BlobHash,
        size: u64,
        lock: Arc<Lock>,
        resume: bool,
    ) -> Result<PartialFile> {
        let mut file = PartialFile {
            len: length(&path)
                .filter(|len| resume && *len <= size)
                .unwrap_or(0),
            path,
            hash: hash.clone(),
            size,
            lock,
            writer: None,
            abandoned: Arc::default(),
        };
        file.start()?;
        Ok(file)
    }

    /// Bytes that are there or on their way to the disk.
    pub(crate) fn len(&self) -> u64 {
        self.len
    }

    /// Appends bytes.
    pub(crate) async fn write(&mut self, bytes: Bytes) -> Result<()> {
        self.len += bytes.len() as u64;
        match &self.writer {
            Some(writer) if writer.sender.send(bytes).await.is_ok() => Ok(()),
            // The thread ended, and says why.
            _ => self.end().await.map(|_| ()),
        }
    }

    /// Throws away what is there.
    pub(crate) async fn restart(&mut self) -> Result<()> {
        self.abandoned.store(true, Ordering::Relaxed);
        // Why it ended is of no interest: everything is done again.
        let _ = self.end().await;
        self.abandoned = Arc::default();
        self.len = 0;
        self.start()
    }

    /// The hash of the whole file, once all of it is on its way to the disk.
    pub(crate) async fn finish(mut self) -> Result<BlobHash> {
        self.end().await
    }

    fn start(&mut self) -> Result<()> {
        let file = self.open_file().map_err(|error| self.write_error(&error))?;
        let (sender, receiver) = mpsc::channel(QUEUE);
        let (len, size, path) = (self.len, self.size, self.path.clone());
        let mut hasher = self.hash.hasher(size);
        let (abandoned, lock) = (Arc::clone(&self.abandoned), Arc::clone(&self.lock));
        let result = spawn_blocking(move || {
            let _lock = lock;
            write_all(file, len, &mut hasher, receiver, &abandoned).map_err(
                |(written, error)| Error::write(&path, size.saturating_sub(written), &error),
            )?;
            Ok(hasher.finish())
        });
        self.writer = Some(Writer { sender, result });
        Ok(())
    }

    fn open_file(&self) -> io::Result<File> {
        if self.len == 0 {
            remove_if_there(&self.path)?;
        }
        // A link that somebody put in the place of the file must not be written through.
        OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(self.len == 0)
            .open(&self.path)
    }

    async fn end(&mut self) -> Result<BlobHash> {
        let Some(writer) = self.writer.take() else {
            return Err(Error::Panic("the file was finished before".to_owned()));
        };
        drop(writer.sender);
        let result = writer.result.await;
        result.unwrap_or_else(|error| Err(Error::Panic(error.to_string())))
    }

    fn write_error(&self, error: &io::Error) -> Error {
        Error::write(&self.path, self.size.saturating_sub(self.len), error)
    }
}

impl Drop for PartialFile {
    fn drop(&mut self) {
        self.abandoned.store(true, Ordering::Relaxed);
    }
}

/// Hashes the first `len` bytes of `file`, then writes and hashes what comes. An error tells how many
/// bytes there are.
fn write_all(
    mut file: File,
    mut len: u64,
    hasher: &mut super::hash::Hasher,
    mut receiver: mpsc::Receiver<Bytes>,
    abandoned: &AtomicBool,
) -> std::result::Result<(), (u64, io::Error)> {
    let go_on = |_| match abandoned.load(Ordering::Relaxed) {
        true => Err(io::Error::other("abandoned")),
        false => Ok(()),
    };
    let there = hasher.update_from(&mut file, len, go_on);
    there.map_err(|error| (len, error))?;
    while let Some(bytes) = receiver.blocking_recv() {
        file.write_all(&bytes).map_err(|error| (len, error))?;
        hasher.update(&bytes);
        len += bytes.len() as u64;
    }
    Ok(())
}

/// The length of a regular file; `None` for anything else, links included.
fn length(path: &Path) -> Option<u64> {
    let metadata = fs::symlink_metadata(path).ok()?;
    metadata.is_file().then_some(metadata.len())
}
