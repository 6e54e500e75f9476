//! Requests: time limits, redirects, retries.
//!
//! Redirects are followed by hand, because of the token: it goes to the endpoint's own scheme, host and
//! port, and only as long as no redirect has led away from there. A server elsewhere that redirects back
//! gets a request without it, so that it cannot choose what is done in the user's name.

use std::error::Error as _;
use std::hash::{BuildHasher as _, RandomState};
use std::time::{Duration, SystemTime};

use reqwest::header::{
    ACCEPT_ENCODING, AUTHORIZATION, CONTENT_LENGTH, CONTENT_RANGE, HeaderMap, HeaderName,
    HeaderValue, LOCATION, RANGE, RETRY_AFTER, USER_AGENT,
};
use reqwest::{Method, Response, StatusCode, Url};
use tokio::time::{sleep, timeout};

use super::options::HubOptions;
use crate::error::{Error, Result};

/// Most redirects that one request may follow.
const MAX_REDIRECTS: usize = 10;

/// Longest pause between two attempts that nobody asked for.
const MAX_BACKOFF: Duration = Duration::from_secs(8);

/// Longest document, such as a list of files, that is read into memory.
const MAX_DOCUMENT: usize = 64 << 20;

/// The hash of a file that lies on another server, as the Hub tells it beside the redirect to there.
pub(crate) const LINKED_ETAG: HeaderName = HeaderName::from_static("x-linked-etag");

/// Makes requests to one Hub.
pub(crate) struct Client {
    http: reqwest::Client,
    endpoint: Url,
    authorization: Option<HeaderValue>,
    options: HubOptions,
}

/// An answer, and whether a redirect led away from the endpoint on the way to it.
pub(crate) struct Answer {
    pub(crate) response: Response,
    pub(crate) left_endpoint: bool,
}

impl Answer {
    pub(crate) fn status(&self) -> StatusCode {
        self.response.status()
    }

    /// A header as text; `None` when it is not there or no ASCII text.
    pub(crate) fn header(&self, name: &HeaderName) -> Option<&str> {
        header(self.response.headers(), name)
    }

    /// The length that the headers promise for the body.
    pub(crate) fn length(&self) -> Option<u64> {
        self.header(&CONTENT_LENGTH)?.trim().parse().ok()
    }

    /// The range that the headers promise: the first byte, the one past the last, and the length of
    /// the whole unless that is not told.
    pub(crate) fn content_range(&self) -> Option<(u64, u64, Option<u64>)> {
        parse_content_range(self.header(&CONTENT_RANGE)?)
    }
}

/// Why an attempt failed.
#[derive(Debug)]
pub(crate) enum Fault {
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
    pub(crate) fn new(options: &HubOptions, endpoint: &Url) -> Result<Client> {
        let mut agent = concat!("candle4j/", env!("CARGO_PKG_VERSION"), "; rust").to_owned();
        if let Some(word) = &options.user_agent {
            agent = format!("{agent}; {word}");
        }
        let agent = HeaderValue::from_str(&agent)
            .map_err(|_| Error::argument("user_agent", "cannot stand in an HTTP header"))?;
        let mut headers = HeaderMap::new();
        headers.insert(USER_AGENT, agent);
        // Sizes and ranges are about the content itself. Some servers compress it all the same.
        headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        let mut builder = reqwest::Client::builder();
        // reqwest takes the star for names only, not for addresses in numbers.
        let exceptions = std::env::var("NO_PROXY").or_else(|_| std::env::var("no_proxy"));
        if exceptions.is_ok_and(|hosts| hosts.split(',').any(|host| host.trim() == "*")) {
            builder = builder.no_proxy();
        }
        let http = builder
            .default_headers(headers)
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(options.connect_limit)
            .gzip(true)
            .build()
            .map_err(|error| Error::HubUnavailable {
                endpoint: endpoint.to_string(),
                reason: format!("no HTTP client could be made: {}", words(&error)),
            })?;
        let authorization = options.token.as_ref().map(|token| token.authorization());
        Ok(Client {
            http,
            endpoint: endpoint.clone(),
            authorization: authorization.transpose()?,
            options: options.clone(),
        })
    }

