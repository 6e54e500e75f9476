//! One content, from the Hub into the cache.
//!
//! A blob gets its name only when it is complete and has the promised hash. Until then it has another
//! name, so whatever ends the work leaves the cache as it was, and a partial file to go on with. Nothing
//! that a server says about a range is taken on trust: what does not fit what was asked for is thrown
//! away, and the file is fetched from its start.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use reqwest::header::CONTENT_ENCODING;
use reqwest::{Method, StatusCode};
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use super::api::{self, Subject};
use super::cache::{Notes, Repository, remove_if_there};
use super::hash::{BlobHash, hash_file};
use super::http::{Answer, Client, Fault, Retries, words};
use super::id::ModelId;
use super::job::{Gauge, Job};
use super::lock::Lock;
use super::partial::PartialFile;
use crate::error::{Error, Result};

/// How many bytes count as progress, so that a server that cuts each answer after the first few is not
/// asked for ever.
const PROGRESS: u64 = 64 * 1024;

/// A content that is wanted, under one or several names.
#[derive(Debug, Clone)]
pub(crate) struct Wanted {
    pub(crate) names: Vec<String>,
    pub(crate) hash: BlobHash,
    pub(crate) size: u64,
}

impl Wanted {
    /// The name that stands for all of them in messages and requests.
    pub(crate) fn name(&self) -> &str {
        &self.names[0]
    }
}

/// What all contents of one commit are fetched with.
pub(crate) struct Fetch<'a> {
    pub(crate) client: &'a Client,
    pub(crate) id: &'a ModelId,
    pub(crate) commit: &'a str,
    pub(crate) repository: &'a Repository,
    /// What is known of the commit already.
    pub(crate) notes: &'a Notes,
    pub(crate) job: &'a Arc<Job>,
}

/// Why bytes stopped to come.
enum Stop {
    Fault(Fault),
    /// The body broke off.
    Broken(String),
    /// Nothing came for half of the time that it may take.
    Silent,
    /// The server does not do ranges as it should.
    NoRanges(&'static str),
    /// The content cannot be what was promised.
    Wrong(String),
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        Stop::Fault(Fault::Final(error))
    }
}

impl From<Fault> for Stop {
    fn from(fault: Fault) -> Self {
        Stop::Fault(fault)
    }
}

