//! Locks between processes: one file a blob, locked as Python's filelock does it, so that our
//! processes and Python's keep each other out.
//!
//! On Unix that is `flock`, which belongs to the open file and so also keeps two threads of one
//! process apart. Lock files stay when they are let go: a file that is deleted while others wait for it
//! would leave each of them with a lock of its own.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::path::Path;
use std::time::Duration;

use crate::error::{Error, Result};

/// How often a lock that somebody else has is tried again.
pub(crate) const AGAIN: Duration = Duration::from_millis(50);

/// A held lock, let go when dropped.
#[derive(Debug)]
pub(crate) struct Lock {
    /// `None` where the file system has no locks.
    file: Option<File>,
}

impl Lock {
    /// Whether others are really kept out.
    pub(crate) fn excludes(&self) -> bool {
        self.file.is_some()
    }

    /// Waits for the lock as long as it takes. Dropping the future ends the wait.
    pub(crate) async fn acquire(path: &Path) -> Result<Lock> {
        loop {
            if let Some(lock) = Lock::try_acquire(path)? {
                return Ok(lock);
            }
            tokio::time::sleep(AGAIN).await;
        }
    }

    /// The lock, or `None` when somebody else has it.
    pub(crate) fn try_acquire(path: &Path) -> Result<Option<Lock>> {
        let failed = |error: io::Error| Error::io(path, &error);
        loop {
            let file = open(path).map_err(failed)?;
            match file.try_lock() {
                Ok(()) if is_at(&file, path) => return Ok(Some(Lock { file: Some(file) })),
                // Somebody deleted the file before it was locked, so this lock keeps nobody out.
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => return Ok(None),
                Err(TryLockError::Error(error)) if error.kind() == io::ErrorKind::Unsupported => {
                    tracing::warn!("{}: this file system has no locks", path.display());
                    return Ok(Some(Lock { file: None }));
                }
                Err(TryLockError::Error(error)) => return Err(failed(error)),
            }
        }
    }
}

fn open(path: &Path) -> io::Result<File> {
    if fs::symlink_metadata(path).is_ok_and(|metadata| !metadata.is_file()) {
        return Err(io::Error::other("is not a regular file"));
    }
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    options.open(path).or_else(|error| {
        // Deleted just now, with its folder; make both again.
        let folder = path
            .parent()
            .filter(|_| error.kind() == io::ErrorKind::NotFound);
        fs::create_dir_all(folder.ok_or(error)?)?;
        options.open(path)
    })
}

/// Whether `file` is still what lies at `path`.
#[cfg(unix)]
fn is_at(file: &File, path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt as _;
    let identity = |file: &fs::Metadata| (file.dev(), file.ino());
    let (ours, there) = (file.metadata(), fs::symlink_metadata(path));
    matches!((&ours, &there), (Ok(ours), Ok(there)) if identity(ours) == identity(there))
}

/// Windows does not delete a file that is open.
#[cfg(not(unix))]
fn is_at(_file: &File, _path: &Path) -> bool {
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_at_a_time() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("locks").join("a.lock");
        let lock = Lock::try_acquire(&path).unwrap().unwrap();
        assert!(lock.excludes());
        assert!(Lock::try_acquire(&path).unwrap().is_none());
        drop(lock);
        assert!(Lock::try_acquire(&path).unwrap().is_some());
        assert!(path.exists());
    }

    #[test]
    fn waiting_ends_when_the_lock_is_let_go() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.lock");
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .unwrap();
        let lock = Lock::try_acquire(&path).unwrap().unwrap();
        runtime.block_on(async {
            let waiting = Lock::acquire(&path);
            let held = async {
                tokio::time::sleep(AGAIN * 2).await;
                drop(lock);
            };
            let (lock, ()) = tokio::join!(waiting, held);
            assert!(lock.unwrap().excludes());
        });
    }

    #[cfg(unix)]
    #[test]
    fn a_link_is_no_lock() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.lock");
        std::os::unix::fs::symlink(folder.path().join("elsewhere"), &path).unwrap();
        assert!(Lock::try_acquire(&path).is_err());
        assert!(!folder.path().join("elsewhere").exists());
    }
}
