//! A hub on the loopback interface that does what a test's script says.
//!
//! It serves models as the Hub does: the API, HEAD and GET with ranges, tags, commits and error codes.
//! A script may answer any request in another way: cut, stall, lie, redirect, refuse. All requests are
//! recorded.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::thread;
use std::time::Duration;

use sha1::{Digest as _, Sha1};
use sha2::Sha256;

/// The commit of models that name no other.
pub(crate) const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

/// A file of a model.
#[derive(Clone)]
pub(crate) struct HubFile {
    pub(crate) name: String,
    pub(crate) content: Arc<Vec<u8>>,
    /// Kept in LFS: tagged by its SHA-256 instead of its git hash.
    pub(crate) large: bool,
    /// Hashing takes its time in builds that are not optimised.
    tag: Arc<OnceLock<String>>,
}

impl HubFile {
    pub(crate) fn small(name: &str, content: impl Into<Vec<u8>>) -> HubFile {
        HubFile {
            name: name.to_owned(),
            content: Arc::new(content.into()),
            large: false,
            tag: Arc::default(),
        }
    }

    pub(crate) fn large(name: &str, content: impl Into<Vec<u8>>) -> HubFile {
        HubFile {
            large: true,
            ..HubFile::small(name, content)
        }
    }

    pub(crate) fn tag(&self) -> String {
        let hash = || match self.large {
            true => sha256(&self.content),
            false => git_sha1(&self.content),
        };
        self.tag.get_or_init(hash).clone()
    }
}

/// A model, as one commit of it is.
#[derive(Clone)]
pub(crate) struct Model {
    pub(crate) id: String,
    pub(crate) revision: String,
    pub(crate) commit: String,
    pub(crate) files: Vec<HubFile>,
}

impl Model {
    pub(crate) fn new(id: &str, files: Vec<HubFile>) -> Model {
        Model {
            id: id.to_owned(),
            revision: "main".to_owned(),
            commit: COMMIT.to_owned(),
            files,
        }
    }

    pub(crate) fn file(&self, name: &str) -> &HubFile {
        self.files.iter().find(|file| file.name == name).unwrap()
    }
}

/// A request as it came.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    pub(crate) method: String,
    pub(crate) path: String,
    /// By their names in lower case.
    pub(crate) headers: HashMap<String, String>,
    /// Which request with this method and path it is, from 1.
    pub(crate) count: usize,
}

impl Asked {
    pub(crate) fn is(&self, method: &str, end: &str) -> bool {
        self.method == method && self.path.ends_with(end)
    }

    pub(crate) fn range(&self) -> Option<(u64, Option<u64>)> {
        let range = self.headers.get("range")?.strip_prefix("bytes=")?;
        let (first, last) = range.split_once('-')?;
        Some((first.parse().ok()?, last.parse().ok()))
    }

    pub(crate) fn token(&self) -> Option<&str> {
        self.headers.get("authorization").map(String::as_str)
    }
}

