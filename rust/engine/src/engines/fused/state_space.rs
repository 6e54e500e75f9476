//! A selective state space as a mixer (Dao and Gu 2024, Mamba 2).

use std::ops::Range;

use candle_core::{Device, Result, Tensor};
use candle4j_kernels::{
    Activation, StateSpaceHead, Strided, activate, for_each_part, rms_norm, short_conv,
    state_space, state_space_len,
};

use super::cache::SequenceCache;
use super::delta_net::softplus;
use super::linear::Linear;
use super::recurrent::Snapshot;
use super::rows::{for_each_row, on_cpu};
use super::short_conv::{add_bias, in_32_bits, shift_inputs};
use super::steps::step_parts;
use crate::description;

/// Inputs, writes and reads go through a short convolution, and then each head through the state space; the answers are gated
/// and normed.
#[derive(Debug)]
pub(crate) struct StateSpace {
    /// The number of the layer among the recurrent ones.
    pub(crate) layer: usize,
    pub(crate) shape: description::StateSpace,
    /// To the gates, to inputs, writes and reads together, and to time steps.
    pub(crate) input: Linear,
    /// Of the convolution, `[taps, channels]`.
    pub(crate) conv: Vec<f32>,
    /// What is added to each channel; empty for nothing.
    pub(crate) conv_bias: Vec<f32>,
    /// How fast each head forgets: `−exp(A)`.
    pub(crate) decay: Vec<f32>,
    /// What is added to the time steps.
    pub(crate) time_bias: Vec<f32>,
    /// How much of its input each head answers besides.
    pub(crate) skip: Vec<f32>,
    /// Of the norm of all heads; empty where there is none.
    pub(crate) norm: Vec<f32>,
    /// What the gates are multiplied with before their SiLU.
    pub(crate) gate_scale: f32,
    /// What the projected time steps are multiplied with.
    pub(crate) time_scale: f32,
    pub(crate) output: Linear,
}

impl StateSpace {
    /// See [`Attention::forward`](super::attention::Attention::forward).
    pub(crate) fn forward(
        &self,
        x: &Tensor,
        sequences: &mut [(&mut SequenceCache, usize)],
    ) -> Result<Tensor> {
        let projected = in_32_bits(&self.input.forward(x)?)?;
        let inner = self.shape.inner_size();
        let out = {
            let projected = projected.storage_and_layout();
            let rows = on_cpu(&projected)?;
            let mut out = vec![0f32; rows.rows * inner];
            step_parts(self.layer, sequences, |range, before, after| {
                let out = &mut out[range.start * inner..range.end * inner];
                self.part(rows.rows(&range), before, after, out);
            });
            Tensor::from_vec(out, (rows.rows, inner), &Device::Cpu)?
        };
        self.output
            .forward(&out.to_device(x.device())?.to_dtype(x.dtype())?)
    }

    /// What some projected rows of a sequence give, `[rows, inner_size]`.
    fn part(&self, rows: Strided, before: &Snapshot, after: &mut Snapshot, out: &mut [f32]) {
        let shape = &self.shape;
        let (inner, channels) = (shape.inner_size(), shape.channels());
        let mixed = columns(rows, inner..inner + channels);
        let times = columns(rows, inner + channels..inner + channels + shape.heads);
        let mut inputs = vec![0f32; rows.rows * channels];
        short_conv(&before.inputs, mixed, &self.conv, &mut inputs);
        shift_inputs(before, mixed, after);
        for_each_row(&mut inputs, channels, |_, row| {
            add_bias(row, &self.conv_bias);
            activate(shape.activation.kernel(), row);
        });
        let inputs = Strided {
            numbers: &inputs,
            stride: channels,
            rows: rows.rows,
            columns: channels,
        };
        let answers = self.answers(inputs, times, before, after);
        for_each_row(out, inner, |index, row| {
            self.gated(&answers, &rows.row(index)[..inner], index, rows.rows, row);
        });
    }

    /// The answers of the heads, `[rows, head_dim]` of each behind each other.
    fn answers(
        &self,
        inputs: Strided,
        times: Strided,
        before: &Snapshot,
        after: &mut Snapshot,
    ) -> Vec<f32> {
        let shape = &self.shape;
        let (inner, width, state_dim) = (shape.inner_size(), shape.head_dim, shape.state_dim);
        let state = state_space_len(state_dim, width);
        let mut answers = vec![0f32; inputs.rows * inner];
        let heads = after
            .numbers
            .chunks_exact_mut(state)
            .zip(answers.chunks_exact_mut(inputs.rows * width))
            .enumerate()
            .collect();
        for_each_part(
            heads,
            |(head, (after, out)): (usize, (&mut [f32], &mut [f32]))| {
                let group = head / (shape.heads / shape.groups);
                let (mut decays, mut steps) = (Vec::new(), Vec::new());
                for row in 0..inputs.rows {
                    let step =
                        softplus(times.row(row)[head] * self.time_scale + self.time_bias[head]);
                    decays.push((self.decay[head] * step).exp());
                    steps.push(step);
                }
                let writes = inner + group * state_dim;
                let reads = writes + shape.groups * state_dim;
                state_space(StateSpaceHead {
                    inputs: columns(inputs, head * width..(head + 1) * width),
                    writes: columns(inputs, writes..writes + state_dim),
                    reads: columns(inputs, reads..reads + state_dim),
                    decays: &decays,
                    times: &steps,
                    skip: self.skip[head],
                    before: &before.numbers[head * state..][..state],
                    after,
                    out,
                });
            },
        );
        answers
    }

    /// A row of all heads, multiplied with the SiLU of its gates, and normed by groups before or after that.
    fn gated(&self, answers: &[f32], gates: &[f32], index: usize, rows: usize, out: &mut [f32]) {
        let shape = &self.shape;
        let width = shape.head_dim;
        let mut gates: Vec<f32> = gates.iter().map(|gate| gate * self.gate_scale).collect();
        activate(Activation::Silu, &mut gates);
        let heads = 0..shape.heads;
        let mut row: Vec<f32> = heads
            .flat_map(|head| &answers[(head * rows + index) * width..][..width])
            .copied()
            .collect();
        let multiply = |numbers: &mut [f32]| {
            for (x, gate) in numbers.iter_mut().zip(&gates) {
                *x *= gate;
            }
        };
        match shape.norm {
            None => {
                out.copy_from_slice(&row);
                multiply(out);
            }
            Some(norm) if norm.is_before_gate => {
                self.norm_groups(norm.eps as f32, &row, out);
                multiply(out);
            }
            Some(norm) => {
                multiply(&mut row);
                self.norm_groups(norm.eps as f32, &row, out);
            }
        }
    }

    fn norm_groups(&self, eps: f32, row: &[f32], out: &mut [f32]) {
        let group = self.shape.inner_size() / self.shape.groups;
        let parts = row.chunks_exact(group).zip(self.norm.chunks_exact(group));
        for ((row, weight), out) in parts.zip(out.chunks_exact_mut(group)) {
            rms_norm(row, weight, eps, out);
        }
    }
}

/// Some columns of rows.
fn columns(rows: Strided<'_>, range: Range<usize>) -> Strided<'_> {
    Strided {
        numbers: &rows.numbers[range.start..],
        columns: range.len(),
        ..rows
    }
}
