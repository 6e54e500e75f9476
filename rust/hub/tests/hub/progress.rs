//! What a listener hears.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::thread;
use std::time::{Duration, Instant};

use candle4j_hub::Hub;
use candle4j_hub::error::Error;
use candle4j_hub::progress::{Interrupt, Phase, Progress};

use crate::server::{Act, Server};
use crate::support::{ID, WEIGHTS, cache, id, model, sharded};

fn heard(hub: &Hub) -> Vec<(Duration, Progress)> {
    let begin = Instant::now();
    let caller = thread::current().id();
    let mut heard = Vec::new();
    hub.fetch(&id(ID), &mut |progress: &Progress| {
        assert_eq!(thread::current().id(), caller);
        heard.push((begin.elapsed(), progress.clone()));
        ControlFlow::Continue(())
    })
    .unwrap();
    heard
}

#[test]
fn every_file_from_nothing_to_its_end() {
    let model = sharded(4, 300_000);
    let server = Server::scripted(&model, |asked| {
        asked
            .is("GET", ".safetensors")
            .then_some(Act::Slowly(10_000))
    });
    let cache = cache(&server);
    let heard = heard(&cache.hub());
    let mut files: BTreeMap<&str, Vec<(Duration, &Progress)>> = BTreeMap::new();
    let mut overall = 0;
    let total: u64 = model
        .files
        .iter()
        .map(|file| file.content.len() as u64)
        .sum();
    for (time, progress) in &heard {
        if progress.phase == Phase::Resolve {
            assert_eq!(progress.file, "");
            continue;
        }
        assert_eq!(progress.files_total, 6);
        // All sizes are known before the first byte.
        assert_eq!(progress.overall_total, Some(total));
        assert!(progress.overall_bytes >= overall);
        overall = progress.overall_bytes;
        files
            .entry(&progress.file)
            .or_default()
            .push((*time, progress));
    }
    assert_eq!(overall, total);
    assert_eq!(heard.last().unwrap().1.files_done, 6);
    assert_eq!(files.len(), 6);
    for (name, events) in files {
        let size = model.file(name).content.len() as u64;
        assert_eq!(events.first().unwrap().1.bytes, 0, "{name}");
        assert_eq!(events.last().unwrap().1.bytes, size, "{name}");
        assert!(events.is_sorted_by_key(|(_, progress)| progress.bytes));
        assert!(
            events
                .iter()
                .all(|(_, progress)| progress.total == Some(size))
        );
        // Not more than twenty a second, apart from the first and the last one.
        let times = &events[..events.len() - 1];
        for pair in times.windows(2).skip(1) {
            let gap = pair[1].0 - pair[0].0;
            assert!(gap >= Duration::from_millis(45), "{name}: {gap:?}");
        }
    }
}

#[test]
fn something_is_heard_also_when_nothing_moves() {
    let model = model(1000);
    let server = Server::scripted(&model, |asked| {
        (asked.method == "GET" && asked.count == 1 && asked.path.ends_with(WEIGHTS))
            .then_some(Act::After(Duration::from_millis(900)))
    });
    let cache = cache(&server);
    let heard = heard(&cache.hub());
    let times: Vec<Duration> = heard.iter().map(|(time, _)| *time).collect();
    let longest = times
        .windows(2)
        .map(|pair| pair[1] - pair[0])
        .max()
        .unwrap();
    assert!(longest <= Duration::from_millis(250), "{longest:?}");
    assert!(heard.len() >= 4);
}

#[test]
fn bytes_found_on_disk_count() {
    let model = model(2_000_000);
    let server = Server::scripted(&model, |asked| {
        (asked.is("GET", WEIGHTS) && asked.count == 1).then_some(Act::Cut(1_500_000))
    });
    let mut cache = cache(&server);
    cache.options.retries = 0;
    cache.fetch().unwrap_err();
    let heard = heard(&cache.hub());
    let weights = heard
        .iter()
        .filter(|(_, progress)| progress.file == WEIGHTS);
    let bytes: Vec<u64> = weights.map(|(_, progress)| progress.bytes).collect();
    assert_eq!(bytes.first(), Some(&0));
    assert!(
        bytes[1..].iter().all(|bytes| *bytes >= 1_500_000),
        "{bytes:?}"
    );
}

#[test]
fn a_listener_that_fails() {
    let server = Server::start(&model(1000));
    let cache = cache(&server);
    let result = cache.hub().fetch(&id(ID), &mut |_: &Progress| {
        ControlFlow::Break(Interrupt::Failed)
    });
    assert_eq!(result, Err(Error::CallbackFailed));
}

#[test]
fn several_files_at_once_but_not_too_many() {
    let model = sharded(6, 200_000);
    for concurrency in [1, 3] {
        let server = Server::scripted(&model, |asked| {
            asked
                .is("GET", ".safetensors")
                .then_some(Act::Slowly(20_000))
        });
        let mut cache = cache(&server);
        cache.options.concurrency = concurrency;
        cache.fetch().unwrap();
        assert_eq!(server.busiest(), concurrency);
    }
}