/// What to do with a request.
#[derive(Clone)]
pub(crate) enum Act {
    /// An answer with this status, these headers and this body. Its length is told.
    Answer(u16, Vec<(String, String)>, Vec<u8>),
    /// What is usual, but so many bytes of the body only, after which the connection is cut.
    Cut(usize),
    /// What is usual, but so many bytes of the body only, after which nothing comes.
    StallAfter(usize),
    /// No answer at all, the connection stays.
    Stall,
    /// The connection is closed without an answer.
    Close,
    /// What is usual, with the body changed.
    Change(fn(&mut Vec<u8>)),
    /// What is usual without these headers.
    Without(Vec<&'static str>),
    /// What is usual with these headers instead of or beside the usual ones.
    With(Vec<(String, String)>),
    /// All of the file, whatever range was asked for.
    Whole,
    /// The same, but cut after so many bytes.
    WholeCut(usize),
    /// These very bytes, after which nothing comes.
    RawAndStall(Vec<u8>),
    /// All of the file, compressed, whatever was asked for.
    Gzip,
    /// All of the file in chunks, without a length.
    Chunked,
    /// All of the file up to the end of the connection, without a length.
    UntilClose,
    /// What is usual, so many bytes each ten milliseconds.
    Slowly(usize),
    /// These very bytes, after which the connection is closed.
    Raw(Vec<u8>),
    /// What is usual, after this time.
    After(Duration),
}

/// An answer without a body.
pub(crate) fn answer(status: u16, headers: &[(&str, &str)]) -> Option<Act> {
    Some(Act::Answer(status, owned(headers), Vec::new()))
}

/// A redirect.
pub(crate) fn redirect(to: impl Into<String>) -> Option<Act> {
    Some(Act::Answer(
        302,
        vec![("Location".into(), to.into())],
        Vec::new(),
    ))
}

pub(crate) fn owned(headers: &[(&str, &str)]) -> Vec<(String, String)> {
    let own = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    headers.iter().map(own).collect()
}

type Script = dyn Fn(&Asked) -> Option<Act> + Send + Sync;

struct Shared {
    models: Mutex<Vec<Model>>,
    script: Box<Script>,
    asked: Mutex<Vec<Asked>>,
    connections: AtomicUsize,
    busiest: AtomicUsize,
    busy: AtomicUsize,
    sent: AtomicUsize,
    over: AtomicBool,
}

/// A running hub. It ends when it is dropped.
pub(crate) struct Server {
    pub(crate) address: String,
    shared: Arc<Shared>,
}

impl Server {
    /// A hub with one model that does what is usual.
    pub(crate) fn start(model: &Model) -> Server {
        Server::scripted(model, |_| None)
    }

    /// A hub with one model and a script.
    pub(crate) fn scripted(
        model: &Model,
        script: impl Fn(&Asked) -> Option<Act> + Send + Sync + 'static,
    ) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let shared = Arc::new(Shared {
            models: Mutex::new(vec![model.clone()]),
            script: Box::new(script),
            asked: Mutex::default(),
            connections: AtomicUsize::new(0),
            busiest: AtomicUsize::new(0),
            busy: AtomicUsize::new(0),
            sent: AtomicUsize::new(0),
            over: AtomicBool::new(false),
        });
        let theirs = Arc::clone(&shared);
        thread::spawn(move || {
            for stream in listener.incoming() {
                if theirs.over.load(Ordering::Relaxed) {
                    return;
                }
                let Ok(stream) = stream else { continue };
                theirs.connections.fetch_add(1, Ordering::Relaxed);
                let shared = Arc::clone(&theirs);
                // A client that goes away is no concern of the hub's.
                thread::spawn(move || drop(serve(&shared, stream)));
            }
        });
        Server { address, shared }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Adds a model, or another revision of one.
    pub(crate) fn add(&self, model: &Model) {
        self.shared.models.lock().unwrap().push(model.clone());
    }

    /// Puts a model in the place of another commit of the same revision, as a push does.
    pub(crate) fn push(&self, model: &Model) {
        let mut models = self.shared.models.lock().unwrap();
        for other in models.iter_mut() {
            if other.id == model.id && other.revision == model.revision {
                other.revision = format!("before-{}", model.commit);
            }
        }
        models.push(model.clone());
    }

    /// All requests so far.
    pub(crate) fn asked(&self) -> Vec<Asked> {
        self.shared.asked.lock().unwrap().clone()
    }

    /// How many requests there were with this method for a path that ends so.
    pub(crate) fn count(&self, method: &str, end: &str) -> usize {
        self.asked()
            .iter()
            .filter(|asked| asked.is(method, end))
            .count()
    }

    /// The ranges that were asked for of files whose path ends so.
    pub(crate) fn ranges(&self, end: &str) -> Vec<Option<(u64, Option<u64>)>> {
        let asked = self.asked();
        let gets = asked.iter().filter(|asked| asked.is("GET", end));
        gets.map(Asked::range).collect()
    }

    /// How many bytes of bodies of files were sent.
    pub(crate) fn sent(&self) -> u64 {
        self.shared.sent.load(Ordering::Relaxed) as u64
    }

