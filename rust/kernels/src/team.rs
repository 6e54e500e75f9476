//! The threads that compute: one team a process.
//!
//! The thread that has a job takes part in it. It hands the job out in pieces; workers that have time come in
//! and take some, and it waits at the end only for those that are in the middle of a piece. A worker that the
//! system does not run takes no piece, so it holds nobody up; one that loses its processor in the middle of a
//! piece does until it gets one back, and then it is left out for a while: the fewer threads do better than as
//! many as wait for each other.

use std::any::Any;
use std::cell::Cell;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread::Thread;
use std::time::{Duration, Instant};

/// The most threads of a team. Machines have fewer processors, and more threads than those only wait for each
/// other.
pub const MAX_THREADS: usize = 1024;

/// How long a worker looks for the next job before it parks: longer than the gaps between the products of one
/// pass, and about as long as that between two passes.
const SPIN: Duration = Duration::from_micros(150);

/// How long the thread that has a job looks for the end of the others' pieces before it parks.
const SPIN_AT_END: Duration = Duration::from_micros(20);

/// A worker that is waited for longer than this, and longer than the job took, has lost its processor.
const STALL: Duration = Duration::from_micros(400);

/// How long a worker that lost its processor is left out at first, and at most. It doubles as long as that
/// happens again within [`CALM`] of its coming back.
const LEFT_OUT: [Duration; 2] = [Duration::from_millis(4), Duration::from_millis(256)];

/// See [`LEFT_OUT`].
const CALM: Duration = Duration::from_millis(100);

/// Set in [`Team::gate`] while workers may come in; the rest counts those inside.
const OPEN: u32 = 1 << 31;

thread_local! {
    /// Whether this thread works on a job, or is a worker.
    static INSIDE: Cell<bool> = const { Cell::new(false) };
}

/// What a job does, again and again until nothing is left of it. The lifetime is that of [`Team::run`].
type Job = *const (dyn Fn() + Sync);

/// The threads of this process.
struct Team {
    /// Held by the thread that has a job.
    turn: Mutex<Crew>,
    /// [`OPEN`], and the number of workers that are inside the job.
    gate: AtomicU32,
    /// Counts jobs.
    epoch: AtomicU64,
    /// Written while the gate is closed and nobody is inside, read by those who came in.
    job: JobCell,
    /// Whether the thread that has the job is parked until the last worker is out.
    waiting: AtomicBool,
    out: (Mutex<()>, Condvar),
    /// What a worker panicked with.
    panic: Mutex<Option<Box<dyn Any + Send>>>,
    /// Threads that a job may have, the caller's included.
    threads: AtomicUsize,
}

/// The workers that there are.
#[derive(Default)]
struct Crew {
    workers: Vec<Worker>,
    /// Whether some are left out.
    some_left_out: bool,
}

/// What the thread that has a job knows of a worker.
struct Worker {
    state: Arc<WorkerState>,
    thread: Thread,
    /// Until when it is left out.
    until: Option<Instant>,
    came_back: Option<Instant>,
    left_out: Duration,
}

#[derive(Default)]
struct WorkerState {
    inside: AtomicBool,
    parked: AtomicBool,
    left_out: AtomicBool,
    dismissed: AtomicBool,
}

struct JobCell(std::cell::UnsafeCell<Option<Job>>);

// SAFETY: it is written only by the thread that holds the turn while the gate is closed and nobody is
// inside, and read only by workers inside; the gate orders both. What it points to is `Sync`.
unsafe impl Sync for JobCell {}
// SAFETY: as above.
unsafe impl Send for JobCell {}

static TEAM: OnceLock<Team> = OnceLock::new();

fn team() -> &'static Team {
    TEAM.get_or_init(|| Team {
        turn: Mutex::default(),
        gate: AtomicU32::new(0),
        epoch: AtomicU64::new(0),
        job: JobCell(std::cell::UnsafeCell::new(None)),
        waiting: AtomicBool::new(false),
        out: (Mutex::new(()), Condvar::new()),
        panic: Mutex::new(None),
        threads: AtomicUsize::new(
            std::thread::available_parallelism().map_or(1, |n| n.get().min(MAX_THREADS)),
        ),
    })
}

