//! RMSNorm and LayerNorm.

use std::sync::Arc;

use candle_core::{CpuStorage, CustomOp1, Layout, Result, Shape, Tensor};
use candle4j_kernels::{layer_norm, rms_norm};

use super::rows::{for_each_row, strided, usable};

/// RMSNorm (Zhang and Sennrich 2019): each row divided by its root mean square, times a weight; or LayerNorm (Ba et al.
/// 2016): first without its mean, and maybe a bias added.
#[derive(Debug, Clone)]
pub(crate) struct Norm {
    weight: Tensor,
    /// That of a LayerNorm; zeros where it has none.
    bias: Option<Tensor>,
    eps: f32,
    /// The same where rows on the CPU can use them.
    cpu: Option<OnCpu>,
}

#[derive(Debug, Clone)]
struct OnCpu {
    weight: Arc<[f32]>,
    bias: Option<Arc<[f32]>>,
}

impl Norm {
    /// An RMSNorm of rows as wide as `weight`.
    pub(crate) fn rms(weight: Tensor, eps: f64) -> Result<Self> {
        Self::new(weight, None, eps)
    }

    /// A LayerNorm of rows as wide as `weight`.
    pub(crate) fn layer(weight: Tensor, bias: Option<Tensor>, eps: f64) -> Result<Self> {
        let bias = match bias {
            Some(bias) => bias,
            None => weight.zeros_like()?,
        };
        Self::new(weight, Some(bias), eps)
    }

    fn new(weight: Tensor, bias: Option<Tensor>, eps: f64) -> Result<Self> {
        let numbers = |tensor: &Tensor| tensor.to_vec1::<f32>().map(Arc::<[f32]>::from);
        let cpu = match usable(&weight) {
            true => Some(OnCpu {
                weight: numbers(&weight)?,
                bias: bias.as_ref().map(numbers).transpose()?,
            }),
            false => None,
        };
        Ok(Self {
            weight,
            bias,
            eps: eps as f32,
            cpu,
        })
    }

    /// Norms `rows × width`.
    pub(crate) fn forward(&self, x: &Tensor) -> Result<Tensor> {
        match (&self.cpu, &self.bias) {
            (Some(cpu), _) => x.apply_op1_no_bwd(&OnRows {
                weight: &cpu.weight,
                bias: cpu.bias.as_deref(),
                eps: self.eps,
            }),
            (None, Some(bias)) => {
                candle_nn::ops::layer_norm(&x.contiguous()?, &self.weight, bias, self.eps)
            }
            (None, None) => candle_nn::ops::rms_norm(&x.contiguous()?, &self.weight, self.eps),
        }
    }

    /// The weight and the ε of an RMSNorm for rows on the CPU.
    pub(super) fn rms_on_cpu(&self) -> Option<(&[f32], f32)> {
        match &self.cpu {
            Some(OnCpu { weight, bias: None }) => Some((weight, self.eps)),
            _ => None,
        }
    }
}

struct OnRows<'a> {
    weight: &'a [f32],
    bias: Option<&'a [f32]>,
    eps: f32,
}

impl CustomOp1 for OnRows<'_> {
    fn name(&self) -> &'static str {
        "norm-rows"
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let rows = strided(storage, layout)?;
        let mut out = vec![0f32; layout.shape().elem_count()];
        for_each_row(&mut out, self.weight.len(), |index, out| match self.bias {
            None => rms_norm(rows.row(index), self.weight, self.eps, out),
            Some(bias) => {
                out.copy_from_slice(rows.row(index));
                layer_norm(out, self.weight, bias, self.eps);
            }
        });
        Ok((CpuStorage::F32(out), layout.shape().clone()))
    }
}
