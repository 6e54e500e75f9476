//! RMSNorm.

use std::sync::Arc;

use candle_core::{CpuStorage, CustomOp1, Layout, Result, Shape, Tensor};
use candle4j_kernels::rms_norm;

use super::rows::{for_each_row, strided, usable};

/// RMSNorm (Zhang and Sennrich 2019): each row divided by its root mean square, times a weight.
#[derive(Debug, Clone)]
pub(crate) struct Norm {
    weight: Tensor,
    eps: f32,
    /// The weight where rows on the CPU can use it.
    cpu: Option<Arc<[f32]>>,
}

impl Norm {
    /// A norm of rows as wide as `weight`.
    pub(crate) fn new(weight: Tensor, eps: f64) -> Result<Self> {
        let cpu = match usable(&weight) {
            true => Some(weight.to_vec1::<f32>()?.into()),
            false => None,
        };
        Ok(Self {
            weight,
            eps: eps as f32,
            cpu,
        })
    }

    /// Norms `rows × width`.
    pub(crate) fn forward(&self, x: &Tensor) -> Result<Tensor> {
        match &self.cpu {
            Some(weight) => x.apply_op1_no_bwd(&OnRows {
                weight,
                eps: self.eps,
            }),
            None => candle_nn::ops::rms_norm(&x.contiguous()?, &self.weight, self.eps),
        }
    }

    /// The weight and the ε for rows on the CPU.
    pub(super) fn on_cpu(&self) -> Option<(&[f32], f32)> {
        self.cpu.as_deref().map(|weight| (weight, self.eps))
    }
}

struct OnRows<'a> {
    weight: &'a [f32],
    eps: f32,
}

impl CustomOp1 for OnRows<'_> {
    fn name(&self) -> &'static str {
        "rms-norm-rows"
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let rows = strided(storage, layout)?;
        let mut out = vec![0f32; layout.shape().elem_count()];
        for_each_row(&mut out, self.weight.len(), |index, out| {
            rms_norm(rows.row(index), self.weight, self.eps, out);
        });
        Ok((CpuStorage::F32(out), layout.shape().clone()))
    }
}