    /// How many answers were being sent at the busiest moment.
    pub(crate) fn busiest(&self) -> usize {
        self.shared.busiest.load(Ordering::Relaxed)
    }

    /// Forgets what was recorded.
    pub(crate) fn forget(&self) {
        self.shared.asked.lock().unwrap().clear();
        self.shared.sent.store(0, Ordering::Relaxed);
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.shared.over.store(true, Ordering::Relaxed);
        // Wakes the thread that accepts.
        let _ = TcpStream::connect(&self.address);
    }
}

/// An address at which connections are never made, as if packets were lost on the way. What it returns
/// must be kept as long as that is to last.
pub(crate) fn unreachable() -> (String, impl Drop) {
    struct Full(
        #[expect(dead_code, reason = "kept open")] TcpListener,
        Vec<TcpStream>,
    );
    impl Drop for Full {
        fn drop(&mut self) {
            self.1.clear();
        }
    }
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    // Nobody accepts these, and when the queue is full the system lets new ones wait.
    let mut waiting = Vec::new();
    while let Ok(stream) = TcpStream::connect_timeout(&address, Duration::from_millis(200)) {
        waiting.push(stream);
    }
    (address.to_string(), Full(listener, waiting))
}

fn serve(shared: &Arc<Shared>, stream: TcpStream) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut stream = stream;
    while let Some(asked) = read_request(shared, &mut reader)? {
        shared.asked.lock().unwrap().push(asked.clone());
        let act = (shared.script)(&asked);
        let busy = shared.busy.fetch_add(1, Ordering::Relaxed) + 1;
        shared.busiest.fetch_max(busy, Ordering::Relaxed);
        let kept = act_out(shared, &asked, act, &mut stream);
        shared.busy.fetch_sub(1, Ordering::Relaxed);
        if !kept? {
            let _ = stream.shutdown(Shutdown::Both);
            return Ok(());
        }
    }
    Ok(())
}

fn read_request(
    shared: &Shared,
    reader: &mut BufReader<TcpStream>,
) -> std::io::Result<Option<Asked>> {
    let mut line = String::new();
    if reader.read_line(&mut line)? == 0 {
        return Ok(None);
    }
    let mut words = line.split_whitespace();
    let (Some(method), Some(path)) = (words.next(), words.next()) else {
        return Ok(None);
    };
    let mut headers = HashMap::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let Some((name, value)) = line.trim().split_once(':') else {
            break;
        };
        headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
    }
    let asked = shared.asked.lock().unwrap();
    let earlier = asked
        .iter()
        .filter(|asked| asked.method == method && asked.path == path);
    Ok(Some(Asked {
        count: earlier.count() + 1,
        method: method.to_owned(),
        path: path.to_owned(),
        headers,
    }))
}

/// The usual answer: status, headers, body, and whether the body is one of a file.
struct Usual {
    status: u16,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
    is_file: bool,
}

