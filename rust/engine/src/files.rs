//! Reading files with errors that name the file.

use std::fs::{File, Metadata};
use std::io::{self, Read};
use std::path::{Component, Path};

use serde::de::DeserializeOwned;

use crate::error::{Error, Result};

/// The most bytes of a kind of file that is read whole, so that a damaged or hostile one is refused
/// before it fills the memory: parsed JSON takes up to fifty times its bytes. All are several times what has
/// been published.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Limit {
    /// Settings: `config.json` and the like.
    Settings,
    /// `chat_template.jinja`.
    Template,
    /// `model.safetensors.index.json`.
    Index,
    /// `tokenizer.json`, which holds the vocabulary.
    Tokenizer,
}

impl Limit {
    fn bytes(self) -> u64 {
        match self {
            Limit::Settings => 8 << 20,
            Limit::Template => 1 << 20,
            Limit::Index => 24 << 20,
            Limit::Tokenizer => 128 << 20,
        }
    }
}

/// Reads a whole file.
///
/// # Errors
/// [`Error::Io`], and [`Error::InvalidFile`] for what is no file or larger than its limit.
pub(crate) fn read(path: &Path, limit: Limit) -> Result<Vec<u8>> {
    // Asked before it is opened: opening a pipe would wait for its other end.
    let metadata = std::fs::metadata(path).map_err(|e| Error::io(path, &e))?;
    read_whole(path, &metadata, limit)
}

/// Reads a whole file, or nothing when there is none.
///
/// # Errors
/// As [`read`].
pub(crate) fn read_if_present(path: &Path, limit: Limit) -> Result<Option<Vec<u8>>> {
    match std::fs::metadata(path) {
        Ok(metadata) => read_whole(path, &metadata, limit).map(Some),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(Error::io(path, &e)),
    }
}

fn read_whole(path: &Path, metadata: &Metadata, limit: Limit) -> Result<Vec<u8>> {
    let invalid = |reason: String| Error::InvalidFile {
        file: name(path),
        reason,
    };
    if !metadata.is_file() {
        return Err(invalid("is not a regular file".into()));
    }
    let most = limit.bytes();
    let too_large = |len: u64| invalid(format!("has {len} bytes; at most {most} are read"));
    if metadata.len() > most {
        return Err(too_large(metadata.len()));
    }
    let file = File::open(path).map_err(|e| Error::io(path, &e))?;
    let mut bytes = Vec::with_capacity(metadata.len() as usize);
    // It may grow while it is read.
    file.take(most + 1)
        .read_to_end(&mut bytes)
        .map_err(|e| Error::io(path, &e))?;
    if bytes.len() as u64 > most {
        return Err(too_large(bytes.len() as u64));
    }
    Ok(bytes)
}

/// Reads a whole JSON document.
///
/// # Errors
/// As [`read`], and [`Error::InvalidFile`] for what is no such document, which says what it is instead
/// where that can be told.
pub(crate) fn json<T: DeserializeOwned>(path: &Path, bytes: &[u8]) -> Result<T> {
    // Some editors put a mark in front.
    let text = bytes.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(bytes);
    serde_json::from_slice(text).map_err(|e| Error::InvalidFile {
        file: name(path),
        reason: match other_format(bytes) {
            Some(kind) => format!("is {kind} and no JSON document"),
            None => e.to_string(),
        },
    })
}

/// What [`other_kind`] calls the files of weights that are read.
pub(crate) const GGUF: &str = "a GGUF file";
/// See [`GGUF`].
pub(crate) const SAFETENSORS: &str = "a safetensors file";

/// What a file is, judged by its first bytes, when that is known and not what was expected.
pub(crate) fn other_kind(path: &Path, file: &File, expected: &str) -> Result<Option<&'static str>> {
    let mut head = [0; 64];
    let size = file.metadata().map_err(|e| Error::io(path, &e))?.len();
    let length = (size as usize).min(head.len());
    file.read_at(path, 0, &mut head[..length])?;
    Ok(other_format(&head[..length]).filter(|kind| *kind != expected))
}

/// What bytes are the beginning of, of what is often found in the place of something else.
fn other_format(bytes: &[u8]) -> Option<&'static str> {
    let text = bytes.trim_ascii_start();
    let is_html = || {
        [&b"<!doctype"[..], b"<html"].iter().any(|tag| {
            text.get(..tag.len())
                .is_some_and(|head| head.eq_ignore_ascii_case(tag))
        })
    };
    if bytes.is_empty() {
        Some("empty")
    } else if bytes.starts_with(b"version https://git-lfs") {
        Some("a Git LFS pointer (its contents were not fetched: run git lfs pull)")
    } else if is_html() {
        Some("an HTML page (the download was answered with one)")
    } else if bytes.starts_with(b"GGUF") {
        Some(GGUF)
    } else if bytes.starts_with(b"PK\x03\x04") {
        Some("a ZIP archive, as PyTorch saves weights")
    } else if bytes.starts_with(b"\x1F\x8B") {
        Some("a gzip archive")
    } else if bytes.get(8) == Some(&b'{') && bytes[..8].last() == Some(&0) {
        Some(SAFETENSORS)
    } else if bytes.iter().all(|byte| *byte == 0) {
        Some("nothing but zeros (the download was not finished)")
    } else {
        None
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

/// Whether a name from a file is that of a place below a folder, on every system.
pub(crate) fn is_below(name: &str) -> bool {
    let mut parts = Path::new(name).components();
    !name.is_empty()
        && !name.contains(['\\', ':'])
        && parts.all(|part| matches!(part, Component::Normal(_)))
}
