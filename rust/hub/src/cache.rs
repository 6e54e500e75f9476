//! The cache on disk, laid out as Python's huggingface_hub lays it out:
//!
//! ```text
//! CACHE/
//!   CACHEDIR.TAG
//!   .locks/models--OWNER--NAME/TAG.lock
//!   models--OWNER--NAME/
//!     blobs/TAG                        contents, named by their entity tags
//!     refs/main                        the commit that a branch or tag stood for
//!     snapshots/COMMIT/config.json     links to blobs
//!     .no_exist/COMMIT/NAME            files that a commit is known not to have
//!     trees/COMMIT.json                Python's list of a commit's files
//!     .candle4j/COMMIT.json            ours: what the Hub said about a commit's files
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

use super::digest;
use super::id::ModelId;
use super::names;
use super::partial::{PartialPaths, remove_if_there};
use super::space;
use super::walk::walk;
use crate::error::{Error, Result};

/// What marks a folder for backup programs as one that need not be kept.
const CACHE_TAG: &str = "Signature: 8a477f597d28d172789f06886806bc55\n\
    # This file marks a cache folder of models from the Hugging Face Hub.\n\
    # See https://bford.info/cachedir/\n";

/// Longest list of files that is read back. A hundred thousand files take some ten megabytes.
const LONGEST_LIST: u64 = 64 << 20;

/// One repository's folder in the cache.
#[derive(Debug, Clone)]
pub(super) struct Repository {
    cache: PathBuf,
    folder: PathBuf,
    locks: PathBuf,
    symlinks: bool,
}

impl Repository {
    /// The folder of `id` in `cache`. Nothing is made yet.
    pub(super) fn new(cache: &Path, id: &ModelId, symlinks: bool) -> Repository {
        let name = id.folder_name();
        Repository {
            folder: cache.join(&name),
            locks: cache.join(".locks").join(&name),
            cache: cache.to_owned(),
            symlinks,
        }
    }

    /// The repository's own folder.
    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// The folder of blobs.
    pub(super) fn blobs(&self) -> PathBuf {
        self.folder.join("blobs")
    }

    /// Where the content with this tag lies.
    pub(super) fn blob(&self, tag: &str) -> PathBuf {
        self.blobs().join(tag)
    }

    /// Where the content with this tag is put together. `owner` sets apart processes that no lock
    /// keeps apart.
    pub(super) fn partial(&self, tag: &str, owner: Option<u32>) -> PartialPaths {
        let owner = owner.map(|id| format!(".{id}")).unwrap_or_default();
        PartialPaths {
            data: self.blob(&format!("{tag}{owner}.candle4j.incomplete")),
            foreign: self.blob(&format!("{tag}.incomplete")),
        }
    }

    /// The folder of locks.
    pub(super) fn locks(&self) -> PathBuf {
        self.locks.clone()
    }

    /// The lock of the content with this tag.
    pub(super) fn lock(&self, tag: &str) -> PathBuf {
        self.locks.join(format!("{tag}.lock"))
    }

    /// The folder of snapshots.
    pub(super) fn snapshots(&self) -> PathBuf {
        self.folder.join("snapshots")
    }

    /// The folder of a commit's files.
    pub(super) fn snapshot(&self, commit: &str) -> PathBuf {
        self.snapshots().join(commit)
    }

    /// Where a commit's file lies.
    pub(super) fn pointer(&self, commit: &str, name: &str) -> PathBuf {
        self.snapshot(commit).join(name)
    }

    /// The folder of references.
    pub(super) fn references(&self) -> PathBuf {
        self.folder.join("refs")
    }

    fn absent(&self, commit: &str, name: &str) -> PathBuf {
        self.folder.join(".no_exist").join(commit).join(name)
    }

    fn record(&self, commit: &str) -> PathBuf {
        self.folder.join(".candle4j").join(format!("{commit}.json"))
    }

