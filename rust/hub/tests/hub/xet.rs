//! Files in Xet storage. The storage is a scripted one as well: one container of uncompressed chunks,
//! which says how a file is put together from them.

use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use candle4j_hub::Token;
use candle4j_hub::error::{Code, Error};
use candle4j_hub::progress::{Interrupt, Progress};
use serde_json::json;

use crate::server::{Act, Asked, Model, Server, answer, owned};
use crate::support::{Cache, ID, WEIGHTS, assert_complete, cache, id, model, noise};

const SIZE: usize = 1_000_000;
const CHUNK: usize = 64 * 1024;
const HASH: &str = "abababababababababababababababababababababababababababababababab";
const CONTAINER: &str = "cdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcd";

/// What a storage with this content answers. Where it is reached stands in the requests themselves.
fn storage(asked: &Asked, content: &[u8]) -> Option<Act> {
    if asked.path.contains("/reconstructions/") {
        let (first, last) = asked.range().unwrap_or((0, None));
        let first = first as usize;
        let end = last.map_or(content.len(), |last| content.len().min(last as usize + 1));
        if first >= end {
            return answer(416, &[]);
        }
        let chunks = first / CHUNK..end.div_ceil(CHUNK);
        let unpacked = content.len().min(chunks.end * CHUNK) - chunks.start * CHUNK;
        let bytes =
            chunks.start * (CHUNK + 8)..content.len().min(chunks.end * CHUNK) + 8 * chunks.end;
        let range = json!({ "start": chunks.start, "end": chunks.end });
        let body = json!({
            "offset_into_first_range": first % CHUNK,
            "terms": [{ "hash": CONTAINER, "unpacked_length": unpacked, "range": range }],
            "xorbs": { CONTAINER: [{
                "url": format!("http://{}/container", asked.headers["host"]),
                "ranges": [{
                    "chunks": range,
                    "bytes": { "start": bytes.start, "end": bytes.end - 1 },
                }],
            }] },
        });
        let json = owned(&[("Content-Type", "application/json")]);
        return Some(Act::Answer(200, json, body.to_string().into_bytes()));
    }
    if asked.path == "/container" {
        let mut container = Vec::new();
        for chunk in content.chunks(CHUNK) {
            let length = &(chunk.len() as u32).to_le_bytes()[..3];
            // Version, length, no compression, length once more.
            container.extend_from_slice(&[&[0][..], length, &[0], length, chunk].concat());
        }
        let (first, last) = asked.range()?;
        let part = container[first as usize..=last? as usize].to_vec();
        let range = format!("bytes {first}-{}/{}", last?, container.len());
        return Some(Act::Answer(206, owned(&[("Content-Range", &range)]), part));
    }
    answer(404, &[])
}

/// A hub whose weights are in Xet storage at `storage`.
fn hub(
    model: &Model,
    storage: &str,
    granted: impl Fn() -> Option<Act> + Send + Sync + 'static,
) -> Server {
    let storage = storage.to_owned();
    Server::scripted(model, move |asked| {
        if asked.is("HEAD", WEIGHTS) {
            return Some(Act::With(owned(&[("X-Xet-Hash", HASH)])));
        }
        if asked.path.contains("/xet-read-token/") {
            return granted().or_else(|| grant(&storage));
        }
        None
    })
}

fn grant(storage: &str) -> Option<Act> {
    let grant = json!({ "casUrl": storage, "accessToken": "xet_access", "exp": 9_999_999_999_u64 });
    Some(Act::Answer(200, Vec::new(), grant.to_string().into_bytes()))
}

fn with_token(server: &Server) -> Cache {
    let mut cache = cache(server);
    cache.options.token = Some(Token::new("hf_verysecret").unwrap());
    cache.options.xet_cache = cache.folder.path().join("xet");
    cache
}

#[test]
fn files_come_from_the_storage_and_are_checked() {
    let model = model(SIZE);
    let content = model.file(WEIGHTS).content.clone();
    let storage = Server::scripted(&model, move |asked| storage(asked, &content));
    let server = hub(&model, &storage.url(), || None);
    let cache = with_token(&server);
    assert_complete(&cache.fetch().unwrap(), &model);
    assert_eq!(server.count("GET", WEIGHTS), 0);
    assert!(cache.blobs().contains(&model.file(WEIGHTS).tag()));
    // The storage has its own token, and never sees the Hub's.
    let asked = storage.asked();
    assert!(
        asked
            .iter()
            .any(|asked| asked.token() == Some("Bearer xet_access"))
    );
    assert!(
        asked
            .iter()
            .all(|asked| asked.token() != Some("Bearer hf_verysecret"))
    );
    assert!(!asked.iter().any(|asked| asked.path.contains("telemetry")));
}

