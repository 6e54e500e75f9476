//! A file that is still being fetched, from its start onward.
//!
//! Python's huggingface_hub resumes `TAG.incomplete` by its length in old versions, and lists such files as leftovers to
//! clean up in all of them. Ours has a name of its own; what an old version left behind is taken over.
//!
//! Its length only saves work. It is never believed: the whole file is hashed before it becomes a blob, and content
//! that cannot be checked by a hash is never resumed.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Where a download lies until it is complete.
#[derive(Debug, Clone)]
pub(super) struct PartialPaths {
    /// Our file.
    pub(super) data: PathBuf,
    /// What an older version of Python's client may have left.
    pub(super) foreign: PathBuf,
}

impl PartialPaths {
    /// Deletes whatever is there.
    pub(super) fn remove(&self) -> io::Result<()> {
        remove_if_there(&self.data)?;
        remove_if_there(&self.foreign)
    }
}

/// A file that is still being fetched.
pub(super) struct Partial {
    path: PathBuf,
    file: Arc<File>,
    len: u64,
}

impl Partial {
    /// Opens what is there, or begins anew when `resume` is false or nothing usable is there.
    pub(super) fn open(
        paths: &PartialPaths,
        size: Option<u64>,
        resume: bool,
    ) -> io::Result<Partial> {
        if resume
            && length_of_file(&paths.data).is_none()
            && length_of_file(&paths.foreign).is_some()
        {
            fs::rename(&paths.foreign, &paths.data)?;
        }
        let len = match length_of_file(&paths.data) {
            Some(len) if resume && size.is_none_or(|size| len <= size) => len,
            _ => 0,
        };
        if len == 0 {
            paths.remove()?;
        }
        // A link that somebody put in the place of the file must not be written through.
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(len == 0)
            .open(&paths.data)?;
        Ok(Partial {
            path: paths.data.clone(),
            file: Arc::new(file),
            len,
        })
    }

    /// The file, to read back what was written.
    pub(super) fn file(&self) -> &Arc<File> {
        &self.file
    }

    /// Where the file lies.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Bytes that are there.
    pub(super) fn len(&self) -> u64 {
        self.len
    }

    /// Appends bytes.
    pub(super) fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        write_all_at(&self.file, bytes, self.len)?;
        self.len += bytes.len() as u64;
        Ok(())
    }

    /// Forgets all bytes.
    pub(super) fn reset(&mut self) -> io::Result<()> {
        self.len = 0;
        self.file.set_len(0)
    }
}

/// The length of a regular file; nothing for anything else, links included.
fn length_of_file(path: &Path) -> Option<u64> {
    let metadata = fs::symlink_metadata(path).ok()?;
    metadata.is_file().then_some(metadata.len())
}

/// Deletes a file or link that need not be there.
pub(super) fn remove_if_there(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn write_all_at(file: &File, bytes: &[u8], at: u64) -> io::Result<()> {
    #[cfg(unix)]
    return std::os::unix::fs::FileExt::write_all_at(file, bytes, at);
    #[cfg(windows)]
    {
        let mut written = 0;
        while written < bytes.len() {
            let more = std::os::windows::fs::FileExt::seek_write(
                file,
                &bytes[written..],
                at + written as u64,
            )?;
            if more == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
            written += more;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paths(folder: &Path) -> PartialPaths {
        PartialPaths {
            data: folder.join("data"),
            foreign: folder.join("foreign"),
        }
    }

    #[test]
    fn what_was_written_is_resumed_unless_it_is_too_long_or_no_file() {
        let folder = tempfile::tempdir().unwrap();
        let paths = paths(folder.path());
        let mut partial = Partial::open(&paths, Some(10), true).unwrap();
        partial.write(b"abc").unwrap();
        drop(partial);
        let mut partial = Partial::open(&paths, Some(10), true).unwrap();
        assert_eq!(partial.len(), 3);
        partial.write(b"def").unwrap();
        assert_eq!(fs::read(&paths.data).unwrap(), b"abcdef");
        assert_eq!(Partial::open(&paths, Some(5), true).unwrap().len(), 0);
        fs::write(&paths.data, "abc").unwrap();
        assert_eq!(Partial::open(&paths, None, false).unwrap().len(), 0);
        #[cfg(unix)]
        {
            let target = folder.path().join("target");
            fs::write(&target, "precious").unwrap();
            fs::remove_file(&paths.data).unwrap();
            std::os::unix::fs::symlink(&target, &paths.data).unwrap();
            let mut partial = Partial::open(&paths, None, true).unwrap();
            partial.write(b"new").unwrap();
            assert_eq!(fs::read(&target).unwrap(), b"precious");
        }
    }

    #[test]
    fn what_an_older_client_left_is_taken_over() {
        let folder = tempfile::tempdir().unwrap();
        let paths = paths(folder.path());
        fs::write(&paths.foreign, "abc").unwrap();
        assert_eq!(Partial::open(&paths, Some(10), true).unwrap().len(), 3);
        assert!(!paths.foreign.exists());
        fs::write(&paths.foreign, "xyz").unwrap();
        assert_eq!(Partial::open(&paths, Some(10), true).unwrap().len(), 3);
        assert_eq!(fs::read(&paths.data).unwrap(), b"abc");
    }
}