    /// The options that it was made with.
    pub(crate) fn options(&self) -> &HubOptions {
        &self.options
    }

    /// The Hub's address as it is shown.
    pub(crate) fn endpoint(&self) -> &str {
        self.endpoint.as_str().trim_end_matches('/')
    }

    /// Whether requests to the endpoint carry a token.
    pub(crate) fn has_token(&self) -> bool {
        self.authorization.is_some()
    }

    /// The URL of these path segments below the endpoint.
    pub(crate) fn url<'a>(&self, segments: impl IntoIterator<Item = &'a str>) -> Url {
        let mut url = self.endpoint.clone();
        // An http URL can always be a base.
        if let Ok(mut path) = url.path_segments_mut() {
            path.pop_if_empty().extend(segments);
        }
        url
    }

    /// An error about the server at `url`. Only its origin is named: the rest of a URL to a storage
    /// server is a secret in itself.
    pub(crate) fn unavailable(&self, url: &Url, reason: impl Into<String>) -> Error {
        let ours = url.origin() == self.endpoint.origin();
        Error::HubUnavailable {
            endpoint: match ours {
                true => self.endpoint().to_owned(),
                false => url.origin().ascii_serialization(),
            },
            reason: reason.into(),
        }
    }

    /// The error for an answer that makes no sense here.
    pub(crate) fn unexpected(&self, answer: &Answer) -> Error {
        let reason = format!("answered {}", answer.status());
        self.unavailable(answer.response.url(), reason)
    }

    /// Makes attempts until one succeeds, fails for good, or was one too many.
    pub(crate) async fn retry<T>(
        &self,
        url: &Url,
        mut attempt: impl AsyncFnMut() -> std::result::Result<T, Fault>,
    ) -> Result<T> {
        let mut retries = Retries::new(&self.options);
        loop {
            match attempt().await {
                Ok(value) => return Ok(value),
                Err(Fault::Final(error)) => return Err(error),
                Err(Fault::Retryable { reason, wait }) => {
                    if !retries.pause(&reason, wait).await {
                        return Err(self.unavailable(url, reason));
                    }
                }
            }
        }
    }

    /// Asks for a document of at most [`MAX_DOCUMENT`] bytes. `None` in its place when the status is not
    /// 200.
    pub(crate) async fn document(&self, url: &Url) -> Result<(Answer, Option<Vec<u8>>)> {
        self.retry(url, async || {
            let header_limit = self.options.header_limit;
            let mut answer = self.attempt(Method::GET, url, None, header_limit).await?;
            if answer.status() != StatusCode::OK {
                return Ok((answer, None));
            }
            let mut document = Vec::new();
            let limit = self.options.idle_limit;
            loop {
                let refuse = |reason| Fault::Final(self.unavailable(url, reason));
                match timeout(limit, answer.response.chunk()).await {
                    Ok(Ok(None)) => return Ok((answer, Some(document))),
                    Ok(Ok(Some(bytes))) if document.len() + bytes.len() > MAX_DOCUMENT => {
                        return Err(refuse(format!("sent more than {MAX_DOCUMENT} bytes")));
                    }
                    Ok(Ok(Some(bytes))) => document.extend_from_slice(&bytes),
                    Ok(Err(error)) => return Err(broken(&error)),
                    Err(_) => return Err(refuse(format!("sent nothing for {limit:?}"))),
                }
            }
        })
        .await
    }

    /// Makes a request once and follows its redirects. Each answer's headers may take as long as
    /// `limit`. The answer to a HEAD is the first one that has [`LINKED_ETAG`].
    pub(crate) async fn attempt(
        &self,
        method: Method,
        url: &Url,
        range: Option<(u64, u64)>,
        limit: Duration,
    ) -> std::result::Result<Answer, Fault> {
        let (mut url, mut left_endpoint) = (url.clone(), false);
        for _ in 0..=MAX_REDIRECTS {
            let mut request = self.http.request(method.clone(), url.clone());
            left_endpoint |= url.origin() != self.endpoint.origin();
            if let (false, Some(authorization)) = (left_endpoint, &self.authorization) {
                request = request.header(AUTHORIZATION, authorization.clone());
            }
            if let Some((first, last)) = range {
                request = request.header(RANGE, format!("bytes={first}-{last}"));
            }
            tracing::debug!("{method} {} {range:?}", url.origin().ascii_serialization());
            let refuse = |reason: String| Err(Fault::Final(self.unavailable(&url, reason)));
            let response = match timeout(limit, request.send()).await {
                Ok(Ok(response)) => response,
                Ok(Err(error)) if error.is_timeout() => {
                    let limit = self.options.connect_limit;
                    return refuse(format!("made no connection within {limit:?}"));
                }
                Ok(Err(error)) if error.is_builder() || words(&error).contains("certificate") => {
                    return refuse(words(&error));
                }
                Ok(Err(error)) => return Err(broken(&error)),
                Err(_) => return refuse(format!("did not answer within {limit:?}")),
            };
            let answer = Answer {
                response,
                left_endpoint,
            };
            let status = answer.status();
            if is_transient(status) {
                return Err(Fault::Retryable {
                    reason: format!("answered {status}"),
                    wait: retry_after(answer.response.headers()),
                });
            }
            let is_redirect = matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308);
            let has_hash = method == Method::HEAD && answer.header(&LINKED_ETAG).is_some();
            if !is_redirect || has_hash {
                return Ok(answer);
            }
            url = self.target(&answer)?;
        }
        let reason = format!("redirected more than {MAX_REDIRECTS} times");
        Err(Fault::Final(self.unavailable(&url, reason)))
    }

    /// Where a redirect leads to.
    fn target(&self, answer: &Answer) -> Result<Url> {
        let from = answer.response.url();
        let location = answer.response.headers().get(LOCATION);
        let location = location.and_then(|location| std::str::from_utf8(location.as_bytes()).ok());
        let target = location.filter(|location| !location.is_empty());
        let target = target.and_then(|location| from.join(location).ok());
        let usable = |url: &Url| {
            matches!(url.scheme(), "http" | "https")
                && url.has_host()
                && url.username().is_empty()
                && url.password().is_none()
        };
        target
            .filter(usable)
            .ok_or_else(|| self.unavailable(from, "redirected to no usable http address"))
    }
}