/// Answers a request. False when the connection is to be closed.
fn act_out(
    shared: &Shared,
    asked: &Asked,
    act: Option<Act>,
    stream: &mut TcpStream,
) -> std::io::Result<bool> {
    let head = asked.method == "HEAD";
    let whole = matches!(
        act,
        Some(Act::Whole | Act::WholeCut(_) | Act::Gzip | Act::Chunked | Act::UntilClose)
    );
    let mut usual = usual(shared, asked, whole);
    let mut limit = usize::MAX;
    let mut pace = None;
    let mut keep = true;
    match act {
        None | Some(Act::Whole) => {}
        Some(Act::Answer(status, headers, body)) => {
            usual = Usual {
                status,
                headers,
                body,
                is_file: false,
            };
        }
        Some(Act::RawAndStall(bytes)) => {
            stream.write_all(&bytes)?;
            return wait_for_the_end(shared, stream);
        }
        Some(Act::Cut(bytes) | Act::WholeCut(bytes)) => {
            limit = bytes;
            keep = false;
        }
        Some(Act::StallAfter(bytes)) => {
            write_head(stream, &usual, true)?;
            stream.write_all(&usual.body[..bytes.min(usual.body.len())])?;
            return wait_for_the_end(shared, stream);
        }
        Some(Act::Stall) => return wait_for_the_end(shared, stream),
        Some(Act::Close) => return Ok(false),
        Some(Act::Change(change)) => change(&mut usual.body),
        Some(Act::Without(names)) => {
            let unwanted = |name: &str| names.iter().any(|other| name.eq_ignore_ascii_case(other));
            let told = !unwanted("content-length");
            usual.headers.retain(|(name, _)| !unwanted(name));
            if !told {
                write_head(stream, &usual, false)?;
                if !head {
                    stream.write_all(&usual.body)?;
                }
                return Ok(false);
            }
        }
        Some(Act::With(headers)) => {
            for (name, value) in headers {
                usual
                    .headers
                    .retain(|(other, _)| !other.eq_ignore_ascii_case(&name));
                usual.headers.push((name, value));
            }
        }
        Some(Act::Gzip) => {
            let mut encoder =
                flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            encoder.write_all(&usual.body)?;
            usual.body = encoder.finish()?;
            usual
                .headers
                .push(("Content-Encoding".into(), "gzip".into()));
        }
        Some(Act::Chunked) => {
            usual
                .headers
                .push(("Transfer-Encoding".into(), "chunked".into()));
            write_head(stream, &usual, false)?;
            if !head {
                for chunk in usual.body.chunks(10_000) {
                    write!(stream, "{:x}\r\n", chunk.len())?;
                    stream.write_all(chunk)?;
                    stream.write_all(b"\r\n")?;
                }
                stream.write_all(b"0\r\n\r\n")?;
                shared.sent.fetch_add(usual.body.len(), Ordering::Relaxed);
            }
            return Ok(true);
        }
        Some(Act::UntilClose) => {
            write_head(stream, &usual, false)?;
            if !head {
                stream.write_all(&usual.body)?;
            }
            return Ok(false);
        }
        Some(Act::Slowly(bytes)) => pace = Some(bytes),
        Some(Act::Raw(bytes)) => {
            stream.write_all(&bytes)?;
            return Ok(false);
        }
        Some(Act::After(time)) => thread::sleep(time),
    }
    write_head(stream, &usual, true)?;
    if head {
        return Ok(keep);
    }
    let body = &usual.body[..limit.min(usual.body.len())];
    for part in body.chunks(pace.unwrap_or(64 * 1024)) {
        stream.write_all(part)?;
        if usual.is_file {
            shared.sent.fetch_add(part.len(), Ordering::Relaxed);
        }
        if pace.is_some() {
            thread::sleep(Duration::from_millis(10));
        }
    }
    Ok(keep)
}

fn write_head(stream: &mut TcpStream, usual: &Usual, with_length: bool) -> std::io::Result<()> {
    let mut head = format!("HTTP/1.1 {} Scripted\r\n", usual.status);
    for (name, value) in &usual.headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    let told = |name: &str| {
        usual
            .headers
            .iter()
            .any(|(other, _)| other.eq_ignore_ascii_case(name))
    };
    if with_length && !told("content-length") {
        head.push_str(&format!("Content-Length: {}\r\n", usual.body.len()));
    }
    head.push_str("\r\n");
    stream.write_all(head.as_bytes())
}

/// Keeps a connection open without a word until the client or the test is gone.
fn wait_for_the_end(shared: &Shared, stream: &mut TcpStream) -> std::io::Result<bool> {
    stream.set_read_timeout(Some(Duration::from_millis(20)))?;
    let mut byte = [0];
    while !shared.over.load(Ordering::Relaxed) {
        match stream.read(&mut byte) {
            Ok(0) => break,
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => break,
            _ => {}
        }
    }
    Ok(false)
}

