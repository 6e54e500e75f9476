//! What a sequence keeps: its tokens, and the state of each layer.

use std::sync::Arc;

use candle_core::Result;
use candle4j_kernels::KV_PAGE;

use super::kv_state::{KvShape, KvState};
use super::prefix::{Found, Node, PrefixTree};

/// The states of all layers of one sequence, and the tokens that they have taken.
///
/// A pass [reserves](Self::reserve) room, lets each layer write, and [commits](Self::commit) at its end; one that fails
/// [rolls back](Self::rollback).
#[derive(Debug)]
pub(crate) struct SequenceCache {
    layers: Vec<KvState>,
    shape: CacheShape,
    /// Most positions there will ever be.
    limit: usize,
    /// The tokens that count.
    tokens: Vec<u32>,
    /// Whether keys depend on their own tokens and positions alone, so that others may use them.
    shares: bool,
    /// The nodes of the full pages.
    chain: Vec<Arc<Node>>,
    /// The node of the page at the end, while nothing is written.
    tail: Option<Arc<Node>>,
}

/// The shapes of all layers.
#[derive(Debug, Clone)]
pub(crate) struct CacheShape {
    pub(crate) layers: Arc<[KvShape]>,
    /// What the sequences of the model share.
    pub(crate) tree: Arc<PrefixTree>,
}

impl CacheShape {
    /// Bytes of one page in every layer; 0 on devices without pages.
    fn page_bytes(&self) -> usize {
        self.layers.iter().map(KvShape::page_bytes).sum()
    }
}

impl SequenceCache {
    /// An empty cache of up to `limit` positions, which takes no memory yet.
    pub(crate) fn new(shape: CacheShape, limit: usize) -> Self {
        Self {
            layers: Vec::new(),
            shape,
            limit,
            tokens: Vec::new(),
            shares: true,
            chain: Vec::new(),
            tail: None,
        }
    }

    /// Positions in the cache.
    pub(crate) fn len(&self) -> usize {
        self.tokens.len()
    }

    /// The state of a layer, during a pass.
    pub(super) fn layer(&mut self, index: usize) -> &mut KvState {
        &mut self.layers[index]
    }

    /// Forgets all positions from `len` on and gives their memory back. It forgets all when a layer has
    /// dropped what its window would show behind `len`, so ask [`Self::len`] what is left.
    pub(crate) fn truncate(&mut self, len: usize) {
        if len >= self.len().max(1) {
            return;
        }
        let possible = self.layers.iter().all(|layer| layer.can_truncate(len));
        let len = if possible { len } else { 0 };
        self.tail = None;
        self.tokens.truncate(len);
        self.chain.truncate(len / KV_PAGE);
        if len == 0 {
            self.layers.clear();
            self.shares = true;
            return;
        }
        for layer in &mut self.layers {
            layer.truncate(len);
        }
    }

    /// A copy that grows on its own and shares the memory of what is there.
    pub(crate) fn fork(&self) -> Result<Self> {
        Ok(Self {
            layers: self
                .layers
                .iter()
                .map(KvState::fork)
                .collect::<Result<_>>()?,
            shape: self.shape.clone(),
            limit: self.limit,
            tokens: self.tokens.clone(),
            shares: self.shares,
            chain: self.chain.clone(),
            tail: self.tail.clone(),
        })
    }

    /// Makes room for `count` more positions in every layer.
    pub(crate) fn reserve(&mut self, count: usize) -> Result<()> {
        if self.layers.is_empty() {
            let layers = self.shape.layers.iter().cloned().map(KvState::new);
            self.layers = layers.collect::<Result<_>>()?;
        }
        for layer in &mut self.layers {
            layer.reserve(count, self.limit)?;
        }
        Ok(())
    }

    /// Counts the positions of tokens, which all layers have written, and shares full pages with other sequences.
    pub(crate) fn commit(&mut self, tokens: &[u32]) {
        self.tokens.extend_from_slice(tokens);
        for layer in &mut self.layers {
            layer.commit(tokens.len());
        }
        while self.shares && (self.chain.len() + 1) * KV_PAGE <= self.len() {
            let Some(node) = self.publish(self.chain.len(), KV_PAGE) else {
                self.shares = false;
                break;
            };
            self.chain.push(node);
        }
    }

