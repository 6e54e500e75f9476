//! Weights whose reading is watched, and may be stopped.

use std::cell::RefCell;
use std::time::{Duration, Instant};

use candle_core::{DType, Device, Tensor};

use super::{LoadListener, LoadProgress};
use crate::cancel::Interrupt;
use crate::error::{Error, Result};
use crate::formats::{LazyRows, Matrix, TensorSource};

/// Time between two reports.
const INTERVAL: Duration = Duration::from_millis(50);

/// A source that tells a listener of each tensor.
pub(super) struct WatchedSource<'a, 'b> {
    source: &'a dyn TensorSource,
    /// Bytes of all tensors, and their numbers.
    bytes: u64,
    numbers: u64,
    state: RefCell<State<'a, 'b>>,
}

struct State<'a, 'b> {
    listener: &'a mut LoadListener<'b>,
    done: u64,
    told: Option<Instant>,
}

impl<'a, 'b> WatchedSource<'a, 'b> {
    /// Watches a source of tensors of so many numbers and bytes together.
    pub(super) fn new(
        source: &'a dyn TensorSource,
        numbers: u64,
        bytes: u64,
        listener: &'a mut LoadListener<'b>,
    ) -> Self {
        Self {
            source,
            bytes,
            numbers,
            state: RefCell::new(State {
                listener,
                done: 0,
                told: None,
            }),
        }
    }

    fn tell(&self, numbers: usize) -> Result<()> {
        let mut state = self.state.borrow_mut();
        state.done += numbers as u64;
        let is_last = state.done >= self.numbers;
        if state.told.is_some_and(|told| told.elapsed() < INTERVAL) && !is_last {
            return Ok(());
        }
        state.told = Some(Instant::now());
        let share = state.done.min(self.numbers) as f64 / self.numbers.max(1) as f64;
        let progress = LoadProgress {
            bytes: (self.bytes as f64 * share) as u64,
            total: self.bytes,
        };
        match (state.listener)(progress).break_value() {
            None => Ok(()),
            Some(Interrupt::Stop) => Err(Error::Cancelled),
            Some(Interrupt::Failed) => Err(Error::CallbackFailed),
        }
    }
}

impl TensorSource for WatchedSource<'_, '_> {
    fn matrix(&self, name: &str, shape: (usize, usize)) -> Result<Matrix> {
        let matrix = self.source.matrix(name, shape)?;
        self.tell(shape.0 * shape.1)?;
        Ok(matrix)
    }

    fn table(&self, name: &str, shape: (usize, usize)) -> Result<Vec<f32>> {
        let table = self.source.table(name, shape)?;
        self.tell(shape.0 * shape.1)?;
        Ok(table)
    }

    fn lazy_rows(&self, name: &str, shape: (usize, usize)) -> Result<Box<dyn LazyRows>> {
        let rows = self.source.lazy_rows(name, shape)?;
        self.tell(shape.0 * shape.1)?;
        Ok(rows)
    }

    fn vector(&self, name: &str, len: usize) -> Result<Tensor> {
        let vector = self.source.vector(name, len)?;
        self.tell(len)?;
        Ok(vector)
    }

    fn dtype(&self) -> DType {
        self.source.dtype()
    }

    fn quantized(&self) -> bool {
        self.source.quantized()
    }

    fn device(&self) -> &Device {
        self.source.device()
    }
}