/// Counts attempts in a row without progress, and waits between them.
pub(crate) struct Retries<'a> {
    options: &'a HubOptions,
    made: u32,
}

impl<'a> Retries<'a> {
    pub(crate) fn new(options: &'a HubOptions) -> Retries<'a> {
        Retries { options, made: 0 }
    }

    /// Something was achieved, so that what comes counts anew.
    pub(crate) fn reset(&mut self) {
        self.made = 0;
    }

    /// Waits before another attempt. False when there is none left.
    pub(crate) async fn pause(&mut self, reason: &str, wait: Option<Duration>) -> bool {
        if self.made == self.options.retries {
            return false;
        }
        let doubled = self.options.backoff * 2_u32.saturating_pow(self.made.min(16));
        // Somewhere between half and all of it, so that many clients do not come back together. The
        // standard library seeds its hash tables randomly.
        let jitter =
            0.5 + 0.5 * (RandomState::new().hash_one(()) >> 32) as f64 / f64::from(u32::MAX);
        let pause = match wait {
            Some(wait) => wait.min(self.options.longest_wait),
            None => doubled.min(MAX_BACKOFF).mul_f64(jitter),
        };
        self.made += 1;
        tracing::info!("{reason}; trying again in {pause:?}");
        sleep(pause).await;
        true
    }
}

/// The fault of a connection or a body that ended early.
pub(crate) fn broken(error: &reqwest::Error) -> Fault {
    Fault::Retryable {
        reason: format!("the connection failed: {}", words(error)),
        wait: None,
    }
}

fn header<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

/// Whether a status is one that goes by.
fn is_transient(status: StatusCode) -> bool {
    match status.as_u16() {
        408 | 425 | 429 => true,
        501 | 505 | 508 | 511 => false,
        code => code >= 500,
    }
}

/// How long a server asks to wait, in seconds or as a date.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let asked = header(headers, &RETRY_AFTER)?.trim();
    let seconds = asked.parse().ok().map(Duration::from_secs);
    seconds.or_else(|| {
        let date = httpdate::parse_http_date(asked).ok()?;
        Some(date.duration_since(SystemTime::now()).unwrap_or_default())
    })
}

