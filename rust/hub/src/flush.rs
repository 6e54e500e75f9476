//! Bringing bytes to the disk while others still arrive.
//!
//! What is on disk when a file is complete need not be waited for then. A disk at work takes from a very
//! fast download, though, so that is not disturbed.

use std::fs::File;
use std::sync::Arc;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

/// How many bytes are written before the disk is set to work on them.
const STRETCH: u64 = 64 << 20;

/// Fewer bytes than this are on disk in no time.
const FEW: u64 = 16 << 20;

/// Bytes a second that a disk could hardly keep up with.
const FAST: u64 = 256 << 20;

/// Whether bytes came faster than the disk should be made to take them at the same time.
pub(super) fn is_fast(bytes: u64, time: Duration) -> bool {
    bytes > FEW && bytes as f64 > FAST as f64 * time.as_secs_f64()
}

/// Sets the disk to work on a file, from a thread that is started when the file proves to be big.
pub(super) struct Flusher {
    file: Arc<File>,
    waiting: u64,
    last: Instant,
    thread: Option<SyncSender<()>>,
}

impl Flusher {
    pub(super) fn new(file: Arc<File>) -> Flusher {
        Flusher {
            file,
            waiting: 0,
            last: Instant::now(),
            thread: None,
        }
    }

    /// So many more bytes were written.
    pub(super) fn written(&mut self, bytes: u64) {
        self.waiting += bytes;
        if self.waiting < STRETCH {
            return;
        }
        self.waiting = 0;
        let time = std::mem::replace(&mut self.last, Instant::now()).elapsed();
        if is_fast(STRETCH, time) {
            return;
        }
        let file = &self.file;
        let thread = self.thread.get_or_insert_with(|| start(Arc::clone(file)));
        // While it is still at work it will find these bytes as well, or the next time.
        let _ = thread.try_send(());
    }
}

/// The thread ends when its sender is gone. That it cannot be started, or that the disk fails, is found
/// out when the complete file is brought to the disk.
fn start(file: Arc<File>) -> SyncSender<()> {
    let (sender, receiver) = sync_channel(1);
    let started = thread::Builder::new()
        .name("candle4j-flush".to_owned())
        .spawn(move || {
            while receiver.recv().is_ok() {
                if let Err(error) = file.sync_data() {
                    tracing::debug!("flushing early failed: {error}");
                    return;
                }
            }
        });
    if let Err(error) = started {
        tracing::debug!("no thread to flush early: {error}");
    }
    sender
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fast_and_slow() {
        let second = Duration::from_secs(1);
        assert!(is_fast(1 << 30, second));
        assert!(!is_fast(100 << 20, second));
        assert!(!is_fast(1 << 20, Duration::from_millis(1)));
        assert!(is_fast(1 << 30, Duration::ZERO));
    }
}
