//! Reading files with errors that name the file.

use std::fs::File;
use std::io;
use std::path::Path;

use crate::error::{Error, Result};

/// Reads a whole small file.
pub(crate) fn read(path: &Path) -> Result<Vec<u8>> {
    std::fs::read(path).map_err(|e| Error::io(path, &e))
}

/// Reads a whole small file, or nothing when there is none.
pub(crate) fn read_if_present(path: &Path) -> Result<Option<Vec<u8>>> {
    match std::fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(Error::io(path, &e)),
    }
}

/// The last part of a path, as it stands in messages.
pub(crate) fn name(path: &Path) -> String {
    path.file_name().map_or_else(
        || path.display().to_string(),
        |n| n.to_string_lossy().into_owned(),
    )
}

/// Reading at a position, without moving a shared cursor, so that threads can share one file.
pub(crate) trait ReadAt {
    /// Fills `buffer` from `offset`; a file that ends earlier is an error that says so.
    fn read_at(&self, path: &Path, offset: u64, buffer: &mut [u8]) -> Result<()>;
}

impl ReadAt for File {
    fn read_at(&self, path: &Path, offset: u64, buffer: &mut [u8]) -> Result<()> {
        read_exact_at(self, offset, buffer).map_err(|e| match e.kind() {
            io::ErrorKind::UnexpectedEof => Error::InvalidFile {
                file: name(path),
                reason: format!(
                    "ends before byte {}; it was cut short",
                    offset + buffer.len() as u64
                ),
            },
            _ => Error::io(path, &e),
        })
    }
}

#[cfg(unix)]
fn read_exact_at(file: &File, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
    std::os::unix::fs::FileExt::read_exact_at(file, buffer, offset)
}

#[cfg(windows)]
fn read_exact_at(file: &File, mut offset: u64, mut buffer: &mut [u8]) -> io::Result<()> {
    use std::os::windows::fs::FileExt;
    while !buffer.is_empty() {
        match file.seek_read(buffer, offset) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(n) => {
                offset += n as u64;
                buffer = &mut buffer[n..];
            }
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(())
}
