//! Requests: limits on time, redirects, retries.
//!
//! hf-hub's own requests have no time limits, do not heed `Retry-After`, take a token from the
//! environment when they are given none, and follow redirects before the headers that matter could be
//! read. So requests are made here, with the HTTP library that hf-hub uses as well.
//!
//! Redirects are followed by hand, because of the token: it goes to the endpoint's own scheme, host and
//! port, and only as long as no redirect has led away from there. A server elsewhere that redirects back
//! gets a request without it, so that it cannot choose what is done in the user's name.

use std::error::Error as _;
use std::hash::{BuildHasher as _, Hasher as _};
use std::time::{Duration, Instant, SystemTime};

use reqwest::header::{
    ACCEPT_ENCODING, AUTHORIZATION, CONTENT_LENGTH, HeaderMap, HeaderName, HeaderValue, LOCATION,
    RANGE, RETRY_AFTER, USER_AGENT,
};
use reqwest::{Method, StatusCode, Url};
use tokio::time::{sleep, timeout};

use super::gunzip::Gunzip;
use super::options::HubOptions;
use crate::error::{Error, Result};

/// Most redirects that one request may follow.
const MOST_REDIRECTS: usize = 10;

/// Longest pause between two attempts that nobody asked for.
const LONGEST_BACKOFF: Duration = Duration::from_secs(8);

/// Longest document, such as a list of files, that is read into memory.
const LONGEST_DOCUMENT: u64 = 64 << 20;

/// Makes requests to one Hub.
pub(super) struct Client {
    http: reqwest::Client,
    endpoint: Url,
    authorization: Option<HeaderValue>,
    options: HubOptions,
}

/// Which redirects a request follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Follow {
    /// All of them.
    Everywhere,
    /// Those within one origin. One that leads away is itself the answer.
    WithinOrigin,
}

/// What is asked for.
#[derive(Debug, Clone)]
pub(super) struct Request {
    pub(super) method: Method,
    pub(super) place: Place,
    pub(super) follow: Follow,
    /// First and last byte; no last byte means up to the end.
    pub(super) range: Option<(u64, Option<u64>)>,
}

impl Request {
    /// A GET of a document.
    pub(super) fn get(url: Url) -> Request {
        Request {
            method: Method::GET,
            place: Place::new(url),
            follow: Follow::Everywhere,
            range: None,
        }
    }

    /// A HEAD, which answers with the headers of the first server that is not ours to trust.
    pub(super) fn head(url: Url) -> Request {
        Request {
            method: Method::HEAD,
            follow: Follow::WithinOrigin,
            ..Request::get(url)
        }
    }
}

/// A URL, and whether a redirect away from the endpoint was on the way to it.
#[derive(Debug, Clone)]
pub(super) struct Place {
    pub(super) url: Url,
    pub(super) left_endpoint: bool,
}

impl Place {
    /// A URL that no redirect has led to.
    pub(super) fn new(url: Url) -> Place {
        Place {
            url,
            left_endpoint: false,
        }
    }
}

/// An answer, and where it came from.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) response: reqwest::Response,
    pub(super) place: Place,
    /// The headers of the redirects on the way, the first one first. What the Hub says about a file
    /// stands in its own answer, also when that is a redirect.
    passed: Vec<HeaderMap>,
}

impl Answer {
    /// The HTTP status.
    pub(super) fn status(&self) -> StatusCode {
        self.response.status()
    }

    /// A header as text.
    pub(super) fn header(&self, name: &HeaderName) -> Option<&str> {
        header(self.response.headers(), name)
    }

    /// A header of the first answer that has it, redirects included.
    pub(super) fn first_header(&self, name: &HeaderName) -> Option<&str> {
        let mut all = self.passed.iter().chain([self.response.headers()]);
        all.find_map(|headers| header(headers, name))
    }

    /// The length that the headers promise for the body, unless it is compressed.
    pub(super) fn length(&self) -> Option<u64> {
        if self.encoding().is_some() {
            return None;
        }
        self.header(&CONTENT_LENGTH)?.trim().parse().ok()
    }