    /// Makes the folders that a download needs. Its error names the cache folder, which is what a
    /// user can change.
    pub(super) fn prepare(&self) -> Result<()> {
        let make = || {
            fs::create_dir_all(self.blobs())?;
            fs::create_dir_all(&self.locks)
        };
        make().map_err(|error| self.unwritable(&error))?;
        let tag = self.cache.join("CACHEDIR.TAG");
        if !tag.exists()
            && let Err(error) = fs::write(&tag, CACHE_TAG)
        {
            tracing::debug!("{}: {error}", tag.display());
        }
        Ok(())
    }

    /// The error for a cache in which something cannot be written.
    pub(super) fn unwritable(&self, error: &io::Error) -> Error {
        match space::write_error(&self.cache, 0, error) {
            Error::Io { path, reason } => Error::Io {
                path,
                reason: format!("cannot be written to: {reason}"),
            },
            full => full,
        }
    }

    /// The commit that `revision` stands for, as far as the cache knows.
    pub(super) fn commit_of(&self, revision: &str) -> Option<String> {
        // A reference by the name of a commit is none of the Hub's.
        if is_full_commit(revision) {
            return Some(revision.to_ascii_lowercase());
        }
        let commit = read_limited(&self.references().join(revision), 1 << 10).ok()?;
        let commit = String::from_utf8(commit).ok()?.trim().to_owned();
        check_commit(&commit).ok()?;
        Some(commit)
    }

    /// Notes that `revision` stands for `commit`.
    pub(super) fn set_commit_of(&self, revision: &str, commit: &str) -> Result<()> {
        if revision == commit || self.commit_of(revision).as_deref() == Some(commit) {
            return Ok(());
        }
        let path = self.references().join(revision);
        write_small(&self.folder, &path, commit.as_bytes())
            .map_err(|error| space::write_error(&path, 0, &error))
    }

    /// Puts the content with this tag into a commit's snapshot, in the place of whatever is there.
    pub(super) fn link(&self, commit: &str, name: &str, tag: &str) -> Result<()> {
        let pointer = self.pointer(commit, name);
        let blob = self.blob(tag);
        if leads_to(&pointer, &blob) {
            return Ok(());
        }
        let write = || {
            make_folders_below(&self.snapshot(commit), &pointer)?;
            let beside = beside(&pointer);
            remove_if_there(&beside)?;
            if self.symlinks {
                // From SNAPSHOTS/COMMIT/A/B, each folder of the name is one more way up.
                let up = "../".repeat(2 + name.matches('/').count());
                if symlink(Path::new(&format!("{up}blobs/{tag}")), &beside).is_ok() {
                    return fs::rename(&beside, &pointer);
                }
                remove_if_there(&beside)?;
            }
            if fs::hard_link(&blob, &beside).is_err() {
                fs::copy(&blob, &beside)?;
                fs::File::open(&beside)?.sync_all()?;
            }
            fs::rename(&beside, &pointer)
        };
        write().map_err(|error| space::write_error(&pointer, 0, &error))
    }

    /// Notes what was learnt about a commit: sizes and tags of files, and, when the Hub gave a list of them,
    /// which there are. Failing costs a request later, and so is no error.
    pub(super) fn remember(&self, commit: &str, known: &Known) {
        let mut known = known.clone();
        if let Some(earlier) = self.recall_own(commit) {
            known.join(earlier);
        }
        let path = self.record(commit);
        let written = serde_json::to_vec(&known)
            .map_err(io::Error::from)
            .and_then(|text| write_small(&self.folder, &path, &text));
        if let Err(error) = written {
            tracing::debug!("{}: {error}", path.display());
        }
    }

