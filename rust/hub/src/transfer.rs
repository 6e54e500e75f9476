//! Bytes of one file, from the network into its partial file.
//!
//! A big file is asked for in pieces, so that several connections can fetch it at once and so that a
//! server that cannot send ranges is found out by the first answer. More connections are opened only
//! while one alone would take long: where a single one already brings what the line can carry, more
//! would only get into each other's way.
//!
//! Nothing that a server says about a range is taken on trust. What does not fit what was asked for is
//! thrown away, and the file is then fetched in one go; and whatever arrives is hashed as a whole
//! before it counts.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use reqwest::header::{CONTENT_RANGE, ETAG};
use reqwest::{Method, StatusCode, Url};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::api;
use super::digest::{Follower, Promise};
use super::events::Gauge;
use super::flush::{Flusher, is_fast};
use super::gunzip::Gunzip;
use super::id::ModelId;
use super::partial::Partial;
use super::request::{
    Answer, Attempts, Client, Fault, Follow, Place, Request, Stillness, shown_status, words,
};
use super::space;
use crate::error::{Error, Result};

/// Most connections for one file.
const MOST_CONNECTIONS: usize = 8;

/// How often it is judged whether another connection would help.
const JUDGED: Duration = Duration::from_millis(500);

/// A file that would be there within this time needs no other connection.
const SOON: Duration = Duration::from_secs(2);

/// How many bytes count as progress, so that a server that cuts each answer after the first few is not
/// asked for ever.
const PROGRESS: u64 = 64 * 1024;

/// What is fetched, and whence.
pub(super) struct Source<'a> {
    pub(super) client: &'a Client,
    pub(super) id: &'a ModelId,
    pub(super) commit: &'a str,
    pub(super) name: &'a str,
    pub(super) url: Url,
    /// The tag of the content, where only that tells one content from another.
    pub(super) tag: Option<&'a str>,
    pub(super) promise: &'a Promise,
    /// Limits the connections of all files together.
    pub(super) connections: &'a Semaphore,
    /// Whether the file may be fetched in pieces.
    pub(super) in_pieces: bool,
}

/// One file on its way.
pub(super) struct Transfer<'a> {
    source: Source<'a>,
    gauge: &'a Gauge,
    partial: RefCell<Partial>,
    follower: RefCell<Option<Follower>>,
    flusher: RefCell<Flusher>,
    size: Cell<Option<u64>>,
    ranges: Cell<Answers>,
    /// Where redirects ended, so that not every piece goes through the Hub.
    place: RefCell<Option<Place>>,
    /// Most bytes that were there at any time.
    best: Cell<u64>,
    /// How many bytes were there when it began, and when that was.
    began: (u64, Instant),
}

/// How the server answers requests for a range.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Answers {
    Unknown,
    WithRanges,
    Wholly,
}

/// Why bytes stopped to come.
enum Stop {
    /// See [`Fault`].
    Fault(Fault),
    /// The connection was silent; the request is to be made anew at once.
    Silent,
    /// What came cannot be right, and neither can anything that was there before.
    Wrong { expected: String, got: String },
    /// The server does not do ranges as it should.
    NoRanges(&'static str),
}

impl From<Fault> for Stop {
    fn from(fault: Fault) -> Self {
        Stop::Fault(fault)
    }
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        Stop::Fault(Fault::Final(error))
    }
}

/// Content that could not be decoded.
impl From<String> for Stop {
    fn from(got: String) -> Self {
        Stop::Wrong {
            expected: "content that can be decoded".to_owned(),
            got,
        }
    }
}

/// What became of a transfer.
pub(super) enum Outcome {
    /// All bytes are there: the file, its size, and its hash unless nobody asks for one. Whether they
    /// came fast decides when they are brought to the disk.
    Complete {
        file: Arc<File>,
        size: u64,
        hash: Option<String>,
        fast: bool,
    },
    /// What came is not what was promised.
    Wrong { expected: String, got: String },
}

