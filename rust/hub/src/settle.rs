//! Contents that may not be on disk yet.
//!
//! A content is hashed and gets its name while the system still has parts of it in memory only: waiting
//! for the disk would double the time of a fast download. A power cut could then leave it with its right
//! name and wrong bytes. So such contents are marked until they are on disk. A thread sees to that, at
//! once where the disk nearly kept up, else some time after the fetch, when nobody waits any more; in a
//! process that ends before, the mark stays.
//!
//! A mark names the run of the system's kernel in which it was made. As long as that is the one that
//! runs, nothing can have been lost. Later the content is hashed once more before it is used.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, TryRecvError, channel};
use std::thread;
use std::time::{Duration, Instant};

use super::cache::{Repository, write_small};
use super::digest::{Promise, hash_file};
use super::events::Job;
use super::lock::Lock;
use super::partial::remove_if_there;
use crate::error::{Error, Result};

/// How long contents that came fast are left alone. A process that ends while its thread waits for the
/// disk would have to wait as well.
const LATER: Duration = Duration::from_secs(3);

/// How long the others are waited for: a tenth of the time that the fetch took, within these bounds.
const SHORTEST: Duration = Duration::from_millis(20);
const LONGEST: Duration = Duration::from_secs(10);

/// How often something that somebody else does is looked at.
const AGAIN: Duration = Duration::from_millis(5);

/// Brings contents to the disk, on a thread of its own that outlives the fetch.
pub(super) struct Settler {
    began: Instant,
    contents: Sender<Content>,
    /// Ends when all but what came fast is on disk.
    settled: Receiver<()>,
}

/// A content to be brought to the disk.
struct Content {
    file: Arc<File>,
    mark: PathBuf,
    fast: bool,
}

impl Settler {
    /// Starts the thread.
    pub(super) fn start() -> Result<Settler> {
        let (contents, received) = channel::<Content>();
        let (alive, settled) = channel();
        thread::Builder::new()
            .name("candle4j-settle".to_owned())
            .spawn(move || {
                let mut later = Vec::new();
                for content in received {
                    match content.fast {
                        true => later.push(content),
                        false => settle(&content.file, &content.mark),
                    }
                }
                drop(alive);
                if !later.is_empty() {
                    thread::sleep(LATER);
                }
                for content in later {
                    settle(&content.file, &content.mark);
                }
            })
            .map_err(|error| Error::io("candle4j-settle (thread)", &error))?;
        Ok(Settler {
            began: Instant::now(),
            contents,
            settled,
        })
    }

    /// Gives the complete and checked content at `data` the name of a blob. One that could not be
    /// checked again waits for the disk.
    pub(super) fn publish(
        &self,
        repository: &Repository,
        file: Arc<File>,
        data: &Path,
        tag: &str,
        fast: bool,
    ) -> io::Result<()> {
        if !Promise::of_tag(tag).can_be_checked() {
            file.sync_all()?;
            return fs::rename(data, repository.blob(tag));
        }
        let mark = repository.mark(tag);
        write_small(repository.folder(), &mark, this_run().as_bytes())?;
        fs::rename(data, repository.blob(tag))?;
        // The thread is there as long as this sender is.
        let _ = self.contents.send(Content { file, mark, fast });
        Ok(())
    }

    /// Waits for the disk, but not for long.
    pub(super) async fn finish(self) {
        let grace = (self.began.elapsed() / 10).clamp(SHORTEST, LONGEST);
        let deadline = Instant::now() + grace;
        drop(self.contents);
        while self.settled.try_recv() != Err(TryRecvError::Disconnected) {
            if Instant::now() >= deadline {
                return;
            }
            tokio::time::sleep(AGAIN).await;
        }
    }
}

/// Whether the content with this tag is what it is named, as far as marks say. One that is not is
/// deleted.
pub(super) fn is_sound(repository: &Repository, tag: &str, job: &Job) -> Result<bool> {
    let mark = repository.mark(tag);
    match fs::read_to_string(&mark) {
        Err(_) => return Ok(true),
        Ok(run) if run == this_run() && !run.is_empty() => {
            settle_later(repository.blob(tag), mark);
            return Ok(true);
        }
        Ok(_) => {}
    }
    let lock = repository.lock(tag);
    let held = loop {
        job.check()?;
        match Lock::try_acquire(&lock) {
            Ok(Some(lock)) => break Some(lock),
            Ok(None) => thread::sleep(AGAIN),
            // In a cache that cannot be written nobody else writes either.
            Err(error) => {
                tracing::debug!("{error}");
                break None;
            }
        }
    };
    let sound = is_sound_under_lock(repository, tag, job);
    drop(held);
    sound
}

