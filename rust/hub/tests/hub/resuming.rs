//! Downloads that go on in another process.

use std::thread;
use std::time::Duration;

use crate::children;
use crate::server::{Act, Server, sha256};
use crate::support::{WEIGHTS, assert_complete, cache, model};

/// The most that a killed process may cost: bytes that it had written, and did not get into the file.
const MOST_AGAIN: u64 = 1 << 20;

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
    let candidates = [tag.to_owned(), format!("{tag}.incomplete")];
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
