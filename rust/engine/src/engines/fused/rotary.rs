//! Rotary position embedding: the angles of each position.
//!
//! Su et al. 2021 (RoFormer); the changes of the wave lengths are those of
//! [`RopeScaling`](crate::description::rope::RopeScaling). Everything is computed in 32 bits in the order
//! of Hugging Face transformers, whatever the type of the weights: in 16 bits, positions above a few
//! hundred could not be told apart.

use std::f32::consts::PI;
use std::sync::OnceLock;

use candle_core::{CpuStorage, CustomOp1, DType, Device, Layout, Result, Shape, Tensor};
use candle4j_kernels::rms_norm;

use super::norm::Norm;
use super::rows::{for_each_row, strided, usable};
use crate::description::rope::{Rope, RopeScaling};

/// The frequencies of one model.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Rotary {
    rope: Rope,
    head_dim: usize,
    positions: usize,
    /// The frequencies of short sequences, which for most kinds are those of all.
    frequencies: Vec<f32>,
}

/// Cosine and sine for the rows of one forward pass, each `rows × dims / 2` for heads whose first `dims` dimensions are
/// rotated.
#[derive(Debug, Clone)]
pub(crate) struct Angles {
    cos: Vec<f32>,
    sin: Vec<f32>,
    half: usize,
    head_dim: usize,
    is_interleaved: bool,
    device: Device,
    /// The same as tensors, once another device than the CPU or another type than 32 bits wants them.
    tensors: OnceLock<(Tensor, Tensor)>,
}

impl Rotary {
    /// `positions` is the configuration's `max_position_embeddings`. Without a rope nothing is rotated.
    pub(crate) fn new(rope: Option<&Rope>, head_dim: usize, positions: usize) -> Self {
        let nothing = || Rope::new(1.0, RopeScaling::None, 0);
        let mut rotary = Self {
            rope: rope.cloned().unwrap_or_else(nothing),
            head_dim,
            positions,
            frequencies: Vec::new(),
        };
        rotary.frequencies = rotary.frequencies_at(0);
        rotary
    }

    /// Which frequencies a sequence of this length has: equal for lengths with the same frequencies, and 0 for
    /// those of short sequences.
    pub(crate) fn frequency_set(&self, length: usize) -> usize {
        match self.fixed_up_to() {
            Some(limit) if length > limit => match self.rope.scaling {
                RopeScaling::Dynamic { .. } => length,
                _ => 1,
            },
            _ => 0,
        }
    }

    /// The longest sequence whose frequencies are those of every shorter one; none when the length
    /// does not matter.
    fn fixed_up_to(&self) -> Option<usize> {
        match &self.rope.scaling {
            RopeScaling::Dynamic { .. } => Some(self.positions),
            RopeScaling::LongRope {
                original_max_position_embeddings,
                ..
            } => Some(*original_max_position_embeddings),
            _ => None,
        }
    }

    /// The angles of rows. Each has its position, and the length of its sequence once the call that
    /// it belongs to is done, which some kinds depend on.
    pub(crate) fn angles(&self, rows: &[(usize, usize)], device: &Device) -> Angles {
        let half = self.rope.dims / 2;
        let scale = self.scale();
        let mut cos = Vec::with_capacity(rows.len() * half);
        let mut sin = Vec::with_capacity(rows.len() * half);
        let mut changed: Option<(usize, Vec<f32>)> = None;
        for &(position, length) in rows {
            let frequencies = match self.fixed_up_to() {
                Some(limit) if length > limit => match &mut changed {
                    Some((known, frequencies)) if *known == length => &*frequencies,
                    other => &other.insert((length, self.frequencies_at(length))).1,
                },
                _ => &self.frequencies,
            };
            for frequency in frequencies {
                let angle = position as f32 * frequency;
                cos.push(angle.cos() * scale);
                sin.push(angle.sin() * scale);
            }
        }
        Angles {
            cos,
            sin,
            half,
            head_dim: self.head_dim,
            is_interleaved: self.rope.is_interleaved,
            device: device.clone(),
            tensors: OnceLock::new(),
        }
    }