    /// Drops what layers have written since the last [`Self::commit`].
    pub(crate) fn rollback(&mut self) {
        for layer in &mut self.layers {
            layer.rollback();
        }
    }

    /// Puts a page of so many positions into the tree; `None` where layers have none.
    fn publish(&mut self, index: usize, count: usize) -> Option<Arc<Node>> {
        let pages = self.layers.iter().map(|layer| layer.share_page(index));
        let tokens = &self.tokens[index * KV_PAGE..][..count];
        let pages = pages.collect::<Option<Vec<_>>>()?;
        let node = self.shape.tree.insert(self.chain.last(), tokens, pages);
        // Another sequence may have computed the same: one copy is enough.
        for (layer, page) in self.layers.iter_mut().zip(node.pages()) {
            if let Some(page) = page {
                layer.replace_page(index, page);
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
        let count = self.len() % KV_PAGE;
        if self.shares && count > 0 {
            self.tail = self.publish(self.len() / KV_PAGE, count);
        }
    }

    /// The opposite of [`Self::rest`].
    pub(crate) fn wake(&mut self) {
        self.tail = None;
    }

    /// Takes over what another sequence has computed of the tokens that come `next`. Answers with how many
    /// they are.
    pub(crate) fn adopt(&mut self, next: &[u32]) -> usize {
        if !self.shares || self.shape.page_bytes() == 0 {
            return 0;
        }
        let aligned = self.chain.len() * KV_PAGE;
        let tokens = [&self.tokens[aligned..], next].concat();
        let Found { full, partial } = self.shape.tree.find(self.chain.last().cloned(), &tokens);
        let more = partial.as_ref().map_or(0, |(_, count)| *count);
        let len = aligned + full.len() * KV_PAGE + more;
        if len <= self.len() {
            return 0;
        }
        let gained = len - self.len();
        let nodes = full.iter().chain(partial.iter().map(|(node, _)| node));
        // The pages of each node, one a layer.
        let pages: Vec<Vec<_>> = nodes.map(|node| node.pages().collect()).collect();
        let misses = self.shape.layers.iter().enumerate().any(|(layer, shape)| {
            pages.iter().enumerate().any(|(index, pages)| {
                let end = aligned + (index + 1) * KV_PAGE;
                pages[layer].is_none() && shape.sees_before(len, end)
            })
        });
        if misses || (self.layers.is_empty() && self.reserve(0).is_err()) {
            return 0;
        }
        for (index, layer) in self.layers.iter_mut().enumerate() {
            let adopted = pages.iter().map(|pages| pages[index].clone());
            layer.adopt(aligned, adopted, len);
        }
        self.tail = None;
        self.tokens.truncate(aligned);
        self.tokens.extend_from_slice(&tokens[..len - aligned]);
        self.chain.extend(full);
        gained
    }

    /// Bytes that `count` more positions take.
    pub(crate) fn bytes_for(&self, count: usize) -> usize {
        match self.layers.is_empty() {
            true => count.div_ceil(KV_PAGE) * self.shape.page_bytes(),
            false => self.layers.iter().map(|layer| layer.bytes_for(count)).sum(),
        }
    }

    /// The page that comes next and its tokens, as far as they are among `next`: sequences for which it is
    /// the same compute the same. `None` where they could not take it over from each other.
    pub(crate) fn next_page(&self, next: &[u32]) -> Option<(usize, Vec<u32>)> {
        if !self.shares || self.shape.page_bytes() == 0 {
            return None;
        }
        let aligned = self.chain.len() * KV_PAGE;
        let behind = &self.tokens[aligned..];
        let page = [behind, &next[..next.len().min(KV_PAGE)]].concat();
        let parent = self.chain.last().map_or(0, |node| Arc::as_ptr(node).addr());
        Some((parent, page[..page.len().min(KV_PAGE)].to_vec()))
    }
}