impl Fetch<'_> {
    /// Whether a content is in the snapshot already, under all of its names and with the right size.
    pub(crate) fn is_there(&self, wanted: &Wanted) -> bool {
        let hash = wanted.hash.name();
        wanted.names.iter().all(|name| {
            let pointer = self.repository.pointer(self.commit, name);
            let right = match fs::read_link(&pointer) {
                Ok(blob) => blob.file_name().is_some_and(|blob| blob == hash),
                // A copy says nothing about its hash; our notes do.
                Err(_) => self
                    .notes
                    .files
                    .get(name)
                    .is_some_and(|note| note.tag == hash),
            };
            right && is_file(&pointer, wanted.size)
        })
    }

    /// How many bytes of a content are still to be written.
    pub(crate) fn lacking(&self, wanted: &Wanted) -> u64 {
        let length = |path| fs::metadata(path).map_or(0, |file| file.len());
        match length(self.repository.blob(&wanted.hash)) == wanted.size {
            true => 0,
            false => {
                let started = self.repository.partial(&wanted.hash, None);
                wanted.size.saturating_sub(length(started))
            }
        }
    }

    /// Brings a content into the cache and the snapshot.
    pub(crate) async fn run(&self, wanted: &Wanted, gauge: &Gauge) -> Result<()> {
        let lock = Lock::acquire(&self.repository.lock(&wanted.hash)).await;
        let lock = Arc::new(lock.map_err(|error| match error {
            Error::Io { reason, .. } => self.repository.unwritable(&std::io::Error::other(reason)),
            other => other,
        })?);
        // Somebody may have removed the model while this waited.
        self.repository.prepare()?;
        let blob = self.repository.blob(&wanted.hash);
        // One of the right size was checked when it got its name.
        if !is_file(&blob, wanted.size) && !self.adopt(wanted, &blob, gauge).await? {
            remove_if_there(&blob).map_err(|error| Error::io(&blob, &error))?;
            self.download(wanted, gauge, &lock).await?;
        }
        for name in &wanted.names {
            self.repository.link(self.commit, name, &wanted.hash)?;
        }
        gauge.done();
        Ok(())
    }

    /// Makes a file of the snapshot the blob, if it is one without a blob and has the right hash, as
    /// other programs leave them where there are no symbolic links.
    async fn adopt(&self, wanted: &Wanted, blob: &Path, gauge: &Gauge) -> Result<bool> {
        let pointers = wanted
            .names
            .iter()
            .map(|name| self.repository.pointer(self.commit, name));
        for pointer in pointers.filter(|pointer| is_file(pointer, wanted.size)) {
            let (hash, job, gauge) = (wanted.hash.clone(), Arc::clone(self.job), gauge.clone());
            let path = pointer.clone();
            let hashed = spawn_blocking(move || hash_file(&path, &hash, &job, &gauge));
            let hashed = hashed
                .await
                .unwrap_or_else(|error| Err(Error::Panic(error.to_string())));
            if hashed? == wanted.hash {
                let linked = fs::hard_link(&pointer, blob);
                let copied = linked.or_else(|_| fs::copy(&pointer, blob).map(|_| ()));
                return copied
                    .map(|()| true)
                    .map_err(|error| Error::write(blob, 0, &error));
            }
        }
        Ok(false)
    }

    /// Fetches a content and makes it a blob. What was wrong is fetched once more from its start.
    async fn download(&self, wanted: &Wanted, gauge: &Gauge, lock: &Arc<Lock>) -> Result<()> {
        // Without a lock another process may be at the same file.
        let owner = (!lock.excludes()).then(std::process::id);
        let path = self.repository.partial(&wanted.hash, owner);
        let mut first = true;
        loop {
            let lock = Arc::clone(lock);
            let mut file = PartialFile::open(path.clone(), &wanted.hash, wanted.size, lock, first)?;
            gauge.at(file.len());
            let (expected, got) = match self.fill(wanted, &mut file, gauge).await? {
                Some(got) => (format!("{} bytes", wanted.size), got),
                None => match file.finish().await? {
                    hash if hash == wanted.hash => {
                        let blob = self.repository.blob(&hash);
                        return fs::rename(&path, &blob)
                            .map_err(|error| Error::write(&blob, 0, &error));
                    }
                    hash => (wanted.hash.to_string(), hash.to_string()),
                },
            };
            let name = wanted.name();
            tracing::warn!("{name}: expected {expected}, got {got}");
            if !first {
                remove_if_there(&path).map_err(|error| Error::io(&path, &error))?;
                return Err(Error::Checksum {
                    file: name.to_owned(),
                    expected,
                    got,
                });
            }
            first = false;
        }
    }

    /// Receives what lacks, by as many requests as it takes. Returns what came instead of the promised
    /// content where its size alone says that it is another.
    ///
    /// Whatever a server does, this ends: requests in a row that bring less than [`PROGRESS`], silences
    /// since the last of these bytes, and beginnings anew are counted, each on its own.
    async fn fill(
        &self,
        wanted: &Wanted,
        file: &mut PartialFile,
        gauge: &Gauge,
    ) -> Result<Option<String>> {
        let options = self.client.options();
        let progress = PROGRESS.min(wanted.size / 64 + 1);
        let mut retries = Retries::new(options);
        // The most bytes that were there since the last beginning, and at any time.
        let (mut mark, mut best) = (file.len(), file.len());
        let (mut ranges, mut silent, mut empty_ranges, mut restarts) = (true, false, 0, 0);
        let unavailable = |reason: String| {
            let url = api::file_url(self.client, self.id, self.commit, wanted.name());
            Err(self.client.unavailable(&url, reason))
        };
        while file.len() < wanted.size {
            if !ranges && file.len() > 0 {
                file.restart().await?;
            }
            let before = file.len();
            let received = self.receive(wanted, file, gauge, (ranges, silent)).await;
            if file.len() < before || before == 0 {
                (mark, restarts) = (0, restarts + 1);
            }
            if file.len() >= mark.saturating_add(progress) {
                mark = file.len();
                retries.reset();
            }
            if file.len() >= best.saturating_add(progress) {
                (best, silent) = (file.len(), false);
            }
            empty_ranges = if before > 0 && file.len() == before {
                empty_ranges + 1
            } else {
                0
            };
            let (reason, wait) = match received {
                Ok(()) => ("the server sends little".to_owned(), Some(Duration::ZERO)),
                Err(Stop::Silent) if silent => {
                    return unavailable(format!("sent nothing for {:?}", options.idle_limit));
                }
                Err(Stop::Silent) => {
                    silent = true;
                    continue;
                }
                Err(Stop::NoRanges(reason)) if ranges => {
                    tracing::info!("{}: {reason}; fetching it from its start", wanted.name());
                    ranges = false;
                    continue;
                }
                Err(Stop::NoRanges(reason)) => return unavailable(reason.to_owned()),
                Err(Stop::Wrong(got)) => return Ok(Some(got)),
                Err(Stop::Fault(Fault::Final(error))) => return Err(error),
                // Ranges that begin and bring nothing may be all that this server can do wrong.
                Err(Stop::Broken(_)) if ranges && empty_ranges > 1 => {
                    ranges = false;
                    continue;
                }
                Err(Stop::Broken(reason)) => (reason, None),
                Err(Stop::Fault(Fault::Retryable { reason, wait })) => (reason, wait),
            };
            let gained = file.len() == mark && file.len() > before;
            let again = restarts <= options.retries + 1
                && (gained && wait == Some(Duration::ZERO) || retries.pause(&reason, wait).await);
            if !again && file.len() < wanted.size {
                return unavailable(reason);
            }
        }
        Ok(None)
    }

    /// Makes one request for what lacks, and takes its answer. After a silence no more than half of the
    /// limit is left for headers, too.
    async fn receive(
        &self,
        wanted: &Wanted,
        file: &mut PartialFile,
        gauge: &Gauge,
        (ranges, silent): (bool, bool),
    ) -> std::result::Result<(), Stop> {
        let options = self.client.options();
        let patience = options.idle_limit / 2;
        let header_limit = match silent {
            true => options.header_limit.min(patience),
            false => options.header_limit,
        };
        let url = api::file_url(self.client, self.id, self.commit, wanted.name());
        let start = file.len();
        let range = (start > 0).then(|| (start, wanted.size - 1));
        let mut answer = self
            .client
            .attempt(Method::GET, &url, range, header_limit)
            .await?;
        let end = match answer.status() {
            StatusCode::PARTIAL_CONTENT if !ranges => {
                return Err(Stop::NoRanges("the server sends a range unasked"));
            }
            StatusCode::PARTIAL_CONTENT => check_range(&answer, start, wanted.size)?,
            StatusCode::OK if start > 0 => {
                // All of it, whatever was asked for.
                file.restart().await?;
                wanted.size
            }
            StatusCode::OK => wanted.size,
            StatusCode::RANGE_NOT_SATISFIABLE if range.is_some() => {
                return Err(Stop::NoRanges("the server refuses the range"));
            }
            // Addresses of storage servers hold only for a while.
            status if answer.left_endpoint && status.is_client_error() => {
                return Err(Stop::Fault(Fault::Retryable {
                    reason: self.client.unexpected(&answer).to_string(),
                    wait: None,
                }));
            }
            _ => {
                let subject = Subject::File(self.commit, wanted.name());
                return Err(api::refusal(self.client, self.id, subject, &answer).into());
            }
        };
        // reqwest takes the header away from what it decodes.
        if let Some(encoding) = answer.header(&CONTENT_ENCODING)
            && !encoding.eq_ignore_ascii_case("identity")
        {
            let reason = format!("sent {} compressed ({encoding})", wanted.name());
            return Err(self.client.unavailable(&url, reason).into());
        }
        if answer.status() == StatusCode::OK
            && let Some(length) = answer.length().filter(|length| *length != wanted.size)
        {
            return Err(Stop::Wrong(format!("{length} bytes")));
        }
        self.take_body(&mut answer, end, file, gauge, patience)
            .await
    }

    /// Appends an answer's body, which must not go beyond `end`.
    async fn take_body(
        &self,
        answer: &mut Answer,
        end: u64,
        file: &mut PartialFile,
        gauge: &Gauge,
        patience: Duration,
    ) -> std::result::Result<(), Stop> {
        loop {
            let bytes = match timeout(patience, answer.response.chunk()).await {
                Err(_) => return Err(Stop::Silent),
                Ok(Err(error)) => {
                    let reason = format!("the connection failed: {}", words(&error));
                    return Err(Stop::Broken(reason));
                }
                Ok(Ok(None)) if file.len() < end => {
                    let missing = end - file.len();
                    return Err(Stop::Broken(format!(
                        "the answer ended {missing} bytes early"
                    )));
                }
                Ok(Ok(None)) => return Ok(()),
                Ok(Ok(Some(bytes))) => bytes,
            };
            if bytes.len() as u64 > end - file.len() {
                return Err(match answer.status() {
                    StatusCode::PARTIAL_CONTENT => {
                        Stop::NoRanges("the server sends more than the range")
                    }
                    _ => Stop::Wrong("more".to_owned()),
                });
            }
            file.write(bytes).await?;
            gauge.at(file.len());
        }
    }
}

fn is_file(path: &Path, size: u64) -> bool {
    fs::metadata(path).is_ok_and(|file| file.is_file() && file.len() == size)
}

/// Checks what a partial answer says it is, and returns where it ends.
fn check_range(answer: &Answer, start: u64, size: u64) -> std::result::Result<u64, Stop> {
    let range = answer.content_range();
    let Some((first, past, total)) = range else {
        return Err(Stop::NoRanges(
            "the server does not say which range it sends",
        ));
    };
    let length = answer.length();
    let fits = first == start
        && past <= size
        && total.is_none_or(|total| total == size)
        && length.is_none_or(|length| length == past - first);
    match fits {
        true => Ok(past),
        false => Err(Stop::NoRanges(
            "the server sends other ranges than it is asked for",
        )),
    }
}
