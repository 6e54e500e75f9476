//! Bodies that are cut, wrong, compressed or other than their headers say.

use std::fs;

use candle4j_hub::error::{Code, Error};

use crate::server::{Act, Server, answer, owned};
use crate::support::{Cache, WEIGHTS, assert_complete, cache, model, noise};

const SIZE: usize = 100_000;

#[test]
fn row_01_a_cut_download_is_resumed() {
    for cut in [0, 1, SIZE / 2, SIZE - 1] {
        let model = model(SIZE);
        let server = Server::scripted(&model, move |asked| {
            (asked.is("GET", WEIGHTS) && asked.count == 1).then_some(Act::Cut(cut))
        });
        let cache = cache(&server);
        assert_complete(&cache.fetch().unwrap(), &model);
        let ranges = server.ranges(WEIGHTS);
        let second = (cut > 0).then_some((cut as u64, Some(SIZE as u64 - 1)));
        assert_eq!(ranges, [None, second], "cut after {cut}");
    }
}

#[test]
fn a_download_that_is_cut_again_and_again_is_resumed_each_time() {
    let model = model(1_000_000);
    let server = Server::scripted(&model, |asked| {
        asked.is("GET", WEIGHTS).then_some(Act::Cut(70_000))
    });
    let cache = cache(&server);
    assert_complete(&cache.fetch().unwrap(), &model);
    assert_eq!(server.count("GET", WEIGHTS), 15);
}

#[test]
fn cuts_without_any_progress_come_to_an_end() {
    let model = model(SIZE);
    let server = Server::scripted(&model, |asked| {
        asked.is("GET", WEIGHTS).then_some(Act::Cut(0))
    });
    let cache = cache(&server);
    let error = cache.fetch().unwrap_err();
    assert_eq!(error.code(), Code::HubUnavailable);
    assert_eq!(server.count("GET", WEIGHTS), 4);
    // Progress that is not worth the name does not go on for ever either.
    let server = Server::scripted(&model, |asked| {
        asked.is("GET", WEIGHTS).then_some(Act::Cut(10))
    });
    let cache = crate::support::cache(&server);
    assert!(cache.fetch().is_err());
    assert_eq!(server.count("GET", WEIGHTS), 4);
}

#[test]
fn row_02_a_partial_file_and_a_503_first() {
    let model = model(SIZE);
    let server = Server::scripted(&model, |asked| {
        if asked.is("GET", WEIGHTS) && asked.count == 1 {
            return answer(503, &[]);
        }
        None
    });
    let cache = cache(&server);
    let weights = model.file(WEIGHTS);
    leave_partial(&cache, &weights.tag(), &weights.content[..40_000]);
    assert_complete(&cache.fetch().unwrap(), &model);
    let rest = Some((40_000, Some(SIZE as u64 - 1)));
    assert_eq!(server.ranges(WEIGHTS), [rest, rest]);
    assert_eq!(cache.unfinished(), [""; 0]);
}

/// Leaves what an older version of Python's client leaves of a download that was cut.
fn leave_partial(cache: &Cache, tag: &str, content: &[u8]) {
    fs::create_dir_all(cache.path("blobs")).unwrap();
    let path = cache.path("blobs").join(format!("{tag}.incomplete"));
    fs::write(path, content).unwrap();
}

#[test]
fn row_03_a_server_that_ignores_ranges() {
    for act in [Act::Whole, Act::Gzip, Act::Chunked] {
        let model = model(SIZE);
        let server = Server::scripted(&model, move |asked| {
            asked.is("GET", WEIGHTS).then(|| act.clone())
        });
        let cache = cache(&server);
        let weights = model.file(WEIGHTS);
        leave_partial(&cache, &weights.tag(), &weights.content[..40_000]);
        assert_complete(&cache.fetch().unwrap(), &model);
        assert_eq!(server.count("GET", WEIGHTS), 1);
    }
}

#[test]
fn row_03_ignored_ranges_after_a_cut() {
    let model = model(SIZE);
    let server = Server::scripted(&model, |asked| match asked.count {
        1 if asked.is("GET", WEIGHTS) => Some(Act::Cut(60_000)),
        2 if asked.is("GET", WEIGHTS) => Some(Act::Gzip),
        _ => None,
    });
    let cache = cache(&server);
    assert_complete(&cache.fetch().unwrap(), &model);
    assert_eq!(server.count("GET", WEIGHTS), 2);
}

