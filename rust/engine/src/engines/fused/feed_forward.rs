//! The block behind the attention, dense or of experts.

use candle_core::{CpuStorage, CustomOp2, DType, Layout, Result, Shape, Tensor};
use candle4j_kernels::{Activation as Kernel, activate, clamped_swiglu, swiglu};

use super::linear::{FusedLinear, Linear};
use super::norm::Norm;
use super::rows::{for_each_row, multiply, scaled, strided, usable};
use crate::description::{Activation, Clamp, Router, Scoring};

/// `down(act(gate(x)) · up(x))` (Shazeer 2020), or without a gate `down(act(up(x)))`.
#[derive(Debug)]
pub(crate) struct Mlp {
    /// Gate and up, or up alone.
    pub(crate) gate_up: FusedLinear,
    pub(crate) down: Linear,
    pub(crate) activation: Activation,
    pub(crate) is_gated: bool,
    /// What the gate is multiplied with before the non-linearity.
    pub(crate) gate_scale: f64,
    /// What the output is multiplied with.
    pub(crate) output_scale: f64,
    pub(crate) clamp: Option<Clamp>,
}

/// A mixture of experts: a router picks a few of many such blocks for each row.
#[derive(Debug)]
pub(crate) struct Experts {
    pub(crate) router: Linear,
    pub(crate) experts: Vec<Mlp>,
    /// How many run for a row.
    pub(crate) per_token: usize,
    /// How they are chosen and weighed.
    pub(crate) routing: Router,
    /// What is added to their weights for the choice; empty for nothing.
    pub(crate) choice_bias: Vec<f32>,
    /// One that runs for every row.
    pub(crate) shared: Option<SharedExpert>,
    /// Of experts that read the residual stream by norms of their own.
    pub(crate) own: Option<Box<OwnNorms>>,
}

/// The norms of experts that read the residual stream, and factors of their weights.
#[derive(Debug)]
pub(crate) struct OwnNorms {
    /// In front of the router.
    pub(crate) router: Norm,
    /// In front of the experts, behind them, and behind the block beside them.
    pub(crate) norms: [Norm; 3],
    /// A factor for the weight of each expert.
    pub(crate) scales: Vec<f32>,
}

/// An expert that runs for every row.
#[derive(Debug)]
pub(crate) struct SharedExpert {
    pub(crate) mlp: Mlp,
    /// What its output is multiplied with the sigmoid of.
    pub(crate) gate: Option<Linear>,
}

impl SharedExpert {
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let output = self.mlp.forward(x)?;
        match &self.gate {
            None => Ok(output),
            Some(gate) => multiply(&output, &candle_nn::ops::sigmoid(&gate.forward(x)?)?),
        }
    }
}

/// The block of one layer.
#[derive(Debug)]
pub(crate) enum Block {
    Dense(Mlp),
    Experts(Experts),
}

impl Block {
    /// Keeps the shape of `x`, `rows × hidden_size`, which the layer's norm made of the `residual` stream.
    pub(crate) fn forward(&self, x: &Tensor, residual: &Tensor) -> Result<Tensor> {
        match self {
            Block::Dense(mlp) => mlp.forward(x),
            Block::Experts(experts) => experts.forward(x, residual),
        }
    }
}

impl Mlp {
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        scaled(self.inner(x)?, self.output_scale)
    }

    fn inner(&self, x: &Tensor) -> Result<Tensor> {
        if !self.is_gated {
            let [up] = self.gate_up.forward::<1>(x)?;
            return self.down.forward(&activated(&up, self.activation)?);
        }
        let [gate, up] = self.gate_up.forward::<2>(x)?;
        let gate = scaled(gate, self.gate_scale)?;
        let gated = match (usable(&gate), self.clamp) {
            (true, _) => gate.apply_op2_no_bwd(&up, &Gated(self.activation, self.clamp))?,
            (false, None) => multiply(&activated(&gate.contiguous()?, self.activation)?, &up)?,
            (false, Some(clamp)) => clamped(&gate.contiguous()?, &up.contiguous()?, clamp)?,
        };
        self.down.forward(&gated)
    }
}

impl Activation {
    /// The same for the kernels.
    pub(crate) fn kernel(self) -> Kernel {
        match self {
            Activation::Silu => Kernel::Silu,
            Activation::Gelu => Kernel::Gelu,
            Activation::GeluTanh => Kernel::GeluTanh,
            Activation::Relu => Kernel::Relu,
            Activation::ReluSquared => Kernel::ReluSquared,
        }
    }
}

/// What a non-linearity makes of numbers.
pub(super) fn activated(x: &Tensor, activation: Activation) -> Result<Tensor> {
    match activation {
        Activation::Silu => candle_nn::ops::silu(x),
        Activation::Gelu => x.gelu_erf(),
        Activation::GeluTanh => x.gelu(),
        Activation::Relu => x.relu(),
        Activation::ReluSquared => x.relu()?.sqr(),
    }
}

/// See [`Clamp`].
fn clamped(gate: &Tensor, up: &Tensor, Clamp { alpha, limit }: Clamp) -> Result<Tensor> {
    let gate = gate.minimum(limit)?;
    let up = (up.clamp(-limit, limit)? + 1.0)?;
    (&gate * candle_nn::ops::sigmoid(&(&gate * alpha)?)?)? * up
}