    /// The name of the body's compression, if it has any.
    pub(super) fn encoding(&self) -> Option<String> {
        let encoding = self.header(&reqwest::header::CONTENT_ENCODING)?;
        let encoding = encoding.trim().to_ascii_lowercase();
        (!matches!(encoding.as_str(), "" | "identity")).then_some(encoding)
    }
}

/// A header as text; nothing when it is not there or no ASCII text.
pub(super) fn header<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

/// Why an attempt failed.
#[derive(Debug)]
pub(super) enum Fault {
    /// Another attempt may succeed, after as long as the server asked for.
    Retryable {
        reason: String,
        wait: Option<Duration>,
    },
    /// Another attempt would not help.
    Final(Error),
}

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        Fault::Final(error)
    }
}

impl Client {
    /// A client as `options` say. It belongs to the runtime in which it is first used.
    pub(super) fn new(options: &HubOptions, endpoint: &Url) -> Result<Client> {
        let mut agent = concat!("candle4j/", env!("CARGO_PKG_VERSION"), "; rust").to_owned();
        if let Some(word) = &options.user_agent {
            agent = format!("{agent}; {word}");
        }
        let mut headers = HeaderMap::new();
        let agent = HeaderValue::from_str(&agent)
            .map_err(|_| Error::argument("user_agent", "cannot stand in an HTTP header"))?;
        headers.insert(USER_AGENT, agent);
        // Sizes and ranges are about the content itself.
        headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        let mut builder = reqwest::Client::builder();
        // The HTTP library takes the star for names only, not for addresses in numbers.
        if is_everything_excepted(|name| std::env::var(name).ok()) {
            builder = builder.no_proxy();
        }
        let http = builder
            .default_headers(headers)
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(options.connect_limit)
            // Requests of one file at once are to be connections of their own, which HTTP/2 would
            // make one.
            .http1_only()
            .build()
            .map_err(|error| Error::HubUnavailable {
                endpoint: endpoint.to_string(),
                reason: format!("no HTTP client could be made: {}", words(&error)),
            })?;
        Ok(Client {
            http,
            endpoint: endpoint.clone(),
            authorization: options
                .token
                .as_ref()
                .map(|token| token.authorization())
                .transpose()?,
            options: options.clone(),
        })
    }

    /// The options that it was made with.
    pub(super) fn options(&self) -> &HubOptions {
        &self.options
    }

    /// The Hub's address as it is shown.
    pub(super) fn endpoint(&self) -> &str {
        self.endpoint.as_str().trim_end_matches('/')
    }

    /// Whether requests to the endpoint carry a token.
    pub(super) fn has_token(&self) -> bool {
        self.authorization.is_some()
    }

    /// The URL of `path` below the endpoint. The path's parts must be [quoted](quote).
    pub(super) fn url(&self, path: &str) -> Result<Url> {
        Url::parse(&format!("{}/{path}", self.endpoint())).map_err(|error| Error::HubUnavailable {
            endpoint: self.endpoint().to_owned(),
            reason: error.to_string(),
        })
    }

    /// An error about the server at `url`. Only its origin is named: the rest of a URL to a storage
    /// server is a secret in itself.
    pub(super) fn unavailable(&self, url: &Url, reason: impl Into<String>) -> Error {
        let ours = url.origin() == self.endpoint.origin();
        Error::HubUnavailable {
            endpoint: if ours {
                self.endpoint().to_owned()
            } else {
                url.origin().ascii_serialization()
            },
            reason: reason.into(),
        }
    }

    /// Makes a request until it is answered, or until all attempts failed.
    pub(super) async fn ask(&self, request: &Request) -> Result<Answer> {
        let mut attempts = Attempts::new(&self.options);
        loop {
            match self.attempt(request, self.options.header_limit).await {
                Ok(answer) => return Ok(answer),
                Err(Fault::Final(error)) => return Err(error),
                Err(Fault::Retryable { reason, wait }) => {
                    if !attempts.pause(&reason, wait).await {
                        return Err(self.unavailable(&request.place.url, reason));
                    }
                }
            }
        }
    }

