//! Long operations: the work runs on a thread of its own, and its progress is reported on the thread that
//! called.
//!
//! A listener may be Java code, which must run on the thread that is inside the call. That thread
//! therefore does nothing but wait, report and listen for a stop. So neither a name resolution nor a
//! disk that hangs can delay the answer to a stop: after a short grace the caller returns, and the
//! thread ends by itself as soon as the operating system lets it.

use std::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use crate::error::{Error, Result};
use crate::progress::{Listener, Phase, Progress};

/// How often the calling thread looks for something to report.
const TICK: Duration = Duration::from_millis(25);

/// Shortest time between two reports about one file, other than its first and its last.
const REPORT: Duration = Duration::from_millis(50);

/// Longest time without any report.
const HEARTBEAT: Duration = Duration::from_millis(200);

/// How long the work may take to put its things in order after a stop.
const GRACE: Duration = Duration::from_millis(500);

/// Runs `work` on a thread of its own while `listener` hears of its progress on this one.
pub(super) fn run<T: Send + 'static>(
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
                .unwrap_or_else(|panic| Err(Error::Panic(message_of(&*panic))));
            // The caller may have stopped waiting.
            let _ = sender.send(result);
        })
        .map_err(|error| Error::io("candle4j-hub (thread)", &error))?;

    let mut reporter = Reporter::new(listener);
    loop {
        let result = receiver.recv_timeout(TICK);
        let heard = reporter.report(&job, result.is_ok());
        match (result, heard) {
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

fn message_of(panic: &(dyn std::any::Any + Send)) -> String {
    panic
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned())
        .or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "no message".to_owned())
}

struct StopOnDrop(Arc<Job>);

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        self.0.stop();
    }
}

/// One operation, as its worker and its reporter share it.
#[derive(Default)]
pub(super) struct Job {
    stopped: AtomicBool,
    stop: Notify,
    state: Mutex<ProgressState>,
}

/// How far the operation is.
struct ProgressState {
    phase: Phase,
    files: Vec<FileState>,
}

impl Default for ProgressState {
    fn default() -> Self {
        ProgressState {
            phase: Phase::Resolve,
            files: Vec::new(),
        }
    }
}

struct FileState {
    name: String,
    phase: Phase,
    bytes: u64,
    total: Option<u64>,
    done: bool,
    reported: Reported,
}

/// What was reported of a file.
enum Reported {
    Nothing,
    Some { at: Instant, bytes: u64 },
    Everything,
}

impl Job {
    /// Asks the worker to end.
    fn stop(&self) {
        self.stopped.store(true, Ordering::Release);
        // `notify_one` leaves a permit when nobody waits yet.
        self.stop.notify_one();
    }

    /// Whether the worker is to end.
    pub(super) fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::Acquire)
    }

    /// Fails when the worker is to end.
    pub(super) fn check(&self) -> Result<()> {
        if self.is_stopped() {
            return Err(Error::Cancelled);
        }
        Ok(())
    }

    /// Returns when the worker is to end. Only one task may wait.
    pub(super) async fn stopped(&self) {
        while !self.is_stopped() {
            self.stop.notified().await;
        }
    }

    /// Names the files that the operation is about, in the phase that they will be in.
    pub(super) fn plan(
        self: &Arc<Self>,
        phase: Phase,
        files: impl IntoIterator<Item = (String, Option<u64>)>,
    ) -> Vec<Gauge> {
        let mut state = self.state();
        state.phase = phase;
        state.files = files
            .into_iter()
            .map(|(name, total)| FileState {
                name,
                phase,
                bytes: 0,
                total,
                done: false,
                reported: Reported::Nothing,
            })
            .collect();
        (0..state.files.len())
            .map(|index| Gauge(Some((Arc::clone(self), index))))
            .collect()
    }

    fn state(&self) -> MutexGuard<'_, ProgressState> {
        // The state is valid at any moment, whatever panicked while it was held.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Where the worker notes how far one file is.
#[derive(Clone)]
pub(super) struct Gauge(Option<(Arc<Job>, usize)>);