impl<'a> Transfer<'a> {
    /// A transfer into `partial`, of which some may be there.
    pub(super) fn new(
        source: Source<'a>,
        gauge: &'a Gauge,
        partial: Partial,
        size: Option<u64>,
    ) -> Result<Transfer<'a>> {
        let transfer = Transfer {
            ranges: Cell::new(if source.in_pieces {
                Answers::Unknown
            } else {
                Answers::Wholly
            }),
            source,
            gauge,
            best: Cell::new(partial.there().sum()),
            began: (partial.there().sum(), Instant::now()),
            flusher: RefCell::new(Flusher::new(Arc::clone(partial.file()))),
            partial: RefCell::new(partial),
            follower: RefCell::new(None),
            size: Cell::new(size),
            place: RefCell::new(None),
        };
        transfer.follow()?;
        transfer.report();
        Ok(transfer)
    }

    /// Fetches what lacks, and hashes all of it.
    pub(super) async fn run(self) -> Result<Outcome> {
        let fetched = {
            // One connection is this file's own; more are taken when they are free.
            let _permit = self.source.connections.acquire().await;
            self.fetch().await
        };
        match fetched {
            Ok(size) => self.finish(size).await,
            Err(Stop::Wrong { expected, got }) => Ok(Outcome::Wrong { expected, got }),
            Err(Stop::Fault(Fault::Final(error))) => Err(error),
            Err(Stop::Fault(Fault::Passing { reason, .. })) => Err(self.unavailable(reason)),
            Err(Stop::NoRanges(reason)) => Err(self.unavailable(reason)),
            Err(Stop::Silent) => Err(self.unavailable("is silent")),
        }
    }

    /// The file's bytes, to be filled by something else than HTTP.
    pub(super) fn gaps(&self) -> Vec<Range<u64>> {
        let size = self.size.get().unwrap_or(0);
        self.partial.borrow().there().gaps(size)
    }

    /// Takes bytes that came in another way than by HTTP.
    pub(super) fn take(&self, at: u64, bytes: &[u8]) -> Result<()> {
        self.write(at, bytes)
    }

    async fn finish(self, size: u64) -> Result<Outcome> {
        self.gauge.total(size);
        self.gauge.verifying();
        let (before, began) = self.began;
        let fast = is_fast(self.best.get() - before, began.elapsed());
        let path = self.source.name.to_owned();
        let file = Arc::clone(self.partial.borrow().file());
        // The journal is brought up to date.
        drop((self.partial, self.flusher));
        let hash = match self.follower.into_inner() {
            Some(follower) => Some(
                follower
                    .finish(size)
                    .await
                    .map_err(|error| Error::io(&path, &error))?,
            ),
            None => None,
        };
        Ok(Outcome::Complete {
            file,
            size,
            hash,
            fast,
        })
    }

    async fn fetch(&self) -> std::result::Result<u64, Stop> {
        let mut stillness = Stillness::new(self.source.client.options().idle_limit);
        let mut attempts = Attempts::new(self.source.client.options());
        let mut mark = self.best.get();
        loop {
            let size = self.size.get();
            if size.is_some_and(|size| self.partial.borrow().there().prefix() >= size) {
                return Ok(size.unwrap_or(0));
            }
            let stopped = if self.is_worth_pieces() {
                self.fetch_in_pieces().await
            } else {
                self.fetch_in_one(&mut stillness).await
            };
            match stopped {
                Ok(()) => {}
                // The file is begun anew, asking for all of it.
                Err(Stop::NoRanges(reason)) if self.ranges.get() != Answers::Wholly => {
                    tracing::info!("{}: {reason}; fetching it in one go", self.source.name);
                    self.ranges.set(Answers::Wholly);
                    self.restart()?;
                }
                Err(stop) => {
                    self.endure(stop, &mut attempts, &mut stillness, &mut mark)
                        .await?
                }
            }
        }
    }

    /// Whether what lacks is so much that several connections may fetch it.
    fn is_worth_pieces(&self) -> bool {
        let piece = self.source.client.options().piece;
        self.ranges.get() != Answers::Wholly
            && self.size.get().is_some_and(|size| {
                size.saturating_sub(self.partial.borrow().there().sum()) > piece
            })
    }

    /// Waits before another attempt if `stop` is one that goes by.
    async fn endure(
        &self,
        stop: Stop,
        attempts: &mut Attempts,
        stillness: &mut Stillness,
        mark: &mut u64,
    ) -> std::result::Result<(), Stop> {
        let (reason, wait) = match stop {
            Stop::Silent => return Ok(()),
            Stop::Fault(Fault::Passing { reason, wait }) => (reason, wait),
            other => return Err(other),
        };
        let best = self.best.get();
        if best >= mark.saturating_add(PROGRESS) {
            *mark = best;
            attempts.progress();
        }
        if !attempts.pause(&reason, wait).await {
            return Err(self.unavailable(reason).into());
        }
        stillness.over();
        Ok(())
    }

    /// Fetches the first gap, or everything where ranges do not work, over one connection.
    async fn fetch_in_one(&self, stillness: &mut Stillness) -> std::result::Result<(), Stop> {
        if self.ranges.get() == Answers::Wholly && !self.partial.borrow().there().is_empty() {
            self.restart()?;
        }
        let size = self.size.get();
        let gap = match size {
            Some(size) => self.partial.borrow().there().gaps(size).into_iter().next(),
            None => None,
        };
        let start = match &gap {
            Some(gap) => gap.start,
            None => self.partial.borrow().there().prefix(),
        };
        let end = gap.map(|gap| gap.end);
        let answer = if start == 0 && end == size {
            self.open(None, stillness).await?
        } else {
            self.open(Some((start, end)), stillness).await?
        };
        self.receive(answer, start, end, stillness).await
    }

    /// Fetches all gaps in pieces, over as many connections as are worth their while.
    async fn fetch_in_pieces(&self) -> std::result::Result<(), Stop> {
        let options = self.source.client.options();
        let todo: RefCell<VecDeque<Range<u64>>> = RefCell::default();
        for gap in self.gaps() {
            let mut start = gap.start;
            while start < gap.end {
                let end = gap.end.min(start.saturating_add(options.piece));
                todo.borrow_mut().push_back(start..end);
                start = end;
            }
        }
        let mut workers = FuturesUnordered::new();
        workers.push(self.work(&todo, None));
        let mut judged = tokio::time::interval(JUDGED);
        judged.tick().await;
        let mut before = self.best.get();
        loop {
            tokio::select! {
                finished = workers.next() => match finished {
                    Some(finished) => finished?,
                    None => return Ok(()),
                },
                _ = judged.tick() => {
                    let now = self.best.get();
                    let left = self.size.get().unwrap_or(now).saturating_sub(now);
                    let rate = (now - before) as f64 / JUDGED.as_secs_f64();
                    before = now;
                    // One that brings nothing at all is not helped by others.
                    if self.ranges.get() == Answers::WithRanges
                        && rate > 0.0
                        && workers.len() < MOST_CONNECTIONS
                        && !todo.borrow().is_empty()
                        && left as f64 > rate * SOON.as_secs_f64()
                        && let Ok(permit) = self.source.connections.try_acquire()
                    {
                        workers.push(self.work(&todo, Some(permit)));
                    }
                }
            }
        }
    }

    /// One connection's part in fetching pieces: the next one, until there is none.
    async fn work(
        &self,
        todo: &RefCell<VecDeque<Range<u64>>>,
        _permit: Option<tokio::sync::SemaphorePermit<'_>>,
    ) -> std::result::Result<(), Stop> {
        let mut stillness = Stillness::new(self.source.client.options().idle_limit);
        let mut attempts = Attempts::new(self.source.client.options());
        let mut mark = self.best.get();
        loop {
            let Some(mut piece) = todo.borrow_mut().pop_front() else {
                return Ok(());
            };
            while !piece.is_empty() {
                // After an answer with everything in it there are no pieces any more.
                if self.ranges.get() == Answers::Wholly {
                    return Ok(());
                }
                let asked = Some((piece.start, Some(piece.end)));
                let stopped = match self.open(asked, &mut stillness).await {
                    Ok(answer) => {
                        self.receive(answer, piece.start, Some(piece.end), &mut stillness)
                            .await
                    }
                    Err(stop) => Err(stop),
                };
                // What came of the piece stays, however it ended.
                piece.start = self.there_from(piece.start).min(piece.end);
                if let Err(stop) = stopped {
                    self.endure(stop, &mut attempts, &mut stillness, &mut mark)
                        .await?;
                }
            }
        }
    }

    /// Makes a request for the file, or for a range of it, and checks the answer's headers.
    async fn open(
        &self,
        range: Option<(u64, Option<u64>)>,
        stillness: &mut Stillness,
    ) -> std::result::Result<Answer, Stop> {
        let client = self.source.client;
        let known = self.place.borrow().clone();
        let request = Request {
            method: Method::GET,
            place: known
                .clone()
                .unwrap_or_else(|| Place::new(self.source.url.clone())),
            follow: Follow::Everywhere,
            range: range.map(|(start, end)| (start, end.map(|end| end - 1))),
        };
        let limit = stillness.limit_for_headers(client.options().header_limit);
        let answer = match client.attempt(&request, limit).await {
            Ok(answer) => {
                stillness.answered();
                answer
            }
            Err(fault) => {
                *self.place.borrow_mut() = None;
                return Err(fault.into());
            }
        };
        let status = answer.status();
        match status {
            StatusCode::OK | StatusCode::PARTIAL_CONTENT => {
                *self.place.borrow_mut() = Some(answer.place.clone());
                Ok(answer)
            }
            StatusCode::RANGE_NOT_SATISFIABLE if range.is_some() => {
                Err(Stop::NoRanges("the server refuses the range"))
            }
            // Addresses of storage servers hold only for a while.
            _ if answer.place.left_endpoint && status.is_client_error() => {
                *self.place.borrow_mut() = None;
                Err(Fault::Passing {
                    reason: format!(
                        "{} answered {}",
                        answer.place.url.origin().ascii_serialization(),
                        shown_status(status)
                    ),
                    wait: None,
                }
                .into())
            }
            _ => Err(api::file_refusal(
                client,
                self.source.id,
                self.source.commit,
                self.source.name,
                &answer,
            )
            .into()),
        }
    }

    /// Takes an answer for the range from `start` to `end`.
    async fn receive(
        &self,
        answer: Answer,
        start: u64,
        end: Option<u64>,
        stillness: &mut Stillness,
    ) -> std::result::Result<(), Stop> {
        if answer.status() == StatusCode::PARTIAL_CONTENT {
            let end = self.check_range(&answer, start, end)?;
            if self.ranges.get() == Answers::Unknown {
                self.ranges.set(Answers::WithRanges);
            }
            return self.pour(answer, start, Some(end), None, stillness).await;
        }

        // All of it, whatever was asked for.
        if self.ranges.get() == Answers::WithRanges && (start, end) != (0, self.size.get()) {
            return Err(Stop::NoRanges("the server sends ranges only now and then"));
        }
        let whole = (start, end) == (0, self.size.get());
        if !whole {
            self.ranges.set(Answers::Wholly);
            self.restart()?;
        }
        let gunzip = match answer.encoding() {
            None => None,
            Some(encoding) if Gunzip::understands(&encoding) => Some(Gunzip::new()),
            Some(encoding) => {
                let name = self.source.name;
                let reason = format!("sent {name} compressed ({encoding}), asked for it as it is");
                return Err(self.unavailable(reason).into());
            }
        };
        match (answer.length(), self.size.get()) {
            (Some(length), Some(size)) if length != size => {
                return Err(Stop::Wrong {
                    expected: format!("{size} bytes"),
                    got: format!("{length} bytes"),
                });
            }
            (Some(length), None) => self.learn_size(length)?,
            _ => {}
        }
        self.pour(answer, 0, self.size.get(), gunzip, stillness)
            .await
    }

    /// Checks what a partial answer says it is, and returns where it ends.
    fn check_range(
        &self,
        answer: &Answer,
        start: u64,
        end: Option<u64>,
    ) -> std::result::Result<u64, Stop> {
        let wrong = Err(Stop::NoRanges(
            "the server answers other ranges than it is asked for",
        ));
        if answer.encoding().is_some() {
            return Err(Stop::NoRanges("the server compresses ranges"));
        }
        let Some(said) = answer.header(&CONTENT_RANGE) else {
            return Err(Stop::NoRanges(
                "the server does not say which range it sends",
            ));
        };
        let Some((first, past, total)) = parse_content_range(said) else {
            return wrong;
        };
        if let (Some(total), Some(size)) = (total, self.size.get())
            && total != size
        {
            return wrong;
        }
        let Some(limit) = end.or(total) else {
            return Err(Stop::NoRanges(
                "the server does not say how long the file is",
            ));
        };
        if first != start || past > limit {
            return wrong;
        }
        if answer.length().is_some_and(|length| length != past - first) {
            return wrong;
        }
        // Where no hash will tell, the tag must at least still be the same.
        if !self.source.promise.can_be_checked()
            && let (Some(ours), Some(theirs)) = (self.source.tag, answer.header(&ETAG))
            && !answer.place.left_endpoint
            && !theirs.contains(ours)
        {
            return Err(Stop::NoRanges("the file changed"));
        }
        if let (None, Some(total)) = (self.size.get(), total) {
            self.learn_size(total)?;
        }
        Ok(past)
    }

    /// Writes an answer's body from `start` on. It must not go beyond `end`.
    async fn pour(
        &self,
        mut answer: Answer,
        start: u64,
        end: Option<u64>,
        mut gunzip: Option<Gunzip>,
        stillness: &mut Stillness,
    ) -> std::result::Result<(), Stop> {
        let ranged = answer.status() == StatusCode::PARTIAL_CONTENT;
        let mut at = start;
        let mut take = |bytes: &[u8]| -> std::result::Result<(), Stop> {
            let limit = end.unwrap_or(u64::MAX);
            if bytes.len() as u64 > limit - at {
                if ranged {
                    return Err(Stop::NoRanges("the server sends more than the range"));
                }
                return Err(Stop::Wrong {
                    expected: format!("{limit} bytes"),
                    got: "more".to_owned(),
                });
            }
            self.write(at, bytes)?;
            at += bytes.len() as u64;
            Ok(())
        };
        loop {
            let chunk = match timeout(stillness.patience(), answer.response.chunk()).await {
                Ok(Ok(chunk)) => chunk,
                Ok(Err(error)) => {
                    return Err(Fault::Passing {
                        reason: format!("the connection broke: {}", words(&error)),
                        wait: None,
                    }
                    .into());
                }
                Err(_) if stillness.may_ask_again() => return Err(Stop::Silent),
                Err(_) => {
                    let limit = self.source.client.options().idle_limit;
                    return Err(self
                        .unavailable(format!("sent nothing for {limit:?}"))
                        .into());
                }
            };
            match (chunk, &mut gunzip) {
                (Some(chunk), _) if chunk.is_empty() => {}
                (Some(chunk), None) => {
                    stillness.over();
                    take(&chunk)?;
                }
                (Some(chunk), Some(gunzip)) => {
                    stillness.over();
                    gunzip.write(&chunk, &mut take)?;
                }
                (None, Some(unzip)) => {
                    unzip.finish(&mut take)?;
                    break;
                }
                (None, None) => break,
            }
        }
        match end {
            Some(end) if at < end => Err(Fault::Passing {
                reason: format!("the answer ended {} bytes early", end - at),
                wait: None,
            }
            .into()),
            Some(_) => Ok(()),
            None => Ok(self.learn_size(at)?),
        }
    }

    fn write(&self, at: u64, bytes: &[u8]) -> Result<()> {
        let written = self.partial.borrow_mut().write(at, bytes);
        written.map_err(|error| self.write_error(&error))?;
        self.flusher.borrow_mut().written(bytes.len() as u64);
        if let Some(follower) = &*self.follower.borrow() {
            follower.written(self.partial.borrow().there().prefix());
        }
        self.report();
        Ok(())
    }

    /// Where the bytes that are there from `start` on end.
    fn there_from(&self, start: u64) -> u64 {
        self.partial.borrow().there().end_from(start)
    }

    /// Throws away what is there.
    fn restart(&self) -> Result<()> {
        // The thread that hashes must not see the file become shorter.
        *self.follower.borrow_mut() = None;
        let reset = self.partial.borrow_mut().reset();
        reset.map_err(|error| self.write_error(&error))?;
        self.follow()
    }

    /// Starts to hash what is there and what comes.
    fn follow(&self) -> Result<()> {
        // Content without a tag is named by its own hash.
        if !self.source.promise.can_be_checked() && self.source.tag.is_some() {
            return Ok(());
        }
        let partial = self.partial.borrow();
        let file = Arc::clone(partial.file());
        let follower = Follower::start(file, self.source.promise.clone(), self.size.get())
            .map_err(|error| Error::io("candle4j-hash (thread)", &error))?;
        follower.written(partial.there().prefix());
        *self.follower.borrow_mut() = Some(follower);
        Ok(())
    }

    /// The size is known now that the file comes; whether there is room for it was not asked before.
    fn learn_size(&self, size: u64) -> Result<()> {
        self.size.set(Some(size));
        self.gauge.total(size);
        let partial = self.partial.borrow();
        let folder = partial.path().parent().unwrap_or(partial.path());
        space::check(folder, size.saturating_sub(partial.there().sum()))
    }

    fn report(&self) {
        let there = self.partial.borrow().there().sum();
        self.best.set(self.best.get().max(there));
        self.gauge.at(there);
    }

    fn write_error(&self, error: &io::Error) -> Error {
        let there = self.partial.borrow().there().sum();
        let left = self.size.get().unwrap_or(there).saturating_sub(there);
        space::write_error(self.partial.borrow().path(), left, error)
    }

    fn unavailable(&self, reason: impl Into<String>) -> Error {
        let place = self.place.borrow();
        let url = place.as_ref().map_or(&self.source.url, |place| &place.url);
        self.source.client.unavailable(url, reason)
    }
}