/// The number of threads that compute, the calling one included. At first it is the number of processors that
/// this process may use, by its affinity and its control group's quota.
pub fn threads() -> usize {
    team().threads.load(Ordering::Relaxed)
}

/// Changes the number of threads, from the next job on.
///
/// # Panics
/// For less than 1 or more than [`MAX_THREADS`].
pub fn set_threads(count: usize) {
    assert!((1..=MAX_THREADS).contains(&count), "{count} threads");
    team().threads.store(count, Ordering::Relaxed);
}

/// Calls `work` with disjoint ranges that cover `0..count`, on all threads of the team. Ranges get smaller and
/// smaller (guided self-scheduling), so that no thread waits long for the last. Nested calls, and a team of one,
/// run a single range. Calls of several threads take turns.
///
/// # Panics
/// With what `work` panics with, on whichever thread, when all are out of it.
pub(crate) fn parallel_ranges(count: usize, work: impl Fn(Range<usize>) + Sync) {
    let team = team();
    let threads = team.threads.load(Ordering::Relaxed);
    if threads == 1 || count <= 1 || INSIDE.get() {
        if count > 0 {
            work(0..count);
        }
        return;
    }
    let next = AtomicUsize::new(0);
    let end = |start: usize| start + (count - start).div_ceil(2 * threads);
    team.run(threads, &|| {
        let take = |start| (start < count).then(|| end(start));
        while let Ok(start) = next.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take) {
            work(start..end(start));
        }
    });
}

/// Calls `work` with each part, on all threads of the team. Inside such a call, and on one thread, the parts
/// run one after the other. Calls of several threads take turns.
///
/// # Panics
/// With what `work` panics with, on whichever thread, when all are out of it.
pub fn for_each_part<T: Send>(parts: Vec<T>, work: impl Fn(T) + Sync) {
    if parts.len() <= 1 {
        parts.into_iter().for_each(work);
        return;
    }
    // A part is one thread's alone, which its lock shows to the compiler.
    let parts: Vec<Mutex<Option<T>>> = parts
        .into_iter()
        .map(|part| Mutex::new(Some(part)))
        .collect();
    parallel_ranges(parts.len(), |range| {
        for part in &parts[range] {
            let part = lock(part).take();
            part.into_iter().for_each(&work);
        }
    });
}

impl Team {
    /// Runs a job on this thread, and on as many workers as have time.
    fn run(&'static self, threads: usize, job: &(dyn Fn() + Sync)) {
        let mut crew = lock(&self.turn);
        self.enlist(&mut crew, threads - 1);
        // SAFETY: the gate is closed, and the last job waited until nobody was inside.
        unsafe {
            // The lifetime is forgotten here; nobody is inside any more when this function ends.
            *self.job.0.get() = Some(std::mem::transmute::<*const (dyn Fn() + Sync + '_), Job>(
                std::ptr::from_ref(job),
            ));
        }
        // Open before it is announced: who comes too early has not seen it, and comes again.
        self.gate.store(OPEN, Ordering::Release);
        self.epoch.fetch_add(1, Ordering::SeqCst);
        crew.wake();

        INSIDE.set(true);
        let start = Instant::now();
        let own = catch_unwind(AssertUnwindSafe(job));
        INSIDE.set(false);
        // From here on nobody comes in, so whoever was inside is all there is to wait for.
        if self.gate.fetch_and(!OPEN, Ordering::SeqCst) != OPEN {
            self.wait_until_out(&mut crew, start.elapsed());
        }
        let panic = lock(&self.panic).take();
        drop(crew);
        if let Some(panic) = own.err().or(panic) {
            resume_unwind(panic);
        }
    }

    /// Waits for the workers that are in the middle of a piece.
    fn wait_until_out(&self, crew: &mut Crew, took: Duration) {
        let start = Instant::now();
        while self.gate.load(Ordering::Acquire) != 0 && start.elapsed() < SPIN_AT_END {
            std::hint::spin_loop();
        }
        let mut patience = STALL.max(took);
        let (mutex, condition) = &self.out;
        let mut guard = lock(mutex);
        self.waiting.store(true, Ordering::SeqCst);
        while self.gate.load(Ordering::SeqCst) != 0 {
            let left = patience.saturating_sub(start.elapsed());
            guard = if left.is_zero() {
                crew.leave_out_those_inside();
                patience = Duration::MAX;
                let waited = condition.wait(guard);
                waited.unwrap_or_else(PoisonError::into_inner)
            } else {
                let waited = condition.wait_timeout(guard, left.min(Duration::from_secs(1)));
                waited.unwrap_or_else(PoisonError::into_inner).0
            };
        }
        self.waiting.store(false, Ordering::Relaxed);
    }

