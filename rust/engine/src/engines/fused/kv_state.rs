//! What an attention layer keeps of a sequence: its keys and values.

use std::sync::Arc;

use candle_core::{DType, Device, Result, Tensor, bail};
use candle4j_kernels::{KV_PAGE, KvCache, KvMemory, KvPage, Strided};

use super::prefix::Held;

/// Positions by which tensors grow at least.
const BLOCK: usize = 256;

/// Positions before a layer's window that are kept, so that a sequence can be cut back a little.
const SLACK: usize = 512;

/// The shape of a layer's keys and values, and where they are.
#[derive(Debug, Clone)]
pub(crate) struct KvShape {
    pub(crate) kv_heads: usize,
    pub(crate) head_dim: usize,
    /// How many positions a query sees; all when `None`.
    pub(crate) window: Option<usize>,
    /// The type that keys and values are kept in.
    pub(crate) dtype: DType,
    pub(crate) device: Device,
    /// Counts the memory of all caches of the model.
    pub(crate) memory: Arc<KvMemory>,
}

/// The keys and values of one layer of a sequence.
///
/// A pass writes those of new positions, and [commits](Self::commit) them at its end; until then they do not count,
/// and [`Self::rollback`] drops them.
#[derive(Debug, Clone)]
pub(crate) struct KvState {
    shape: KvShape,
    store: Store,
    /// Positions that count.
    len: usize,
}

#[derive(Debug, Clone)]
enum Store {
    /// In pages for the attention kernels, on the CPU.
    Pages(KvCache),
    /// On another device, each `kv_heads × capacity × head_dim`. They grow by doubling.
    Tensors { keys: Tensor, values: Tensor },
}

impl KvShape {
    /// Bytes of a page of this layer; 0 where there are no pages.
    pub(super) fn page_bytes(&self) -> usize {
        match self.device.is_cpu() {
            true => KvCache::page_bytes_of(self.dtype, self.kv_heads, self.head_dim),
            false => 0,
        }
    }

    /// The first position that the query behind `len` positions sees.
    fn first_visible(&self, len: usize) -> usize {
        let window = self.window.unwrap_or(usize::MAX);
        (len + 1).saturating_sub(window)
    }

    /// Whether the query behind `len` positions sees any position below `end`.
    pub(super) fn sees_before(&self, len: usize, end: usize) -> bool {
        end > self.first_visible(len)
    }

    fn tensors(&self, capacity: usize) -> Result<Store> {
        let shape = (self.kv_heads, capacity, self.head_dim);
        let empty = || Tensor::zeros(shape, self.dtype, &self.device);
        Ok(Store::Tensors {
            keys: empty()?,
            values: empty()?,
        })
    }
}

impl KvState {
    /// Keys and values of no positions.
    pub(super) fn new(shape: KvShape) -> Result<Self> {
        let store = if shape.device.is_cpu() {
            let pages = KvCache::new(shape.dtype, shape.kv_heads, shape.head_dim, &shape.memory);
            match pages {
                Some(pages) => Store::Pages(pages),
                None => bail!("no keys and values can be kept in {:?}", shape.dtype),
            }
        } else {
            shape.tensors(0)?
        };
        Ok(Self {
            shape,
            store,
            len: 0,
        })
    }

    /// Positions that count.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Makes room for `count` more positions, of a sequence that will have `limit` at most.
    pub(super) fn reserve(&mut self, count: usize, limit: usize) -> Result<()> {
        let needed = self.len + count;
        match &mut self.store {
            Store::Pages(pages) => pages.reserve(needed),
            Store::Tensors { keys, .. } if needed <= keys.dim(1)? => {}
            Store::Tensors { keys, values } => {
                let capacity = needed
                    .next_multiple_of(BLOCK)
                    .max(2 * keys.dim(1)?)
                    .min(limit.max(needed));
                let grown = self.shape.tensors(capacity)?;
                if self.len > 0
                    && let Store::Tensors {
                        keys: new_keys,
                        values: new_values,
                    } = &grown
                {
                    let filled = |tensor: &Tensor| tensor.narrow(1, 0, self.len)?.contiguous();
                    new_keys.slice_set(&filled(keys)?, 1, 0)?;
                    new_values.slice_set(&filled(values)?, 1, 0)?;
                }
                self.store = grown;
            }
        }
        Ok(())
    }