    /// Marks files that a commit does not have, so that Python need not ask either.
    pub(super) fn mark_absent<'a>(&self, commit: &str, names: impl Iterator<Item = &'a str>) {
        for name in names {
            let path = self.absent(commit, name);
            let mark = || {
                make_folders_below(&self.folder, &path)?;
                fs::File::create_new(&path)
            };
            if !path.exists()
                && let Err(error) = mark()
            {
                tracing::debug!("{}: {error}", path.display());
            }
        }
    }

    /// Whether a commit is known not to have this file.
    pub(super) fn is_absent(&self, commit: &str, name: &str) -> bool {
        self.absent(commit, name).is_file()
    }

    /// What is known about a commit, from our own notes or from Python's.
    pub(super) fn recall(&self, commit: &str) -> Known {
        let mut known = self.recall_own(commit).unwrap_or_default();
        if let Some(tree) = self.recall_tree(commit) {
            known.join(tree);
        }
        // Notes are files like others, which anybody may have written.
        known.files.retain(|name, _| names::check(name).is_ok());
        if let Some(listing) = &mut known.listing {
            listing.retain(|name| names::check(name).is_ok());
        }
        known
    }

    /// What we noted about a commit ourselves, which is about files that we fetched.
    pub(super) fn recall_own(&self, commit: &str) -> Option<Known> {
        let text = read_limited(&self.record(commit), LONGEST_LIST).ok()?;
        serde_json::from_slice(&text).ok()
    }

    fn recall_tree(&self, commit: &str) -> Option<Known> {
        #[derive(Deserialize)]
        struct Tree {
            format_version: u32,
            files: BTreeMap<String, Entry>,
        }
        #[derive(Deserialize)]
        struct Entry {
            size: u64,
            blob_id: Option<String>,
            lfs_size: Option<u64>,
            lfs_sha256: Option<String>,
        }
        let path = self.folder.join("trees").join(format!("{commit}.json"));
        let text = read_limited(&path, LONGEST_LIST).ok()?;
        let tree: Tree = serde_json::from_slice(&text).ok()?;
        if tree.format_version != 1 {
            return None;
        }
        let listing = tree.files.keys().cloned().collect();
        let notes = tree.files.into_iter().map(|(name, entry)| {
            let note = Note {
                size: entry.lfs_size.unwrap_or(entry.size),
                tag: entry.lfs_sha256.or(entry.blob_id),
            };
            (name, note)
        });
        Some(Known {
            files: notes.collect(),
            listing: Some(listing),
        })
    }

    /// The files of a commit's snapshot that are there, with their sizes.
    pub(super) fn files_of(&self, commit: &str) -> BTreeMap<String, u64> {
        let mut files = BTreeMap::new();
        walk(&self.snapshot(commit), &mut |name, path| {
            if let Ok(metadata) = fs::metadata(path)
                && metadata.is_file()
            {
                files.insert(name, metadata.len());
            }
        });
        files
    }

    /// The names in a commit's snapshot, links to nothing included.
    pub(super) fn names_of(&self, commit: &str) -> BTreeSet<String> {
        let mut names = BTreeSet::new();
        walk(&self.snapshot(commit), &mut |name, _| {
            names.insert(name);
        });
        names
    }

    /// The commits of which there are snapshots.
    pub(super) fn commits(&self) -> Vec<String> {
        let folders = fs::read_dir(self.snapshots())
            .into_iter()
            .flatten()
            .flatten();
        let mut commits: Vec<String> = folders
            .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
            .filter_map(|entry| entry.file_name().into_string().ok())
            .collect();
        commits.sort();
        commits
    }

    /// The branches and tags, each with the commit that it stood for.
    pub(super) fn all_references(&self) -> Vec<(String, String)> {
        let mut references = Vec::new();
        walk(&self.references(), &mut |name, _| {
            if let Some(commit) = self.commit_of(&name) {
                references.push((name, commit));
            }
        });
        references.sort();
        references
    }

    /// Where notes about a commit lie, ours and others'.
    pub(super) fn notes(&self, commit: &str) -> [PathBuf; 3] {
        [
            self.record(commit),
            self.folder.join("trees").join(format!("{commit}.json")),
            self.folder.join(".no_exist").join(commit),
        ]
    }

    /// The tag of the content that a commit's file has: the name of the blob that it links to.
    pub(super) fn tag_of(&self, commit: &str, name: &str) -> Option<String> {
        let target = fs::read_link(self.pointer(commit, name)).ok()?;
        let tag = target.file_name()?.to_str()?;
        let folder = target.parent()?.file_name()?;
        (folder == "blobs").then(|| tag.to_owned())
    }
}

