//! Refusals, proxies, disks, and hubs that know less than the Hub.

use std::fs;

use candle4j_hub::Token;
use candle4j_hub::error::{Code, Error};

use crate::server::{Act, HubFile, Model, Server, answer, owned};
use crate::support::{ID, WEIGHTS, assert_complete, cache, model, sharded};

const SECRET: &str = "hf_verysecret";

#[test]
fn row_30_what_is_not_there() {
    let model = model(100);
    let server = Server::start(&model);
    let cache = cache(&server);
    let error = cache.fetch_id("ada/other").unwrap_err();
    assert_eq!(
        error,
        Error::ModelNotFound {
            id: "ada/other".into(),
            endpoint: server.url()
        }
    );
    let error = cache.fetch_id("ada/tiny@v9").unwrap_err();
    assert_eq!(
        error,
        Error::RevisionNotFound {
            id: ID.into(),
            revision: "v9".into()
        }
    );
    // The index names a shard that is not there.
    let mut incomplete = sharded(2, 100);
    incomplete.files.pop();
    let server = Server::start(&incomplete);
    let error = crate::support::cache(&server).fetch().unwrap_err();
    assert_eq!(
        error,
        Error::FileNotFound {
            id: ID.into(),
            file: "model-00002-of-00002.safetensors".into()
        }
    );
}

#[test]
fn row_30_refusals() {
    type Headers = &'static [(&'static str, &'static str)];
    const RESTRICTED: Headers = &[("X-Error-Message", "Access to model ada/tiny is restricted")];
    let cases: [(u16, Headers, bool, Code); 11] = [
        (401, &[], false, Code::Unauthorized),
        (401, &[], true, Code::Unauthorized),
        (
            401,
            &[("X-Error-Code", "GatedRepo")],
            false,
            Code::GatedModel,
        ),
        (
            403,
            &[("X-Error-Code", "GatedRepo")],
            true,
            Code::GatedModel,
        ),
        (403, RESTRICTED, true, Code::GatedModel),
        (403, &[], true, Code::Unauthorized),
        (403, &[], false, Code::Unauthorized),
        (
            401,
            &[("X-Error-Code", "RepoNotFound")],
            false,
            Code::ModelNotFound,
        ),
        (
            404,
            &[("X-Error-Code", "RepoNotFound")],
            true,
            Code::ModelNotFound,
        ),
        (
            404,
            &[("X-Error-Code", "RevisionNotFound")],
            true,
            Code::RevisionNotFound,
        ),
        (418, &[], true, Code::HubUnavailable),
    ];
    for end in ["/revision/main", WEIGHTS] {
        for method in ["GET", "HEAD"] {
            for (status, headers, token, code) in cases {
                let headers = headers.to_vec();
                let model = model(100);
                let server = Server::scripted(&model, move |asked| {
                    asked.is(method, end).then(|| answer(status, &headers))?
                });
                let mut cache = cache(&server);
                cache.options.token = token.then(|| Token::new(SECRET).unwrap());
                if (method, end) == ("HEAD", "/revision/main") {
                    continue;
                }
                let error = cache.fetch().unwrap_err();
                assert_eq!(error.code(), code, "{status} for {method} {end}: {error}");
                let text = format!("{error} {error:?} {}", error.detail());
                assert!(!text.contains("verysecret"), "{text}");
                match error {
                    Error::GatedModel { url, .. } => {
                        assert_eq!(url, format!("{}/ada/tiny", server.url()));
                    }
                    Error::Unauthorized { reason, .. } => {
                        assert_eq!(reason.contains("set HF_TOKEN"), !token, "{reason}");
                    }
                    _ => {}
                }
                // No attempt was made again.
                assert_eq!(server.count(method, end), 1);
            }
        }
    }
}

#[test]
fn row_30_a_404_without_a_word() {
    // A server that knows nothing at all of the model.
    let server = Server::scripted(&model(100), |_| answer(404, &[]));
    let error = cache(&server).fetch().unwrap_err();
    assert_eq!(error.code(), Code::ModelNotFound);
    // One that knows it, but not this revision.
    let server = Server::scripted(&model(100), |asked| {
        let other = asked.path.contains("v9");
        other.then(|| answer(404, &[]))?
    });
    let error = cache(&server).fetch_id("ada/tiny@v9").unwrap_err();
    assert_eq!(error.code(), Code::RevisionNotFound);
    // One that lost a file.
    let server = Server::scripted(&model(100), |asked| {
        asked.path.ends_with(WEIGHTS).then(|| answer(404, &[]))?
    });
    let error = cache(&server).fetch().unwrap_err();
    assert_eq!(error.code(), Code::FileNotFound);
}

