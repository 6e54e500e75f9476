//! Downloads in several pieces, and downloads that go on in another process.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::children;
use crate::server::{Act, Model, Server, sha256};
use crate::support::{WEIGHTS, assert_complete, cache, model};

/// The most that a killed process may cost.
const MOST_AGAIN: u64 = 16 << 20;

#[test]
fn a_big_file_comes_over_several_connections() {
    let model = model(8_000_000);
    let server = Server::scripted(&model, |asked| {
        // A megabyte a second at most.
        asked.is("GET", WEIGHTS).then_some(Act::Slowly(10_000))
    });
    let mut cache = cache(&server);
    cache.options.piece = 100_000;
    let begin = Instant::now();
    assert_complete(&cache.fetch().unwrap(), &model);
    assert!(begin.elapsed() < Duration::from_secs(6));
    assert!(server.busiest() >= 3, "{}", server.busiest());
    // Each byte came once.
    let ranges: BTreeMap<u64, u64> = server
        .ranges(WEIGHTS)
        .into_iter()
        .map(|range| range.map(|(first, last)| (first, last.unwrap())).unwrap())
        .collect();
    let mut at = 0;
    for (first, last) in ranges {
        assert_eq!(first, at);
        at = last + 1;
    }
    assert_eq!(at, 8_000_000);
}

#[test]
fn a_fast_connection_stays_alone() {
    let model = model(3_000_000);
    let server = Server::start(&model);
    let mut cache = cache(&server);
    cache.options.piece = 100_000;
    assert_complete(&cache.fetch().unwrap(), &model);
    assert_eq!(server.count("GET", WEIGHTS), 30);
    let busy = |asked: &crate::server::Asked| asked.is("GET", WEIGHTS);
    assert!(server.asked().iter().any(busy));
    assert!(server.busiest() <= 5);
}

#[test]
fn pieces_are_resumed_each_by_itself() {
    let model = model(1_000_000);
    let server = Server::scripted(&model, |asked| {
        let (first, _) = asked.range()?;
        // Every other piece is cut after a part of it.
        (first % 200_000 == 0).then_some(Act::Cut(60_000))
    });
    let mut cache = cache(&server);
    cache.options.piece = 100_000;
    assert_complete(&cache.fetch().unwrap(), &model);
    assert_eq!(server.sent(), 1_000_000 + small_files(&model));
}

fn small_files(model: &Model) -> u64 {
    let names = ["config.json", "generation_config.json", "tokenizer.json"];
    let size = |name: &&str| model.file(name).content.len() as u64;
    names.iter().map(size).sum()
}

#[test]
fn what_several_connections_brought_is_resumed_later() {
    let model = model(6 << 20);
    let once = AtomicBool::new(true);
    let server = Server::scripted(&model, move |asked| {
        // The second piece does not come at first, all others do.
        let (first, _) = asked.range()?;
        (first == 1 << 20 && once.swap(false, Ordering::Relaxed)).then_some(Act::Stall)
    });
    let mut cache = cache(&server);
    cache.options.piece = 1 << 20;
    cache.options.header_limit = Duration::from_millis(1_500);
    cache.fetch().unwrap_err();
    let first: Vec<_> = server.ranges(WEIGHTS).into_iter().flatten().collect();
    server.forget();
    cache.options.header_limit = Duration::from_secs(2);
    assert_complete(&cache.fetch().unwrap(), &model);
    let sum = |ranges: &[(u64, Option<u64>)]| -> u64 {
        ranges
            .iter()
            .map(|(first, last)| last.unwrap() + 1 - first)
            .sum()
    };
    let second: Vec<_> = server.ranges(WEIGHTS).into_iter().flatten().collect();
    let missing = 1 << 20;
    assert_eq!(sum(&first) + sum(&second) - missing, 6 << 20);
}

/// Kills fetching processes at moments spread over a whole download and its end, and checks what the
/// next one does.
#[test]
fn row_06_killed_at_a_hundred_moments() {
    const MOMENTS: u64 = 100;
    const SIZE: u64 = 48 << 20;
    let model = model(SIZE as usize);
    let tag = model.file(WEIGHTS).tag();
    let pace = |asked: &crate::server::Asked| {
        // A hundred megabytes a second at most.
        asked.is("GET", WEIGHTS).then_some(Act::Slowly(1 << 20))
    };
    let server = Server::scripted(&model, pace);
    for moment in 0..MOMENTS {
        let cache = cache(&server);
        server.forget();
        let mut child = children::fetch(&server, &cache);
        // So many bytes were sent, or, one time in five, all of them some milliseconds ago.
        let late = moment % 5 == 4;
        let sent = if late { SIZE } else { SIZE * moment / MOMENTS };
        while server.sent() < sent && child.try_wait().unwrap().is_none() {
            thread::sleep(Duration::from_millis(1));
        }
        if late {
            thread::sleep(Duration::from_millis(moment / 2));
        }
        child.kill().unwrap();
        child.wait().unwrap();
        // Nothing wrong is ever in its place.
        for name in cache.blobs().iter().filter(|name| name.len() == 64) {
            let content = std::fs::read(cache.path("blobs").join(name)).unwrap();
            assert_eq!(sha256(&content), *name);
        }
        let before = written(&cache, &tag);
        let earlier = server.asked().len();
        children::finish(children::fetch(&server, &cache));
        assert_complete(&cache.fetch().unwrap(), &model);
        let again = refetched(&server, earlier, before);
        assert!(
            again <= MOST_AGAIN,
            "{again} bytes again after {before}: {:?}",
            server.ranges(WEIGHTS)
        );
    }
}

/// How many bytes of the weights a process had written when it was killed.
fn written(cache: &crate::support::Cache, tag: &str) -> u64 {
    let blobs = cache.path("blobs");
    let candidates = [tag.to_owned(), format!("{tag}.candle4j.incomplete")];
    let lengths = candidates
        .iter()
        .filter_map(|name| std::fs::metadata(blobs.join(name)).ok());
    lengths.map(|file| file.len()).max().unwrap_or(0)
}

/// How many of the first `before` bytes were asked for once more after the `earlier` requests.
fn refetched(server: &Server, earlier: usize, before: u64) -> u64 {
    let asked = server.asked();
    let starts = asked[earlier..]
        .iter()
        .filter(|asked| asked.is("GET", WEIGHTS))
        .map(|asked| asked.range().map_or(0, |(first, _)| first));
    starts
        .map(|first| before.saturating_sub(first))
        .max()
        .unwrap_or(0)
}