/// What is known about a commit's files.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Known {
    /// What is known about single files.
    #[serde(default)]
    pub(super) files: BTreeMap<String, Note>,
    /// The commit's files, of which those can be left out that never matter. Nothing when the Hub gave
    /// no list.
    #[serde(default)]
    pub(super) listing: Option<BTreeSet<String>>,
}

/// What is known about a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Note {
    /// Its size.
    pub(super) size: u64,
    /// The tag of its content.
    #[serde(default)]
    pub(super) tag: Option<String>,
}

impl Known {
    fn join(&mut self, other: Known) {
        for (name, note) in other.files {
            self.files.entry(name).or_insert(note);
        }
        self.listing = self.listing.take().or(other.listing);
    }
}

/// Checks a commit from outside: a name that can be a folder's. It need not be forty hexadecimal
/// digits, since other servers than the Hub may number theirs otherwise.
pub(super) fn check_commit(commit: &str) -> std::result::Result<(), &'static str> {
    names::check_part(commit).map_err(names::Flaw::reason)?;
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if !commit.chars().all(allowed) || commit.starts_with('.') {
        return Err("has a character that no commit has");
    }
    Ok(())
}

/// Whether a revision names one commit for good.
pub(super) fn is_full_commit(revision: &str) -> bool {
    revision.len() == 40 && revision.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// A name for content that came without a tag, until its hash is known.
pub(super) fn substitute_tag(commit: &str, name: &str) -> String {
    format!(
        "candle4j-{}",
        digest::sha256_of(&format!("{commit}/{name}"))
    )
}

/// Reads a file that must not be longer than `limit`.
pub(super) fn read_limited(path: &Path, limit: u64) -> io::Result<Vec<u8>> {
    use std::io::Read as _;
    let file = fs::File::open(path)?;
    let mut content = Vec::new();
    file.take(limit + 1).read_to_end(&mut content)?;
    if content.len() as u64 > limit {
        return Err(io::Error::other(format!("is longer than {limit} bytes")));
    }
    Ok(content)
}

/// Writes a small file somewhere below `root`, with a name of its own until it is complete.
pub(super) fn write_small(root: &Path, path: &Path, content: &[u8]) -> io::Result<()> {
    use std::io::Write as _;
    make_folders_below(root, path)?;
    let beside = beside(path);
    remove_if_there(&beside)?;
    let mut file = fs::File::create_new(&beside)?;
    file.write_all(content)?;
    drop(file);
    fs::rename(&beside, path)
}

/// A name in the same folder that no other process or thread uses.
fn beside(path: &Path) -> PathBuf {
    use std::sync::atomic::{AtomicU64, Ordering};
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    // Not made of the name itself, which may already be as long as names can be.
    path.with_file_name(format!(".candle4j-{}-{count}.tmp", std::process::id()))
}

/// Makes the folders of `path`, of which `root` is one, and refuses links in the place of a folder below
/// `root`: a snapshot's files must not end up elsewhere.
fn make_folders_below(root: &Path, path: &Path) -> io::Result<()> {
    let parent = path.parent().unwrap_or(root);
    fs::create_dir_all(parent)?;
    for folder in parent.ancestors().take_while(|folder| *folder != root) {
        if fs::symlink_metadata(folder)?.is_symlink() {
            return Err(io::Error::other(format!(
                "{} is a link, expected a folder",
                folder.display()
            )));
        }
    }
    Ok(())
}

/// Whether `pointer` already is a link to `blob`, or its copy. What a commit has under a name never
/// changes, so a copy of the same length is one of the same content.
fn leads_to(pointer: &Path, blob: &Path) -> bool {
    let (Ok(kind), Ok(content)) = (fs::symlink_metadata(pointer), fs::metadata(blob)) else {
        return false;
    };
    if kind.is_symlink() {
        matches!((fs::canonicalize(pointer), fs::canonicalize(blob)), (Ok(one), Ok(other)) if one == other)
    } else {
        kind.is_file() && kind.len() == content.len()
    }
}

#[cfg(unix)]
fn symlink(target: &Path, link: &Path) -> io::Result<()> {
    std::os::unix::fs::symlink(target, link)
}

#[cfg(windows)]
fn symlink(target: &Path, link: &Path) -> io::Result<()> {
    let target = target.to_string_lossy().replace('/', "\\");
    std::os::windows::fs::symlink_file(target, link)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn repository(cache: &Path, symlinks: bool) -> Repository {
        let repository = Repository::new(cache, &"a/b".parse().unwrap(), symlinks);
        repository.prepare().unwrap();
        repository
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
            fs::write(repository.blob("one"), "1").unwrap();
            fs::write(repository.blob("two"), "2").unwrap();
            repository.link("c", "x", "one").unwrap();
            repository.link("c", "deep/er/y", "two").unwrap();
            let read = |name: &str| fs::read(repository.pointer("c", name)).unwrap();
            assert_eq!((read("x"), read("deep/er/y")), (b"1".into(), b"2".into()));
            fs::write(repository.blob("longer"), "33").unwrap();
            repository.link("c", "x", "longer").unwrap();
            assert_eq!(read("x"), b"33");
            let files = repository.files_of("c");
            let names: Vec<&String> = files.keys().collect();
            assert_eq!(names, ["deep/er/y", "x"]);
            assert_eq!(
                repository.tag_of("c", "deep/er/y"),
                symlinks.then(|| "two".to_owned())
            );
        }
    }

    #[cfg(unix)]
    #[test]
    fn a_link_in_the_place_of_a_folder_is_not_followed() {
        let folder = tempfile::tempdir().unwrap();
        let outside = tempfile::tempdir().unwrap();
        let repository = repository(folder.path(), true);
        fs::write(repository.blob("one"), "1").unwrap();
        fs::create_dir_all(repository.snapshot("c")).unwrap();
        symlink(outside.path(), &repository.pointer("c", "deep")).unwrap();
        assert!(repository.link("c", "deep/x", "one").is_err());
        assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 0);
    }

    #[test]
    fn what_is_known_is_joined() {
        let folder = tempfile::tempdir().unwrap();
        let repository = repository(folder.path(), true);
        assert_eq!(repository.recall("c"), Known::default());
        let listing = BTreeSet::from(["a".to_owned(), "b".to_owned()]);
        for (name, size, listing) in [("a", 1, Some(listing.clone())), ("b", 2, None)] {
            let note = Note { size, tag: None };
            let files = [(name.to_owned(), note)].into();
            repository.remember("c", &Known { files, listing });
        }
        let known = repository.recall("c");
        assert_eq!(known.listing, Some(listing));
        assert_eq!(known.files.len(), 2);
        repository.mark_absent("c", ["x.json"].into_iter());
        assert!(repository.is_absent("c", "x.json"));
        assert!(!repository.is_absent("c", "a"));
    }

    #[test]
    fn pythons_list_of_files_is_understood() {
        let folder = tempfile::tempdir().unwrap();
        let repository = repository(folder.path(), true);
        let trees = repository.folder().join("trees");
        fs::create_dir_all(&trees).unwrap();
        fs::write(
            trees.join("c.json"),
            r#"{"format_version": 1, "files": {"config.json": {"size": 5, "blob_id": "x"},
                "m": {"size": 9, "blob_id": "y", "lfs_sha256": "z", "lfs_size": 1000}}}"#,
        )
        .unwrap();
        let known = repository.recall("c");
        let note = &known.files["m"];
        assert_eq!((note.size, note.tag.as_deref()), (1000, Some("z")));
        assert_eq!(known.files["config.json"].tag.as_deref(), Some("x"));
        assert!(known.listing.unwrap().contains("config.json"));
        fs::write(
            trees.join("e.json"),
            r#"{"format_version": 1, "files": {"../x.gguf": {"size": 5}, "/y.gguf": {"size": 5}}}"#,
        )
        .unwrap();
        let known = repository.recall("e");
        assert!(known.files.is_empty() && known.listing.unwrap().is_empty());
        fs::write(
            trees.join("d.json"),
            r#"{"format_version": 2, "files": {}}"#,
        )
        .unwrap();
        assert_eq!(repository.recall("d"), Known::default());
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
