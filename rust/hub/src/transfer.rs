//! Bytes of one file, from the network into its partial file, over one connection at a time.
//!
//! Nothing that a server says about a range is taken on trust. What does not fit what was asked for is thrown away, and
//! the file is then fetched from its start; and whatever arrives is hashed as a whole before it counts.

use std::cell::{Cell, RefCell};
use std::fs::File;
use std::io;
use std::sync::Arc;

use reqwest::header::{CONTENT_RANGE, ETAG};
use reqwest::{Method, StatusCode, Url};
use tokio::time::timeout;

use super::api;
use super::digest::{Follower, Promise};
use super::events::Gauge;
use super::gunzip::Gunzip;
use super::id::ModelId;
use super::partial::Partial;
use super::request::{
    Answer, Attempts, Client, Fault, Follow, Place, Request, StallTimer, shown_status, words,
};
use super::space;
use crate::error::{Error, Result};

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
}

/// One file on its way.
pub(super) struct Transfer<'a> {
    source: Source<'a>,
    gauge: &'a Gauge,
    partial: RefCell<Partial>,
    follower: RefCell<Option<Follower>>,
    size: Cell<Option<u64>>,
    /// Whether ranges are asked for: not once a server has answered one wrongly.
    ranges: Cell<bool>,
    /// Where redirects ended, so that a resumed request does not go through the Hub again.
    place: RefCell<Option<Place>>,
    /// Most bytes that were there at any time.
    best: Cell<u64>,
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
    /// All bytes are there: the file, its size, and its hash unless nobody asks for one.
    Complete {
        file: Arc<File>,
        size: u64,
        hash: Option<String>,
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
            source,
            gauge,
            best: Cell::new(partial.len()),
            partial: RefCell::new(partial),
            follower: RefCell::new(None),
            size: Cell::new(size),
            ranges: Cell::new(true),
            place: RefCell::new(None),
        };
        transfer.follow()?;
        transfer.report();
        Ok(transfer)
    }

    /// Fetches what lacks, and hashes all of it.
    pub(super) async fn run(self) -> Result<Outcome> {
        match self.fetch().await {
            Ok(size) => self.finish(size).await,
            Err(Stop::Wrong { expected, got }) => Ok(Outcome::Wrong { expected, got }),
            Err(Stop::Fault(Fault::Final(error))) => Err(error),
            Err(Stop::Fault(Fault::Retryable { reason, .. })) => Err(self.unavailable(reason)),
            Err(Stop::NoRanges(reason)) => Err(self.unavailable(reason)),
            Err(Stop::Silent) => Err(self.unavailable("is silent")),
        }
    }

    /// Bytes that are there.
    pub(super) fn len(&self) -> u64 {
        self.partial.borrow().len()
    }

    /// Appends bytes, which may come in another way than by HTTP.
    pub(super) fn write(&self, bytes: &[u8]) -> Result<()> {
        let written = self.partial.borrow_mut().write(bytes);
        written.map_err(|error| self.write_error(&error))?;
        if let Some(follower) = &*self.follower.borrow() {
            follower.written(self.len());
        }
        self.report();
        Ok(())
    }

    async fn finish(self, size: u64) -> Result<Outcome> {
        self.gauge.total(size);
        self.gauge.verifying();
        let path = self.source.name.to_owned();
        let file = Arc::clone(self.partial.borrow().file());
        let hash = match self.follower.into_inner() {
            Some(follower) => Some(
                follower
                    .finish(size)
                    .await
                    .map_err(|error| Error::io(&path, &error))?,
            ),
            None => None,
        };
        Ok(Outcome::Complete { file, size, hash })
    }

    async fn fetch(&self) -> std::result::Result<u64, Stop> {
        let mut stall = StallTimer::new(self.source.client.options().idle_limit);
        let mut attempts = Attempts::new(self.source.client.options());
        let mut mark = self.best.get();
        loop {
            let size = self.size.get();
            if size.is_some_and(|size| self.len() >= size) {
                return Ok(size.unwrap_or(0));
            }
            match self.fetch_rest(&mut stall).await {
                Ok(()) | Err(Stop::Silent) => {}
                // The file is begun anew, asking for all of it.
                Err(Stop::NoRanges(reason)) if self.ranges.get() => {
                    tracing::info!("{}: {reason}; fetching it from its start", self.source.name);
                    self.ranges.set(false);
                    self.restart()?;
                }
                Err(Stop::Fault(Fault::Retryable { reason, wait })) => {
                    let best = self.best.get();
                    if best >= mark.saturating_add(PROGRESS) {
                        mark = best;
                        attempts.progress();
                    }
                    if !attempts.pause(&reason, wait).await {
                        return Err(self.unavailable(reason).into());
                    }
                    stall.over();
                }
                Err(other) => return Err(other),
            }
        }
    }

    /// Fetches what lacks, or everything where ranges do not work.
    async fn fetch_rest(&self, stall: &mut StallTimer) -> std::result::Result<(), Stop> {
        if !self.ranges.get() && self.len() > 0 {
            self.restart()?;
        }
        let start = self.len();
        let range = (start > 0).then_some((start, self.size.get()));
        let answer = self.open(range, stall).await?;
        self.receive(answer, start, stall).await
    }

    /// Makes a request for the file, or for a range of it, and checks the answer's headers.
    async fn open(
        &self,
        range: Option<(u64, Option<u64>)>,
        stall: &mut StallTimer,
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
        let limit = stall.limit_for_headers(client.options().header_limit);
        let answer = match client.attempt(&request, limit).await {
            Ok(answer) => {
                stall.answered();
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
                Err(Fault::Retryable {
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

    /// Takes an answer to a request for everything from `start` on.
    async fn receive(
        &self,
        answer: Answer,
        start: u64,
        stall: &mut StallTimer,
    ) -> std::result::Result<(), Stop> {
        if answer.status() == StatusCode::PARTIAL_CONTENT {
            let end = self.check_range(&answer, start, self.size.get())?;
            return self.stream_body(answer, Some(end), None, stall).await;
        }
        // All of it, whatever was asked for.
        if start > 0 {
            self.ranges.set(false);
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
        self.stream_body(answer, self.size.get(), gunzip, stall)
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

    /// Appends an answer's body, which must not go beyond `end`.
    async fn stream_body(
        &self,
        mut answer: Answer,
        end: Option<u64>,
        mut gunzip: Option<Gunzip>,
        stall: &mut StallTimer,
    ) -> std::result::Result<(), Stop> {
        let ranged = answer.status() == StatusCode::PARTIAL_CONTENT;
        let take = |bytes: &[u8]| -> std::result::Result<(), Stop> {
            let limit = end.unwrap_or(u64::MAX);
            if bytes.len() as u64 > limit - self.len() {
                if ranged {
                    return Err(Stop::NoRanges("the server sends more than the range"));
                }
                return Err(Stop::Wrong {
                    expected: format!("{limit} bytes"),
                    got: "more".to_owned(),
                });
            }
            Ok(self.write(bytes)?)
        };
        loop {
            let chunk = match timeout(stall.patience(), answer.response.chunk()).await {
                Ok(Ok(chunk)) => chunk,
                Ok(Err(error)) => {
                    return Err(Fault::Retryable {
                        reason: format!("the connection broke: {}", words(&error)),
                        wait: None,
                    }
                    .into());
                }
                Err(_) if stall.may_ask_again() => return Err(Stop::Silent),
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
                    stall.over();
                    take(&chunk)?;
                }
                (Some(chunk), Some(gunzip)) => {
                    stall.over();
                    gunzip.write(&chunk, &mut &take)?;
                }
                (None, Some(unzip)) => {
                    unzip.finish(&mut &take)?;
                    break;
                }
                (None, None) => break,
            }
        }
        match end {
            Some(end) if self.len() < end => Err(Fault::Retryable {
                reason: format!("the answer ended {} bytes early", end - self.len()),
                wait: None,
            }
            .into()),
            Some(_) => Ok(()),
            None => Ok(self.learn_size(self.len())?),
        }
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
        follower.written(partial.len());
        *self.follower.borrow_mut() = Some(follower);
        Ok(())
    }

    /// The size is known now that the file comes; whether there is room for it was not asked before.
    fn learn_size(&self, size: u64) -> Result<()> {
        self.size.set(Some(size));
        self.gauge.total(size);
        let partial = self.partial.borrow();
        let folder = partial.path().parent().unwrap_or(partial.path());
        space::check(folder, size.saturating_sub(partial.len()))
    }

    fn report(&self) {
        let there = self.len();
        self.best.set(self.best.get().max(there));
        self.gauge.at(there);
    }

    fn write_error(&self, error: &io::Error) -> Error {
        let there = self.len();
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
