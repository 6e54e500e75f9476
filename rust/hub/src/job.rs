//! Long operations: the work runs on a thread of its own, and the calling thread reports its progress.
//!
//! A listener may be Java code, which must run on the thread that is inside the call. So neither a name
//! resolution nor a disk that hangs can delay a stop: after a short grace the caller returns, and the
//! working thread ends as soon as the operating system lets it.

use std::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use crate::error::{Error, Result};
use crate::progress::{Interrupt, Listener, Phase, Progress};

/// How often the calling thread looks for something to report.
const TICK: Duration = Duration::from_millis(25);

/// Shortest time between two reports about one file, other than its first and its last.
const REPORT_INTERVAL: Duration = Duration::from_millis(50);

/// Longest time without any report.
const HEARTBEAT: Duration = Duration::from_millis(200);

/// How long the work may take to clean up after a stop.
const GRACE: Duration = Duration::from_millis(500);

/// Runs `work` on a thread of its own while `listener` hears of its progress on this one.
pub(crate) fn run<T: Send + 'static>(
    listener: &mut Listener<'_>,
    work: impl FnOnce(&Arc<Job>) -> Result<T> + Send + 'static,
) -> Result<T> {
    let job = Arc::new(Job::default());
    // Also when the listener panics the work must not go on unseen.
    let _stop = StopOnDrop(Arc::clone(&job));
    let (sender, receiver) = mpsc::sync_channel(1);
    let theirs = Arc::clone(&job);
    thread::Builder::new()
        .name("candle4j-hub".to_owned())
        .spawn(move || {
            let result = catch_unwind(AssertUnwindSafe(|| work(&theirs)))
                .unwrap_or_else(|panic| Err(Error::Panic(panic_message(&*panic))));
            // The caller may have stopped waiting.
            let _ = sender.send(result);
        })
        .map_err(|error| Error::io("candle4j-hub (thread)", &error))?;
    let mut last = None;
    loop {
        let result = receiver.recv_timeout(TICK);
        match (result, job.report(listener, &mut last)) {
            (Ok(Err(error)), _) => return Err(error),
            (Ok(Ok(value)), ControlFlow::Continue(())) => return Ok(value),
            (Err(RecvTimeoutError::Disconnected), _) => {
                return Err(Error::Panic("the thread of the operation is gone".into()));
            }
            (Err(RecvTimeoutError::Timeout), ControlFlow::Continue(())) => {}
            (_, ControlFlow::Break(interrupt)) => {
                job.stop();
                let _ = receiver.recv_timeout(GRACE);
                return Err(interrupt.into());
            }
        }
    }
}

fn panic_message(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "no message".to_owned())
}

struct StopOnDrop(Arc<Job>);

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        self.0.stop();
    }
}

/// One operation, as its worker and its caller share it.
#[derive(Default)]
pub(crate) struct Job {
    stopped: AtomicBool,
    stop: Notify,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    phase: Phase,
    files: Vec<FileState>,
}

struct FileState {
    name: String,
    bytes: u64,
    total: u64,
    done: bool,
    /// When this file was last reported, and with how many bytes; `None` for its first report.
    reported: Option<(Instant, u64)>,
    closed: bool,
}

impl Job {
    fn stop(&self) {
        self.stopped.store(true, Ordering::Release);
        // Leaves a permit when nobody waits yet.
        self.stop.notify_one();
    }

    /// Fails once the operation is to end.
    pub(crate) fn check(&self) -> Result<()> {
        match self.stopped.load(Ordering::Acquire) {
            true => Err(Error::Cancelled),
            false => Ok(()),
        }
    }

    /// Returns once the operation is to end. Only one task may wait.
    pub(crate) async fn stopped(&self) {
        while self.check().is_ok() {
            self.stop.notified().await;
        }
    }

