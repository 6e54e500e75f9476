//! A file that is still being fetched: its bytes, and a journal of which of them are there.
//!
//! Python's huggingface_hub once resumed `TAG.incomplete` by its length alone, and current versions
//! write files of their own to throw them away. Parts of ours may arrive in any order, so a length
//! would say nothing: our files have names of their own, which older versions do not take for theirs
//! and which all versions list as leftovers to clean up. What an older version left behind is taken
//! over as a first part.
//!
//! The journal has one line for each stretch of about a megabyte, appended after its bytes were
//! written. What a killed process wrote survives in the page cache, so at most that much is lost for
//! each connection. The journal only saves work. It is never believed: the whole file is hashed before
//! it becomes a blob, and content that cannot be checked by a hash is never resumed.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Seek, SeekFrom, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// How many bytes may be written before the journal says so.
const STRETCH: u64 = 1 << 20;

const HEADER: &str = "candle4j ranges 1\n";

/// Where the parts of a download lie.
#[derive(Debug, Clone)]
pub(super) struct PartialPaths {
    /// The bytes.
    pub(super) data: PathBuf,
    /// Which of them are there.
    pub(super) journal: PathBuf,
    /// What an older version of Python's client may have left.
    pub(super) foreign: PathBuf,
}

impl PartialPaths {
    /// Deletes whatever is there.
    pub(super) fn remove(&self) -> io::Result<()> {
        for path in [&self.data, &self.journal, &self.foreign] {
            remove_if_there(path)?;
        }
        Ok(())
    }
}

/// A file that is still being fetched.
pub(super) struct Partial {
    paths: PartialPaths,
    file: Arc<File>,
    journal: File,
    there: Ranges,
    /// Stretches that the journal does not name yet.
    unnamed: Vec<Range<u64>>,
}

impl Partial {
    /// Opens what is there, or begins anew when `resume` is false or nothing usable is there.
    pub(super) fn open(
        paths: &PartialPaths,
        size: Option<u64>,
        resume: bool,
    ) -> io::Result<Partial> {
        let there = if resume {
            take_over_foreign(paths)?;
            usable_ranges(paths, size)
        } else {
            paths.remove()?;
            Ranges::default()
        };
        if there.is_empty() {
            remove_if_there(&paths.journal)?;
            remove_if_there(&paths.data)?;
        }
        // A link that somebody put in the place of the file must not be written through.
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(there.is_empty())
            .open(&paths.data)?;
        let journal = write_journal(&paths.journal, &there)?;
        Ok(Partial {
            paths: paths.clone(),
            file: Arc::new(file),
            journal,
            there,
            unnamed: Vec::new(),
        })
    }

    /// The file, to read back what was written.
    pub(super) fn file(&self) -> &Arc<File> {
        &self.file
    }

    /// Where the file lies.
    pub(super) fn path(&self) -> &Path {
        &self.paths.data
    }

    /// Which bytes are there.
    pub(super) fn there(&self) -> &Ranges {
        &self.there
    }

    /// Writes `bytes` at `at`.
    pub(super) fn write(&mut self, at: u64, bytes: &[u8]) -> io::Result<()> {
        write_all_at(&self.file, bytes, at)?;
        let end = at + bytes.len() as u64;
        self.there.insert(at..end);
        // Each connection writes onward from where it was, so there are as many stretches as those.
        let position = match self.unnamed.iter().position(|range| range.end == at) {
            Some(position) => {
                self.unnamed[position].end = end;
                position
            }
            None => {
                self.unnamed.push(at..end);
                self.unnamed.len() - 1
            }
        };
        let range = &self.unnamed[position];
        if range.end - range.start >= STRETCH {
            let range = self.unnamed.swap_remove(position);
            self.name(&[range]);
        }
        Ok(())
    }

    /// Forgets all bytes.
    pub(super) fn reset(&mut self) -> io::Result<()> {
        self.unnamed.clear();
        self.there = Ranges::default();
        // The journal first: if this ends in between, it must not name bytes that are gone.
        self.journal.set_len(HEADER.len() as u64)?;
        self.journal.seek(SeekFrom::Start(HEADER.len() as u64))?;
        self.file.set_len(0)
    }

    fn name_all(&mut self) {
        let ranges = std::mem::take(&mut self.unnamed);
        self.name(&ranges);
    }

    fn name(&mut self, ranges: &[Range<u64>]) {
        let lines: String = ranges.iter().map(line).collect();
        // A journal that cannot be written costs bytes of a next run, not this one.
        if !lines.is_empty()
            && let Err(error) = self.journal.write_all(lines.as_bytes())
        {
            tracing::debug!("{}: {error}", self.paths.journal.display());
        }
    }
}

impl Drop for Partial {
    fn drop(&mut self) {
        self.name_all();
    }
}

