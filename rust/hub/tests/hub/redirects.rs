//! Redirects, and what goes along with them.

use std::sync::{Arc, Mutex};

use candle4j_hub::Token;
use candle4j_hub::error::Code;

use crate::server::{Act, Server, owned, redirect};
use crate::support::{Cache, WEIGHTS, assert_complete, cache, model};

const SECRET: &str = "hf_verysecret";

fn with_token(server: &Server) -> Cache {
    let mut cache = cache(server);
    cache.options.token = Some(Token::new(SECRET).unwrap());
    cache
}

/// A redirect as the Hub sends it for a large file, which tells about the file what matters.
fn to_storage(target: String) -> Option<Act> {
    let weights = model(1000).file(WEIGHTS).clone();
    let mut headers = owned(&[("X-Repo-Commit", crate::server::COMMIT)]);
    headers.push(("Location".into(), target));
    headers.push(("X-Linked-Etag".into(), format!("\"{}\"", weights.tag())));
    headers.push(("X-Linked-Size".into(), weights.content.len().to_string()));
    Some(Act::Answer(302, headers, b"Found".to_vec()))
}

#[test]
fn row_07_another_host_never_sees_the_token() {
    let model = model(1000);
    let storage = Server::start(&model);
    let target = storage.url();
    let server = Server::scripted(&model, move |asked| {
        let target = format!("{target}{}?X-Signature=abc", asked.path);
        asked.path.ends_with(WEIGHTS).then(|| to_storage(target))?
    });
    let cache = with_token(&server);
    assert_complete(&cache.fetch().unwrap(), &model);
    assert!(storage.asked().iter().all(|asked| asked.token().is_none()));
    // The Hub's own answer said everything, so the other host was not asked about the file.
    let methods: Vec<_> = storage
        .asked()
        .into_iter()
        .map(|asked| asked.method)
        .collect();
    assert_eq!(methods, ["GET"]);
    let bearer = format!("Bearer {SECRET}");
    assert!(
        server
            .asked()
            .iter()
            .all(|asked| asked.token() == Some(&bearer))
    );
}

#[test]
fn row_07_there_and_back_again() {
    let model = model(1000);
    let back = Arc::new(Mutex::new(String::new()));
    let target = Arc::clone(&back);
    let storage = Server::scripted(&model, move |asked| {
        redirect(format!("{}/back{}", target.lock().unwrap(), asked.path))
    });
    let other = storage.url();
    let server = Server::scripted(&model, move |asked| {
        if asked.path.starts_with("/back/") {
            let weights = crate::support::model(1000).file(WEIGHTS).clone();
            return Some(Act::Answer(200, Vec::new(), weights.content.to_vec()));
        }
        let path = asked.path.clone();
        asked
            .path
            .ends_with(WEIGHTS)
            .then(|| to_storage(format!("{other}{path}")))?
    });
    *back.lock().unwrap() = server.url();
    let cache = with_token(&server);
    assert_complete(&cache.fetch().unwrap(), &model);
    let asked = server.asked();
    let returned: Vec<_> = asked
        .iter()
        .filter(|asked| asked.path.starts_with("/back/"))
        .collect();
    assert!(!returned.is_empty());
    // Whoever sends us back does not do it in the user's name.
    assert!(returned.iter().all(|asked| asked.token().is_none()));
    assert!(storage.asked().iter().all(|asked| asked.token().is_none()));
}

#[test]
fn row_07_within_the_hub_the_token_goes_along() {
    let model = model(1000);
    let server = Server::scripted(&model, |asked| {
        if let Some(path) = asked.path.strip_prefix("/moved") {
            assert!(path.contains("/resolve/"));
            let weights = crate::support::model(1000).file(WEIGHTS).clone();
            // The tag stands in the first answer only.
            return Some(Act::Answer(200, Vec::new(), weights.content.to_vec()));
        }
        asked
            .path
            .ends_with(WEIGHTS)
            .then(|| to_storage(format!("/moved{}", asked.path)))?
    });
    let cache = with_token(&server);
    assert_complete(&cache.fetch().unwrap(), &model);
    assert!(cache.blobs().contains(&model.file(WEIGHTS).tag()));
    assert!(server.asked().iter().all(|asked| asked.token().is_some()));
}

#[test]
fn row_07_another_port_or_name_of_the_same_machine_is_another_host() {
    let model = model(1000);
    let storage = Server::start(&model);
    let port = storage.address.rsplit(':').next().unwrap().to_owned();
    let server = Server::scripted(&model, move |asked| {
        let target = format!("http://localhost:{port}{}", asked.path);
        asked.path.ends_with(WEIGHTS).then(|| to_storage(target))?
    });
    let cache = with_token(&server);
    assert_complete(&cache.fetch().unwrap(), &model);
    assert!(storage.count("GET", WEIGHTS) == 1);
    assert!(storage.asked().iter().all(|asked| asked.token().is_none()));
}

