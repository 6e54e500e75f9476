//! The block behind the attention, dense or of experts.

use candle_core::{CpuStorage, CustomOp2, DType, Layout, Result, Shape, Tensor};
use candle4j_kernels::swiglu;

use super::linear::{FusedLinear, Linear};
use super::rows::{for_each_row, multiply, strided, usable};
use crate::description::Activation;

/// `down(act(gate(x)) · up(x))` (Shazeer 2020), or without a gate `down(act(up(x)))`.
#[derive(Debug)]
pub(crate) struct Mlp {
    /// Gate and up, or up alone.
    pub(crate) gate_up: FusedLinear,
    pub(crate) down: Linear,
    pub(crate) activation: Activation,
    pub(crate) is_gated: bool,
}

/// A mixture of experts: a router picks a few of many such blocks for each row.
#[derive(Debug)]
pub(crate) struct Experts {
    pub(crate) router: Linear,
    pub(crate) experts: Vec<Mlp>,
    /// How many run for a row.
    pub(crate) per_token: usize,
    /// Whether the weights of the chosen ones are scaled to sum to 1.
    pub(crate) normalise: bool,
}

/// The block of one layer.
#[derive(Debug)]
pub(crate) enum Block {
    Dense(Mlp),
    Experts(Experts),
}

impl Block {
    /// Keeps the shape of `x`, `rows × hidden_size`.
    pub(crate) fn forward(&self, x: &Tensor) -> Result<Tensor> {
        match self {
            Block::Dense(mlp) => mlp.forward(x),
            Block::Experts(experts) => experts.forward(x),
        }
    }
}

impl Mlp {
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        if !self.is_gated {
            let [up] = self.gate_up.forward::<1>(x)?;
            return self.down.forward(&self.activate(&up)?);
        }
        let [gate, up] = self.gate_up.forward::<2>(x)?;
        let gated = match usable(&gate) && self.activation == Activation::Silu {
            true => gate.apply_op2_no_bwd(&up, &SwiGlu)?,
            false => multiply(&self.activate(&gate.contiguous()?)?, &up)?,
        };
        self.down.forward(&gated)
    }

    fn activate(&self, gate: &Tensor) -> Result<Tensor> {
        match self.activation {
            Activation::Silu => candle_nn::ops::silu(gate),
            Activation::Gelu => gate.gelu_erf(),
            Activation::GeluTanh => gate.gelu(),
            Activation::Relu => gate.relu(),
        }
    }
}

/// `silu(gate) · up`, row by row.
struct SwiGlu;

impl CustomOp2 for SwiGlu {
    fn name(&self) -> &'static str {
        "swiglu-rows"
    }

    fn cpu_fwd(
        &self,
        gate: &CpuStorage,
        gate_layout: &Layout,
        up: &CpuStorage,
        up_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (gate, up) = (strided(gate, gate_layout)?, strided(up, up_layout)?);
        let (rows, columns) = gate_layout.shape().dims2()?;
        // Parts of rows, since there may be only one row.
        let part = columns.min(PART);
        let parts = columns.div_ceil(part);
        let mut out = vec![0f32; rows * columns];
        let work = |row: usize, start: usize, out: &mut [f32]| {
            let gate = &gate.row(row)[start..][..out.len()];
            let up = &up.row(row)[start..][..out.len()];
            swiglu(gate, up, out);
        };
        if columns == parts * part {
            for_each_row(&mut out, part, |index, out| {
                work(index / parts, index % parts * part, out);
            });
        } else {
            for_each_row(&mut out, columns, |row, out| work(row, 0, out));
        }
        Ok((CpuStorage::F32(out), gate_layout.shape().clone()))
    }
}

/// Columns that one thread takes at a time.
const PART: usize = 256;

impl Experts {
    /// Rows are grouped by expert, so that each expert's matrices are read once.
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let scores = self.router.forward(x)?.to_dtype(DType::F32)?;
        let weights = candle_nn::ops::softmax_last_dim(&scores)?.to_vec2::<f32>()?;
        let mut rows_of = vec![(Vec::new(), Vec::new()); self.experts.len()];
        for (row, weights) in weights.iter().enumerate() {
            let mut best: Vec<usize> = (0..weights.len()).collect();
            best.sort_by(|a, b| weights[*b].total_cmp(&weights[*a]));
            best.truncate(self.per_token);
            let sum: f32 = match self.normalise {
                true => best.iter().map(|expert| weights[*expert]).sum(),
                false => 1.0,
            };
            for expert in best {
                rows_of[expert].0.push(row as u32);
                rows_of[expert].1.push(weights[expert] / sum);
            }
        }
        let mut output = x.zeros_like()?;
        for (expert, (rows, weights)) in self.experts.iter().zip(rows_of) {
            if rows.is_empty() {
                continue;
            }
            let count = rows.len();
            let rows = Tensor::from_vec(rows, count, x.device())?;
            let weights = Tensor::from_vec(weights, (count, 1), x.device())?.to_dtype(x.dtype())?;
            let answers = multiply(&expert.forward(&x.index_select(&rows, 0)?)?, &weights)?;
            output = output.index_add(&rows, &answers, 0)?;
        }
        Ok(output)
    }
}
