//! What a recurrent layer keeps of a sequence: the last inputs of its convolution, and a memory of fixed size.

use std::sync::Arc;

use candle4j_kernels::{KvClaim, KvMemory};

/// The sizes of a layer's state.
#[derive(Debug, Clone)]
pub(crate) struct RecurrentShape {
    /// Numbers of earlier positions that the convolution reads.
    pub(crate) inputs: usize,
    /// Numbers of the memory.
    pub(crate) numbers: usize,
    /// Counts the memory of all caches of the model.
    pub(crate) memory: Arc<KvMemory>,
}

impl RecurrentShape {
    /// Bytes of one state.
    pub(super) fn bytes(&self) -> usize {
        (self.inputs + self.numbers) * size_of::<f32>()
    }

    fn empty(&self) -> Snapshot {
        Snapshot {
            inputs: vec![0.0; self.inputs],
            numbers: vec![0.0; self.numbers],
            _claim: self.memory.claim(self.bytes()),
        }
    }
}

/// A state behind some position.
#[derive(Debug)]
pub(crate) struct Snapshot {
    /// The last inputs of the convolution, `[taps − 1, channels]`.
    pub(crate) inputs: Vec<f32>,
    /// The memory.
    pub(crate) numbers: Vec<f32>,
    _claim: KvClaim,
}

/// The states of all recurrent layers behind some position.
#[derive(Debug)]
pub(super) struct Checkpoint {
    /// The position.
    pub(super) len: usize,
    /// One a layer.
    pub(super) snapshots: Vec<Arc<Snapshot>>,
}

/// The state of one layer of a sequence.
///
/// A pass [steps](Self::step) on from what counts, and [commits](Self::commit) at its end; until then it does not count,
/// and [`Self::rollback`] drops it.
#[derive(Debug)]
pub(crate) struct RecurrentState {
    shape: RecurrentShape,
    /// What counts.
    current: Arc<Snapshot>,
    /// What a pass has written.
    written: Option<Arc<Snapshot>>,
    /// What a pass has written up to each of its checkpoints.
    kept: Vec<Arc<Snapshot>>,
    /// One that nobody uses, to be written next.
    spare: Option<Snapshot>,
}

impl RecurrentState {
    /// The state of no positions.
    pub(super) fn new(shape: RecurrentShape) -> Self {
        Self {
            current: Arc::new(shape.empty()),
            shape,
            written: None,
            kept: Vec::new(),
            spare: None,
        }
    }

    /// Lets `write` make the next state from the last one; it writes all numbers.
    pub(super) fn step(&mut self, write: impl FnOnce(&Snapshot, &mut Snapshot)) {
        let mut after = self.spare.take().unwrap_or_else(|| self.shape.empty());
        let before = self.written.as_ref().unwrap_or(&self.current);
        write(before, &mut after);
        self.written = Some(Arc::new(after));
    }

    /// Keeps what is written by now, for [`Self::commit`] to give.
    pub(super) fn keep(&mut self) {
        self.kept
            .push(self.written.as_ref().unwrap_or(&self.current).clone());
    }

    /// Counts what was written. Answers with what was to be kept.
    pub(super) fn commit(&mut self) -> Vec<Arc<Snapshot>> {
        if let Some(written) = self.written.take() {
            let old = std::mem::replace(&mut self.current, written);
            self.spare = Arc::into_inner(old);
        }
        std::mem::take(&mut self.kept)
    }

    /// Drops what was written and not committed.
    pub(super) fn rollback(&mut self) {
        self.written = None;
        self.kept.clear();
    }

    /// What counts.
    pub(super) fn current(&self) -> Arc<Snapshot> {
        self.current.clone()
    }

    /// Goes back, or over to what another sequence has computed.
    pub(super) fn restore(&mut self, snapshot: Arc<Snapshot>) {
        self.rollback();
        self.current = snapshot;
    }

    /// A copy that goes on by itself.
    pub(super) fn fork(&self) -> Self {
        Self {
            shape: self.shape.clone(),
            current: self.current.clone(),
            written: None,
            kept: Vec::new(),
            spare: None,
        }
    }
}