    /// The factor of cosine and sine.
    fn scale(&self) -> f32 {
        match &self.rope.scaling {
            RopeScaling::Yarn {
                attention_factor, ..
            }
            | RopeScaling::LongRope {
                attention_factor, ..
            } => *attention_factor as f32,
            _ => 1.0,
        }
    }

    fn frequencies_at(&self, length: usize) -> Vec<f32> {
        let theta = self.rope.theta as f32;
        match &self.rope.scaling {
            RopeScaling::None => self.series(theta),
            RopeScaling::Linear { factor } => self
                .series(theta)
                .into_iter()
                .map(|frequency| frequency / *factor as f32)
                .collect(),
            RopeScaling::Dynamic { factor } => {
                let length = length.max(self.positions) as f64;
                let stretch = factor * length / self.positions as f64 - (factor - 1.0);
                let dims = self.rope.dims as f64;
                self.series((self.rope.theta * stretch.powf(dims / (dims - 2.0))) as f32)
            }
            RopeScaling::Llama3 {
                factor,
                low_freq_factor,
                high_freq_factor,
                original_max_position_embeddings,
            } => {
                let original = *original_max_position_embeddings as f32;
                let (low, high) = (*low_freq_factor as f32, *high_freq_factor as f32);
                let factor = *factor as f32;
                self.series(theta)
                    .into_iter()
                    .map(|frequency| {
                        let wave_length = 2.0 * PI / frequency;
                        if wave_length > original / low {
                            frequency / factor
                        } else if wave_length < original / high {
                            frequency
                        } else {
                            let smooth = (original / wave_length - low) / (high - low);
                            (1.0 - smooth) * frequency / factor + smooth * frequency
                        }
                    })
                    .collect()
            }
            RopeScaling::Yarn {
                factor,
                beta_fast,
                beta_slow,
                truncate,
                original_max_position_embeddings,
                ..
            } => {
                let dims = self.rope.dims as f64;
                let original = *original_max_position_embeddings as f64;
                // The dimension that turns so many times within the first training.
                let dimension = |turns: f64| {
                    dims * (original / (turns * 2.0 * std::f64::consts::PI)).ln()
                        / (2.0 * self.rope.theta.ln())
                };
                let (mut low, mut high) = (dimension(*beta_fast), dimension(*beta_slow));
                if *truncate {
                    (low, high) = (low.floor(), high.ceil());
                }
                (low, high) = (low.max(0.0), high.min(dims - 1.0));
                if low == high {
                    high += 0.001;
                }
                self.series(theta)
                    .into_iter()
                    .enumerate()
                    .map(|(index, frequency)| {
                        let ramp = ((index as f64 - low) / (high - low)).clamp(0.0, 1.0) as f32;
                        frequency / *factor as f32 * ramp + frequency * (1.0 - ramp)
                    })
                    .collect()
            }
            RopeScaling::Proportional {
                frequencies,
                factor,
            } => {
                let series = self.series(theta).into_iter().enumerate();
                let turning = |(index, frequency)| match index < *frequencies {
                    true => frequency / *factor as f32,
                    false => 0.0,
                };
                series.map(turning).collect()
            }
            RopeScaling::LongRope {
                short_factor,
                long_factor,
                original_max_position_embeddings,
                ..
            } => {
                let factors = if length > *original_max_position_embeddings {
                    long_factor
                } else {
                    short_factor
                };
                self.wave_lengths(theta)
                    .zip(factors)
                    .map(|(wave_length, factor)| 1.0 / (*factor as f32 * wave_length))
                    .collect()
            }
        }
    }

    /// The plain geometric series.
    fn series(&self, theta: f32) -> Vec<f32> {
        self.wave_lengths(theta).map(|n| 1.0 / n).collect()
    }

    fn wave_lengths(&self, theta: f32) -> impl Iterator<Item = f32> + '_ {
        (0..self.rope.dims)
            .step_by(2)
            .map(move |i| theta.powf(i as f32 / self.rope.dims as f32))
    }
}