#[test]
fn row_03_a_server_that_stops_to_send_ranges() {
    let model = model(SIZE);
    let server = Server::scripted(&model, |asked| {
        asked.is("GET", WEIGHTS).then_some(match asked.count {
            1..=3 => Act::Cut(20_000),
            _ => Act::Whole,
        })
    });
    let cache = cache(&server);
    assert_complete(&cache.fetch().unwrap(), &model);
    assert_eq!(server.ranges(WEIGHTS)[3], Some((60_000, Some(99_999))));
    assert_eq!(server.count("GET", WEIGHTS), 4);
}

#[test]
fn row_04_short_and_wrong_ranges() {
    let wrong: [&[(&str, &str)]; 8] = [
        // Another range than was asked for.
        &[("Content-Range", "bytes 0-59999/100000")],
        &[("Content-Range", "bytes 40001-99999/100000")],
        // A file of another size.
        &[("Content-Range", "bytes 40000-99999/200000")],
        // None at all.
        &[("Content-Range", "nonsense")],
        &[("Content-Range", "bytes */100000")],
        &[("Content-Range", "")],
        &[("Content-Range", "bytes 40000-99998/100000")],
        // Several in one.
        &[
            ("Content-Range", ""),
            ("Content-Type", "multipart/byteranges; boundary=x"),
        ],
    ];
    for headers in wrong {
        let model = model(SIZE);
        let with = owned(headers);
        let server = Server::scripted(&model, move |asked| {
            let ranged = asked.is("GET", WEIGHTS) && asked.range().is_some();
            ranged.then(|| Act::With(with.clone()))
        });
        let cache = cache(&server);
        let weights = model.file(WEIGHTS);
        leave_partial(&cache, &weights.tag(), &weights.content[..40_000]);
        assert_complete(&cache.fetch().unwrap(), &model);
        assert_eq!(server.ranges(WEIGHTS).last().unwrap(), &None, "{headers:?}");
    }
}

#[test]
fn row_04_a_short_206_is_continued() {
    let model = model(SIZE);
    let content = model.file(WEIGHTS).content.clone();
    let server = Server::scripted(&model, move |asked| {
        let (first, _) = asked.range().filter(|_| asked.is("GET", WEIGHTS))?;
        // Ten thousand bytes at most, and it says so.
        let first = first as usize;
        let last = (first + 10_000).min(SIZE) - 1;
        Some(Act::Answer(
            206,
            owned(&[("Content-Range", &format!("bytes {first}-{last}/{SIZE}"))]),
            content[first..=last].to_vec(),
        ))
    });
    let cache = cache(&server);
    let weights = model.file(WEIGHTS);
    leave_partial(&cache, &weights.tag(), &weights.content[..40_000]);
    assert_complete(&cache.fetch().unwrap(), &model);
    assert_eq!(server.count("GET", WEIGHTS), 6);
}

#[test]
fn row_04_a_206_whose_body_is_short() {
    let model = model(SIZE);
    let server = Server::scripted(&model, |asked| {
        let first = asked.is("GET", WEIGHTS) && asked.count == 1;
        first.then_some(Act::Cut(5_000))
    });
    let cache = cache(&server);
    let weights = model.file(WEIGHTS);
    leave_partial(&cache, &weights.tag(), &weights.content[..40_000]);
    assert_complete(&cache.fetch().unwrap(), &model);
    let ranges = server.ranges(WEIGHTS);
    assert_eq!(ranges[1], Some((45_000, Some(99_999))));
}

#[test]
fn row_05_one_flipped_byte() {
    let model = model(SIZE);
    let server = Server::scripted(&model, |asked| {
        let flip = |body: &mut Vec<u8>| body[77_777] ^= 1;
        asked.is("GET", WEIGHTS).then_some(Act::Change(flip))
    });
    let cache = cache(&server);
    let error = cache.fetch().unwrap_err();
    let Error::Checksum {
        file,
        expected,
        got,
    } = &error
    else {
        panic!("{error}");
    };
    assert_eq!(file, WEIGHTS);
    let tag = model.file(WEIGHTS).tag();
    assert_eq!(expected, &format!("SHA-256 {tag}"));
    assert!(got.starts_with("SHA-256 ") && !got.contains(&tag));
    assert!(!cache.blobs().contains(&tag));
    assert!(!cache.unfinished().iter().any(|name| name.contains(&tag)));
    assert!(!cache.path("refs/main").exists());
    // It was tried a second time, and from the start.
    assert_eq!(server.ranges(WEIGHTS), [None, None]);
}

