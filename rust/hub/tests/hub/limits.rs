//! Silence, refusals for a while, and callers who do not want to wait.

use std::ops::ControlFlow;
use std::time::{Duration, Instant, SystemTime};

use candle4j_hub::error::{Code, Error, Result};
use candle4j_hub::progress::{Interrupt, Progress};
use candle4j_hub::{Hub, HubOptions, Snapshot};

use crate::server::{Act, Server, answer, unreachable};
use crate::support::{ID, WEIGHTS, assert_complete, cache, id, model, options, silent};

/// How much later than a limit an end may come.
const SLACK: Duration = Duration::from_secs(1);

fn timed(options: &HubOptions) -> (Result<Snapshot>, Duration) {
    let begin = Instant::now();
    let result = Hub::new(options.clone())
        .unwrap()
        .fetch(&id(ID), &mut silent);
    (result, begin.elapsed())
}

/// Fetches, and stops after this time. Returns how long the stop took.
fn stopped_after(options: &HubOptions, time: Duration) -> (Result<Snapshot>, Duration) {
    let begin = Instant::now();
    let mut stopped = None;
    let result = Hub::new(options.clone()).unwrap().fetch(
        &id(ID),
        &mut |_: &Progress| -> ControlFlow<Interrupt> {
            if begin.elapsed() < time {
                return ControlFlow::Continue(());
            }
            stopped.get_or_insert_with(Instant::now);
            ControlFlow::Break(Interrupt::Stop)
        },
    );
    (result, begin.elapsed() - time)
}

#[test]
fn row_25_no_connection() {
    let (address, _full) = unreachable();
    let folder = tempfile::tempdir().unwrap();
    let mut options = options(folder.path());
    options.endpoint = format!("http://{address}");
    options.connect_limit = Duration::from_millis(500);
    let (result, time) = timed(&options);
    assert_eq!(result.unwrap_err().code(), Code::HubUnavailable);
    assert!(time < options.connect_limit + SLACK, "{time:?}");

    options.connect_limit = Duration::from_secs(100);
    let (result, time) = stopped_after(&options, Duration::from_millis(300));
    assert_eq!(result.unwrap_err(), Error::Cancelled);
    assert!(time < SLACK, "{time:?}");
}

#[test]
fn row_25_no_headers() {
    // About the model, about a file, and of the file itself.
    let silences: [(&str, &str); 3] = [
        ("GET", "/revision/main"),
        ("HEAD", WEIGHTS),
        ("GET", WEIGHTS),
    ];
    for (method, end) in silences {
        let server = Server::scripted(&model(1000), move |asked| {
            asked.is(method, end).then_some(Act::Stall)
        });
        let mut cache = cache(&server);
        cache.options.header_limit = Duration::from_millis(500);
        let (result, time) = timed(&cache.options);
        let error = result.unwrap_err();
        assert_eq!(error.code(), Code::HubUnavailable, "{error}");
        assert!(time < cache.options.header_limit + SLACK, "{time:?}");

        cache.options.header_limit = Duration::from_secs(100);
        let (result, time) = stopped_after(&cache.options, Duration::from_millis(300));
        assert_eq!(result.unwrap_err(), Error::Cancelled);
        assert!(time < SLACK, "{time:?}");
    }
}

#[test]
fn row_25_no_body() {
    for (end, after) in [("/revision/main", 10), (WEIGHTS, 0), (WEIGHTS, 300)] {
        let server = Server::scripted(&model(1000), move |asked| {
            // Once more, not even as much as that comes.
            let after = if asked.count == 1 { after } else { 0 };
            asked.is("GET", end).then_some(Act::StallAfter(after))
        });
        let mut cache = cache(&server);
        cache.options.idle_limit = Duration::from_millis(600);
        let (result, time) = timed(&cache.options);
        let error = result.unwrap_err();
        assert_eq!(error.code(), Code::HubUnavailable, "{error}");
        assert!(time >= cache.options.idle_limit, "{time:?}");
        assert!(time < cache.options.idle_limit + SLACK, "{time:?}");

        cache.options.idle_limit = Duration::from_secs(100);
        let (result, time) = stopped_after(&cache.options, Duration::from_millis(300));
        assert_eq!(result.unwrap_err(), Error::Cancelled);
        assert!(time < SLACK, "{time:?}");
    }
}

