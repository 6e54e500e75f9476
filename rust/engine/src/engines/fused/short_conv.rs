//! A gated short convolution as a mixer (Liquid AI 2025, LFM2).

use candle_core::{DType, Device, Result, Tensor};
use candle4j_kernels::{Strided, short_conv};

use super::cache::SequenceCache;
use super::linear::Linear;
use super::recurrent::Snapshot;
use super::rows::{multiply, on_cpu};
use super::steps::step_parts;

/// `output(c · conv(b · x))`, where one projection gives `b`, `c` and `x`.
#[derive(Debug)]
pub(crate) struct ShortConv {
    /// The number of the layer among the recurrent ones.
    pub(crate) layer: usize,
    /// To `b`, `c` and `x`.
    pub(crate) input: Linear,
    /// `[taps, channels]`.
    pub(crate) weight: Vec<f32>,
    /// What is added to each channel; empty for nothing.
    pub(crate) bias: Vec<f32>,
    pub(crate) output: Linear,
}

impl ShortConv {
    /// See [`Attention::forward`](super::attention::Attention::forward).
    pub(crate) fn forward(
        &self,
        x: &Tensor,
        sequences: &mut [(&mut SequenceCache, usize)],
    ) -> Result<Tensor> {
        let projected = self.input.forward(x)?;
        let channels = projected.dim(1)? / 3;
        let part = |index: usize| projected.narrow(1, index * channels, channels);
        let gated = multiply(&part(0)?, &part(2)?)?;
        let rows = in_32_bits(&gated)?;
        let mixed = {
            let rows = rows.storage_and_layout();
            let rows = on_cpu(&rows)?;
            let mut out = vec![0f32; rows.rows * channels];
            self.convolve(rows, sequences, &mut out);
            Tensor::from_vec(out, (rows.rows, channels), &Device::Cpu)?
        };
        let mixed = mixed.to_device(x.device())?.to_dtype(x.dtype())?;
        self.output.forward(&multiply(&mixed, &part(1)?)?)
    }

    fn convolve(
        &self,
        rows: Strided,
        sequences: &mut [(&mut SequenceCache, usize)],
        out: &mut [f32],
    ) {
        let channels = rows.columns;
        step_parts(self.layer, sequences, |range, before, after| {
            let rows = rows.rows(&range);
            let out = &mut out[range.start * channels..range.end * channels];
            short_conv(&before.inputs, rows, &self.weight, out);
            shift_inputs(before, rows, after);
        });
        for row in out.chunks_exact_mut(channels) {
            add_bias(row, &self.bias);
        }
    }
}

/// Adds a bias, if there is one, to a row.
pub(super) fn add_bias(row: &mut [f32], bias: &[f32]) {
    for (x, bias) in row.iter_mut().zip(bias) {
        *x += bias;
    }
}

/// Makes the last inputs of a convolution those of the rows, and of what was there before where they are too few.
pub(super) fn shift_inputs(before: &Snapshot, rows: Strided, after: &mut Snapshot) {
    let channels = rows.columns;
    let taps = before.inputs.len() / channels;
    for (place, input) in after.inputs.chunks_exact_mut(channels).enumerate() {
        // Of the old ones and the rows behind each other, the last so many.
        let index = rows.rows + place;
        input.copy_from_slice(match index < taps {
            true => &before.inputs[index * channels..][..channels],
            false => rows.row(index - taps),
        });
    }
}

/// Rows in 32 bits in the processor's memory.
pub(super) fn in_32_bits(x: &Tensor) -> Result<Tensor> {
    x.to_device(&Device::Cpu)?.to_dtype(DType::F32)
}
