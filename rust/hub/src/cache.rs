//! The cache on disk, laid out as Python's huggingface_hub lays it out:
//!
//! ```text
//! CACHE/
//!   CACHEDIR.TAG
//!   .locks/models--OWNER--NAME/HASH.lock
//!   models--OWNER--NAME/
//!     blobs/HASH                       contents, named by their hashes
//!     blobs/HASH.incomplete            contents that are being fetched
//!     refs/main                        the commit that a branch or tag stood for
//!     snapshots/COMMIT/config.json     links to blobs
//!     .no_exist/COMMIT/NAME            files that a commit is known not to have
//!     .candle4j/COMMIT.json            ours: the commit's files, their sizes and hashes
//! ```
//!
//! Everything here gets its final name by a rename, so that nobody, Python included, ever reads half
//! of something, and nothing is written where it already says the same, so that a cache that cannot be
//! written can still be read.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use walkdir::WalkDir;

use super::hash::BlobHash;
use super::id::ModelId;
use super::lock::Lock;
use super::names;
use crate::error::{Error, Result};

/// What marks a folder for backup programs as one that need not be kept.
const CACHE_TAG: &str = "Signature: 8a477f597d28d172789f06886806bc55\n\
    # This file marks a cache folder of models from the Hugging Face Hub.\n\
    # See https://bford.info/cachedir/\n";

/// Longest notes about a commit that are read back.
const MAX_NOTES: u64 = 64 << 20;

/// One repository's folder in the cache.
#[derive(Debug, Clone)]
pub(crate) struct Repository {
    cache: PathBuf,
    folder: PathBuf,
    locks: PathBuf,
    symlinks: bool,
}

/// What the Hub said about a commit.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Notes {
    /// The files that were fetched.
    pub(crate) files: BTreeMap<String, Note>,
    /// The commit's files, without those that never matter.
    pub(crate) listing: BTreeSet<String>,
}

/// What the Hub said about a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Note {
    pub(crate) size: u64,
    /// Its hash in hexadecimal.
    pub(crate) tag: String,
}

impl Repository {
    /// The folder of `id` in `cache`. Nothing is made yet.
    pub(crate) fn new(cache: &Path, id: &ModelId, symlinks: bool) -> Repository {
        let name = id.folder_name();
        Repository {
            folder: cache.join(&name),
            locks: cache.join(".locks").join(&name),
            cache: cache.to_owned(),
            symlinks,
        }
    }

    /// The repository's own folder.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// The folder of locks, one a blob.
    pub(crate) fn locks(&self) -> &Path {
        &self.locks
    }

    /// The lock of a blob.
    pub(crate) fn lock(&self, hash: &BlobHash) -> PathBuf {
        self.locks.join(format!("{}.lock", hash.name()))
    }

    /// The folder of blobs.
    pub(crate) fn blobs(&self) -> PathBuf {
        self.folder.join("blobs")
    }

    /// Where the content with this hash lies.
    pub(crate) fn blob(&self, hash: &BlobHash) -> PathBuf {
        self.blobs().join(hash.name())
    }

    /// Where the content with this hash is put together. `owner` sets apart processes that no lock
    /// keeps apart.
    pub(crate) fn partial(&self, hash: &BlobHash, owner: Option<u32>) -> PathBuf {
        let owner = owner.map(|id| format!(".{id}")).unwrap_or_default();
        self.blobs()
            .join(format!("{}{owner}.incomplete", hash.name()))
    }

    /// The folder of a commit's files.
    pub(crate) fn snapshot(&self, commit: &str) -> PathBuf {
        self.folder.join("snapshots").join(commit)
    }

    /// Where a commit's file lies.
    pub(crate) fn pointer(&self, commit: &str, name: &str) -> PathBuf {
        self.snapshot(commit).join(name)
    }

    /// The folder of references: branches and tags.
    pub(crate) fn references(&self) -> PathBuf {
        self.folder.join("refs")
    }

    /// Where what is known about a commit lies.
    pub(crate) fn notes(&self, commit: &str) -> PathBuf {
        self.folder.join(".candle4j").join(format!("{commit}.json"))
    }