fn usual(shared: &Shared, asked: &Asked, whole: bool) -> Usual {
    let models = shared.models.lock().unwrap();
    let failure = |status: u16, code: &str| Usual {
        status,
        headers: owned(&[("X-Error-Code", code)]),
        body: Vec::new(),
        is_file: false,
    };
    // A proxy is asked for whole addresses.
    let path = asked
        .path
        .strip_prefix("http://")
        .map_or(&*asked.path, |address| {
            &address[address.find('/').unwrap_or(address.len())..]
        });
    let path = path.split('?').next().unwrap_or_default();
    let path = unquote(path.trim_start_matches('/'));
    if let Some(path) = path.strip_prefix("api/models/") {
        let (id, revision) = path.split_once("/revision/").unwrap_or((path, "main"));
        if !models.iter().any(|model| model.id == id) {
            return failure(404, "RepoNotFound");
        }
        let found = models.iter().find(|model| {
            model.id == id && (model.revision == revision || model.commit == revision)
        });
        let Some(model) = found else {
            return failure(404, "RevisionNotFound");
        };
        let siblings: Vec<serde_json::Value> = model
            .files
            .iter()
            .map(|file| serde_json::json!({ "rfilename": file.name }))
            .collect();
        let body = serde_json::json!({
            "id": model.id, "sha": model.commit, "private": false, "siblings": siblings,
        });
        return Usual {
            status: 200,
            headers: owned(&[("Content-Type", "application/json")]),
            body: body.to_string().into_bytes(),
            is_file: false,
        };
    }
    let Some((id, rest)) = path.split_once("/resolve/") else {
        return failure(404, "EntryNotFound");
    };
    if !models.iter().any(|model| model.id == id) {
        return failure(404, "RepoNotFound");
    }
    // A revision may have a slash in it, so all of them are tried.
    let found = models
        .iter()
        .filter(|model| model.id == id)
        .find_map(|model| {
            let name = rest
                .strip_prefix(&format!("{}/", model.revision))
                .or_else(|| rest.strip_prefix(&format!("{}/", model.commit)))?;
            Some((model, name))
        });
    let Some((model, name)) = found else {
        return failure(404, "RevisionNotFound");
    };
    let commit = ("X-Repo-Commit".to_owned(), model.commit.clone());
    let Some(file) = model.files.iter().find(|file| file.name == name) else {
        let mut missing = failure(404, "EntryNotFound");
        missing.headers.push(commit);
        return missing;
    };
    let mut headers = vec![commit, ("ETag".into(), format!("\"{}\"", file.tag()))];
    headers.push(("Accept-Ranges".into(), "bytes".into()));
    if file.large {
        headers.push(("X-Linked-Etag".into(), format!("\"{}\"", file.tag())));
        headers.push(("X-Linked-Size".into(), file.content.len().to_string()));
    }
    let size = file.content.len() as u64;
    let Some((first, last)) = asked.range().filter(|_| !whole) else {
        return Usual {
            status: 200,
            headers,
            body: file.content.to_vec(),
            is_file: true,
        };
    };
    let end = last.map_or(size, |last| size.min(last + 1));
    if first >= end {
        headers.push(("Content-Range".into(), format!("bytes */{size}")));
        return Usual {
            status: 416,
            headers,
            body: Vec::new(),
            is_file: false,
        };
    }
    let range = format!("bytes {first}-{}/{size}", end - 1);
    headers.push(("Content-Range".into(), range));
    Usual {
        status: 206,
        headers,
        body: file.content[first as usize..end as usize].to_vec(),
        is_file: true,
    }
}

fn unquote(path: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = path.as_bytes();
    while let [first, tail @ ..] = rest {
        if let (b'%', [high, low, tail @ ..]) = (first, tail) {
            let digits = [*high, *low];
            let digits = std::str::from_utf8(&digits).unwrap();
            bytes.push(u8::from_str_radix(digits, 16).unwrap());
            rest = tail;
        } else {
            bytes.push(*first);
            rest = tail;
        }
    }
    String::from_utf8(bytes).unwrap()
}

pub(crate) fn sha256(content: &[u8]) -> String {
    hex(&Sha256::digest(content))
}

pub(crate) fn git_sha1(content: &[u8]) -> String {
    let mut hasher = Sha1::new();
    hasher.update(format!("blob {}\0", content.len()));
    hasher.update(content);
    hex(&hasher.finalize())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
