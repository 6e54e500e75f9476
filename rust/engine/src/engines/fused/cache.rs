//! The keys and values of one sequence.

use std::sync::Arc;

use candle_core::{DType, Device, Result, Tensor, bail};
use candle4j_kernels::{KV_PAGE, KvCache, KvMemory, Strided};

use super::prefix::{Found, Held, Node, PrefixTree};

/// Positions that a cache of tensors has room for at first, and the least by which it grows.
const BLOCK: usize = 256;

/// Positions before a layer's window that are kept, so that a sequence can be cut back a little.
const SLACK: usize = 512;

/// The keys and values of one layer.
#[derive(Debug, Clone)]
enum LayerCache {
    /// In pages in the order of our own kernels, on the CPU.
    Kernels(KvCache),
    /// On another device, each `kv_heads × capacity × head_dim`. They grow by doubling.
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
    /// Their tokens.
    tokens: Vec<u32>,
    /// Whether keys depend on their own tokens and positions alone, so that others may use them.
    shares: bool,
    /// The nodes of the full pages.
    chain: Vec<Arc<Node>>,
    /// The node of the page at the end, while nothing is written.
    tail: Option<Arc<Node>>,
}

/// What a cache is made for.
#[derive(Debug, Clone)]
pub(crate) struct CacheShape {
    /// For each layer, how many positions a query sees; all when `None`.
    pub(crate) windows: Arc<[Option<usize>]>,
    pub(crate) kv_heads: usize,
    pub(crate) head_dim: usize,
    /// The type that keys and values are kept in.
    pub(crate) dtype: DType,
    pub(crate) device: Device,
    /// Counts the memory of all caches of the model.
    pub(crate) memory: Arc<KvMemory>,
    /// What the sequences of the model share.
    pub(crate) tree: Arc<PrefixTree>,
}

impl CacheShape {
    fn layer(&self) -> Result<LayerCache> {
        let (heads, width) = (self.kv_heads, self.head_dim);
        if self.device.is_cpu() {
            return match KvCache::new(self.dtype, heads, width, &self.memory) {
                Some(cache) => Ok(LayerCache::Kernels(cache)),
                None => bail!("no keys and values can be kept in {:?}", self.dtype),
            };
        }
        let (keys, values) = self.tensors(0)?;
        Ok(LayerCache::Tensors { keys, values })
    }

    fn tensors(&self, capacity: usize) -> Result<(Tensor, Tensor)> {
        let shape = (self.kv_heads, capacity, self.head_dim);
        let empty = || Tensor::zeros(shape, self.dtype, &self.device);
        Ok((empty()?, empty()?))
    }
}