    /// Makes a request once. Each answer's headers may take as long as `limit`.
    pub(super) async fn attempt(
        &self,
        request: &Request,
        limit: Duration,
    ) -> std::result::Result<Answer, Fault> {
        let mut place = request.place.clone();
        let mut passed = Vec::new();
        for _ in 0..=MOST_REDIRECTS {
            let mut answer = self.exchange(request, &place, limit).await?;
            let status = answer.status();
            if is_passing(status) {
                let (reason, wait) = (
                    format!("answered {}", shown_status(status)),
                    asked_pause(answer.response.headers(), status),
                );
                return Err(Fault::Retryable { reason, wait });
            }
            let next = self.redirect(&answer)?.filter(|next| {
                request.follow == Follow::Everywhere || next.url.origin() == place.url.origin()
            });
            let Some(next) = next else {
                answer.passed = passed;
                return Ok(answer);
            };
            passed.push(std::mem::take(answer.response.headers_mut()));
            place = next;
        }
        Err(Fault::Final(self.unavailable(
            &place.url,
            format!("redirected more than {MOST_REDIRECTS} times"),
        )))
    }

    async fn exchange(
        &self,
        request: &Request,
        place: &Place,
        limit: Duration,
    ) -> std::result::Result<Answer, Fault> {
        let url = &place.url;
        let mut builder = self.http.request(request.method.clone(), url.clone());
        let at_home = !place.left_endpoint && url.origin() == self.endpoint.origin();
        if let (true, Some(authorization)) = (at_home, &self.authorization) {
            builder = builder.header(AUTHORIZATION, authorization.clone());
        }
        if let Some((first, last)) = request.range {
            let last = last.map(|last| last.to_string()).unwrap_or_default();
            builder = builder.header(RANGE, format!("bytes={first}-{last}"));
        }
        tracing::debug!(
            "{} {}{} {:?}",
            request.method,
            url.origin().ascii_serialization(),
            if at_home { url.path() } else { "/…" },
            request.range
        );
        match timeout(limit, builder.send()).await {
            Ok(Ok(response)) => Ok(Answer {
                response,
                place: place.clone(),
                passed: Vec::new(),
            }),
            Ok(Err(error)) if error.is_timeout() => Err(Fault::Final(self.unavailable(
                url,
                format!("made no connection within {:?}", self.options.connect_limit),
            ))),
            Ok(Err(error)) if error.is_builder() || is_certificate(&error) => {
                Err(Fault::Final(self.unavailable(url, words(&error))))
            }
            Ok(Err(error)) => Err(Fault::Retryable {
                reason: words(&error),
                wait: None,
            }),
            Err(_) => Err(Fault::Final(
                self.unavailable(url, format!("did not answer within {limit:?}")),
            )),
        }
    }

    /// Where an answer redirects to, if it does.
    pub(super) fn redirect(&self, answer: &Answer) -> Result<Option<Place>> {
        let followed = [301, 302, 303, 307, 308];
        if !followed.contains(&answer.status().as_u16()) {
            return Ok(None);
        }
        let from = &answer.place.url;
        let nonsense = |reason: &str| Err(self.unavailable(from, reason));
        let Some(location) = answer.response.headers().get(LOCATION) else {
            return nonsense("redirected to nowhere");
        };
        let location = std::str::from_utf8(location.as_bytes()).unwrap_or_default();
        let Ok(url) = from.join(location) else {
            return nonsense("redirected to something that is no URL");
        };
        if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none() {
            return nonsense("redirected to something other than http and https");
        }
        if !url.username().is_empty() || url.password().is_some() {
            return nonsense("redirected to a URL with a user name");
        }
        let leaves = url.origin() != self.endpoint.origin();
        Ok(Some(Place {
            url,
            left_endpoint: answer.place.left_endpoint || leaves,
        }))
    }

    /// Asks for a document and reads it, with as many attempts as the options allow. Nothing when the
    /// status is not 200; the answer then says what it is.
    pub(super) async fn document(&self, url: Url) -> Result<(Answer, Option<Vec<u8>>)> {
        let request = Request::get(url);
        let mut attempts = Attempts::new(&self.options);
        loop {
            let fault = match self.attempt(&request, self.options.header_limit).await {
                Ok(mut answer) if answer.status() == StatusCode::OK => {
                    match self.read(&mut answer).await {
                        Ok(document) => return Ok((answer, Some(document))),
                        Err(fault) => fault,
                    }
                }
                Ok(answer) => return Ok((answer, None)),
                Err(fault) => fault,
            };
            match fault {
                Fault::Final(error) => return Err(error),
                Fault::Retryable { reason, wait } => {
                    if !attempts.pause(&reason, wait).await {
                        return Err(self.unavailable(&request.place.url, reason));
                    }
                }
            }
        }
    }