/// `act(gate) · up`, or what stands for it with limits, row by row.
struct Gated(Activation, Option<Clamp>);

impl CustomOp2 for Gated {
    fn name(&self) -> &'static str {
        "gated-rows"
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
            match (self.0, self.1) {
                (_, Some(Clamp { alpha, limit })) => {
                    clamped_swiglu(gate, up, alpha as f32, limit as f32, out);
                }
                (Activation::Silu, None) => swiglu(gate, up, out),
                (activation, None) => {
                    out.copy_from_slice(gate);
                    activate(activation.kernel(), out);
                    for (out, up) in out.iter_mut().zip(up) {
                        *out *= up;
                    }
                }
            }
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
    fn forward(&self, x: &Tensor, residual: &Tensor) -> Result<Tensor> {
        let beside = match &self.shared {
            Some(shared) => shared.forward(x)?,
            None => x.zeros_like()?,
        };
        match &self.own {
            None => self.add_chosen(beside, x, self.route(x)?),
            Some(own) => {
                let OwnNorms { router, norms, .. } = &**own;
                let [before, behind, behind_shared] = norms;
                let chosen = self.route(&router.forward(residual)?)?;
                let x = before.forward(residual)?;
                let output = self.add_chosen(x.zeros_like()?, &x, chosen)?;
                behind_shared.forward(&beside)? + behind.forward(&output)?
            }
        }
    }

    /// `output` and what the chosen experts of each row make of it, with their weights. Rows are grouped by expert, so that
    /// each expert's matrices are read once.
    fn add_chosen(
        &self,
        output: Tensor,
        x: &Tensor,
        chosen: Vec<Vec<(usize, f32)>>,
    ) -> Result<Tensor> {
        let mut rows_of = vec![Vec::new(); self.experts.len()];
        for (row, chosen) in chosen.into_iter().enumerate() {
            for (expert, weight) in chosen {
                rows_of[expert].push((row as u32, weight));
            }
        }
        let (rows, weights): (Vec<u32>, Vec<f32>) = rows_of.iter().flatten().copied().unzip();
        let count = rows.len();
        let rows = Tensor::from_vec(rows, count, x.device())?;
        let weights = Tensor::from_vec(weights, (count, 1), x.device())?.to_dtype(x.dtype())?;
        let inputs = x.index_select(&rows, 0)?;
        let mut answers = Vec::new();
        let mut start = 0;
        for (expert, own) in self.experts.iter().zip(&rows_of) {
            if !own.is_empty() {
                answers.push(expert.forward(&inputs.narrow(0, start, own.len())?)?);
                start += own.len();
            }
        }
        let answers = multiply(&Tensor::cat(&answers, 0)?, &weights)?;
        output.index_add(&rows, &answers, 0)
    }

    /// The experts of each row, and their weights.
    fn route(&self, x: &Tensor) -> Result<Vec<Vec<(usize, f32)>>> {
        let scores = self.router.forward(x)?.to_dtype(DType::F32)?;
        let weights = match self.routing.scoring {
            Scoring::Softmax => candle_nn::ops::softmax_last_dim(&scores)?,
            Scoring::Sigmoid => candle_nn::ops::sigmoid(&scores)?,
        };
        let chosen = weights.to_vec2::<f32>()?.into_iter().map(|weights| {
            let chosen = self.choose(&weights);
            let sum = match self.routing.normalise {
                Some(more) => {
                    chosen.iter().map(|expert| weights[*expert]).sum::<f32>() + more as f32
                }
                None => 1.0,
            };
            let scale = self.routing.scale as f32;
            let of_expert = |expert: usize| match &self.own {
                Some(own) => own.scales[expert],
                None => 1.0,
            };
            let weighted = chosen.into_iter();
            weighted
                .map(|expert| (expert, weights[expert] / sum * scale * of_expert(expert)))
                .collect()
        });
        Ok(chosen.collect())
    }

    /// The experts of a row, by its weights; of equal ones, the first.
    fn choose(&self, weights: &[f32]) -> Vec<usize> {
        let mut worth = weights.to_vec();
        for (worth, bias) in worth.iter_mut().zip(&self.choice_bias) {
            *worth += bias;
        }
        if let Some((groups, kept)) = self.routing.groups {
            let size = worth.len() / groups;
            let counted = match self.routing.scoring {
                Scoring::Softmax => 1,
                Scoring::Sigmoid => 2,
            };
            let of_best = |group: usize| {
                let mut own = worth[group * size..][..size].to_vec();
                own.sort_by(|a, b| b.total_cmp(a));
                own.iter().take(counted).sum::<f32>()
            };
            let sums: Vec<f32> = (0..groups).map(of_best).collect();
            for group in best(&sums, groups).into_iter().skip(kept) {
                worth[group * size..][..size].fill(f32::NEG_INFINITY);
            }
        }
        best(&worth, self.per_token)
    }
}

/// The places of the greatest numbers, so many, in order.
fn best(numbers: &[f32], count: usize) -> Vec<usize> {
    let mut places: Vec<usize> = (0..numbers.len()).collect();
    places.sort_by(|a, b| numbers[*b].total_cmp(&numbers[*a]));
    places.truncate(count);
    places
}