impl Gauge {
    /// One that nobody looks at.
    pub(super) fn unseen() -> Gauge {
        Gauge(None)
    }

    /// `bytes` of the file are done. A lower number than before is not reported: what a second attempt
    /// does over again is no progress, and no loss that a listener could do anything about.
    pub(super) fn at(&self, bytes: u64) {
        self.change(|file| {
            let limit = file.total.unwrap_or(u64::MAX);
            file.bytes = file.bytes.max(bytes.min(limit));
        });
    }

    /// The file's size became known.
    pub(super) fn total(&self, total: u64) {
        self.change(|file| {
            file.total = Some(total);
            file.bytes = file.bytes.min(total);
        });
    }

    /// All bytes are there, and are being hashed.
    pub(super) fn verifying(&self) {
        self.change(|file| file.phase = Phase::Verify);
    }

    /// The file is complete.
    pub(super) fn done(&self, size: u64) {
        self.change(|file| {
            file.total = Some(size);
            file.bytes = size;
            file.done = true;
        });
    }

    fn change(&self, change: impl FnOnce(&mut FileState)) {
        if let Some((job, index)) = &self.0
            && let Some(file) = job.state().files.get_mut(*index)
        {
            change(file);
        }
    }
}

/// Turns the state's state into reports: each file's first and last one, and in between not more than
/// twenty a second, but at least five over all.
struct Reporter<'a, 'b> {
    listener: &'a mut Listener<'b>,
    last: Option<Instant>,
}

impl<'a, 'b> Reporter<'a, 'b> {
    fn new(listener: &'a mut Listener<'b>) -> Self {
        Reporter {
            listener,
            last: None,
        }
    }

    fn report(&mut self, job: &Job, finished: bool) -> ControlFlow<crate::progress::Interrupt> {
        let now = Instant::now();
        let due = self
            .last
            .is_none_or(|last| now.duration_since(last) >= HEARTBEAT);
        // Reports are made under the lock and delivered outside of it, so that a slow listener does
        // not hold up the work.
        let reports = job.state().reports(now, due && !finished);
        for report in &reports {
            self.last = Some(Instant::now());
            (self.listener)(report)?;
        }
        ControlFlow::Continue(())
    }
}

impl ProgressState {
    fn reports(&mut self, now: Instant, heartbeat: bool) -> Vec<Progress> {
        let mut due: Vec<(usize, u64, Phase)> = Vec::new();
        for (index, file) in self.files.iter_mut().enumerate() {
            let phase = if file.done { self.phase } else { file.phase };
            match file.reported {
                Reported::Everything => continue,
                Reported::Nothing => due.push((index, 0, self.phase)),
                Reported::Some { at, bytes } => {
                    let moved = file.bytes != bytes && now.duration_since(at) >= REPORT;
                    if !moved && !file.done {
                        continue;
                    }
                }
            }
            // The first report says 0 also for a file that was found on disk, and the last one says
            // that it is complete, so that both are there for every file.
            if file.done {
                due.push((index, file.bytes, phase));
                file.reported = Reported::Everything;
            } else {
                if !matches!(file.reported, Reported::Nothing) {
                    due.push((index, file.bytes, phase));
                }
                let bytes = match file.reported {
                    Reported::Nothing => 0,
                    _ => file.bytes,
                };
                file.reported = Reported::Some { at: now, bytes };
            }
        }
        if due.is_empty() && heartbeat {
            return vec![self.heartbeat()];
        }
        due.into_iter()
            .map(|(index, bytes, phase)| self.progress(Some(index), bytes, phase))
            .collect()
    }

    /// A report that says nothing new, about the file that is worked on.
    fn heartbeat(&self) -> Progress {
        let current = self
            .files
            .iter()
            .position(|file| !file.done && (file.bytes > 0 || file.phase != self.phase))
            .or_else(|| self.files.iter().position(|file| !file.done));
        match current {
            Some(index) => {
                let file = &self.files[index];
                self.progress(current, file.bytes, file.phase)
            }
            None => self.progress(None, 0, self.phase),
        }
    }

