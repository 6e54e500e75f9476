//! Room on the disk: how much there is, and what takes it.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::Path;

use super::walk::walk;

use crate::error::{Error, Result};

/// Fails when the disk at `path` has less room than `needed` bytes. Says nothing where the system does
/// not tell how much there is.
pub(super) fn check(path: &Path, needed: u64) -> Result<()> {
    match fs4::available_space(path) {
        Ok(available) if available < needed => Err(Error::DiskFull {
            path: path.display().to_string(),
            needed,
            available,
        }),
        _ => Ok(()),
    }
}

/// How many bytes of the disk a file takes, which for one with gaps is less than its length.
#[cfg(unix)]
pub(super) fn taken(file: &fs::Metadata) -> u64 {
    use std::os::unix::fs::MetadataExt as _;
    file.len().min(file.blocks().saturating_mul(512))
}

/// How many bytes of the disk a file takes.
#[cfg(not(unix))]
pub(super) fn taken(file: &fs::Metadata) -> u64 {
    file.len()
}

/// What tells one file from another that has the same content, and how many names it has.
#[cfg(unix)]
fn identity(file: &fs::Metadata, _path: &Path) -> ((u64, u64), u64) {
    use std::os::unix::fs::MetadataExt as _;
    ((file.dev(), file.ino()), file.nlink())
}

/// Elsewhere the standard library does not tell, so every name counts as a file.
#[cfg(not(unix))]
fn identity(_file: &fs::Metadata, path: &Path) -> (std::path::PathBuf, u64) {
    (path.to_owned(), 1)
}

/// Whether a file is gone when this name of it is.
#[cfg(unix)]
pub(super) fn is_last_name(file: &fs::Metadata) -> bool {
    std::os::unix::fs::MetadataExt::nlink(file) <= 1
}

/// Elsewhere the standard library does not tell.
#[cfg(not(unix))]
pub(super) fn is_last_name(_file: &fs::Metadata) -> bool {
    true
}

/// How many bytes would be free without anything below `folder`, and how many files that are. A file
/// that has another name elsewhere would stay.
pub(super) fn reclaimable(folder: &Path) -> (u64, usize) {
    let mut files = BTreeMap::new();
    walk(folder, &mut |_, path| {
        if let Ok(file) = fs::symlink_metadata(path)
            && file.is_file()
        {
            let (identity, names) = identity(&file, path);
            let entry = files.entry(identity).or_insert((taken(&file), names));
            entry.1 -= 1;
        }
    });
    let last = files.values().filter(|(_, names)| *names == 0);
    last.fold((0, 0), |(bytes, count), (size, _)| {
        (bytes + size, count + 1)
    })
}

/// The error for a write at `path` that failed while `needed` bytes were still to be written.
pub(super) fn write_error(path: &Path, needed: u64, error: &io::Error) -> Error {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Error::DiskFull {
            path: path.display().to_string(),
            needed,
            // A quota leaves less than the disk has.
            available: match error.kind() {
                io::ErrorKind::StorageFull => {
                    let folder = path.parent().unwrap_or(path);
                    fs4::available_space(folder).unwrap_or(0)
                }
                _ => 0,
            },
        },
        _ => Error::io(path, error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Code;

    #[test]
    fn too_little_room() {
        let folder = tempfile::tempdir().unwrap();
        check(folder.path(), 1).unwrap();
        let error = check(folder.path(), u64::MAX).unwrap_err();
        assert_eq!(error.code(), Code::DiskFull);
        // A path that is not there has no disk to ask.
        check(&folder.path().join("x"), u64::MAX).unwrap();
    }

    #[test]
    fn names_of_one_file_count_once() {
        let folder = tempfile::tempdir().unwrap();
        let below = folder.path().join("below");
        fs::create_dir(&below).unwrap();
        fs::write(below.join("a"), [1; 5000]).unwrap();
        fs::write(below.join("b"), [1; 100]).unwrap();
        assert_eq!(reclaimable(&below), (5100, 2));
        #[cfg(unix)]
        {
            fs::hard_link(below.join("a"), below.join("c")).unwrap();
            assert_eq!(reclaimable(&below), (5100, 2));
            fs::hard_link(below.join("a"), folder.path().join("outside")).unwrap();
            assert_eq!(reclaimable(&below), (100, 1));
        }
    }

    #[test]
    fn writes_that_fail() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x");
        let code = |kind: io::ErrorKind| write_error(&path, 5, &kind.into()).code();
        assert_eq!(code(io::ErrorKind::StorageFull), Code::DiskFull);
        assert_eq!(code(io::ErrorKind::QuotaExceeded), Code::DiskFull);
        assert_eq!(code(io::ErrorKind::PermissionDenied), Code::Io);
    }
}