#[test]
fn a_partial_file_is_continued_from_the_storage() {
    let model = model(SIZE);
    let content = model.file(WEIGHTS).content.clone();
    let theirs = content.clone();
    let storage = Server::scripted(&model, move |asked| storage(asked, &theirs));
    let server = hub(&model, &storage.url(), || None);
    let cache = with_token(&server);
    let tag = model.file(WEIGHTS).tag();
    std::fs::create_dir_all(cache.path("blobs")).unwrap();
    let partial = cache.path("blobs").join(format!("{tag}.incomplete"));
    std::fs::write(partial, &content[..400_000]).unwrap();
    assert_complete(&cache.fetch().unwrap(), &model);
    assert_eq!(server.count("GET", WEIGHTS), 0);
    let asked = storage.asked();
    let first = asked
        .iter()
        .find(|asked| asked.path.contains("/reconstructions/"));
    assert!(first.unwrap().range().unwrap().0 >= 400_000 - CHUNK as u64);
}

#[test]
fn plain_http_where_the_storage_fails() {
    let model = model(SIZE);
    let broken: [fn(&Asked) -> Option<Act>; 3] = [
        |_| answer(404, &[]),
        |_| answer(403, &[]),
        |asked| {
            // It says how the file is put together, but does not have the parts.
            let content = crate::support::model(SIZE).file(WEIGHTS).content.clone();
            match asked.path.as_str() {
                "/container" => answer(404, &[]),
                _ => storage(asked, &content),
            }
        },
    ];
    for script in broken {
        let storage = Server::scripted(&model, script);
        let server = hub(&model, &storage.url(), || None);
        assert_complete(&with_token(&server).fetch().unwrap(), &model);
        assert_eq!(server.count("GET", WEIGHTS), 1);
    }
}

#[test]
fn plain_http_where_access_is_not_granted() {
    let model = model(SIZE);
    let refusals: [fn() -> Option<Act>; 5] = [
        || answer(404, &[]),
        || answer(200, &[]),
        || grant("local:///etc"),
        || grant("not a url"),
        || {
            let old = json!({ "casUrl": "http://127.0.0.1:9", "accessToken": "x", "exp": 1 });
            Some(Act::Answer(200, Vec::new(), old.to_string().into_bytes()))
        },
    ];
    for refusal in refusals {
        let server = hub(&model, "http://127.0.0.1:9", refusal);
        assert_complete(&with_token(&server).fetch().unwrap(), &model);
        assert_eq!(server.count("GET", WEIGHTS), 1);
    }
}

#[test]
fn wrong_bytes_from_the_storage_are_fetched_again_by_plain_http() {
    let model = model(SIZE);
    let storage = Server::scripted(&model, |asked| storage(asked, &noise(1000, SIZE)));
    let server = hub(&model, &storage.url(), || None);
    let cache = with_token(&server);
    assert_complete(&cache.fetch().unwrap(), &model);
    assert_eq!(server.ranges(WEIGHTS), [None]);
}

#[test]
fn a_silent_storage_can_be_left_and_is_given_up() {
    let model = model(SIZE);
    let content = model.file(WEIGHTS).content.clone();
    let storage = Server::scripted(&model, move |asked| match asked.path.as_str() {
        "/container" => Some(Act::Stall),
        _ => storage(asked, &content),
    });
    let server = hub(&model, &storage.url(), || None);
    let mut cache = with_token(&server);
    cache.options.idle_limit = Duration::from_secs(100);
    let begin = Instant::now();
    let result = cache
        .hub()
        .fetch(
            &id(ID),
            &mut |_: &Progress| match begin.elapsed() > Duration::from_millis(500) {
                true => ControlFlow::Break(Interrupt::Stop),
                false => ControlFlow::Continue(()),
            },
        );
    assert_eq!(result, Err(Error::Cancelled));
    assert!(begin.elapsed() < Duration::from_millis(1_500));

    cache.options.idle_limit = Duration::from_millis(500);
    assert_complete(&cache.fetch().unwrap(), &model);
    assert_eq!(server.count("GET", WEIGHTS), 1);
}

#[test]
fn xet_can_be_switched_off() {
    let model = model(SIZE);
    let server = hub(&model, "http://127.0.0.1:9", || answer(500, &[]));
    let mut cache = with_token(&server);
    cache.options.xet = false;
    assert_complete(&cache.fetch().unwrap(), &model);
    assert!(
        !server
            .asked()
            .iter()
            .any(|asked| asked.path.contains("xet"))
    );
}

#[test]
fn a_hub_that_refuses_both() {
    let model = model(SIZE);
    let server = Server::scripted(&model, |asked| {
        if asked.is("HEAD", WEIGHTS) {
            return Some(Act::With(owned(&[("X-Xet-Hash", HASH)])));
        }
        let refused = asked.path.contains("/xet-read-token/") || asked.is("GET", WEIGHTS);
        refused.then(|| answer(403, &[]))?
    });
    let error = with_token(&server).fetch().unwrap_err();
    assert_eq!(error.code(), Code::Unauthorized);
}