    /// Makes sure that there are so many workers, or as many as the system starts.
    fn enlist(&'static self, crew: &mut Crew, count: usize) {
        for worker in crew.workers.drain(count.min(crew.workers.len())..) {
            worker.state.dismissed.store(true, Ordering::Relaxed);
            worker.thread.unpark();
        }
        while crew.workers.len() < count {
            let state = Arc::new(WorkerState::default());
            let own = state.clone();
            // What comes now is a job that it may come into.
            let seen = self.epoch.load(Ordering::Relaxed);
            let started = std::thread::Builder::new()
                .name(format!("candle4j-team-{}", crew.workers.len() + 1))
                .spawn(move || self.work(&own, seen));
            let Ok(handle) = started else {
                return;
            };
            crew.workers.push(Worker {
                state,
                thread: handle.thread().clone(),
                until: None,
                came_back: None,
                left_out: Duration::ZERO,
            });
        }
    }

    /// What a worker does until it is dismissed.
    fn work(&self, own: &WorkerState, mut seen: u64) {
        INSIDE.set(true);
        while !own.dismissed.load(Ordering::Relaxed) {
            let epoch = self.epoch.load(Ordering::Relaxed);
            if epoch != seen && !own.left_out.load(Ordering::Relaxed) {
                seen = epoch;
                self.take_part(own);
            } else {
                self.await_job(own, seen);
            }
        }
    }

    fn take_part(&self, own: &WorkerState) {
        let come_in = |gate: u32| (gate & OPEN != 0).then_some(gate + 1);
        if self
            .gate
            .fetch_update(Ordering::Acquire, Ordering::Relaxed, come_in)
            .is_err()
        {
            return;
        }
        own.inside.store(true, Ordering::Relaxed);
        // SAFETY: this thread is inside, so the job is there, and stays until it is out again.
        let job = unsafe { (*self.job.0.get()).map(|job| &*job) };
        if let Some(job) = job
            && let Err(panic) = catch_unwind(AssertUnwindSafe(job))
        {
            *lock(&self.panic) = Some(panic);
        }
        own.inside.store(false, Ordering::Relaxed);
        let last = self.gate.fetch_sub(1, Ordering::SeqCst) == 1;
        if last && self.waiting.load(Ordering::SeqCst) {
            drop(lock(&self.out.0));
            self.out.1.notify_one();
        }
    }

    /// Waits for a job other than the one that was seen: it looks for a while, and then parks.
    fn await_job(&self, own: &WorkerState, seen: u64) {
        let left_out = || own.left_out.load(Ordering::Relaxed);
        let start = Instant::now();
        while !left_out() && start.elapsed() < SPIN {
            for _ in 0..64 {
                if self.epoch.load(Ordering::Relaxed) != seen {
                    return;
                }
                std::hint::spin_loop();
            }
        }
        own.parked.store(true, Ordering::SeqCst);
        // Whoever makes a job after this sees that it has to wake this thread.
        std::sync::atomic::fence(Ordering::SeqCst);
        let idle = || left_out() || self.epoch.load(Ordering::SeqCst) == seen;
        if idle() && !own.dismissed.load(Ordering::Relaxed) {
            std::thread::park();
        }
        own.parked.store(false, Ordering::Relaxed);
    }
}

impl Crew {
    /// Wakes the workers that are parked and not left out.
    fn wake(&mut self) {
        if self.some_left_out {
            self.bring_back();
        }
        std::sync::atomic::fence(Ordering::SeqCst);
        for worker in &self.workers {
            if worker.until.is_none() && worker.state.parked.load(Ordering::SeqCst) {
                worker.thread.unpark();
            }
        }
    }