    async fn read(&self, answer: &mut Answer) -> std::result::Result<Vec<u8>, Fault> {
        let refuse = |reason: String| Fault::Final(self.unavailable(&answer.place.url, reason));
        let compressed = answer.encoding();
        if compressed
            .as_deref()
            .is_some_and(|name| !Gunzip::understands(name))
        {
            return Err(refuse(
                "sent a compressed document, asked for a plain one".into(),
            ));
        }
        let mut gunzip = compressed.map(|_| Gunzip::new());
        let mut document = Vec::new();
        let mut take = |bytes: &[u8]| {
            if (document.len() + bytes.len()) as u64 > LONGEST_DOCUMENT {
                return Err(format!("sent more than {LONGEST_DOCUMENT} bytes"));
            }
            document.extend_from_slice(bytes);
            Ok(())
        };
        loop {
            let bytes = match timeout(self.options.idle_limit, answer.response.chunk()).await {
                Ok(Ok(bytes)) => bytes,
                Ok(Err(error)) => {
                    return Err(Fault::Retryable {
                        reason: words(&error),
                        wait: None,
                    });
                }
                Err(_) => {
                    let limit = self.options.idle_limit;
                    return Err(refuse(format!("sent nothing for {limit:?}")));
                }
            };
            let taken = match (&bytes, &mut gunzip) {
                (Some(bytes), None) => take(bytes),
                (Some(bytes), Some(gunzip)) => gunzip.write(bytes, &mut take),
                (None, Some(gunzip)) => gunzip.finish(&mut take),
                (None, None) => Ok(()),
            };
            taken.map_err(refuse)?;
            if bytes.is_none() {
                return Ok(document);
            }
        }
    }
}

/// Counts attempts in a row without progress, and waits between them.
pub(super) struct Attempts {
    left: u32,
    retries: u32,
    first: Duration,
    next: Duration,
    longest_wait: Duration,
}

impl Attempts {
    pub(super) fn new(options: &HubOptions) -> Attempts {
        Attempts {
            left: options.retries,
            retries: options.retries,
            first: options.backoff,
            next: options.backoff,
            longest_wait: options.longest_wait,
        }
    }

    /// Something was achieved, so that what comes counts anew.
    pub(super) fn progress(&mut self) {
        self.left = self.retries;
        self.next = self.first;
    }

    /// Waits before another attempt. False when there is none left.
    pub(super) async fn pause(&mut self, reason: &str, wait: Option<Duration>) -> bool {
        if self.left == 0 {
            return false;
        }
        self.left -= 1;
        let pause = match wait {
            Some(wait) => wait.min(self.longest_wait),
            // Somewhere between half and all of it, so that many clients do not come back together.
            None => self.next.mul_f64(0.5 + 0.5 * random_fraction()),
        };
        self.next = (self.next * 2).min(LONGEST_BACKOFF);
        tracing::info!("{reason}; trying again in {pause:?}");
        sleep(pause).await;
        true
    }
}

/// How long a file has stood still. When half of the limit has gone by, the request is made anew, once;
/// the limit itself is the end. So a connection that died without a word costs no more than that, and a
/// server that stays silent is given up when the limit says so.
pub(super) struct StallTimer {
    since: Instant,
    limit: Duration,
    asked_again: bool,
}

impl StallTimer {
    pub(super) fn new(limit: Duration) -> StallTimer {
        StallTimer {
            since: Instant::now(),
            limit,
            asked_again: false,
        }
    }

    /// Bytes came, or a pause was made on purpose.
    pub(super) fn over(&mut self) {
        self.since = Instant::now();
        self.asked_again = false;
    }

    /// Headers came. After a silence they are not enough.
    pub(super) fn answered(&mut self) {
        if !self.asked_again {
            self.since = Instant::now();
        }
    }

    /// How long to wait for the next bytes.
    pub(super) fn patience(&self) -> Duration {
        let limit = if self.asked_again {
            self.limit
        } else {
            self.limit / 2
        };
        limit.saturating_sub(self.since.elapsed())
    }