#[test]
fn row_25_a_connection_that_dies_without_a_word_is_made_anew() {
    let model = model(100_000);
    let server = Server::scripted(&model, |asked| {
        (asked.is("GET", WEIGHTS) && asked.count == 1).then_some(Act::StallAfter(30_000))
    });
    let mut cache = cache(&server);
    cache.options.idle_limit = Duration::from_millis(800);
    let (result, time) = timed(&cache.options);
    assert_complete(&result.unwrap(), &model);
    assert!(time < cache.options.idle_limit, "{time:?}");
    assert_eq!(server.ranges(WEIGHTS), [None, Some((30_000, Some(99_999)))]);
}

#[test]
fn row_25_a_stop_leaves_what_can_be_resumed() {
    let model = model(3_000_000);
    let server = Server::scripted(&model, |asked| {
        let first = asked.is("GET", WEIGHTS) && asked.count == 1;
        first.then_some(Act::StallAfter(2_000_000))
    });
    let mut cache = cache(&server);
    cache.options.idle_limit = Duration::from_secs(100);
    let (result, _) = stopped_after(&cache.options, Duration::from_millis(500));
    assert_eq!(result.unwrap_err(), Error::Cancelled);
    assert!(!cache.unfinished().is_empty());
    assert_complete(&cache.fetch().unwrap(), &model);
    assert_eq!(
        server.ranges(WEIGHTS)[1],
        Some((2_000_000, Some(2_999_999)))
    );
}

#[test]
fn row_25_stops_while_waiting_for_a_lock_and_between_attempts() {
    let model = model(1000);
    let server = Server::scripted(&model, |asked| {
        asked
            .is("GET", WEIGHTS)
            .then(|| answer(503, &[("Retry-After", "100")]))?
    });
    let mut first = cache(&server);
    first.options.longest_wait = Duration::from_secs(100);
    let (result, time) = stopped_after(&first.options, Duration::from_millis(300));
    assert_eq!(result.unwrap_err(), Error::Cancelled);
    assert!(time < SLACK, "{time:?}");

    let server = Server::start(&model);
    let second = cache(&server);
    let locks = second.options.cache.join(".locks/models--ada--tiny");
    std::fs::create_dir_all(&locks).unwrap();
    let lock = locks.join(format!("{}.lock", model.file(WEIGHTS).tag()));
    let lock = std::fs::File::create(lock).unwrap();
    lock.lock().unwrap();
    let (result, time) = stopped_after(&second.options, Duration::from_millis(300));
    assert_eq!(result.unwrap_err(), Error::Cancelled);
    assert!(time < SLACK, "{time:?}");
    drop(lock);
    assert_complete(&second.fetch().unwrap(), &model);
}

#[test]
fn row_25_stops_while_hashing() {
    // What is there is complete and only to be hashed, which takes longer than the stop may.
    let size = 700 << 20;
    let model = model(1000);
    let tag = "a".repeat(64);
    let headers = vec![
        ("X-Linked-Etag".to_owned(), tag.clone()),
        ("X-Linked-Size".to_owned(), size.to_string()),
    ];
    let server = Server::scripted(&model, move |asked| {
        asked
            .is("HEAD", WEIGHTS)
            .then(|| Act::With(headers.clone()))
    });
    let cache = cache(&server);
    std::fs::create_dir_all(cache.path("blobs")).unwrap();
    let partial = cache.path("blobs").join(format!("{tag}.incomplete"));
    // A file of zeros that takes no room.
    std::fs::File::create(&partial)
        .unwrap()
        .set_len(size)
        .unwrap();
    let (result, time) = stopped_after(&cache.options, Duration::from_millis(30));
    assert_eq!(result.unwrap_err(), Error::Cancelled);
    assert!(time < SLACK, "{time:?}");
}

#[test]
fn row_26_too_many_requests_with_retry_after() {
    for end in ["/revision/main", "/config.json", WEIGHTS] {
        let model = model(1000);
        let server = Server::scripted(&model, move |asked| {
            let refused = asked.path.ends_with(end) && asked.count == 1;
            refused.then(|| answer(429, &[("Retry-After", "1")]))?
        });
        let cache = cache(&server);
        let (result, time) = timed(&cache.options);
        assert_complete(&result.unwrap(), &model);
        assert!(time >= Duration::from_secs(1), "{end}: {time:?}");
    }
}

