//! The keys and values of one sequence.

use candle_core::{DType, Device, Result, Tensor, bail};
use candle4j_kernels::{KvCache, Strided};

/// Positions that a cache has room for at first, and the least by which it grows.
const BLOCK: usize = 256;

/// The keys and values of one layer.
///
/// A token's are written behind those of the others in place; all are copied only when a cache grows,
/// which is by doubling, so the cost of a token does not depend on how many came before.
#[derive(Debug)]
enum LayerCache {
    /// In the order of our own kernels, on the CPU.
    Kernels(KvCache),
    /// On another device, each `kv_heads × capacity × head_dim`.
    Tensors { keys: Tensor, values: Tensor },
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
    /// The type that keys and values are kept in.
    pub(crate) dtype: DType,
    pub(crate) device: Device,
}

impl CacheShape {
    fn layer(&self, capacity: usize) -> Result<LayerCache> {
        let (heads, width) = (self.kv_heads, self.head_dim);
        if self.device.is_cpu() {
            return match KvCache::new(self.dtype, heads, width, capacity) {
                Some(cache) => Ok(LayerCache::Kernels(cache)),
                None => bail!("no keys and values can be kept in {:?}", self.dtype),
            };
        }
        let empty = || Tensor::zeros((heads, capacity, width), self.dtype, &self.device);
        Ok(LayerCache::Tensors {
            keys: empty()?,
            values: empty()?,
        })
    }
}

impl LayerCache {
    /// A cache with room for `capacity` positions, and the first `len` of this one.
    fn resized(&self, shape: &CacheShape, len: usize, capacity: usize) -> Result<Self> {
        let (keys, values) = match self {
            LayerCache::Kernels(cache) => {
                return Ok(LayerCache::Kernels(cache.resized(len, capacity)));
            }
            LayerCache::Tensors { keys, values } => (keys, values),
        };
        let resized = shape.layer(capacity)?;
        if let LayerCache::Tensors {
            keys: new_keys,
            values: new_values,
        } = &resized
            && len > 0
        {
            new_keys.slice_set(&keys.narrow(1, 0, len)?.contiguous()?, 1, 0)?;
            new_values.slice_set(&values.narrow(1, 0, len)?.contiguous()?, 1, 0)?;
        }
        Ok(resized)
    }
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
            fork.capacity = self.len.next_multiple_of(BLOCK);
            fork.layers = self.resized(fork.capacity)?;
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
        self.layers = match self.layers.is_empty() {
            true => (0..self.shape.layers)
                .map(|_| self.shape.layer(capacity))
                .collect::<Result<_>>()?,
            false => self.resized(capacity)?,
        };
        self.capacity = capacity;
        Ok(())
    }

    fn resized(&self, capacity: usize) -> Result<Vec<LayerCache>> {
        self.layers
            .iter()
            .map(|layer| layer.resized(&self.shape, self.len, capacity))
            .collect()
    }

    /// Writes the keys and values of new positions into a layer on the CPU, rows of
    /// `kv_heads × head_dim`; answers with all of that layer's. Room for them was
    /// [reserved](Self::reserve), and they count once [`Self::advance`] is called.
    pub(crate) fn write(
        &mut self,
        layer: usize,
        keys: Strided,
        values: Strided,
    ) -> Result<&KvCache> {
        match &mut self.layers[layer] {
            LayerCache::Kernels(cache) => {
                cache.write(self.len, keys, values);
                Ok(cache)
            }
            LayerCache::Tensors { .. } => bail!("a cache that is not on the CPU"),
        }
    }

    /// The same on other devices, with tensors of `rows × kv_heads × head_dim`; answers with all of that
    /// layer's from position `from` on, `kv_heads × positions × head_dim`.
    pub(crate) fn append(
        &self,
        layer: usize,
        keys: &Tensor,
        values: &Tensor,
        from: usize,
    ) -> Result<(Tensor, Tensor)> {
        let LayerCache::Tensors {
            keys: all_keys,
            values: all_values,
        } = &self.layers[layer]
        else {
            bail!("a cache that is on the CPU");
        };
        let rows = keys.dim(0)?;
        let by_head = |tensor: &Tensor| tensor.transpose(0, 1)?.contiguous();
        all_keys.slice_set(&by_head(keys)?, 1, self.len)?;
        all_values.slice_set(&by_head(values)?, 1, self.len)?;
        let count = self.len + rows - from;
        Ok((
            all_keys.narrow(1, from, count)?,
            all_values.narrow(1, from, count)?,
        ))
    }

    /// Counts positions that all layers have been given.
    pub(crate) fn advance(&mut self, count: usize) {
        self.len += count;
    }
}