/// Makes the first part that an older version of Python's client left ours, unless we have one.
fn take_over_foreign(paths: &PartialPaths) -> io::Result<()> {
    let Some(length) = length_of_file(&paths.foreign) else {
        return Ok(());
    };
    if length == 0 || length_of_file(&paths.data).is_some() {
        return Ok(());
    }
    let mut ranges = Ranges::default();
    ranges.insert(0..length);
    write_journal(&paths.journal, &ranges)?;
    fs::rename(&paths.foreign, &paths.data)
}

/// What the journal names and the file can hold. Nothing when either is not as we leave it.
fn usable_ranges(paths: &PartialPaths, size: Option<u64>) -> Ranges {
    let nothing = Ranges::default();
    let Some(length) = length_of_file(&paths.data) else {
        return nothing;
    };
    if length_of_file(&paths.journal).is_none() || size.is_some_and(|size| length > size) {
        return nothing;
    }
    let Ok(journal) = fs::read(&paths.journal) else {
        return nothing;
    };
    let journal = String::from_utf8_lossy(&journal);
    let Some(lines) = journal.strip_prefix(HEADER) else {
        return nothing;
    };
    let mut ranges = Ranges::default();
    // The last line may have been cut short by a kill; a line is whole when it has its end.
    for line in lines.split_inclusive('\n') {
        let parsed = line
            .strip_suffix('\n')
            .and_then(|line| line.split_once(' '))
            .and_then(|(start, end)| Some((start.parse().ok()?, end.parse().ok()?)));
        match parsed {
            Some((start, end)) if start < end && end <= length => ranges.insert(start..end),
            _ => {}
        }
    }
    ranges
}

/// Writes a journal that names `ranges`, and leaves it open for more.
fn write_journal(path: &Path, ranges: &Ranges) -> io::Result<File> {
    let beside = path.with_extension("new");
    remove_if_there(&beside)?;
    let mut file = File::create_new(&beside)?;
    let text: String = ranges.0.iter().map(line).collect();
    file.write_all(format!("{HEADER}{text}").as_bytes())?;
    fs::rename(&beside, path)?;
    Ok(file)
}