#[test]
fn row_30_the_token_is_in_no_text_and_no_file() {
    let model = model(100);
    let server = Server::start(&model);
    let mut cache = cache(&server);
    cache.options.token = Some(Token::new(SECRET).unwrap());
    let hub = cache.hub();
    assert!(!format!("{hub:?} {:?}", cache.options).contains("verysecret"));
    cache.fetch().unwrap();
    assert!(
        server
            .asked()
            .iter()
            .all(|asked| asked.token() == Some("Bearer hf_verysecret"))
    );
    let mut waiting = vec![cache.folder.path().to_owned()];
    while let Some(folder) = waiting.pop() {
        for entry in fs::read_dir(folder).unwrap().flatten() {
            let path = entry.path();
            if entry.file_type().unwrap().is_dir() {
                waiting.push(path);
            } else {
                let content = fs::read(&path).unwrap();
                let text = String::from_utf8_lossy(&content);
                assert!(!text.contains("verysecret"), "{}", path.display());
            }
        }
    }
}

#[test]
fn row_29_a_hub_without_an_api() {
    for (status, code) in [
        (404, Code::ModelNotFound),
        (405, Code::HubUnavailable),
        (501, Code::HubUnavailable),
    ] {
        let server = Server::scripted(&model(1000), move |asked| {
            let api = asked.path.starts_with("/api/");
            api.then(|| answer(status, &[]))?
        });
        assert_eq!(cache(&server).fetch().unwrap_err().code(), code);
    }
}

#[test]
fn row_29_a_hub_without_head() {
    let model = model(1000);
    let server = Server::scripted(&model, |asked| {
        (asked.method == "HEAD").then(|| answer(405, &[]))?
    });
    assert_complete(&cache(&server).fetch().unwrap(), &model);
}

#[test]
fn answers_that_are_no_description_of_a_model() {
    for body in [
        "<html>Log in to the hotel's network</html>",
        "[]",
        "",
        "{",
        "{}",
        r#"{"sha": null, "siblings": null}"#,
        r#"{"sha": "c0ffee"}"#,
    ] {
        let server = Server::scripted(&model(100), move |asked| {
            let api = asked.path.starts_with("/api/");
            api.then(|| Act::Answer(200, Vec::new(), body.into()))
        });
        let error = cache(&server).fetch().unwrap_err();
        assert_eq!(error.code(), Code::HubUnavailable, "{body}: {error}");
    }
}

#[test]
fn row_31_too_little_room_is_found_out_before() {
    let model = model(1000);
    let headers = owned(&[("X-Linked-Size", "1000000000000000")]);
    let server = Server::scripted(&model, move |asked| {
        asked
            .is("HEAD", WEIGHTS)
            .then(|| Act::With(headers.clone()))
    });
    let cache = cache(&server);
    let error = cache.fetch().unwrap_err();
    let Error::DiskFull {
        path,
        needed,
        available,
    } = &error
    else {
        panic!("{error}");
    };
    assert_eq!(path, cache.options.cache.to_str().unwrap());
    assert!(*needed >= 1_000_000_000_000_000 && available < needed);
    // Not a byte was asked for.
    assert_eq!(server.sent(), 0);
    assert_eq!(cache.blobs(), [""; 0]);
}

#[test]
fn row_31_a_cache_that_cannot_be_made() {
    let model = model(1000);
    let server = Server::start(&model);
    let mut cache = cache(&server);
    let file = cache.folder.path().join("file");
    fs::write(&file, "in the way").unwrap();
    cache.options.cache = file.join("hub");
    let error = cache.fetch().unwrap_err();
    assert_eq!(error.code(), Code::Io);
    assert!(
        error.to_string().contains(file.to_str().unwrap()),
        "{error}"
    );
    assert_eq!(server.sent(), 0);
}

#[test]
fn two_sizes_for_one_hash() {
    let mut files = model(100).files;
    files.retain(|file| file.name != "generation_config.json");
    files.push(HubFile::small("generation_config.json", "{ }"));
    let model = Model::new(ID, files);
    let tag = format!("\"{}\"", "a".repeat(40));
    let server = Server::scripted(&model, move |asked| {
        let one = asked.is("HEAD", "generation_config.json") || asked.is("HEAD", "/config.json");
        one.then(|| Act::With(owned(&[("ETag", &tag)])))
    });
    let error = cache(&server).fetch().unwrap_err();
    assert!(error.to_string().contains("one hash"), "{error}");
}