    /// Writes keys and values of new positions on the CPU, rows of `kv_heads × head_dim`, behind those that count;
    /// returns all of them. Room for them was [reserved](Self::reserve).
    pub(super) fn write(&mut self, keys: Strided, values: Strided) -> Result<&KvCache> {
        match &mut self.store {
            Store::Pages(pages) => {
                pages.write(self.len, keys, values);
                Ok(pages)
            }
            Store::Tensors { .. } => bail!("keys and values that are not on the CPU"),
        }
    }

    /// What [`Self::write`] returned last in this pass.
    pub(super) fn written(&self) -> Result<&KvCache> {
        match &self.store {
            Store::Pages(pages) => Ok(pages),
            Store::Tensors { .. } => bail!("keys and values that are not on the CPU"),
        }
    }

    /// Like [`Self::write`], on other devices, with tensors `rows × kv_heads × head_dim`.
    pub(super) fn append(&self, keys: &Tensor, values: &Tensor) -> Result<()> {
        let Store::Tensors {
            keys: all_keys,
            values: all_values,
        } = &self.store
        else {
            bail!("keys and values that are on the CPU");
        };
        let by_head = |tensor: &Tensor| tensor.transpose(0, 1)?.contiguous();
        all_keys.slice_set(&by_head(keys)?, 1, self.len)?;
        all_values.slice_set(&by_head(values)?, 1, self.len)
    }

    /// All keys and values from position `from` on, `kv_heads × positions × head_dim`, `rows` appended ones included.
    pub(super) fn appended(&self, from: usize, rows: usize) -> Result<(Tensor, Tensor)> {
        let Store::Tensors { keys, values } = &self.store else {
            bail!("keys and values that are on the CPU");
        };
        let count = self.len + rows - from;
        Ok((keys.narrow(1, from, count)?, values.narrow(1, from, count)?))
    }

    /// Counts `count` new positions, and drops pages that the window does not show any more.
    pub(super) fn commit(&mut self, count: usize) {
        self.len += count;
        if let (Store::Pages(pages), Some(window)) = (&mut self.store, self.shape.window) {
            pages.drop_before(self.len.saturating_sub(window + SLACK));
        }
    }

    /// Drops what was written and not committed.
    pub(super) fn rollback(&mut self) {
        self.truncate(self.len);
    }

    /// Whether all that the window shows behind `len` positions is there.
    pub(super) fn can_truncate(&self, len: usize) -> bool {
        match &self.store {
            Store::Pages(pages) => pages.start() <= self.shape.first_visible(len),
            Store::Tensors { .. } => true,
        }
    }

    /// Drops the positions from `len` on.
    pub(super) fn truncate(&mut self, len: usize) {
        self.len = len;
        if let Store::Pages(pages) = &mut self.store {
            pages.truncate(len);
        }
    }

    /// A copy that grows on its own and shares the pages.
    pub(super) fn fork(&self) -> Result<Self> {
        let store = match &self.store {
            Store::Pages(pages) => Store::Pages(pages.clone()),
            Store::Tensors { keys, values } => Store::Tensors {
                keys: keys.copy()?,
                values: values.copy()?,
            },
        };
        Ok(Self {
            shape: self.shape.clone(),
            store,
            len: self.len,
        })
    }

    /// A page, to be shared: weakly where the window will drop it. `None` where there is none.
    pub(super) fn share_page(&self, index: usize) -> Option<Held> {
        let Store::Pages(pages) = &self.store else {
            return None;
        };
        pages.page(index).map(|page| match self.shape.window {
            None => Held::Strong(page.clone()),
            Some(_) => Held::Weak(Arc::downgrade(page)),
        })
    }

    /// Takes a page with the same contents from another sequence.
    pub(super) fn replace_page(&mut self, index: usize, page: Arc<KvPage>) {
        if let Store::Pages(pages) = &mut self.store {
            pages.replace_page(index, page);
        }
    }