    fn progress(&self, index: Option<usize>, bytes: u64, phase: Phase) -> Progress {
        let file = index.map(|index| &self.files[index]);
        let sum = |part: fn(&FileState) -> Option<u64>| {
            self.files
                .iter()
                .try_fold(0_u64, |sum, file| Some(sum.saturating_add(part(file)?)))
        };
        Progress {
            phase,
            file: file.map(|file| file.name.clone()).unwrap_or_default(),
            bytes,
            total: file.and_then(|file| file.total),
            overall_bytes: sum(|file| Some(file.bytes)).unwrap_or(0),
            overall_total: if self.files.is_empty() {
                None
            } else {
                sum(|file| file.total)
            },
            files_done: self.files.iter().filter(|file| file.done).count(),
            files_total: self.files.len(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::progress::Interrupt;

    #[test]
    fn first_and_last_report_of_every_file() {
        let mut heard = Vec::new();
        let result = run(
            &mut |progress: &Progress| {
                heard.push(progress.clone());
                ControlFlow::Continue(())
            },
            |job| {
                let gauges = job.plan(
                    Phase::Download,
                    [("a".to_owned(), Some(10)), ("b".to_owned(), None)],
                );
                gauges[0].at(4);
                gauges[0].at(2);
                gauges[0].done(10);
                gauges[1].done(5);
                Ok(7)
            },
        );
        assert_eq!(result, Ok(7));
        for (name, size) in [("a", 10), ("b", 5)] {
            let bytes: Vec<u64> = heard
                .iter()
                .filter(|progress| progress.file == name)
                .map(|progress| progress.bytes)
                .collect();
            assert_eq!(bytes.first(), Some(&0), "{name}");
            assert_eq!(bytes.last(), Some(&size), "{name}");
            assert!(bytes.is_sorted(), "{name}: {bytes:?}");
        }
        let last = heard.last().unwrap();
        assert_eq!((last.files_done, last.files_total), (2, 2));
        assert_eq!((last.overall_bytes, last.overall_total), (15, Some(15)));
    }

    #[test]
    fn reports_are_throttled_and_never_stop() {
        let mut heard = Vec::new();
        let begin = Instant::now();
        run(
            &mut |progress: &Progress| {
                heard.push((begin.elapsed(), progress.bytes));
                ControlFlow::Continue(())
            },
            |job| {
                let gauge = job.plan(Phase::Download, [("a".to_owned(), Some(1 << 30))]);
                for step in 0..500 {
                    gauge[0].at(step);
                    thread::sleep(Duration::from_millis(1));
                }
                thread::sleep(Duration::from_millis(600));
                Ok(())
            },
        )
        .unwrap();
        assert!(heard.len() <= 2 + 20 + 4, "{}", heard.len());
        let gaps = heard.windows(2).map(|pair| pair[1].0 - pair[0].0);
        assert!(gaps.max().unwrap() < Duration::from_millis(300));
    }

    #[test]
    fn a_stop_does_not_wait_for_work_that_hangs() {
        let begin = Instant::now();
        let result: Result<()> = run(
            &mut |_: &Progress| ControlFlow::Break(Interrupt::Stop),
            |_| {
                thread::sleep(Duration::from_secs(5));
                Ok(())
            },
        );
        assert_eq!(result, Err(Error::Cancelled));
        assert!(begin.elapsed() < Duration::from_secs(1));
    }

    #[test]
    fn a_failing_listener_and_a_panicking_worker() {
        let failed: Result<()> = run(
            &mut |_: &Progress| ControlFlow::Break(Interrupt::Failed),
            |job| loop {
                job.check()?;
                thread::sleep(Duration::from_millis(1));
            },
        );
        assert_eq!(failed, Err(Error::CallbackFailed));
        let panicked: Result<()> = run(&mut |_: &Progress| ControlFlow::Continue(()), |_| {
            panic!("on purpose")
        });
        assert_eq!(panicked, Err(Error::Panic("on purpose".to_owned())));
    }
}