/// `bytes 0-9/100`: the first byte, the one past the last, and the whole length unless it is `*`.
fn parse_content_range(text: &str) -> Option<(u64, u64, Option<u64>)> {
    let (unit, rest) = text.trim().split_once(' ')?;
    let (range, total) = rest.split_once('/')?;
    let (first, last) = range.trim().split_once('-')?;
    let first: u64 = first.trim().parse().ok()?;
    let past = last.trim().parse::<u64>().ok()?.checked_add(1)?;
    let total = match total.trim() {
        "*" => None,
        total => Some(total.parse().ok()?),
    };
    (unit.eq_ignore_ascii_case("bytes") && first < past).then_some((first, past, total))
}

/// An error's causes, without any URL.
pub(crate) fn words(error: &reqwest::Error) -> String {
    let mut words = Vec::new();
    let mut cause = error.source();
    while let Some(error) = cause {
        let text = error.to_string();
        // Causes often repeat what is below them.
        if !words.iter().any(|known: &String| known.contains(&text)) {
            words.push(text);
        }
        cause = error.source();
    }
    match words.is_empty() {
        true => "the request failed".to_owned(),
        false => words.join(": "),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(endpoint: &str) -> Client {
        let options = HubOptions::new("/c");
        Client::new(&options, &Url::parse(endpoint).unwrap()).unwrap()
    }

    #[test]
    fn urls_are_quoted_as_python_does_it() {
        let url = |segments: &[&str]| {
            let client = client("http://hub.example/mirror");
            client.url(segments.iter().copied()).to_string()
        };
        assert_eq!(
            url(&["refs/pr/1", "a b#d?", "é.json"]),
            "http://hub.example/mirror/refs%2Fpr%2F1/a%20b%23d%3F/%C3%A9.json"
        );
    }

    #[test]
    fn pauses_that_servers_ask_for() {
        let asked = |value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(RETRY_AFTER, HeaderValue::from_str(value).unwrap());
            retry_after(&headers)
        };
        assert_eq!(asked("7"), Some(Duration::from_secs(7)));
        let soon = httpdate::fmt_http_date(SystemTime::now() + Duration::from_secs(60));
        let pause = asked(&soon).unwrap();
        assert!(pause > Duration::from_secs(50) && pause <= Duration::from_secs(60));
        let past = asked("Wed, 21 Oct 2015 07:28:00 GMT");
        assert_eq!(past, Some(Duration::ZERO));
        assert_eq!(asked("soon"), None);
    }

    #[test]
    fn statuses_that_go_by() {
        for code in [408, 429, 500, 503, 520] {
            assert!(is_transient(StatusCode::from_u16(code).unwrap()), "{code}");
        }
        for code in [200, 404, 416, 501] {
            assert!(!is_transient(StatusCode::from_u16(code).unwrap()), "{code}");
        }
    }

    #[test]
    fn retries_are_bounded_and_progress_counts_anew() {
        let mut options = HubOptions::new("/c");
        options.retries = 2;
        options.backoff = Duration::from_millis(1);
        options.longest_wait = Duration::from_millis(5);
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .unwrap();
        runtime.block_on(async {
            let mut retries = Retries::new(&options);
            assert!(retries.pause("", None).await);
            assert!(retries.pause("", Some(Duration::from_secs(100))).await);
            assert!(!retries.pause("", None).await);
            retries.reset();
            assert!(retries.pause("", None).await);
        });
    }

    #[test]
    fn content_ranges() {
        assert_eq!(
            parse_content_range("bytes 0-9/100"),
            Some((0, 10, Some(100)))
        );
        assert_eq!(parse_content_range("Bytes 5-5/*"), Some((5, 6, None)));
        for text in [
            "",
            "bytes",
            "bytes */100",
            "bytes 9-0/100",
            "items 0-9/100",
            "bytes 0-9",
            "bytes 0-18446744073709551615/100",
        ] {
            assert_eq!(parse_content_range(text), None, "{text}");
        }
    }
}
