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
        let (keys, values) = self.tensors(capacity)?;
        Ok(LayerCache::Tensors { keys, values })
    }

    fn tensors(&self, capacity: usize) -> Result<(Tensor, Tensor)> {
        let shape = (self.kv_heads, capacity, self.head_dim);
        let empty = || Tensor::zeros(shape, self.dtype, &self.device);
        Ok((empty()?, empty()?))
    }
}

impl LayerCache {
    /// A cache with room for `capacity` positions, and the first `len` of this one.
    fn resized(&self, shape: &CacheShape, len: usize, capacity: usize) -> Result<Self> {
        match self {
            LayerCache::Kernels(cache) => Ok(LayerCache::Kernels(cache.resized(len, capacity))),
            LayerCache::Tensors { keys, values } => {
                let (new_keys, new_values) = shape.tensors(capacity)?;
                if len > 0 {
                    let filled = |tensor: &Tensor| tensor.narrow(1, 0, len)?.contiguous();
                    new_keys.slice_set(&filled(keys)?, 1, 0)?;
                    new_values.slice_set(&filled(values)?, 1, 0)?;
                }
                Ok(LayerCache::Tensors {
                    keys: new_keys,
                    values: new_values,
                })
            }
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    /// A cache of tensors, such as other devices have, with room for no position yet.
    fn of_tensors() -> SequenceCache {
        let shape = CacheShape {
            layers: 2,
            kv_heads: 2,
            head_dim: 4,
            dtype: DType::F32,
            device: Device::Cpu,
        };
        let mut cache = SequenceCache::new(shape.clone(), 1000);
        for _ in 0..shape.layers {
            let (keys, values) = shape.tensors(0).unwrap();
            cache.layers.push(LayerCache::Tensors { keys, values });
        }
        cache
    }

    /// Keys or values of positions, each number of which says where it belongs.
    fn rows(first: usize, count: usize, more: usize) -> Tensor {
        let numbers = (first * 8..(first + count) * 8).map(|index| (index + more) as f32);
        Tensor::from_vec(numbers.collect::<Vec<_>>(), (count, 2, 4), &Device::Cpu).unwrap()
    }

    /// Appends positions to all layers, and answers with what the last one then has from `from` on.
    fn append(cache: &mut SequenceCache, count: usize, from: usize) -> (Tensor, Tensor) {
        let first = cache.len();
        cache.reserve(count).unwrap();
        let [_, last] = [0, 1].map(|layer| {
            let (keys, values) = (rows(first, count, layer), rows(first, count, 10_000));
            cache.append(layer, &keys, &values, from).unwrap()
        });
        cache.advance(count);
        last
    }

    fn numbers(tensor: &Tensor) -> Vec<Vec<Vec<f32>>> {
        tensor.to_vec3().unwrap()
    }

    #[test]
    fn tensors_keep_what_was_appended_while_they_grow() {
        let mut cache = of_tensors();
        for count in [3, 1, 300, 1] {
            append(&mut cache, count, 0);
        }
        let mut fork = cache.fork().unwrap();
        cache.truncate(304);
        for cache in [&mut cache, &mut fork] {
            let first = cache.len();
            let (keys, values) = append(cache, 2, first - 4);
            let by_head = |more| rows(first - 4, 6, more).transpose(0, 1).unwrap();
            assert_eq!(numbers(&keys), numbers(&by_head(1)));
            assert_eq!(numbers(&values), numbers(&by_head(10_000)));
        }
    }
}