#[test]
fn row_05_a_flipped_byte_in_a_small_file() {
    let model = model(SIZE);
    let server = Server::scripted(&model, |asked| {
        let flip = |body: &mut Vec<u8>| body[0] ^= 1;
        asked.is("GET", "/config.json").then_some(Act::Change(flip))
    });
    let cache = cache(&server);
    let error = cache.fetch().unwrap_err();
    assert_eq!(error.code(), Code::Checksum);
    assert!(error.to_string().contains("git SHA-1"), "{error}");
    assert!(!cache.blobs().contains(&model.file("config.json").tag()));
}

#[test]
fn row_05_a_byte_flipped_once_costs_a_second_attempt() {
    let model = model(SIZE);
    let server = Server::scripted(&model, |asked| {
        let flip = |body: &mut Vec<u8>| body[10] ^= 1;
        (asked.is("GET", WEIGHTS) && asked.count == 1).then_some(Act::Change(flip))
    });
    let cache = cache(&server);
    assert_complete(&cache.fetch().unwrap(), &model);
    assert_eq!(server.count("GET", WEIGHTS), 2);
}

#[test]
fn row_06_partial_files_of_all_kinds() {
    let weights = model(SIZE).file(WEIGHTS).clone();
    let complete = weights.content.to_vec();
    let mut oversize = complete.clone();
    oversize.extend_from_slice(b"more");
    let mut garbage = complete.clone();
    garbage[..50_000].fill(0);
    let partials = [
        complete,
        oversize,
        noise(99, SIZE),
        noise(99, SIZE / 2),
        garbage[..60_000].to_vec(),
        Vec::new(),
        vec![0],
    ];
    for partial in partials {
        let model = model(SIZE);
        let server = Server::start(&model);
        let cache = cache(&server);
        leave_partial(&cache, &weights.tag(), &partial);
        assert_complete(&cache.fetch().unwrap(), &model);
        assert_eq!(cache.unfinished(), [""; 0]);
        assert!(server.count("GET", WEIGHTS) <= 2);
    }
}

#[test]
fn row_06_a_complete_partial_file_is_not_fetched_again() {
    let model = model(SIZE);
    let server = Server::start(&model);
    let cache = cache(&server);
    let weights = model.file(WEIGHTS);
    leave_partial(&cache, &weights.tag(), &weights.content);
    assert_complete(&cache.fetch().unwrap(), &model);
    assert_eq!(server.count("GET", WEIGHTS), 0);
}

#[test]
fn a_416_starts_anew() {
    let model = model(SIZE);
    let server = Server::scripted(&model, |asked| {
        let ranged = asked.is("GET", WEIGHTS) && asked.range().is_some();
        ranged.then_some(())?;
        answer(416, &[("Content-Range", "bytes */100000")])
    });
    let cache = cache(&server);
    let weights = model.file(WEIGHTS);
    leave_partial(&cache, &weights.tag(), &weights.content[..500]);
    assert_complete(&cache.fetch().unwrap(), &model);
    assert_eq!(server.ranges(WEIGHTS).len(), 2);
}

#[test]
fn row_29_bodies_without_a_length() {
    for act in [Act::Chunked, Act::UntilClose, Act::Gzip] {
        let model = model(SIZE);
        let server = Server::scripted(&model, move |asked| {
            asked.path.contains("/resolve/").then(|| match &act {
                // A compressed length is not the file's.
                Act::Gzip if asked.method == "HEAD" => Act::Gzip,
                _ if asked.method == "HEAD" => {
                    Act::Without(vec!["Content-Length", "X-Linked-Size"])
                }
                // The first byte tells how many there are.
                _ if asked.range().is_some() => Act::After(std::time::Duration::ZERO),
                act => act.clone(),
            })
        });
        let cache = cache(&server);
        assert_complete(&cache.fetch().unwrap(), &model);
    }
    // Where nobody tells, nothing is fetched.
    let server = Server::scripted(&model(SIZE), |asked| {
        let file = asked.path.contains("/resolve/");
        file.then(|| Act::Without(vec!["Content-Length", "Content-Range", "X-Linked-Size"]))
    });
    let error = cache(&server).fetch().unwrap_err();
    assert!(error.to_string().contains("size"), "{error}");
}