#[test]
fn row_07_the_api_redirects_to_another_host() {
    let model = model(1000);
    let mirror = Server::start(&model);
    let target = mirror.url();
    let server = Server::scripted(&model, move |asked| {
        redirect(format!("{target}{}", asked.path))
    });
    let cache = with_token(&server);
    assert_complete(&cache.fetch().unwrap(), &model);
    assert!(mirror.asked().iter().all(|asked| asked.token().is_none()));
}

#[test]
fn a_mirror_that_redirects_to_a_hub() {
    let model = model(1000);
    let storage = Server::start(&model);
    let target = storage.url();
    let hub = Server::scripted(&model, move |asked| {
        let path = asked.path.clone();
        asked
            .path
            .ends_with(WEIGHTS)
            .then(|| to_storage(format!("{target}{path}")))?
    });
    let target = hub.url();
    let mirror = Server::scripted(&model, move |asked| {
        redirect(format!("{target}{}", asked.path))
    });
    let cache = with_token(&mirror);
    assert_complete(&cache.fetch().unwrap(), &model);
    assert!(cache.blobs().contains(&model.file(WEIGHTS).tag()));
    assert!(hub.asked().iter().all(|asked| asked.token().is_none()));
    let error = cache.fetch_id("ada/other").unwrap_err();
    assert_eq!(error.code(), Code::ModelNotFound);
}

#[test]
fn a_redirect_that_says_nothing_about_the_file() {
    let model = model(1000);
    let storage = Server::start(&model);
    let target = storage.url();
    let server = Server::scripted(&model, move |asked| {
        let path = asked.path.clone();
        asked
            .path
            .ends_with(WEIGHTS)
            .then(|| redirect(format!("{target}{path}")))?
    });
    let cache = with_token(&server);
    assert_complete(&cache.fetch().unwrap(), &model);
    // The tag of the storage is what there is.
    assert!(cache.blobs().contains(&model.file(WEIGHTS).tag()));
}

#[test]
fn loops_and_long_chains() {
    let server = Server::scripted(&model(1000), |asked| redirect(asked.path.clone()));
    let error = cache(&server).fetch().unwrap_err();
    assert_eq!(error.code(), Code::HubUnavailable);
    assert!(
        error.to_string().contains("redirected more than"),
        "{error}"
    );
    assert_eq!(server.asked().len(), 11);

    // Nine are fine.
    let model = model(1000);
    let server = Server::scripted(&model, |asked| {
        let steps = asked.path.matches("/step").count();
        if !asked.path.ends_with(WEIGHTS) {
            return None;
        }
        if steps < 9 {
            return to_storage(format!("/step{}", asked.path));
        }
        let weights = crate::support::model(1000).file(WEIGHTS).clone();
        Some(Act::Answer(200, Vec::new(), weights.content.to_vec()))
    });
    assert_complete(&cache(&server).fetch().unwrap(), &model);
}

#[test]
fn redirects_to_other_places_than_the_web() {
    for target in [
        "file:///etc/passwd",
        "ftp://127.0.0.1/x",
        "http://",
        "http://ada:secret@127.0.0.1/x",
        "",
    ] {
        let server = Server::scripted(&model(1000), move |asked| {
            asked.path.ends_with(WEIGHTS).then(|| redirect(target))?
        });
        let cache = with_token(&server);
        let error = cache.fetch().unwrap_err();
        assert_eq!(error.code(), Code::HubUnavailable, "{target}: {error}");
        assert!(!error.to_string().contains("secret"), "{error}");
    }
}

#[test]
fn an_address_of_a_storage_that_no_longer_holds() {
    let model = model(100_000);
    let content = model.file(WEIGHTS).content.clone();
    let storage = Server::scripted(&model, move |asked| {
        // Each address is good for two requests.
        if asked.count > 2 {
            return crate::server::answer(403, &[]);
        }
        // Ten thousand bytes at a time, and it says so.
        let first = asked.range().map_or(0, |(first, _)| first as usize);
        let last = first + 9_999;
        let range = format!("bytes {first}-{last}/100000");
        Some(Act::Answer(
            206,
            owned(&[("Content-Range", &range)]),
            content[first..=last].to_vec(),
        ))
    });
    let target = storage.url();
    let tag = model.file(WEIGHTS).tag();
    let server = Server::scripted(&model, move |asked| {
        asked.path.ends_with(WEIGHTS).then(|| {
            let target = format!("{target}/signed-{}-{}", asked.method, asked.count);
            let headers = owned(&[
                ("Location", &target),
                ("X-Linked-Etag", &format!("\"{tag}\"")),
                ("X-Linked-Size", "100000"),
            ]);
            Act::Answer(302, headers, Vec::new())
        })
    });
    let cache = cache(&server);
    assert_complete(&cache.fetch().unwrap(), &model);
    // Ten answers, each by an address that the Hub gave anew.
    assert_eq!(server.count("GET", WEIGHTS), 10);
}
