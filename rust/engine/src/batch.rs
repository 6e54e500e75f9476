//! Many prompts at once: a shared queue, and workers that each have a session over one copy of the
//! weights.

use std::collections::VecDeque;
use std::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use crate::cancel::{Cancel, Interrupt};
use crate::error::{Error, Result, panic_message};
use crate::model::Model;
use crate::session::{GenerateRequest, Generation, Session};

/// How far a batch is.
#[derive(Debug, Clone, Copy)]
pub struct BatchProgress<'a> {
    /// Prompts that are done, failed ones included.
    pub done: usize,
    /// Prompts in all.
    pub total: usize,
    /// The prompt that was done last, counted from 0, and what became of it; `None` when only time
    /// has passed.
    pub last: Option<(usize, &'a Result<Generation>)>,
}

/// Called on the thread that called [`generate_all`], with each prompt that is done and four times
/// a second in between.
pub type BatchListener<'a> = dyn FnMut(BatchProgress<'_>) -> ControlFlow<Interrupt> + 'a;

/// Generates for all requests with up to `workers` sessions at a time.
///
/// Results are in the order of the requests. What goes wrong with one prompt, a panic included, is
/// that prompt's result and touches no other. When the listener stops, prompts under way end as
/// cancelled and those not begun are [`Error::Cancelled`].
pub fn generate_all(
    model: &Arc<Model>,
    requests: &[GenerateRequest],
    workers: usize,
    listener: &mut BatchListener,
) -> Result<Vec<Result<Generation>>> {
    let queue: Mutex<VecDeque<usize>> = Mutex::new((0..requests.len()).collect());
    let stopped = AtomicBool::new(false);
    let cancel = Cancel::default();
    let (sender, receiver) = mpsc::channel();
    let mut results: Vec<Option<Result<Generation>>> = Vec::new();
    results.resize_with(requests.len(), || None);
    let mut interrupt = None;
    std::thread::scope(|scope| -> Result<()> {
        // However this ends, a listener that panics included, no worker begins another prompt then.
        let _stopping = Stopping {
            stopped: &stopped,
            cancel: &cancel,
        };
        for index in 0..workers.min(requests.len()) {
            let worker = Worker {
                model,
                requests,
                queue: &queue,
                stopped: &stopped,
                cancel: &cancel,
                sender: sender.clone(),
            };
            let started = std::thread::Builder::new()
                .name(format!("candle4j-batch-{index}"))
                .spawn_scoped(scope, move || worker.run());
            match started {
                Ok(_) => {}
                // Fewer do it as well.
                Err(_) if index > 0 => break,
                Err(e) => return Err(Error::Compute(format!("no thread for a worker: {e}"))),
            }
        }
        drop(sender);
        let mut done = 0;
        loop {
            let finished = match receiver.recv_timeout(Duration::from_millis(250)) {
                Ok((index, result)) => {
                    done += 1;
                    Some((index, &*results[index].insert(result)))
                }
                Err(mpsc::RecvTimeoutError::Timeout) => None,
                Err(mpsc::RecvTimeoutError::Disconnected) => break,
            };
            let progress = BatchProgress {
                done,
                total: requests.len(),
                last: finished,
            };
            if interrupt.is_none()
                && let ControlFlow::Break(reason) = listener(progress)
            {
                interrupt = Some(reason);
                stopped.store(true, Ordering::Relaxed);
                cancel.cancel(CALL);
            }
        }
        Ok(())
    })?;
    if interrupt == Some(Interrupt::Failed) {
        return Err(Error::CallbackFailed);
    }
    Ok(results
        .into_iter()
        .map(|result| result.unwrap_or(Err(Error::Cancelled)))
        .collect())
}

/// Stops the workers when it is dropped.
struct Stopping<'a> {
    stopped: &'a AtomicBool,
    cancel: &'a Cancel,
}

impl Drop for Stopping<'_> {
    fn drop(&mut self) {
        self.stopped.store(true, Ordering::Relaxed);
        self.cancel.cancel(CALL);
    }
}

/// All calls of a batch are cancelled together, so they share a number.
const CALL: u64 = 1;

struct Worker<'a> {
    model: &'a Arc<Model>,
    requests: &'a [GenerateRequest],
    queue: &'a Mutex<VecDeque<usize>>,
    stopped: &'a AtomicBool,
    cancel: &'a Cancel,
    sender: mpsc::Sender<(usize, Result<Generation>)>,
}

impl Worker<'_> {
    fn run(&self) {
        let mut session = self.new_session();
        while let Some(index) = self.next() {
            let mut request = GenerateRequest {
                call: CALL,
                ..self.requests[index].clone()
            };
            // A batch has its own queue.
            request.options.wait_when_full = true;
            let outcome = catch_unwind(AssertUnwindSafe(|| {
                session.generate(&request, &mut |_| ControlFlow::Continue(()))
            }));
            let result = outcome.unwrap_or_else(|panic| {
                // What the panic left behind in the cache is not to be trusted.
                session = self.new_session();
                Err(Error::Panic(panic_message(panic.as_ref())))
            });
            if self.sender.send((index, result)).is_err() {
                return;
            }
        }
    }

    fn new_session(&self) -> Session {
        Session::with_cancel(self.model.clone(), self.cancel.clone())
    }

    fn next(&self) -> Option<usize> {
        if self.stopped.load(Ordering::Relaxed) {
            return None;
        }
        self.queue
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner())
            .pop_front()
    }
}
