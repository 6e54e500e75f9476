//! The gated delta net as a mixer (Yang et al. 2024), as Qwen3.5 has it.

use std::ops::Range;

use candle_core::{Device, Result, Tensor};
use candle4j_kernels::{
    Activation, DeltaHead, Strided, activate, delta_rule, delta_state_len, for_each_part, rms_norm,
    short_conv,
};

use super::cache::SequenceCache;
use super::linear::{FusedLinear, Linear};
use super::recurrent::Snapshot;
use super::rows::{for_each_row, on_cpu};
use super::short_conv::{in_32_bits, shift_inputs};
use super::steps::step_parts;
use crate::description;

/// Queries, keys and values go through a short convolution, and then each head through the delta rule; the answers are
/// normed and gated.
#[derive(Debug)]
pub(crate) struct DeltaNet {
    /// The number of the layer among the recurrent ones.
    pub(crate) layer: usize,
    pub(crate) shape: description::DeltaNet,
    /// To queries, keys and values together, to the gates, and to what decays and new values are made of.
    pub(crate) input: FusedLinear,
    /// Of the convolution, `[taps, channels]`.
    pub(crate) conv: Vec<f32>,
    /// How fast each head forgets: `−exp(A)`.
    pub(crate) decay: Vec<f32>,
    /// What is added to the time steps.
    pub(crate) time_bias: Vec<f32>,
    /// Of the norm of each head.
    pub(crate) norm: Vec<f32>,
    pub(crate) output: Linear,
}

/// What a layer computes of all rows before the delta rule.
struct Rows<'a> {
    mixed: Strided<'a>,
    beta: Strided<'a>,
    alpha: Strided<'a>,
}

impl DeltaNet {
    /// See [`Attention::forward`](super::attention::Attention::forward).
    pub(crate) fn forward(
        &self,
        x: &Tensor,
        sequences: &mut [(&mut SequenceCache, usize)],
    ) -> Result<Tensor> {
        let [mixed, gate, beta, alpha] = self.input.forward::<4>(x)?;
        let (mixed, gate) = (in_32_bits(&mixed)?, in_32_bits(&gate)?);
        let (beta, alpha) = (in_32_bits(&beta)?, in_32_bits(&alpha)?);
        let out = {
            let (mixed, gate) = (mixed.storage_and_layout(), gate.storage_and_layout());
            let (beta, alpha) = (beta.storage_and_layout(), alpha.storage_and_layout());
            let rows = Rows {
                mixed: on_cpu(&mixed)?,
                beta: on_cpu(&beta)?,
                alpha: on_cpu(&alpha)?,
            };
            let heads = self.mix(&rows, sequences);
            let out = self.gated(&heads, on_cpu(&gate)?);
            let width = self.shape.values_size();
            Tensor::from_vec(out, (rows.mixed.rows, width), &Device::Cpu)?
        };
        self.output
            .forward(&out.to_device(x.device())?.to_dtype(x.dtype())?)
    }

    /// The answers of the delta rule: `[rows, value_dim]` of each head, one head behind the other in each part of a
    /// sequence.
    fn mix(&self, rows: &Rows, sequences: &mut [(&mut SequenceCache, usize)]) -> Vec<Part> {
        let mut parts = Vec::new();
        step_parts(self.layer, sequences, |range, before, after| {
            let mut out = vec![0f32; range.len() * self.shape.values_size()];
            self.part(rows, &range, before, after, &mut out);
            parts.push(Part { rows: range, out });
        });
        parts
    }

    fn part(
        &self,
        rows: &Rows,
        range: &Range<usize>,
        before: &Snapshot,
        after: &mut Snapshot,
        out: &mut [f32],
    ) {
        let mixed = rows.mixed.rows(range);
        let channels = mixed.columns;
        let mut inputs = vec![0f32; range.len() * channels];
        short_conv(&before.inputs, mixed, &self.conv, &mut inputs);
        shift_inputs(before, mixed, after);
        for_each_row(&mut inputs, channels, |_, row| {
            activate(Activation::Silu, row)
        });
        let shape = &self.shape;
        let columns = |start: usize, width: usize| Strided {
            numbers: &inputs[start..],
            stride: channels,
            rows: range.len(),
            columns: width,
        };
        let keys = shape.key_heads * shape.key_dim;
        let state = delta_state_len(shape.key_dim, shape.value_dim);
        let heads = after
            .numbers
            .chunks_exact_mut(state)
            .zip(out.chunks_exact_mut(range.len() * shape.value_dim))
            .enumerate()
            .collect();
        for_each_part(
            heads,
            |(head, (after, out)): (usize, (&mut [f32], &mut [f32]))| {
                let key_head = shape.key_head(head);
                let (mut decays, mut betas) = (Vec::new(), Vec::new());
                for row in range.clone() {
                    let time = rows.alpha.row(row)[head] + self.time_bias[head];
                    decays.push((self.decay[head] * softplus(time)).exp());
                    betas.push(1.0 / (1.0 + (-rows.beta.row(row)[head]).exp()));
                }
                delta_rule(DeltaHead {
                    queries: columns(key_head * shape.key_dim, shape.key_dim),
                    keys: columns(keys + key_head * shape.key_dim, shape.key_dim),
                    values: columns(2 * keys + head * shape.value_dim, shape.value_dim),
                    decays: &decays,
                    betas: &betas,
                    before: &before.numbers[head * state..][..state],
                    after,
                    out,
                });
            },
        );
    }

    /// The rows of all heads, each normed and multiplied with the SiLU of its gate.
    fn gated(&self, parts: &[Part], gate: Strided) -> Vec<f32> {
        let width = self.shape.value_dim;
        let mut out = vec![0f32; gate.rows * gate.columns];
        for part in parts {
            let first = part.rows.start * gate.columns;
            let behind = part.rows.end * gate.columns;
            for_each_row(&mut out[first..behind], gate.columns, |index, row| {
                let mut gates = gate.row(part.rows.start + index).to_vec();
                activate(Activation::Silu, &mut gates);
                for (head, out) in row.chunks_exact_mut(width).enumerate() {
                    let place = (head * part.rows.len() + index) * width;
                    rms_norm(
                        &part.out[place..][..width],
                        &self.norm,
                        self.shape.eps as f32,
                        out,
                    );
                    for (out, gate) in out.iter_mut().zip(&gates[head * width..]) {
                        *out *= gate;
                    }
                }
            });
        }
        out
    }
}

/// Answers of some rows, one head behind the other.
struct Part {
    rows: Range<usize>,
    out: Vec<f32>,
}

/// `ln(1 + eˣ)`.
pub(super) fn softplus(x: f32) -> f32 {
    // As PyTorch has it: beyond this, the number itself.
    match x > 20.0 {
        true => x,
        false => x.exp().ln_1p(),
    }
}