    /// The folder of marks for files that a commit does not have.
    pub(crate) fn absences(&self, commit: &str) -> PathBuf {
        self.folder.join(".no_exist").join(commit)
    }

    /// Makes the folders that a download needs. An error names the cache folder, which is what a user
    /// can change.
    pub(crate) fn prepare(&self) -> Result<()> {
        fs::create_dir_all(self.blobs())
            .and_then(|()| fs::create_dir_all(&self.locks))
            .map_err(|error| self.unwritable(&error))?;
        let tag = self.cache.join("CACHEDIR.TAG");
        if !tag.exists() {
            log_failure(&tag, fs::write(&tag, CACHE_TAG));
        }
        Ok(())
    }

    /// The error for a cache in which something cannot be written.
    pub(crate) fn unwritable(&self, error: &io::Error) -> Error {
        match Error::write(&self.cache, 0, error) {
            Error::Io { path, reason } => Error::Io {
                path,
                reason: format!("cannot be written to: {reason}"),
            },
            full => full,
        }
    }

    /// The commit that `revision` stands for, as far as the cache knows.
    pub(crate) fn commit_of(&self, revision: &str) -> Option<String> {
        // A reference by the name of a commit is none of the Hub's.
        if is_full_commit(revision) {
            return Some(revision.to_ascii_lowercase());
        }
        let commit = read_limited(&self.references().join(revision), 1 << 10).ok()?;
        let commit = String::from_utf8(commit).ok()?.trim().to_owned();
        check_commit(&commit).is_ok().then_some(commit)
    }

    /// Notes that `revision` stands for `commit`.
    pub(crate) fn set_commit_of(&self, revision: &str, commit: &str) -> Result<()> {
        if revision == commit || self.commit_of(revision).as_deref() == Some(commit) {
            return Ok(());
        }
        let path = self.references().join(revision);
        self.write_small(&path, commit.as_bytes())
            .map_err(|error| Error::write(&path, 0, &error))
    }

    /// Puts a blob into a commit's snapshot under `name`, in the place of whatever is there.
    pub(crate) fn link(&self, commit: &str, name: &str, hash: &BlobHash) -> Result<()> {
        let pointer = self.pointer(commit, name);
        let blob = self.blob(hash);
        if leads_to(&pointer, &blob, self.symlinks) {
            return Ok(());
        }
        let write = || {
            make_folders_below(&self.snapshot(commit), &pointer)?;
            let beside = beside(&pointer);
            // From SNAPSHOTS/COMMIT/A/B, each folder of the name is one more way up.
            let up = "../".repeat(2 + name.matches('/').count());
            let target = format!("{up}blobs/{}", hash.name());
            let linked = self.symlinks && symlink(&target, &beside).is_ok();
            if !linked && fs::hard_link(&blob, &beside).is_err() {
                fs::copy(&blob, &beside)?;
            }
            fs::rename(&beside, &pointer)
        };
        write().map_err(|error| Error::write(&pointer, 0, &error))
    }

    /// Deletes a file of a commit, and the content that it has. A failure leaves them as they were.
    pub(crate) fn discard(&self, commit: &str, name: &str, hash: &BlobHash) {
        if let Ok(Some(_lock)) = Lock::try_acquire(&self.lock(hash)) {
            for path in [self.pointer(commit, name), self.blob(hash)] {
                log_failure(&path, remove_if_there(&path));
            }
        }
    }

    /// Adds to what is known about a commit, and marks files that it does not have, so that Python need
    /// not ask either. A failure costs a request later, and so is no error.
    pub(crate) fn remember(&self, commit: &str, notes: &Notes, absent: &[&str]) {
        let earlier = self.recall(commit).unwrap_or_default();
        let mut known = earlier.clone();
        known.files.extend(notes.files.clone());
        known.listing.clone_from(&notes.listing);
        if known == earlier {
            return;
        }
        let path = self.notes(commit);
        let text = serde_json::to_vec(&known).map_err(io::Error::from);
        log_failure(&path, text.and_then(|text| self.write_small(&path, &text)));
        for name in absent {
            let path = self.absences(commit).join(name);
            if !path.exists() {
                log_failure(&path, self.write_small(&path, b""));
            }
        }
    }