impl LayerCache {
    /// Makes room for `needed` positions; keeps the first `len`, of up to `limit`.
    fn reserve(
        &mut self,
        shape: &CacheShape,
        len: usize,
        needed: usize,
        limit: usize,
    ) -> Result<()> {
        match self {
            LayerCache::Kernels(cache) => cache.reserve(needed),
            LayerCache::Tensors { keys, values } => {
                let capacity = keys.dim(1)?;
                if needed <= capacity {
                    return Ok(());
                }
                let capacity = needed
                    .next_multiple_of(BLOCK)
                    .max(2 * capacity)
                    .min(limit.max(needed));
                let (new_keys, new_values) = shape.tensors(capacity)?;
                if len > 0 {
                    let filled = |tensor: &Tensor| tensor.narrow(1, 0, len)?.contiguous();
                    new_keys.slice_set(&filled(keys)?, 1, 0)?;
                    new_values.slice_set(&filled(values)?, 1, 0)?;
                }
                (*keys, *values) = (new_keys, new_values);
            }
        }
        Ok(())
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
            tokens: Vec::new(),
            shares: true,
            chain: Vec::new(),
            tail: None,
        }
    }

    /// Positions in the cache.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Forgets all positions from `len` on and gives their memory back. It forgets all when a layer has
    /// given up what its window would show behind `len`, so ask [`Self::len`] what is left.
    pub(crate) fn truncate(&mut self, len: usize) {
        if len >= self.len.max(1) {
            return;
        }
        let windows = self.shape.windows.clone();
        let is_whole = |(layer, window): (&LayerCache, &Option<usize>)| match (layer, window) {
            (LayerCache::Kernels(cache), Some(window)) => {
                cache.start() <= (len + 1).saturating_sub(*window)
            }
            _ => true,
        };
        self.len = match self.layers.iter().zip(&*windows).all(is_whole) {
            true => len,
            false => 0,
        };
        self.tail = None;
        self.tokens.truncate(self.len);
        self.chain.truncate(self.len / KV_PAGE);
        if self.len == 0 {
            self.layers.clear();
            self.shares = true;
            return;
        }
        for layer in &mut self.layers {
            if let LayerCache::Kernels(cache) = layer {
                cache.truncate(self.len);
            }
        }
    }

    /// A copy that grows on its own and shares the memory of what is there.
    pub(crate) fn fork(&self) -> Result<Self> {
        let layers = self.layers.iter().map(|layer| match layer {
            LayerCache::Kernels(cache) => Ok(LayerCache::Kernels(cache.clone())),
            LayerCache::Tensors { keys, values } => Ok(LayerCache::Tensors {
                keys: keys.copy()?,
                values: values.copy()?,
            }),
        });
        Ok(Self {
            layers: layers.collect::<Result<_>>()?,
            shape: self.shape.clone(),
            limit: self.limit,
            len: self.len,
            tokens: self.tokens.clone(),
            shares: self.shares,
            chain: self.chain.clone(),
            tail: self.tail.clone(),
        })
    }

    /// Makes room for `count` more positions in every layer.
    pub(crate) fn reserve(&mut self, count: usize) -> Result<()> {
        if self.layers.is_empty() {
            let layers = self.shape.windows.iter().map(|_| self.shape.layer());
            self.layers = layers.collect::<Result<_>>()?;
        }
        for layer in &mut self.layers {
            layer.reserve(&self.shape, self.len, self.len + count, self.limit)?;
        }
        Ok(())
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

    /// Counts the positions of tokens, which all layers have been given; shares full pages with other
    /// sequences, and gives up what no window shows any more.
    pub(crate) fn advance(&mut self, tokens: &[u32]) {
        self.len += tokens.len();
        self.tokens.extend_from_slice(tokens);
        while self.shares && (self.chain.len() + 1) * KV_PAGE <= self.len {
            let Some(node) = self.publish(self.chain.len(), KV_PAGE) else {
                self.shares = false;
                break;
            };
            self.chain.push(node);
        }
        for (layer, window) in self.layers.iter_mut().zip(&*self.shape.windows) {
            if let (LayerCache::Kernels(cache), Some(window)) = (layer, window) {
                cache.drop_before(self.len.saturating_sub(window + SLACK));
            }
        }
    }

    /// Puts a page of so many positions into the tree; `None` where layers have none.
    fn publish(&mut self, index: usize, count: usize) -> Option<Arc<Node>> {
        let held = |(layer, window): (&LayerCache, &Option<usize>)| match layer {
            LayerCache::Kernels(cache) => cache.page(index).map(|page| match window {
                None => Held::Strong(page.clone()),
                Some(_) => Held::Weak(Arc::downgrade(page)),
            }),
            LayerCache::Tensors { .. } => None,
        };
        let pages = self.layers.iter().zip(&*self.shape.windows).map(held);
        let tokens = &self.tokens[index * KV_PAGE..][..count];
        let pages = pages.collect::<Option<Vec<_>>>()?;
        let node = self.shape.tree.insert(self.chain.last(), tokens, pages);
        // Another sequence may have computed the same: one copy is enough.
        for (layer, page) in self.layers.iter_mut().zip(node.pages()) {
            if let (LayerCache::Kernels(cache), Some(page)) = (layer, page) {
                cache.replace_page(index, page);
            }
        }
        Some(node)
    }

    /// Whether other sequences may use the keys from now on. Once they may not, they never may.
    pub(crate) fn share_if(&mut self, shares: bool) {
        self.shares &= shares;
    }

    /// Lets other sequences have the page at the end too, until something is written.
    pub(crate) fn rest(&mut self) {
        let count = self.len % KV_PAGE;
        if self.shares && count > 0 {
            self.tail = self.publish(self.len / KV_PAGE, count);
        }
    }

    /// The opposite of [`Self::rest`].
    pub(crate) fn wake(&mut self) {
        self.tail = None;
    }

    /// Takes over what another sequence has computed of the tokens that come `next`. Answers with how many
    /// they are.
    pub(crate) fn adopt(&mut self, next: &[u32]) -> usize {
        if !self.shares || !self.shape.device.is_cpu() {
            return 0;
        }
        let aligned = self.chain.len() * KV_PAGE;
        let tokens = [&self.tokens[aligned..], next].concat();
        let Found { full, partial } = self.shape.tree.find(self.chain.last().cloned(), &tokens);
        let more = partial.as_ref().map_or(0, |(_, count)| *count);
        let len = aligned + full.len() * KV_PAGE + more;
        if len <= self.len {
            return 0;
        }
        let gained = len - self.len;
        let nodes: Vec<&Arc<Node>> = full
            .iter()
            .chain(partial.iter().map(|(node, _)| node))
            .collect();
        let columns: Vec<Vec<_>> = nodes.iter().map(|node| node.pages().collect()).collect();
        let visible = |layer: usize, index: usize| {
            let window = self.shape.windows[layer].unwrap_or(usize::MAX);
            (aligned + (index + 1) * KV_PAGE) > (len + 1).saturating_sub(window)
        };
        let is_missing =
            |layer: usize, index: usize| columns[index][layer].is_none() && visible(layer, index);
        let layers = self.shape.windows.len();
        let misses = (0..layers).any(|layer| (0..columns.len()).any(|at| is_missing(layer, at)));
        if misses || (self.layers.is_empty() && self.reserve(0).is_err()) {
            return 0;
        }
        for (layer, cache) in self.layers.iter_mut().enumerate() {
            if let LayerCache::Kernels(cache) = cache {
                cache.truncate(aligned);
                for column in &columns {
                    cache.push_page(column[layer].clone());
                }
            }
        }
        self.tail = None;
        self.tokens.truncate(aligned);
        self.tokens.extend_from_slice(&tokens[..len - aligned]);
        self.chain.extend(full);
        self.len = len;
        gained
    }

    /// Bytes that `count` more positions take: the pages that are missing, and a copy of the last one where it
    /// is shared.
    pub(crate) fn bytes_for(&self, count: usize) -> usize {
        if !self.shape.device.is_cpu() {
            return 0;
        }
        let first = self.layers.first().and_then(|layer| match layer {
            LayerCache::Kernels(cache) => Some(cache),
            LayerCache::Tensors { .. } => None,
        });
        let there = first.map_or(0, |cache| cache.capacity() / KV_PAGE);
        let missing = (self.len + count).div_ceil(KV_PAGE).saturating_sub(there);
        let last = self.len / KV_PAGE;
        let copied = !self.len.is_multiple_of(KV_PAGE)
            && first
                .is_some_and(|cache| cache.page(last).is_some_and(|p| Arc::strong_count(p) > 1));
        let page =
            KvCache::page_bytes_of(self.shape.dtype, self.shape.kv_heads, self.shape.head_dim);
        (missing + usize::from(copied)) * page * self.shape.windows.len()
    }

    /// The page that comes next and its tokens, as far as they are among `next`: sequences for which it is
    /// the same compute the same. `None` where they could not take it over from each other.
    pub(crate) fn next_page(&self, next: &[u32]) -> Option<(usize, Vec<u32>)> {
        if !self.shares || !self.shape.device.is_cpu() {
            return None;
        }
        let aligned = self.chain.len() * KV_PAGE;
        let behind = &self.tokens[aligned..];
        let page = [behind, &next[..next.len().min(KV_PAGE)]].concat();
        let parent = self.chain.last().map_or(0, |node| Arc::as_ptr(node).addr());
        Some((parent, page[..page.len().min(KV_PAGE)].to_vec()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A cache of tensors, such as other devices have, with room for no position yet.
    fn of_tensors() -> SequenceCache {
        let shape = CacheShape {
            windows: [None, None].into(),
            kv_heads: 2,
            head_dim: 4,
            dtype: DType::F32,
            device: Device::Cpu,
            memory: Arc::default(),
            tree: Arc::default(),
        };
        let mut cache = SequenceCache::new(shape.clone(), 1000);
        for _ in 0..2 {
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
        cache.advance(&vec![7; count]);
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
