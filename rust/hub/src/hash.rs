//! The hash that names a blob.
//!
//! The Hub tags each file with a hash of its content: files in LFS or Xet storage with their SHA-256,
//! others with their hash as a git blob (the SHA-1 of `blob SIZE\0` and the content). So a download can
//! be checked, and a blob in the cache can be checked again, by its name alone.

use std::fmt;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;

use sha2::digest::DynDigest;

use super::job::{Gauge, Job};
use crate::error::{Error, Result};

/// How much is read and hashed at a time: little enough that a stop is heeded soon.
const BLOCK: usize = 256 * 1024;

/// The hash of a content, in lower case hexadecimal.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum BlobHash {
    Sha256(String),
    GitSha1(String),
}

impl BlobHash {
    /// The hash that an entity tag is; `None` for a tag that is no hash.
    pub(crate) fn of_tag(tag: &str) -> Option<BlobHash> {
        let hexadecimal = tag.bytes().all(|byte| byte.is_ascii_hexdigit());
        match (hexadecimal, tag.len()) {
            (true, 64) => Some(BlobHash::Sha256(tag.to_ascii_lowercase())),
            (true, 40) => Some(BlobHash::GitSha1(tag.to_ascii_lowercase())),
            _ => None,
        }
    }

    /// The blob's file name.
    pub(crate) fn name(&self) -> &str {
        match self {
            BlobHash::Sha256(hash) | BlobHash::GitSha1(hash) => hash,
        }
    }

    /// Computes a hash of this kind for a content of `size` bytes.
    pub(crate) fn hasher(&self, size: u64) -> Hasher {
        match self {
            BlobHash::Sha256(_) => Hasher(BlobHash::Sha256, Box::<sha2::Sha256>::default()),
            BlobHash::GitSha1(_) => {
                let mut digest = Box::<sha1::Sha1>::default();
                DynDigest::update(&mut *digest, format!("blob {size}\0").as_bytes());
                Hasher(BlobHash::GitSha1, digest)
            }
        }
    }
}

impl fmt::Display for BlobHash {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BlobHash::Sha256(hash) => write!(formatter, "SHA-256 {hash}"),
            BlobHash::GitSha1(hash) => write!(formatter, "git SHA-1 {hash}"),
        }
    }
}

/// A hash that is being computed.
pub(crate) struct Hasher(fn(String) -> BlobHash, Box<dyn DynDigest + Send>);

impl Hasher {
    pub(crate) fn update(&mut self, bytes: &[u8]) {
        self.1.update(bytes);
    }

    /// Adds the next `len` bytes of `file`. `go_on` hears how many were read and may end it.
    pub(crate) fn update_from(
        &mut self,
        file: &mut File,
        len: u64,
        mut go_on: impl FnMut(u64) -> io::Result<()>,
    ) -> io::Result<()> {
        let mut block = vec![0; BLOCK];
        let mut read = 0;
        while read < len {
            go_on(read)?;
            let rest = usize::try_from(len - read).unwrap_or(BLOCK).min(BLOCK);
            file.read_exact(&mut block[..rest])?;
            self.update(&block[..rest]);
            read += rest as u64;
        }
        Ok(())
    }

    pub(crate) fn finish(self) -> BlobHash {
        let bytes = self.1.finalize();
        (self.0)(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
    }
}

/// The hash of the whole file at `path`, of the kind that `like` is.
pub(crate) fn hash_file(
    path: &Path,
    like: &BlobHash,
    job: &Job,
    gauge: &Gauge,
) -> Result<BlobHash> {
    let hash = || {
        let mut file = File::open(path)?;
        let size = file.metadata()?.len();
        let mut hasher = like.hasher(size);
        hasher.update_from(&mut file, size, |read| {
            gauge.at(read);
            job.check().map_err(io::Error::other)
        })?;
        Ok(hasher.finish())
    };
    let hashed = hash().map_err(|error: io::Error| Error::io(path, &error));
    // Whatever ended it, a stop is what the caller should hear of.
    job.check().and(hashed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::progress::Phase;

    const SHA256: &str = "5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03";
    const GIT: &str = "ce013625030ba8dba906f756967f9e9ca394464a";

    #[test]
    fn tags_that_are_hashes() {
        assert_eq!(
            BlobHash::of_tag(&SHA256.to_uppercase()),
            Some(BlobHash::Sha256(SHA256.to_owned()))
        );
        assert_eq!(
            BlobHash::of_tag(GIT),
            Some(BlobHash::GitSha1(GIT.to_owned()))
        );
        for tag in ["", "abc", "5f3e-1a2b", &"g".repeat(40), &"a".repeat(65)] {
            assert_eq!(BlobHash::of_tag(tag), None);
        }
    }

    #[test]
    fn whole_files() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("hello");
        std::fs::write(&path, "hello\n").unwrap();
        let job = std::sync::Arc::new(Job::default());
        let gauges = job.plan(Phase::Verify, [("hello".to_owned(), 6)]);
        for tag in [SHA256, GIT] {
            let hash = BlobHash::of_tag(tag).unwrap();
            assert_eq!(hash_file(&path, &hash, &job, &gauges[0]), Ok(hash));
        }
        let missing = hash_file(
            &folder.path().join("x"),
            &BlobHash::of_tag(GIT).unwrap(),
            &job,
            &gauges[0],
        );
        assert!(matches!(missing, Err(Error::Io { .. })));
    }
}