impl Angles {
    /// Rotates heads, `rows × (heads · head_dim)`; before that each head is normed, where there is a norm. The answer
    /// is `rows × heads × head_dim`, contiguous.
    pub(crate) fn rotate(&self, x: &Tensor, norm: Option<&Norm>) -> Result<Tensor> {
        let (rows, width) = x.dims2()?;
        let head_dim = self.head_dim;
        let shape = (rows, width / head_dim, head_dim);
        if usable(x) && norm.is_none_or(|norm| norm.rms_on_cpu().is_some()) {
            let op = Rotation {
                angles: self,
                norm: norm.and_then(Norm::rms_on_cpu),
            };
            return x.apply_op1_no_bwd(&op)?.reshape(shape);
        }
        let dtype = x.dtype();
        let mut heads = x.contiguous()?.reshape((rows * shape.1, head_dim))?;
        if let Some(norm) = norm {
            heads = norm.forward(&heads)?;
        }
        let heads = heads.reshape(shape)?;
        let dims = 2 * self.half;
        if dims == 0 {
            return Ok(heads);
        }
        let (cos, sin) = self.tensors(rows)?;
        let part = heads.narrow(2, 0, dims)?.to_dtype(DType::F32)?;
        let part = match self.is_interleaved {
            // Candle wants the heads before the rows for these.
            true => {
                let part = part.transpose(0, 1)?.contiguous()?.unsqueeze(0)?;
                let rotated = candle_nn::rotary_emb::rope_i(&part, cos, sin)?;
                rotated.squeeze(0)?.transpose(0, 1)?
            }
            false => {
                let part = part.contiguous()?.unsqueeze(0)?;
                candle_nn::rotary_emb::rope_thd(&part, cos, sin)?.squeeze(0)?
            }
        };
        let part = part.to_dtype(dtype)?;
        match dims == head_dim {
            true => part.contiguous(),
            false => {
                let rest = heads.narrow(2, dims, head_dim - dims)?;
                Tensor::cat(&[&part, &rest], 2)
            }
        }
    }

    /// Turns each head of one row, whose number tells its angles.
    pub(crate) fn rotate_row(&self, index: usize, row: &mut [f32]) {
        let half = self.half;
        let cos = &self.cos[index * half..][..half];
        let sin = &self.sin[index * half..][..half];
        for head in row.chunks_exact_mut(self.head_dim) {
            let rotated = &mut head[..2 * half];
            if self.is_interleaved {
                for ((pair, cos), sin) in rotated.as_chunks_mut().0.iter_mut().zip(cos).zip(sin) {
                    let [a, b] = *pair;
                    *pair = [a * cos - b * sin, b * cos + a * sin];
                }
                continue;
            }
            let (first, second) = rotated.split_at_mut(half);
            for (((a, b), cos), sin) in first.iter_mut().zip(second).zip(cos).zip(sin) {
                (*a, *b) = (*a * cos - *b * sin, *b * cos + *a * sin);
            }
        }
    }

    fn tensors(&self, rows: usize) -> Result<&(Tensor, Tensor)> {
        let tensor = |numbers: &[f32]| Tensor::from_slice(numbers, (rows, self.half), &self.device);
        if self.tensors.get().is_none() {
            // Nobody else is at it: one thread takes a pass through the layers.
            let _ = self.tensors.set((tensor(&self.cos)?, tensor(&self.sin)?));
        }
        self.tensors
            .get()
            .ok_or_else(|| candle_core::Error::Msg("the angles are missing".into()))
    }
}

struct Rotation<'a> {
    angles: &'a Angles,
    norm: Option<(&'a [f32], f32)>,
}

impl CustomOp1 for Rotation<'_> {
    fn name(&self) -> &'static str {
        "rotate-rows"
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let rows = strided(storage, layout)?;
        let (count, width) = layout.shape().dims2()?;
        let head_dim = self.angles.head_dim;
        let mut out = vec![0f32; count * width];
        for_each_row(&mut out, width, |index, out| {
            let row = rows.row(index);
            for (head, out) in row
                .chunks_exact(head_dim)
                .zip(out.chunks_exact_mut(head_dim))
            {
                match self.norm {
                    Some((weight, eps)) => rms_norm(head, weight, eps, out),
                    None => out.copy_from_slice(head),
                }
            }
            self.angles.rotate_row(index, out);
        });
        Ok((CpuStorage::F32(out), layout.shape().clone()))
    }
}
