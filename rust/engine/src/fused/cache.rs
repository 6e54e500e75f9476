//! The keys and values of one sequence.

use candle_core::{DType, Device, Result, Tensor};

/// Positions that a cache has room for at first, and the least by which it grows.
const BLOCK: usize = 256;

/// The keys and values of one layer, each `kv_heads × capacity × head_dim`.
///
/// A token's keys and values are written behind those of the others in place; the tensors are
/// copied only when they grow, which is by doubling, so the cost of a token does not depend on how
/// many came before.
#[derive(Debug)]
struct LayerCache {
    keys: Tensor,
    values: Tensor,
}

/// The KV cache of one sequence.
#[derive(Debug)]
pub(crate) struct SequenceCache {
    layers: Vec<LayerCache>,
    shape: CacheShape,
    /// Most positions there will ever be.
    limit: usize,
    /// Positions whose keys and values all layers have.
    len: usize,
    capacity: usize,
}

/// What a cache is made for.
#[derive(Debug, Clone)]
pub(crate) struct CacheShape {
    pub(crate) layers: usize,
    pub(crate) kv_heads: usize,
    pub(crate) head_dim: usize,
    pub(crate) dtype: DType,
    pub(crate) device: Device,
}

impl SequenceCache {
    /// An empty cache of up to `limit` positions, which takes no memory yet.
    pub(crate) fn new(shape: CacheShape, limit: usize) -> Self {
        Self {
            layers: Vec::new(),
            shape,
            limit,
            len: 0,
            capacity: 0,
        }
    }

    /// Positions in the cache.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Forgets all positions from `len` on. Their room stays.
    pub(crate) fn truncate(&mut self, len: usize) {
        self.len = self.len.min(len);
    }

    /// A copy that grows on its own.
    pub(crate) fn fork(&self) -> Result<Self> {
        let mut fork = Self::new(self.shape.clone(), self.limit);
        if self.len > 0 {
            fork.reserve(self.len)?;
            for (from, to) in self.layers.iter().zip(&fork.layers) {
                let filled = |tensor: &Tensor| tensor.narrow(1, 0, self.len)?.contiguous();
                to.keys.slice_set(&filled(&from.keys)?, 1, 0)?;
                to.values.slice_set(&filled(&from.values)?, 1, 0)?;
            }
            fork.len = self.len;
        }
        Ok(fork)
    }

    /// Makes room for `count` more positions in every layer.
    pub(crate) fn reserve(&mut self, count: usize) -> Result<()> {
        let needed = self.len + count;
        if needed <= self.capacity {
            return Ok(());
        }
        let capacity = needed
            .next_multiple_of(BLOCK)
            .max(2 * self.capacity)
            .min(self.limit.max(needed));
        let CacheShape {
            kv_heads,
            head_dim,
            dtype,
            ref device,
            ..
        } = self.shape;
        for index in 0..self.shape.layers {
            let empty = || Tensor::zeros((kv_heads, capacity, head_dim), dtype, device);
            let grown = LayerCache {
                keys: empty()?,
                values: empty()?,
            };
            match self.layers.get_mut(index) {
                None => self.layers.push(grown),
                Some(layer) => {
                    if self.len > 0 {
                        let filled = |tensor: &Tensor| tensor.narrow(1, 0, self.len)?.contiguous();
                        grown.keys.slice_set(&filled(&layer.keys)?, 1, 0)?;
                        grown.values.slice_set(&filled(&layer.values)?, 1, 0)?;
                    }
                    *layer = grown;
                }
            }
        }
        self.capacity = capacity;
        Ok(())
    }

    /// Writes the keys and values of new positions into a layer, each `rows × kv_heads × head_dim`;
    /// answers with all of that layer's from position `from` on, `kv_heads × positions × head_dim`.
    /// Room for them was [reserved](Self::reserve), and they count once [`Self::advance`] is called.
    pub(crate) fn append(
        &self,
        layer: usize,
        keys: &Tensor,
        values: &Tensor,
        from: usize,
    ) -> Result<(Tensor, Tensor)> {
        let layer = &self.layers[layer];
        let rows = keys.dim(0)?;
        let by_head = |tensor: &Tensor| tensor.transpose(0, 1)?.contiguous();
        layer.keys.slice_set(&by_head(keys)?, 1, self.len)?;
        layer.values.slice_set(&by_head(values)?, 1, self.len)?;
        let count = self.len + rows - from;
        Ok((
            layer.keys.narrow(1, from, count)?,
            layer.values.narrow(1, from, count)?,
        ))
    }

    /// Counts positions that all layers have been given.
    pub(crate) fn advance(&mut self, count: usize) {
        self.len += count;
    }
}