    fn bring_back(&mut self) {
        let now = Instant::now();
        self.some_left_out = false;
        for worker in &mut self.workers {
            match worker.until {
                Some(until) if until > now => self.some_left_out = true,
                Some(_) => {
                    worker.until = None;
                    worker.came_back = Some(now);
                    worker.state.left_out.store(false, Ordering::Relaxed);
                }
                None => {}
            }
        }
    }

    fn leave_out_those_inside(&mut self) {
        let now = Instant::now();
        for worker in &mut self.workers {
            if !worker.state.inside.load(Ordering::Relaxed) {
                continue;
            }
            let again = worker
                .came_back
                .is_some_and(|came_back| now - came_back < CALM);
            worker.left_out = match again {
                true => (2 * worker.left_out).min(LEFT_OUT[1]),
                false => LEFT_OUT[0],
            };
            worker.until = Some(now + worker.left_out);
            worker.state.left_out.store(true, Ordering::Relaxed);
            self.some_left_out = true;
        }
    }
}

fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_index_once() {
        for count in [0, 1, 2, 7, 1000] {
            let seen: Vec<AtomicUsize> = (0..count).map(|_| AtomicUsize::new(0)).collect();
            parallel_ranges(count, |range| {
                for index in range {
                    seen[index].fetch_add(1, Ordering::Relaxed);
                }
            });
            assert!(seen.iter().all(|n| n.load(Ordering::Relaxed) == 1));
        }
    }

    #[test]
    fn many_callers_take_turns() {
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for _ in 0..500 {
                        let sum = AtomicUsize::new(0);
                        parallel_ranges(100, |range| {
                            sum.fetch_add(range.sum::<usize>(), Ordering::Relaxed);
                        });
                        assert_eq!(sum.into_inner(), 4950);
                    }
                });
            }
        });
    }

    #[test]
    fn s7_a_panic_reaches_the_caller_and_the_team_goes_on() {
        for round in 0..200 {
            let caught = catch_unwind(|| {
                parallel_ranges(64, |range| {
                    if range.contains(&(round % 64)) {
                        panic!("piece {}", round % 64);
                    }
                });
            });
            let panic = caught.unwrap_err();
            let text = panic.downcast_ref::<String>().unwrap();
            assert_eq!(*text, format!("piece {}", round % 64));
            every_index_once();
        }
    }

    #[test]
    fn s6_a_job_inside_a_job_runs_on_its_thread() {
        let sum = AtomicUsize::new(0);
        parallel_ranges(8, |range| {
            for _ in range {
                let thread = std::thread::current().id();
                parallel_ranges(10, |inner| {
                    assert_eq!(std::thread::current().id(), thread);
                    sum.fetch_add(inner.len(), Ordering::Relaxed);
                });
            }
        });
        assert_eq!(sum.into_inner(), 80);
    }

    /// As where another process has the processor of a worker.
    #[test]
    fn s8_a_thread_that_stands_still_holds_no_more_than_its_piece_up() {
        const COUNT: usize = 100;
        let caller = std::thread::current().id();
        let mut stood = false;
        for _ in 0..1000 {
            let (done, held) = (AtomicUsize::new(0), AtomicUsize::new(0));
            parallel_ranges(COUNT, |range| {
                if std::thread::current().id() == caller {
                    done.fetch_add(range.len(), Ordering::SeqCst);
                    std::thread::sleep(Duration::from_micros(50));
                    return;
                }
                assert!(range.len() <= COUNT / 4, "{range:?}");
                held.fetch_add(range.len(), Ordering::SeqCst);
                let start = Instant::now();
                while done.load(Ordering::SeqCst) + held.load(Ordering::SeqCst) < COUNT {
                    assert!(start.elapsed() < Duration::from_secs(10), "{range:?}");
                    std::thread::yield_now();
                }
            });
            stood |= held.into_inner() > 0;
            if stood {
                break;
            }
        }
        assert!(stood || threads() == 1);
    }

    #[test]
    fn the_number_of_threads_changes_between_jobs() {
        let before = threads();
        for count in [1, 5, 2, 9, 1, before] {
            set_threads(count);
            assert_eq!(threads(), count);
            every_index_once();
        }
        assert!(catch_unwind(|| set_threads(0)).is_err());
        assert!(catch_unwind(|| set_threads(MAX_THREADS + 1)).is_err());
        every_index_once();
    }
}