    /// Names the files that the operation is about, with their sizes, and the phase it enters.
    pub(crate) fn plan(
        self: &Arc<Self>,
        phase: Phase,
        files: impl IntoIterator<Item = (String, u64)>,
    ) -> Vec<Gauge> {
        let mut state = self.state();
        state.phase = phase;
        state.files = files
            .into_iter()
            .map(|(name, total)| FileState {
                name,
                bytes: 0,
                total,
                done: false,
                reported: None,
                closed: false,
            })
            .collect();
        let gauge = |index| Gauge(Some((Arc::clone(self), index)));
        (0..state.files.len()).map(gauge).collect()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // The state is valid at any moment, whatever panicked while it was held.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Delivers what is due. Reports are made under the lock and delivered outside of it, so that a
    /// slow listener does not hold up the work.
    fn report(
        &self,
        listener: &mut Listener<'_>,
        last: &mut Option<Instant>,
    ) -> ControlFlow<Interrupt> {
        let now = Instant::now();
        let silent = last.is_none_or(|last| now.duration_since(last) >= HEARTBEAT);
        for report in self.state().due(now, silent) {
            *last = Some(Instant::now());
            listener(&report)?;
        }
        ControlFlow::Continue(())
    }
}

/// Where the worker notes how far one file is.
#[derive(Clone)]
pub(crate) struct Gauge(Option<(Arc<Job>, usize)>);

impl Gauge {
    /// One that nobody looks at.
    pub(crate) fn unseen() -> Gauge {
        Gauge(None)
    }

    /// `bytes` of the file are there. A lower number than before is not reported: work that a retry
    /// does again is no progress.
    pub(crate) fn at(&self, bytes: u64) {
        self.change(|file| file.bytes = file.bytes.max(bytes.min(file.total)));
    }

    /// The file is complete.
    pub(crate) fn done(&self) {
        self.change(|file| (file.bytes, file.done) = (file.total, true));
    }

    fn change(&self, change: impl FnOnce(&mut FileState)) {
        if let Some((job, index)) = &self.0
            && let Some(file) = job.state().files.get_mut(*index)
        {
            change(file);
        }
    }
}

impl State {
    /// The reports that are due: each file's first (with 0 bytes) and last one, in between at most
    /// twenty a second, and at least one when there was `silence`.
    fn due(&mut self, now: Instant, silence: bool) -> Vec<Progress> {
        let mut due = Vec::new();
        for (index, file) in self.files.iter_mut().enumerate() {
            if file.reported.is_none() {
                file.reported = Some((now, 0));
                due.push((index, 0));
            }
            let moved = file.reported.is_some_and(|(at, bytes)| {
                file.bytes != bytes && now.duration_since(at) >= REPORT_INTERVAL
            });
            if !file.closed && (moved || file.done) {
                file.reported = Some((now, file.bytes));
                file.closed = file.done;
                due.push((index, file.bytes));
            }
        }
        if due.is_empty() && silence {
            let open = |file: &FileState| !file.done;
            let busy = |file: &FileState| open(file) && file.bytes > 0;
            let current = self.files.iter().position(busy);
            let current = current.or_else(|| self.files.iter().position(open));
            let bytes = current.map_or(0, |index| self.files[index].bytes);
            return vec![self.progress(current, bytes)];
        }
        let progress = |(index, bytes)| self.progress(Some(index), bytes);
        due.into_iter().map(progress).collect()
    }

    fn progress(&self, index: Option<usize>, bytes: u64) -> Progress {
        let file = index.map(|index| &self.files[index]);
        let sum = |part: fn(&FileState) -> u64| {
            let add = |sum: u64, file| sum.saturating_add(part(file));
            self.files.iter().fold(0, add)
        };
        Progress {
            phase: self.phase,
            file: file.map(|file| file.name.clone()).unwrap_or_default(),
            bytes,
            total: file.map(|file| file.total),
            overall_bytes: sum(|file| file.bytes),
            overall_total: (!self.files.is_empty()).then(|| sum(|file| file.total)),
            files_done: self.files.iter().filter(|file| file.done).count(),
            files_total: self.files.len(),
        }
    }
}