    /// How long to wait for headers, when that is `usual` otherwise.
    pub(super) fn limit_for_headers(&self, usual: Duration) -> Duration {
        if self.asked_again {
            usual.min(self.patience())
        } else {
            usual
        }
    }

    /// Whether a request may be made anew now that patience ran out.
    pub(super) fn may_ask_again(&mut self) -> bool {
        !std::mem::replace(&mut self.asked_again, true)
    }
}

/// Whether `NO_PROXY` says that no host is reached through a proxy.
fn is_everything_excepted(get: impl Fn(&str) -> Option<String>) -> bool {
    let said = get("NO_PROXY").or_else(|| get("no_proxy"));
    said.is_some_and(|hosts| hosts.split(',').any(|host| host.trim() == "*"))
}

/// Whether a status is one that goes by.
fn is_passing(status: StatusCode) -> bool {
    match status.as_u16() {
        408 | 425 | 429 => true,
        501 | 505 | 508 | 511 => false,
        code => code >= 500,
    }
}

/// How long a server asks to wait: `Retry-After` in seconds or as a date, or, with a 429, the Hub's
/// `RateLimit` header.
fn asked_pause(headers: &HeaderMap, status: StatusCode) -> Option<Duration> {
    let asked = header(headers, &RETRY_AFTER).map(str::trim);
    if let Some(seconds) = asked.and_then(|text| text.parse().ok()) {
        return Some(Duration::from_secs(seconds));
    }
    if let Some(date) = asked.and_then(|text| httpdate::parse_http_date(text).ok()) {
        let pause = date.duration_since(SystemTime::now());
        return Some(pause.unwrap_or_default());
    }
    if status != StatusCode::TOO_MANY_REQUESTS {
        return None;
    }
    // "api";r=0;t=55: nothing remains, and all of it comes back in 55 seconds.
    let limit = header(headers, &HeaderName::from_static("ratelimit"))?;
    let value = |key: &str| -> Option<u64> {
        let part = limit.split(';').map(str::trim);
        let mut values = part.filter_map(|part| part.strip_prefix(key));
        values.next()?.trim().parse().ok()
    };
    (value("r=")? == 0).then_some(Duration::from_secs(value("t=")?))
}

/// A status with its name, for messages.
pub(super) fn shown_status(status: StatusCode) -> String {
    match status.canonical_reason() {
        Some(reason) => format!("{} {reason}", status.as_u16()),
        None => status.as_u16().to_string(),
    }
}

/// An error with its causes, without any URL.
pub(super) fn words(error: &reqwest::Error) -> String {
    let mut texts: Vec<String> = Vec::new();
    let mut cause = error.source();
    while let Some(error) = cause {
        let text = error.to_string();
        // Causes often repeat what is below them.
        if !texts.iter().any(|known| known.contains(&text)) {
            texts.push(text);
        }
        cause = error.source();
    }
    if texts.is_empty() {
        texts.push("the request failed".to_owned());
    }
    texts.join(": ")
}

fn is_certificate(error: &reqwest::Error) -> bool {
    error.is_connect() && words(error).contains("certificate")
}

/// Percent-encodes all but unreserved characters and, where `keep` has them, others.
pub(super) fn quote(text: &str, keep: &str) -> String {
    use std::fmt::Write as _;
    let mut quoted = String::new();
    for byte in text.bytes() {
        let character = char::from(byte);
        if character.is_ascii_alphanumeric()
            || "-._~".contains(character)
            || keep.contains(character)
        {
            quoted.push(character);
        } else {
            // Writing to a string cannot fail.
            let _ = write!(quoted, "%{byte:02X}");
        }
    }
    quoted
}