/// See [`is_sound`], for a caller that has the content's lock.
pub(super) fn is_sound_under_lock(repository: &Repository, tag: &str, job: &Job) -> Result<bool> {
    let mark = repository.mark(tag);
    let blob = repository.blob(tag);
    let promise = Promise::of_tag(tag);
    match fs::read_to_string(&mark) {
        Err(_) => return Ok(true),
        Ok(run) if run == this_run() && !run.is_empty() => return Ok(true),
        Ok(_) => {}
    }
    let failed = |error: io::Error| Error::io(&blob, &error);
    let file = match File::open(&blob) {
        Ok(file) => Arc::new(file),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(failed(error)),
    };
    tracing::info!(
        "{} may not have reached the disk, checking it",
        blob.display()
    );
    let hash = hash_file::<Ended>(&file, &promise, |_| job.check().map_err(Ended::ByCaller));
    let hash = hash.map_err(|ended| match ended {
        Ended::ByCaller(error) => error,
        Ended::ByFile(error) => failed(error),
    })?;
    // Without a hash nobody can tell, so it counts as lost.
    let sound = promise.can_be_checked() && promise.with_hash(hash) == promise;
    if sound {
        settle(&file, &mark);
    } else {
        remove_if_there(&blob).map_err(failed)?;
        remove_if_there(&mark).map_err(failed)?;
    }
    Ok(sound)
}

/// Why hashing ended before the end.
enum Ended {
    ByCaller(Error),
    ByFile(io::Error),
}

impl From<io::Error> for Ended {
    fn from(error: io::Error) -> Self {
        Ended::ByFile(error)
    }
}

/// Marks a content so that it is hashed before it is used.
pub(super) fn doubt(repository: &Repository, tag: &str) -> Result<()> {
    let mark = repository.mark(tag);
    write_small(repository.folder(), &mark, b"").map_err(|error| Error::io(&mark, &error))
}

/// Brings a content to the disk, after which it needs no mark any more.
fn settle(file: &File, mark: &Path) {
    let settled = file.sync_all().and_then(|()| remove_if_there(mark));
    if let Err(error) = settled {
        // The mark stays, and with it the care.
        tracing::debug!("{}: {error}", mark.display());
    }
}

/// Settles what an earlier process did not wait for, without making anybody wait now.
fn settle_later(blob: PathBuf, mark: PathBuf) {
    let started = thread::Builder::new()
        .name("candle4j-settle".to_owned())
        .spawn(move || {
            if let Ok(file) = File::open(&blob) {
                settle(&file, &mark);
            }
        });
    if let Err(error) = started {
        tracing::debug!("no thread to settle contents: {error}");
    }
}

/// What tells this run of the kernel from every other; empty where the system does not say.
fn this_run() -> String {
    let run = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    run.trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::sha256_of;

    fn repository(cache: &Path) -> Repository {
        let repository = Repository::new(cache, &"a/b".parse().unwrap(), true);
        repository.prepare().unwrap();
        repository
    }

    #[test]
    fn what_is_published_is_settled_soon() {
        let folder = tempfile::tempdir().unwrap();
        let repository = repository(folder.path());
        let data = folder.path().join("data");
        let settler = Settler::start().unwrap();
        let tag = sha256_of("content");
        for tag in [&tag, "unknown"] {
            fs::write(&data, "content").unwrap();
            let file = Arc::new(File::open(&data).unwrap());
            settler
                .publish(&repository, file, &data, tag, false)
                .unwrap();
            assert!(!data.exists());
            assert_eq!(fs::read(repository.blob(tag)).unwrap(), b"content");
        }
        assert!(!repository.mark("unknown").exists());
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .unwrap();
        runtime.block_on(settler.finish());
        // A slow disk may need longer than anybody waits.
        let begin = Instant::now();
        while repository.mark(&tag).exists() {
            assert!(begin.elapsed() < Duration::from_secs(30));
            thread::sleep(AGAIN);
        }
        assert!(is_sound(&repository, &tag, &Job::default()).unwrap());
    }

    #[test]
    fn what_a_power_cut_may_have_damaged_is_checked() {
        let folder = tempfile::tempdir().unwrap();
        let repository = repository(folder.path());
        let (good, bad) = (sha256_of("content"), sha256_of("other"));
        let job = Job::default();
        for run in ["some earlier run", ""] {
            for tag in [&good, &bad] {
                fs::write(repository.blob(tag), "content").unwrap();
                write_small(repository.folder(), &repository.mark(tag), run.as_bytes()).unwrap();
            }
            assert!(is_sound(&repository, &good, &job).unwrap());
            assert!(!is_sound(&repository, &bad, &job).unwrap());
            assert!(repository.blob(&good).exists() && !repository.blob(&bad).exists());
            assert!(!repository.mark(&good).exists() && !repository.mark(&bad).exists());
        }
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn what_this_run_of_the_kernel_wrote_is_believed() {
        let folder = tempfile::tempdir().unwrap();
        let repository = repository(folder.path());
        let tag = sha256_of("other");
        fs::write(repository.blob(&tag), "content").unwrap();
        let mark = repository.mark(&tag);
        write_small(repository.folder(), &mark, this_run().as_bytes()).unwrap();
        assert!(is_sound(&repository, &tag, &Job::default()).unwrap());
        while mark.exists() {
            thread::sleep(AGAIN);
        }
    }
}