fn line(range: &Range<u64>) -> String {
    format!("{} {}\n", range.start, range.end)
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

/// Sorted ranges with gaps between them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Ranges(Vec<Range<u64>>);

impl Ranges {
    /// Whether there is nothing.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Adds `range`, joining what touches it.
    pub(super) fn insert(&mut self, range: Range<u64>) {
        if range.is_empty() {
            return;
        }
        let first = self.0.partition_point(|other| other.end < range.start);
        let last = self.0.partition_point(|other| other.start <= range.end);
        let mut joined = range;
        if first < last {
            joined.start = joined.start.min(self.0[first].start);
            joined.end = joined.end.max(self.0[last - 1].end);
        }
        self.0.splice(first..last, [joined]);
    }

    /// How many bytes there are from the start without a gap.
    pub(super) fn prefix(&self) -> u64 {
        match self.0.first() {
            Some(range) if range.start == 0 => range.end,
            _ => 0,
        }
    }

    /// Where the bytes that are there from `start` on end; `start` itself when there are none.
    pub(super) fn end_from(&self, start: u64) -> u64 {
        let around = self.0.iter().find(|range| range.contains(&start));
        around.map_or(start, |range| range.end)
    }

    /// How many bytes there are.
    pub(super) fn sum(&self) -> u64 {
        self.0.iter().map(|range| range.end - range.start).sum()
    }

    /// What lacks up to `size`.
    pub(super) fn gaps(&self, size: u64) -> Vec<Range<u64>> {
        let mut gaps = Vec::new();
        let mut at = 0;
        for range in &self.0 {
            if range.start > at {
                gaps.push(at..range.start.min(size));
            }
            at = range.end;
        }
        if at < size {
            gaps.push(at..size);
        }
        gaps
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paths(folder: &Path) -> PartialPaths {
        PartialPaths {
            data: folder.join("data"),
            journal: folder.join("journal"),
            foreign: folder.join("foreign"),
        }
    }

    fn ranges(list: &[(u64, u64)]) -> Ranges {
        let mut ranges = Ranges::default();
        for (start, end) in list {
            ranges.insert(*start..*end);
        }
        ranges
    }

    fn gaps(ranges: &Ranges, size: u64) -> Vec<(u64, u64)> {
        let gaps = ranges.gaps(size).into_iter();
        gaps.map(|gap| (gap.start, gap.end)).collect()
    }

    #[test]
    fn ranges_join_and_leave_gaps() {
        let set = ranges(&[(10, 20), (30, 40), (0, 5), (20, 25), (38, 50)]);
        assert_eq!(set, ranges(&[(0, 5), (10, 25), (30, 50)]));
        assert_eq!(set.prefix(), 5);
        assert_eq!(set.sum(), 40);
        assert_eq!(
            (set.end_from(12), set.end_from(25), set.end_from(26)),
            (25, 25, 26)
        );
        assert_eq!(gaps(&set, 60), [(5, 10), (25, 30), (50, 60)]);
        assert_eq!(gaps(&ranges(&[(0, 5), (3, 9), (9, 10)]), 10), []);
        assert_eq!(ranges(&[(5, 6)]).prefix(), 0);
        assert_eq!(gaps(&Ranges::default(), 3), [(0, 3)]);
        let mut whole = set.clone();
        whole.insert(0..100);
        assert_eq!(whole, ranges(&[(0, 100)]));
    }

    #[test]
    fn what_was_written_is_found_again() {
        let folder = tempfile::tempdir().unwrap();
        let paths = paths(folder.path());
        let mut partial = Partial::open(&paths, Some(100), true).unwrap();
        partial.write(0, b"abc").unwrap();
        partial.write(50, b"xyz").unwrap();
        partial.write(3, b"def").unwrap();
        drop(partial);
        let partial = Partial::open(&paths, Some(100), true).unwrap();
        assert_eq!(*partial.there(), ranges(&[(0, 6), (50, 53)]));
        drop(partial);
        let partial = Partial::open(&paths, Some(100), false).unwrap();
        assert!(partial.there().is_empty());
    }

    #[test]
    fn a_killed_process_loses_at_most_a_stretch() {
        let folder = tempfile::tempdir().unwrap();
        let paths = paths(folder.path());
        let mut partial = Partial::open(&paths, None, true).unwrap();
        let block = vec![1; 100_000];
        for step in 0..50 {
            partial.write(step * 100_000, &block).unwrap();
        }
        // A kill runs no destructor.
        std::mem::forget(partial);
        let partial = Partial::open(&paths, None, true).unwrap();
        assert!(partial.there().prefix() > 5_000_000 - STRETCH - 100_000);
    }

    #[test]
    fn a_journal_that_says_more_than_there_is_or_nonsense() {
        let folder = tempfile::tempdir().unwrap();
        let paths = paths(folder.path());
        let there = |journal: &str, data: &[u8], size| {
            fs::write(&paths.data, data).unwrap();
            fs::write(&paths.journal, journal).unwrap();
            let partial = Partial::open(&paths, size, true).unwrap();
            partial.there().clone()
        };
        let nothing = Ranges::default();
        let header = HEADER;
        assert_eq!(
            there(&format!("{header}0 4\n6 8\n"), b"12345678", Some(8)),
            ranges(&[(0, 4), (6, 8)])
        );
        assert_eq!(
            there(&format!("{header}0 4\n6 8"), b"12345678", Some(8)),
            ranges(&[(0, 4)])
        );
        assert_eq!(
            there(&format!("{header}0 9\n"), b"12345678", Some(9)),
            nothing
        );
        assert_eq!(
            there(&format!("{header}0 8\n"), b"12345678", Some(7)),
            nothing
        );
        assert_eq!(
            there(&format!("{header}x y\n-1 3\n5 2\n"), b"12345678", Some(8)),
            nothing
        );
        assert_eq!(there("other\n0 8\n", b"12345678", Some(8)), nothing);
        assert_eq!(there("", b"12345678", Some(8)), nothing);
    }

    #[test]
    fn what_python_left_is_a_first_part() {
        let folder = tempfile::tempdir().unwrap();
        let paths = paths(folder.path());
        fs::write(&paths.foreign, b"12345").unwrap();
        let partial = Partial::open(&paths, Some(8), true).unwrap();
        assert_eq!(*partial.there(), ranges(&[(0, 5)]));
        assert!(!paths.foreign.exists());
        drop(partial);
        // Ours is worth more than theirs.
        fs::write(&paths.foreign, b"1234567").unwrap();
        let partial = Partial::open(&paths, Some(8), true).unwrap();
        assert_eq!(*partial.there(), ranges(&[(0, 5)]));
        drop(partial);
        paths.remove().unwrap();
        // One that is longer than the file is nothing.
        fs::write(&paths.foreign, b"123456789").unwrap();
        let partial = Partial::open(&paths, Some(8), true).unwrap();
        assert!(partial.there().is_empty());
    }

    #[cfg(unix)]
    #[test]
    fn links_are_not_written_through() {
        let folder = tempfile::tempdir().unwrap();
        let paths = paths(folder.path());
        let victim = folder.path().join("victim");
        fs::write(&victim, b"precious").unwrap();
        for path in [&paths.data, &paths.journal, &paths.foreign] {
            std::os::unix::fs::symlink(&victim, path).unwrap();
        }
        let mut partial = Partial::open(&paths, None, true).unwrap();
        partial.write(0, b"abc").unwrap();
        drop(partial);
        assert_eq!(fs::read(&victim).unwrap(), b"precious");
        assert!(!fs::symlink_metadata(&paths.data).unwrap().is_symlink());
    }
}