/// A number from 0 to 1 that differs from call to call. The standard library seeds its hash tables
/// from the system's randomness, which is all that is needed here.
fn random_fraction() -> f64 {
    let random = std::hash::RandomState::new().build_hasher().finish();
    f64::from((random >> 32) as u32) / f64::from(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quoted_as_python_does_it() {
        assert_eq!(quote("refs/pr/1", ""), "refs%2Fpr%2F1");
        assert_eq!(
            quote("a b+c#d?/é.json", "/"),
            "a%20b%2Bc%23d%3F/%C3%A9.json"
        );
        assert_eq!(quote("A-z_0.9~", ""), "A-z_0.9~");
    }

    #[test]
    fn pauses_that_servers_ask_for() {
        let asked = |name: &'static str, value: &str, status| {
            let mut headers = HeaderMap::new();
            headers.insert(
                HeaderName::from_static(name),
                HeaderValue::from_str(value).unwrap(),
            );
            asked_pause(&headers, status)
        };
        let busy = StatusCode::TOO_MANY_REQUESTS;
        let seconds = |seconds| Some(Duration::from_secs(seconds));
        assert_eq!(asked("retry-after", "7", busy), seconds(7));
        assert_eq!(
            asked("retry-after", "3", StatusCode::SERVICE_UNAVAILABLE),
            seconds(3)
        );
        let soon = httpdate::fmt_http_date(SystemTime::now() + Duration::from_secs(60));
        let pause = asked("retry-after", &soon, busy).unwrap();
        assert!(pause > Duration::from_secs(50) && pause <= Duration::from_secs(60));
        assert_eq!(
            asked("retry-after", "Wed, 21 Oct 2015 07:28:00 GMT", busy),
            seconds(0)
        );
        assert_eq!(asked("retry-after", "soon", busy), None);
        assert_eq!(asked("ratelimit", "\"api\";r=0;t=55", busy), seconds(55));
        assert_eq!(asked("ratelimit", "\"api\";r=9;t=55", busy), None);
        assert_eq!(asked("ratelimit", "\"api\";r=0;t=55", StatusCode::OK), None);
    }

    #[test]
    fn statuses_that_go_by() {
        for (code, passing) in [
            (408, true),
            (429, true),
            (500, true),
            (503, true),
            (520, true),
            (200, false),
            (404, false),
            (416, false),
            (501, false),
        ] {
            assert_eq!(is_passing(StatusCode::from_u16(code).unwrap()), passing);
        }
    }

    #[test]
    fn attempts_are_bounded_and_progress_counts_anew() {
        let mut options = HubOptions::new("/c");
        options.retries = 2;
        options.backoff = Duration::from_millis(1);
        options.longest_wait = Duration::from_millis(5);
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .unwrap();
        runtime.block_on(async {
            let mut attempts = Attempts::new(&options);
            assert!(attempts.pause("", None).await);
            assert!(attempts.pause("", Some(Duration::from_secs(100))).await);
            assert!(!attempts.pause("", None).await);
            attempts.progress();
            assert!(attempts.pause("", None).await);
        });
    }

    #[test]
    fn patience_with_a_file_that_stands_still() {
        let seconds = Duration::from_secs;
        let mut stillness = StallTimer::new(seconds(10));
        assert!(stillness.patience() <= seconds(5));
        assert_eq!(stillness.limit_for_headers(seconds(30)), seconds(30));
        stillness.since = Instant::now() - seconds(5);
        assert_eq!(stillness.patience(), Duration::ZERO);
        assert!(stillness.may_ask_again());
        stillness.answered();
        assert!(stillness.patience() > seconds(4) && stillness.patience() <= seconds(5));
        assert!(stillness.limit_for_headers(seconds(30)) <= seconds(5));
        stillness.since = Instant::now() - seconds(11);
        assert_eq!(stillness.patience(), Duration::ZERO);
        assert!(!stillness.may_ask_again());
        stillness.over();
        assert!(stillness.patience() > seconds(4));
        assert!(stillness.may_ask_again());
    }

    #[test]
    fn no_proxy_for_anything() {
        let excepted = |name: &str, value: &str| {
            is_everything_excepted(|asked| (asked == name).then(|| value.to_owned()))
        };
        assert!(excepted("NO_PROXY", "*"));
        assert!(excepted("no_proxy", "localhost, *"));
        assert!(!excepted("NO_PROXY", "*.example"));
        assert!(!excepted("NO_PROXY", ""));
    }

    #[test]
    fn numbers_between_nought_and_one() {
        let numbers: Vec<f64> = (0..100).map(|_| random_fraction()).collect();
        assert!(numbers.iter().all(|number| (0.0..=1.0).contains(number)));
        assert!(numbers.iter().any(|number| *number != numbers[0]));
    }
}
