//! Attention of each text to itself.

use std::ops::Range;
use std::sync::Arc;

use candle_core::{DType, Result};
use candle4j_kernels::{DistanceBias, KvCache, KvMemory, Queries, Strided, attend, for_each_part};

use super::linear::Linear;
use super::rows::{add_bias, for_each_row};
use crate::description;
use crate::engines::fused::rotary::Angles;

/// The rows of one text, and room for its keys and values, which the layers use one after the other.
pub(super) struct Passage {
    rows: Range<usize>,
    cache: Option<KvCache>,
}

impl Passage {
    pub(super) fn new(rows: Range<usize>) -> Self {
        Self { rows, cache: None }
    }
}

/// The weights and the shape of a layer's attention.
pub(super) struct Attention {
    pub(super) qkv: Linear,
    pub(super) output: Linear,
    pub(super) shape: description::Attention,
    /// Which of the angles rotate queries and keys.
    pub(super) rotary: Option<usize>,
    /// Numbers by head and distance, and how far they go.
    pub(super) bias: Option<(Arc<[f32]>, usize)>,
}

impl Attention {
    /// What the rows of `x` become, before the bias of the output projection.
    pub(super) fn forward(
        &self,
        x: &[f32],
        angles: &[Angles],
        passages: &mut [Passage],
        memory: &Arc<KvMemory>,
    ) -> Result<Vec<f32>> {
        let mut qkv = self.qkv.product(x)?;
        let (width, shape) = (self.qkv.width(), &self.shape);
        let (query, kv) = (shape.query_size(), shape.kv_size());
        let angles = self.rotary.map(|rotary| &angles[rotary]);
        if angles.is_some() || !self.qkv.bias().is_empty() {
            for_each_row(&mut qkv, width, |index, row| {
                add_bias(row, self.qkv.bias());
                if let Some(angles) = angles {
                    angles.rotate_row(index, &mut row[..query + kv]);
                }
            });
        }
        let part = |start: usize, columns: usize| Strided {
            numbers: &qkv[start..],
            stride: width,
            rows: qkv.len() / width,
            columns,
        };
        let (queries, keys, values) = (part(0, query), part(query, kv), part(query + kv, kv));
        for_each_part(passages.iter_mut().collect(), |passage: &mut Passage| {
            let cache = passage.cache.get_or_insert_with(|| {
                let mut cache =
                    KvCache::new(DType::F32, shape.num_kv_heads, shape.head_dim, memory)
                        .expect("keys and values can be kept in 32 bits");
                cache.reserve(passage.rows.len());
                cache
            });
            cache.write(0, keys.rows(&passage.rows), values.rows(&passage.rows));
        });
        let all: Vec<Queries> = passages
            .iter()
            .filter_map(|passage| {
                Some(Queries {
                    cache: passage.cache.as_ref()?,
                    rows: queries.rows(&passage.rows),
                    heads: shape.num_heads,
                    first: 0,
                    causal: false,
                    window: shape.window,
                    bias: self.bias.as_ref().map(|(numbers, reach)| DistanceBias {
                        numbers,
                        reach: *reach,
                    }),
                    scale: shape.scale as f32,
                    cap: None,
                    sinks: None,
                })
            })
            .collect();
        let mut out = vec![0f32; qkv.len() / width * query];
        attend(&all, &mut out);
        self.output.product(&out)
    }
}