#[test]
fn row_26_retry_after_as_a_date() {
    let model = model(1000);
    let server = Server::scripted(&model, |asked| {
        let date = httpdate::fmt_http_date(SystemTime::now() + Duration::from_secs(2));
        let refused = asked.path.ends_with("/revision/main") && asked.count == 1;
        refused.then(|| answer(503, &[("Retry-After", &date)]))?
    });
    let cache = cache(&server);
    let (result, time) = timed(&cache.options);
    assert_complete(&result.unwrap(), &model);
    assert!(time >= Duration::from_millis(900), "{time:?}");
}

#[test]
fn row_26_retry_after_is_heeded_up_to_a_maximum() {
    let model = model(1000);
    let server = Server::scripted(&model, |asked| {
        let refused = asked.path.ends_with("/revision/main") && asked.count == 1;
        refused.then(|| answer(429, &[("Retry-After", "3600")]))?
    });
    let mut cache = cache(&server);
    cache.options.longest_wait = Duration::from_millis(300);
    let (result, time) = timed(&cache.options);
    assert_complete(&result.unwrap(), &model);
    assert!(time >= Duration::from_millis(300) && time < Duration::from_secs(2));
}

#[test]
fn row_26_500_twice_then_ok() {
    for status in [408, 500, 502, 503, 504] {
        let model = model(1000);
        let server = Server::scripted(&model, move |asked| {
            (asked.count <= 2).then(|| answer(status, &[]))?
        });
        let cache = cache(&server);
        assert_complete(&cache.fetch().unwrap(), &model);
    }
}

#[test]
fn row_26_attempts_come_to_an_end() {
    for (method, end) in [
        ("GET", "/revision/main"),
        ("HEAD", WEIGHTS),
        ("GET", WEIGHTS),
    ] {
        let server = Server::scripted(&model(1000), move |asked| {
            asked.is(method, end).then(|| answer(500, &[]))?
        });
        let cache = cache(&server);
        let error = cache.fetch().unwrap_err();
        assert_eq!(error.code(), Code::HubUnavailable);
        assert!(error.to_string().contains("500"), "{error}");
        assert_eq!(server.count(method, end), 4);
    }
    // Also for a file of which some came.
    let server = Server::scripted(&model(200_000), |asked| match asked.range() {
        Some(_) => answer(500, &[]),
        None => asked.is("GET", WEIGHTS).then_some(Act::Cut(150_000)),
    });
    let cache = cache(&server);
    let error = cache.fetch().unwrap_err();
    assert!(error.to_string().contains("500"), "{error}");
    assert_eq!(server.count("GET", WEIGHTS), 1 + 3);
}

#[test]
fn connections_that_are_refused_or_closed() {
    let folder = tempfile::tempdir().unwrap();
    let mut options = options(folder.path());
    // A port that was free a moment ago.
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    options.endpoint = format!("http://{}", free.local_addr().unwrap());
    drop(free);
    let (result, time) = timed(&options);
    let error = result.unwrap_err();
    assert_eq!(error.code(), Code::HubUnavailable);
    assert!(error.to_string().contains("refused"), "{error}");
    assert!(time < Duration::from_secs(1));

    let model = model(1000);
    let server = Server::scripted(&model, |asked| (asked.count <= 2).then_some(Act::Close));
    assert_complete(&cache(&server).fetch().unwrap(), &model);
}

#[test]
fn servers_that_do_not_speak_http() {
    for bytes in [
        &b"SSH-2.0-OpenSSH_9.6\r\n"[..],
        b"\0\0\0\0",
        b"HTTP/1.1 abc\r\n\r\n",
    ] {
        let server = Server::scripted(&model(1000), move |_| Some(Act::Raw(bytes.to_vec())));
        let error = cache(&server).fetch().unwrap_err();
        assert_eq!(error.code(), Code::HubUnavailable, "{error}");
    }
}

#[test]
fn a_list_of_files_without_end_is_refused() {
    // Seventy megabytes in an answer that is never long enough.
    let mut body = b"HTTP/1.1 200 OK\r\n\r\n{\"siblings\": [".to_vec();
    while body.len() < 70 << 20 {
        body.extend_from_slice(b"{\"rfilename\": \"some/file/name.safetensors\"}, ");
    }
    let server = Server::scripted(&model(1000), move |asked| {
        asked
            .path
            .starts_with("/api/")
            .then(|| Act::Raw(body.clone()))
    });
    let error = cache(&server).fetch().unwrap_err();
    assert_eq!(error.code(), Code::HubUnavailable);
    assert!(error.to_string().contains("more than"), "{error}");
}