    /// Whether a commit is known not to have this file.
    pub(crate) fn is_absent(&self, commit: &str, name: &str) -> bool {
        self.absences(commit).join(name).is_file()
    }

    /// What is known about a commit.
    pub(crate) fn recall(&self, commit: &str) -> Option<Notes> {
        let text = read_limited(&self.notes(commit), MAX_NOTES).ok()?;
        let notes: Notes = serde_json::from_slice(&text).ok()?;
        // Notes are files like others, which anybody may have written.
        let mut names = notes.files.keys().chain(&notes.listing);
        names
            .all(|name| names::check(name).is_ok())
            .then_some(notes)
    }

    /// The files of a commit's snapshot with their sizes; `None` for a link to nothing.
    pub(crate) fn files_of(&self, commit: &str) -> BTreeMap<String, Option<u64>> {
        let size = |path: &Path| {
            let file = fs::metadata(path).ok()?;
            file.is_file().then_some(file.len())
        };
        walk(&self.snapshot(commit))
            .map(|(name, path)| (name, size(&path)))
            .collect()
    }

    /// The hash of a commit's file: the name of the blob that it links to, or else what is noted.
    pub(crate) fn hash_of(&self, commit: &str, name: &str, notes: &Notes) -> Option<BlobHash> {
        let linked = fs::read_link(self.pointer(commit, name)).ok();
        let tag = match &linked {
            Some(target) => target.file_name()?.to_str()?,
            None => &notes.files.get(name)?.tag,
        };
        BlobHash::of_tag(tag)
    }

    /// The commits of which there are snapshots.
    pub(crate) fn commits(&self) -> Vec<String> {
        let folders = fs::read_dir(self.folder.join("snapshots"));
        let mut commits: Vec<String> = folders
            .into_iter()
            .flatten()
            .flatten()
            .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
            .filter_map(|entry| entry.file_name().into_string().ok())
            .collect();
        commits.sort();
        commits
    }

    /// The branches and tags that stood for `commit`.
    pub(crate) fn references_to(&self, commit: &str) -> Vec<String> {
        let mut references: Vec<String> = walk(&self.references())
            .map(|(name, _)| name)
            .filter(|name| self.commit_of(name).as_deref() == Some(commit))
            .collect();
        references.sort();
        references
    }

    /// Bytes on disk and number of the contents, each counted once under however many names.
    pub(crate) fn usage(&self) -> (u64, usize) {
        let all = walk(&self.blobs()).chain(walk(&self.folder.join("snapshots")));
        let sizes: BTreeMap<_, u64> = all
            .filter_map(|(_, path)| {
                let file = fs::symlink_metadata(&path).ok()?;
                file.is_file().then(|| (identity(&file, path), file.len()))
            })
            .collect();
        (sizes.values().sum(), sizes.len())
    }

    /// Writes a small file, under a name of its own until it is complete.
    fn write_small(&self, path: &Path, content: &[u8]) -> io::Result<()> {
        make_folders_below(&self.folder, path)?;
        let beside = beside(path);
        fs::write(&beside, content)?;
        fs::rename(&beside, path)
    }
}

/// Checks a commit from outside: a name that can be a folder's. It need not be forty hexadecimal
/// digits, since other servers than the Hub may number theirs otherwise.
pub(crate) fn check_commit(commit: &str) -> std::result::Result<(), &'static str> {
    names::check_part(commit).map_err(|flaw| flaw.reason)?;
    let allowed = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    match commit.chars().all(allowed) && !commit.starts_with('.') {
        true => Ok(()),
        false => Err("has a character that no commit has"),
    }
}