#[test]
fn row_29_without_headers_about_ranges() {
    let model = model(SIZE);
    let server = Server::scripted(&model, |asked| {
        let without = vec!["Accept-Ranges", "Content-Range", "X-Repo-Commit"];
        if asked.is("GET", WEIGHTS) && asked.count == 1 {
            return Some(Act::Cut(30_000));
        }
        asked
            .path
            .contains("/resolve/")
            .then_some(Act::Without(without))
    });
    let cache = cache(&server);
    assert_complete(&cache.fetch().unwrap(), &model);
    // The range came without a word about which one it is, so all of it was asked for again.
    let rest = Some((30_000, Some(SIZE as u64 - 1)));
    assert_eq!(server.ranges(WEIGHTS), [None, rest, None]);
}

#[test]
fn row_29_without_hashes() {
    for tag in [None, Some("\"5f3e-1a2b\"")] {
        let server = Server::scripted(&model(SIZE), move |asked| {
            let file = asked.path.contains("/resolve/");
            file.then(|| match tag {
                None => Act::Without(vec!["ETag", "X-Linked-Etag"]),
                Some(tag) => Act::With(owned(&[("ETag", tag), ("X-Linked-Etag", tag)])),
            })
        });
        let cache = cache(&server);
        // What could not be checked is not fetched.
        let error = cache.fetch().unwrap_err();
        assert_eq!(error.code(), Code::HubUnavailable);
        assert!(error.to_string().contains("hash"), "{error}");
        assert_eq!(server.sent(), 0);
    }
}

#[test]
fn row_29_a_cut_that_nobody_can_see_is_found_by_the_hash() {
    let model = model(SIZE);
    let server = Server::scripted(&model, |asked| {
        if asked.is("HEAD", WEIGHTS) {
            return Some(Act::Without(vec!["Content-Length", "X-Linked-Size"]));
        }
        // The end of the connection is the end of the body, and it comes too early.
        let body = b"HTTP/1.1 200 OK\r\n\r\nonly the beginning".to_vec();
        // The first request is for the first byte, which tells how many there are.
        (asked.is("GET", WEIGHTS) && asked.count == 2).then_some(Act::Raw(body))
    });
    let cache = cache(&server);
    assert_complete(&cache.fetch().unwrap(), &model);
}

#[test]
fn a_body_that_is_longer_than_promised() {
    let model = model(SIZE);
    let server = Server::scripted(&model, |asked| {
        let longer = |body: &mut Vec<u8>| body.extend_from_slice(b"more");
        asked.is("GET", WEIGHTS).then_some(Act::Change(longer))
    });
    let cache = cache(&server);
    let error = cache.fetch().unwrap_err();
    assert_eq!(error.code(), Code::Checksum);
    assert!(error.to_string().contains("100000 bytes"), "{error}");
    assert!(!cache.blobs().contains(&model.file(WEIGHTS).tag()));

    // Also when no length is told beforehand.
    let server = Server::scripted(&model, |asked| {
        let body = noise(5, SIZE * 3);
        let head = b"HTTP/1.1 200 OK\r\n\r\n".to_vec();
        asked
            .is("GET", WEIGHTS)
            .then(|| Act::Raw([head, body].concat()))
    });
    let cache = crate::support::cache(&server);
    assert_eq!(cache.fetch().unwrap_err().code(), Code::Checksum);
}

#[test]
fn a_range_that_goes_on_after_its_end() {
    let model = model(SIZE);
    let content = model.file(WEIGHTS).content.clone();
    let server = Server::scripted(&model, move |asked| {
        let (first, last) = asked.range().filter(|_| asked.is("GET", WEIGHTS))?;
        let (first, last) = (first as usize, last? as usize);
        let head =
            format!("HTTP/1.1 206 Partial\r\nContent-Range: bytes {first}-{last}/{SIZE}\r\n\r\n");
        let body = [&content[first..], &[7; 100]].concat();
        Some(Act::Raw([head.into_bytes(), body].concat()))
    });
    let cache = cache(&server);
    let weights = model.file(WEIGHTS);
    leave_partial(&cache, &weights.tag(), &weights.content[..20_000]);
    assert_complete(&cache.fetch().unwrap(), &model);
    assert_eq!(server.ranges(WEIGHTS).last().unwrap(), &None);
}