    /// Takes over pages of another sequence behind the first `aligned` positions, a multiple of a page, so that `len`
    /// positions count.
    pub(super) fn adopt(
        &mut self,
        aligned: usize,
        adopted: impl Iterator<Item = Option<Arc<KvPage>>>,
        len: usize,
    ) {
        if let Store::Pages(pages) = &mut self.store {
            pages.truncate(aligned);
            for page in adopted {
                pages.push_page(page);
            }
            self.len = len;
        }
    }

    /// Bytes that `count` more positions take: pages that are missing, and a copy of the last one where it is shared.
    pub(super) fn bytes_for(&self, count: usize) -> usize {
        let Store::Pages(pages) = &self.store else {
            return 0;
        };
        let there = pages.capacity() / KV_PAGE;
        let missing = (self.len + count).div_ceil(KV_PAGE).saturating_sub(there);
        let last = pages.page(self.len / KV_PAGE);
        let copied = !self.len.is_multiple_of(KV_PAGE)
            && last.is_some_and(|page| Arc::strong_count(page) > 1);
        (missing + usize::from(copied)) * self.shape.page_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A state of tensors, such as other devices have, with room for no position yet.
    fn of_tensors() -> KvState {
        let shape = KvShape {
            kv_heads: 2,
            head_dim: 4,
            window: None,
            dtype: DType::F32,
            device: Device::Cpu,
            memory: Arc::default(),
        };
        KvState {
            store: shape.tensors(0).unwrap(),
            shape,
            len: 0,
        }
    }

    /// Keys or values of positions, each number of which says where it belongs.
    fn rows(first: usize, count: usize, more: usize) -> Tensor {
        let numbers = (first * 8..(first + count) * 8).map(|index| (index + more) as f32);
        Tensor::from_vec(numbers.collect::<Vec<_>>(), (count, 2, 4), &Device::Cpu).unwrap()
    }

    /// Appends positions, and returns what there is from `from` on.
    fn append(state: &mut KvState, count: usize, from: usize) -> (Tensor, Tensor) {
        let first = state.len();
        state.reserve(count, 1000).unwrap();
        let (keys, values) = (rows(first, count, 1), rows(first, count, 10_000));
        state.append(&keys, &values).unwrap();
        let all = state.appended(from, count).unwrap();
        state.commit(count);
        all
    }

    fn numbers(tensor: &Tensor) -> Vec<Vec<Vec<f32>>> {
        tensor.to_vec3().unwrap()
    }

    #[test]
    fn tensors_keep_what_was_appended_while_they_grow() {
        let mut state = of_tensors();
        for count in [3, 1, 300, 1] {
            append(&mut state, count, 0);
        }
        let mut fork = state.fork().unwrap();
        state.truncate(304);
        // What was not committed does not count.
        state.reserve(5, 1000).unwrap();
        state.append(&rows(700, 5, 0), &rows(700, 5, 0)).unwrap();
        state.rollback();
        for state in [&mut state, &mut fork] {
            let first = state.len();
            let (keys, values) = append(state, 2, first - 4);
            let by_head = |more| rows(first - 4, 6, more).transpose(0, 1).unwrap();
            assert_eq!(numbers(&keys), numbers(&by_head(1)));
            assert_eq!(numbers(&values), numbers(&by_head(10_000)));
        }
    }

    #[test]
    fn rolling_back_gives_pages_back() {
        let memory = Arc::<KvMemory>::default();
        let shape = KvShape {
            kv_heads: 1,
            head_dim: 4,
            window: None,
            dtype: DType::F32,
            device: Device::Cpu,
            memory: memory.clone(),
        };
        let page = shape.page_bytes();
        let mut state = KvState::new(shape).unwrap();
        state.reserve(KV_PAGE, 100).unwrap();
        state.commit(KV_PAGE);
        state.reserve(2, 100).unwrap();
        assert_eq!(memory.used(), 2 * page);
        state.rollback();
        assert_eq!((memory.used(), state.len()), (page, KV_PAGE));
    }
}