/// Whether a revision names one commit for good.
pub(crate) fn is_full_commit(revision: &str) -> bool {
    revision.len() == 40 && revision.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// Reads a file that must not be longer than `limit`.
pub(crate) fn read_limited(path: &Path, limit: u64) -> io::Result<Vec<u8>> {
    use std::io::Read as _;
    let mut content = Vec::new();
    let file = fs::File::open(path)?;
    file.take(limit + 1).read_to_end(&mut content)?;
    match content.len() as u64 > limit {
        true => Err(io::Error::other(format!("is longer than {limit} bytes"))),
        false => Ok(content),
    }
}

/// Deletes a file or link that need not be there.
pub(crate) fn remove_if_there(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Everything below `folder` that is no folder, with its name relative to there. Links are not
/// followed.
pub(crate) fn walk(folder: &Path) -> impl Iterator<Item = (String, PathBuf)> + use<> {
    let files = WalkDir::new(folder).into_iter().flatten();
    // Not what a process that was killed left unfinished.
    let files = files.filter(|entry| {
        let name = entry.file_name().to_string_lossy();
        let unfinished = name.starts_with(".candle4j-") && name.ends_with(".tmp");
        !entry.file_type().is_dir() && !unfinished
    });
    files.filter_map(|entry| {
        let components = entry.path().components();
        let name: PathBuf = components.rev().take(entry.depth()).collect();
        let name: Vec<&str> = name
            .iter()
            .rev()
            .map(|part| part.to_str())
            .collect::<Option<_>>()?;
        Some((name.join("/"), entry.path().to_owned()))
    })
}

fn log_failure(path: &Path, result: io::Result<()>) {
    if let Err(error) = result {
        tracing::debug!("{}: {error}", path.display());
    }
}

/// A name in the same folder that no other process or thread uses.
fn beside(path: &Path) -> PathBuf {
    use std::sync::atomic::{AtomicU64, Ordering};
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let name = format!(".candle4j-{}-{count}.tmp", std::process::id());
    let beside = path.with_file_name(name);
    // An earlier process with the same number may have left one.
    let _ = fs::remove_file(&beside);
    beside
}

/// Makes the folders of `path`, of which `root` is one, and refuses links in the place of a folder below
/// `root`: a snapshot's files must not end up elsewhere.
fn make_folders_below(root: &Path, path: &Path) -> io::Result<()> {
    let parent = path.parent().unwrap_or(root);
    fs::create_dir_all(parent)?;
    for folder in parent.ancestors().take_while(|folder| *folder != root) {
        if fs::symlink_metadata(folder)?.is_symlink() {
            let reason = format!("{} is a link, expected a folder", folder.display());
            return Err(io::Error::other(reason));
        }
    }
    Ok(())
}

/// Whether `pointer` already is a link to `blob`. Where there are no symbolic links it may be another
/// name of the same file.
fn leads_to(pointer: &Path, blob: &Path, symlinks: bool) -> bool {
    let (Ok(there), Ok(content)) = (fs::symlink_metadata(pointer), fs::metadata(blob)) else {
        return false;
    };
    if !there.is_symlink() {
        let same = identity(&there, pointer.to_owned()) == identity(&content, blob.to_owned());
        return !symlinks && same;
    }
    let target = |path| fs::canonicalize(path).ok();
    target(pointer).is_some() && target(pointer) == target(blob)
}

/// What tells one file from another that has the same content.
#[cfg(unix)]
fn identity(file: &fs::Metadata, _path: PathBuf) -> (u64, u64) {
    use std::os::unix::fs::MetadataExt as _;
    (file.dev(), file.ino())
}

/// Elsewhere the standard library does not tell, so every name counts as a file.
#[cfg(not(unix))]
fn identity(_file: &fs::Metadata, path: PathBuf) -> PathBuf {
    path
}

#[cfg(unix)]
fn symlink(target: &str, link: &Path) -> io::Result<()> {
    std::os::unix::fs::symlink(target, link)
}

#[cfg(windows)]
fn symlink(target: &str, link: &Path) -> io::Result<()> {
    std::os::windows::fs::symlink_file(target.replace('/', "\\"), link)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn repository(cache: &Path, symlinks: bool) -> Repository {
        let repository = Repository::new(cache, &"a/b".parse().unwrap(), symlinks);
        repository.prepare().unwrap();
        repository
    }

    fn hash(digit: &str) -> BlobHash {
        BlobHash::of_tag(&digit.repeat(64)).unwrap()
    }

    #[test]
    fn references() {
        let folder = tempfile::tempdir().unwrap();
        let repository = repository(folder.path(), true);
        assert_eq!(repository.commit_of("main"), None);
        repository.set_commit_of("main", "c0ffee").unwrap();
        repository.set_commit_of("refs/pr/1", "decade").unwrap();
        assert_eq!(repository.commit_of("main").unwrap(), "c0ffee");
        assert_eq!(
            fs::read(folder.path().join("models--a--b/refs/refs/pr/1")).unwrap(),
            b"decade"
        );
        assert_eq!(repository.references_to("decade"), ["refs/pr/1"]);
        // A reference that somebody wrote by hand, and one that leads elsewhere.
        fs::write(repository.references().join("hand"), "c0ffee\n").unwrap();
        assert_eq!(repository.commit_of("hand").unwrap(), "c0ffee");
        fs::write(repository.references().join("bad"), "../../../etc").unwrap();
        assert_eq!(repository.commit_of("bad"), None);
        let commit = "0123456789abcdef0123456789abcdef01234567";
        assert_eq!(repository.commit_of(commit).unwrap(), commit);
        repository.set_commit_of(commit, commit).unwrap();
        assert!(!repository.references().join(commit).exists());
    }

    #[test]
    fn links_to_blobs() {
        for symlinks in [true, false] {
            let folder = tempfile::tempdir().unwrap();
            let repository = repository(folder.path(), symlinks);
            fs::write(repository.blob(&hash("1")), "1").unwrap();
            fs::write(repository.blob(&hash("2")), "2").unwrap();
            repository.link("c", "x", &hash("1")).unwrap();
            repository.link("c", "deep/er/y", &hash("2")).unwrap();
            let read = |name: &str| fs::read(repository.pointer("c", name)).unwrap();
            assert_eq!((read("x"), read("deep/er/y")), (b"1".into(), b"2".into()));
            assert_eq!(repository.usage(), (2, 2));
            fs::write(repository.blob(&hash("3")), "33").unwrap();
            repository.link("c", "x", &hash("3")).unwrap();
            assert_eq!(read("x"), b"33");
            let files = repository.files_of("c");
            let names: Vec<&String> = files.keys().collect();
            assert_eq!(names, ["deep/er/y", "x"]);
            assert_eq!(
                repository.hash_of("c", "deep/er/y", &Notes::default()),
                symlinks.then(|| hash("2"))
            );
        }
    }

    #[cfg(unix)]
    #[test]
    fn a_link_in_the_place_of_a_folder_is_not_followed() {
        let folder = tempfile::tempdir().unwrap();
        let outside = tempfile::tempdir().unwrap();
        let repository = repository(folder.path(), true);
        fs::write(repository.blob(&hash("1")), "1").unwrap();
        fs::create_dir_all(repository.snapshot("c")).unwrap();
        let target = outside.path().to_str().unwrap();
        symlink(target, &repository.pointer("c", "deep")).unwrap();
        assert!(repository.link("c", "deep/x", &hash("1")).is_err());
        assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 0);
    }

    #[test]
    fn notes_add_up_and_are_not_trusted() {
        let folder = tempfile::tempdir().unwrap();
        let repository = repository(folder.path(), true);
        assert_eq!(repository.recall("c"), None);
        let listing = BTreeSet::from(["a".to_owned(), "b".to_owned()]);
        for (name, size) in [("a", 1), ("b", 2)] {
            let tag = "x".to_owned();
            let files = [(name.to_owned(), Note { size, tag })].into();
            let listing = listing.clone();
            repository.remember("c", &Notes { files, listing }, &["x.json"]);
        }
        let notes = repository.recall("c").unwrap();
        assert_eq!((notes.listing, notes.files.len()), (listing, 2));
        assert!(repository.is_absent("c", "x.json"));
        assert!(!repository.is_absent("c", "a"));
        let hostile = r#"{"files": {}, "listing": ["../x.gguf"]}"#;
        fs::write(repository.notes("c"), hostile).unwrap();
        assert_eq!(repository.recall("c"), None);
    }

    #[test]
    fn commits() {
        assert!(check_commit("c0ffee").is_ok());
        for commit in [
            "", "..", "../x", "a/b", "a\\b", ".x", "a b", "a\0", "é", "CON",
        ] {
            assert!(check_commit(commit).is_err(), "{commit:?}");
        }
    }
}