#[test]
fn compression_that_is_not_understood() {
    let model = model(SIZE);
    let server = Server::scripted(&model, |asked| {
        let headers = owned(&[("Content-Encoding", "br")]);
        asked.is("GET", WEIGHTS).then_some(Act::With(headers))
    });
    let cache = cache(&server);
    let error = cache.fetch().unwrap_err();
    assert_eq!(error.code(), Code::HubUnavailable);
    assert!(error.to_string().contains("br"), "{error}");
    assert!(!cache.blobs().contains(&model.file(WEIGHTS).tag()));
    // It was asked for as it is.
    let asked = server.asked();
    assert!(
        asked
            .iter()
            .all(|asked| asked.headers["accept-encoding"] == "identity")
    );
}

#[test]
fn compression_that_is_broken_or_a_bomb() {
    use std::io::Write as _;
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    for _ in 0..200 {
        encoder.write_all(&vec![0; 1 << 20]).unwrap();
    }
    let bomb = encoder.finish().unwrap();
    for body in [b"no gzip".to_vec(), bomb] {
        let model = model(SIZE);
        let server = Server::scripted(&model, move |asked| {
            let headers = owned(&[("Content-Encoding", "gzip")]);
            asked
                .is("GET", WEIGHTS)
                .then(|| Act::Answer(200, headers, body.clone()))
        });
        let cache = cache(&server);
        let code = cache.fetch().unwrap_err().code();
        assert!(
            matches!(code, Code::Checksum | Code::HubUnavailable),
            "{code:?}"
        );
        assert!(!cache.blobs().contains(&model.file(WEIGHTS).tag()));
    }
}

#[test]
fn weak_tags() {
    let model = model(SIZE);
    let server = Server::scripted(&model, |asked| {
        asked.is("HEAD", "/config.json").then(|| {
            let tag = crate::support::model(1).file("config.json").tag();
            Act::With(vec![("ETag".into(), format!("W/\"{tag}\""))])
        })
    });
    let cache = cache(&server);
    assert_complete(&cache.fetch().unwrap(), &model);
    assert!(cache.blobs().contains(&model.file("config.json").tag()));
}

#[test]
fn sizes_beyond_all_measure() {
    for size in [
        "9223372036854775808",
        "18446744073709551615",
        "99999999999999999999",
        "-1",
    ] {
        let model = model(SIZE);
        let headers = owned(&[("X-Linked-Size", size)]);
        let server = Server::scripted(&model, move |asked| {
            asked
                .is("HEAD", WEIGHTS)
                .then(|| Act::With(headers.clone()))
        });
        let cache = cache(&server);
        match cache.fetch() {
            // What is no number at all is as if it were not there.
            Ok(snapshot) => assert_complete(&snapshot, &model),
            Err(error) => assert_eq!(error.code(), Code::DiskFull, "{size}: {error}"),
        }
    }
}

#[test]
fn an_existing_blob_of_the_wrong_size_is_repaired() {
    let model = model(SIZE);
    let server = Server::start(&model);
    let cache = cache(&server);
    cache.fetch().unwrap();
    let tag = model.file(WEIGHTS).tag();
    let blob = cache.path("blobs").join(&tag);
    for content in [
        &model.file(WEIGHTS).content[..SIZE - 1],
        &noise(3, SIZE + 1),
        b"",
    ] {
        fs::write(&blob, content).unwrap();
        server.forget();
        assert_complete(&cache.fetch().unwrap(), &model);
        assert_eq!(server.count("GET", WEIGHTS), 1);
        assert_eq!(server.count("GET", "tokenizer.json"), 0);
    }
    // A link to nothing.
    fs::remove_file(&blob).unwrap();
    assert_complete(&cache.fetch().unwrap(), &model);
}