/// `bytes 0-9/100`: the first byte, the one past the last, and the whole length unless it is `*`.
fn parse_content_range(text: &str) -> Option<(u64, u64, Option<u64>)> {
    let (unit, rest) = text.trim().split_once(' ')?;
    if !unit.eq_ignore_ascii_case("bytes") {
        return None;
    }
    let (range, total) = rest.split_once('/')?;
    let (first, last) = range.trim().split_once('-')?;
    let first: u64 = first.trim().parse().ok()?;
    let past = last.trim().parse::<u64>().ok()?.checked_add(1)?;
    let total = match total.trim() {
        "*" => None,
        total => Some(total.parse().ok()?),
    };
    (first < past && total.is_none_or(|total| past <= total)).then_some((first, past, total))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_ranges() {
        assert_eq!(
            parse_content_range("bytes 0-9/100"),
            Some((0, 10, Some(100)))
        );
        assert_eq!(parse_content_range("bytes 5-5/*"), Some((5, 6, None)));
        for text in [
            "",
            "bytes",
            "bytes */100",
            "bytes 9-0/100",
            "bytes 0-100/100",
            "items 0-9/100",
            "bytes -9/100",
            "bytes 0-18446744073709551615/*",
        ] {
            assert_eq!(parse_content_range(text), None, "{text}");
        }
    }
}