/// Ranges that are answered so, by whatever a whole file is not.
fn ranged(asked: &crate::server::Asked, range: Act, whole: Act) -> Option<Act> {
    let weights = asked.is("GET", WEIGHTS);
    weights.then(|| {
        if asked.range().is_some() {
            range
        } else {
            whole
        }
    })
}

#[test]
fn row_04_servers_that_send_little_come_to_an_end() {
    // A short range that nobody asked for, and ranges of a byte.
    let unasked = |_: &crate::server::Asked| {
        let headers = owned(&[("Content-Range", "bytes 0-99/100000")]);
        Act::Answer(206, headers, vec![7; 100])
    };
    let bytes = |asked: &crate::server::Asked| {
        let first = asked.range().map_or(0, |(first, _)| first);
        let range = format!("bytes {first}-{first}/{SIZE}");
        Act::Answer(206, owned(&[("Content-Range", &range)]), vec![7])
    };
    type Script = fn(&crate::server::Asked) -> Act;
    for script in [unasked as Script, bytes] {
        let model = model(SIZE);
        let server = Server::scripted(&model, move |asked| {
            asked.is("GET", WEIGHTS).then(|| script(asked))
        });
        let cache = cache(&server);
        let weights = model.file(WEIGHTS);
        leave_partial(&cache, &weights.tag(), &weights.content[..1000]);
        assert!(cache.fetch().is_err());
        assert!(server.count("GET", WEIGHTS) < 20);
        assert!(!cache.blobs().contains(&weights.tag()));
    }
}

#[test]
fn row_25_silences_add_up_also_when_the_file_is_begun_anew() {
    type Script = fn(&crate::server::Asked) -> Option<Act>;
    let refused: Script = |asked| ranged(asked, answer(416, &[])?, Act::StallAfter(5_000));
    let elsewhere: Script = |asked| match asked.count {
        _ if !asked.is("GET", WEIGHTS) => None,
        count => {
            let body = noise(1, SIZE)[..5_000 + count * 100 % 900].to_vec();
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {SIZE}\r\n\r\n");
            Some(Act::RawAndStall([head.into_bytes(), body].concat()))
        }
    };
    let drip: Script = |asked| ranged(asked, Act::StallAfter(1), Act::StallAfter(1_000));
    for script in [refused, elsewhere, drip] {
        let server = Server::scripted(&model(SIZE), script);
        let mut cache = cache(&server);
        cache.options.idle_limit = std::time::Duration::from_millis(800);
        let begin = std::time::Instant::now();
        assert_eq!(cache.fetch().unwrap_err().code(), Code::HubUnavailable);
        assert!(begin.elapsed() < std::time::Duration::from_millis(1800));
    }
}

#[test]
fn progress_behind_a_new_beginning_counts() {
    let model = model(1_000_000);
    let server = Server::scripted(&model, |asked| {
        let weights = asked.is("GET", WEIGHTS);
        weights.then(|| match (asked.range().is_some(), asked.count) {
            (_, 1) => Act::Cut(900_000),
            (true, 2) => Act::WholeCut(100_000),
            _ => Act::Cut(100_000),
        })
    });
    assert_complete(&cache(&server).fetch().unwrap(), &model);
}

#[test]
fn a_partial_file_that_a_server_cannot_continue_is_begun_anew() {
    let model = model(SIZE);
    let server = Server::scripted(&model, |asked| {
        (asked.is("GET", WEIGHTS) && asked.range().is_some()).then_some(Act::Cut(0))
    });
    let cache = cache(&server);
    let weights = model.file(WEIGHTS);
    leave_partial(&cache, &weights.tag(), &weights.content[..40_000]);
    assert_complete(&cache.fetch().unwrap(), &model);
}

#[test]
fn a_file_without_a_blob_is_hashed_before_it_counts() {
    for right in [true, false] {
        let model = model(SIZE);
        let server = Server::start(&model);
        let cache = cache(&server);
        let snapshot = cache.path("snapshots").join(&model.commit);
        fs::create_dir_all(&snapshot).unwrap();
        let mut content = model.file(WEIGHTS).content.to_vec();
        content[7] ^= u8::from(!right);
        fs::write(snapshot.join(WEIGHTS), content).unwrap();
        assert_complete(&cache.fetch().unwrap(), &model);
        assert_eq!(server.count("GET", WEIGHTS), usize::from(!right));
    }
}
