//! What a sequence keeps: its tokens, and the state of each layer.

use std::ops::Range;
use std::sync::Arc;

use candle_core::Result;
use candle4j_kernels::KV_PAGE;

use super::kv_state::{KvShape, KvState};
use super::prefix::{Found, Node, PrefixTree};
use super::recurrent::{Checkpoint, RecurrentShape, RecurrentState};

/// Positions between two checkpoints of a prompt, at least.
const CHECKPOINT_GAP: usize = 256;

/// Most checkpoints of a sequence; of more, the one that is missed least is given up.
const MOST_CHECKPOINTS: usize = 8;

/// The states of all layers of one sequence, and the tokens that they have taken.
///
/// A pass [reserves](Self::reserve) room, lets each layer write, and [commits](Self::commit) at its end; one that fails
/// [rolls back](Self::rollback).
#[derive(Debug)]
pub(crate) struct SequenceCache {
    layers: Vec<KvState>,
    /// Of the recurrent layers.
    recurrent: Vec<RecurrentState>,
    /// Where recurrent layers can go back to, ascending.
    checkpoints: Vec<Kept>,
    /// Behind how many rows of the pass there will be others, ascending.
    planned: Vec<usize>,
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

/// A checkpoint of a sequence.
#[derive(Debug, Clone)]
struct Kept {
    at: Arc<Checkpoint>,
    /// Where others find it, when it is not at the end of a page.
    _node: Option<Arc<Node>>,
}

/// The shapes of all layers.
#[derive(Debug, Clone)]
pub(crate) struct CacheShape {
    /// Of those with attention.
    pub(crate) layers: Arc<[KvShape]>,
    /// Of the recurrent ones.
    pub(crate) recurrent: Arc<[RecurrentShape]>,
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
            recurrent: Vec::new(),
            checkpoints: Vec::new(),
            planned: Vec::new(),
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

    /// The state of a recurrent layer, during a pass.
    pub(super) fn recurrent(&mut self, index: usize) -> &mut RecurrentState {
        &mut self.recurrent[index]
    }

    /// The parts in which recurrent layers take the rows of a pass: up to each checkpoint, and behind the last.
    pub(super) fn parts(&self, count: usize) -> Vec<Range<usize>> {
        let ends = self.planned.iter().copied().chain([count]);
        let starts = [0].into_iter().chain(self.planned.iter().copied());
        let parts = starts.zip(ends).map(|(start, end)| start..end);
        parts.filter(|part| !part.is_empty()).collect()
    }

    /// Keeps the state of a recurrent layer where there is to be a checkpoint behind so many rows.
    pub(super) fn keep_at(&mut self, index: usize, rows: usize) {
        if self.planned.contains(&rows) {
            self.recurrent[index].keep();
        }
    }

    /// Plans the checkpoints of a pass of so many tokens of a prompt: now and then, at the end of a page, and before its
    /// last token, which whoever has the same prompt computes for its logits.
    pub(crate) fn plan_checkpoints(&mut self, count: usize, ends_prompt: bool) {
        self.planned.clear();
        if self.shape.recurrent.is_empty() || count < 2 {
            return;
        }
        let (start, end) = (self.len(), self.len() + count);
        let mut last = self.checkpoints.last().map_or(0, |last| last.at.len);
        let behind_start = (start + 1).next_multiple_of(KV_PAGE);
        for place in (behind_start..end).step_by(KV_PAGE) {
            if place >= last + CHECKPOINT_GAP {
                self.planned.push(place - start);
                last = place;
            }
        }
        if ends_prompt && self.planned.last() != Some(&(count - 1)) {
            self.planned.push(count - 1);
        }
    }

    /// Whether no layer has a state yet.
    fn is_new(&self) -> bool {
        self.layers.is_empty() && self.recurrent.is_empty()
    }

    /// Adds a checkpoint behind the others.
    fn add_checkpoint(&mut self, at: Arc<Checkpoint>, node: Option<Arc<Node>>) {
        self.checkpoints.retain(|known| known.at.len < at.len);
        self.checkpoints.push(Kept { at, _node: node });
        if self.checkpoints.len() > MOST_CHECKPOINTS {
            let place = |index: usize| self.checkpoints[index].at.len;
            let gap = |index: &usize| {
                let before = index.checked_sub(1).map_or(0, place);
                place(index + 1) - before
            };
            let least = (0..self.checkpoints.len() - 1).min_by_key(gap).unwrap_or(0);
            self.checkpoints.remove(least);
        }
    }

    /// The checkpoints of a pass that began behind `start` positions.
    fn commit_recurrent(&mut self, start: usize) {
        let mut kept: Vec<_> = self
            .recurrent
            .iter_mut()
            .map(|state| state.commit().into_iter())
            .collect();
        for rows in std::mem::take(&mut self.planned) {
            let snapshots: Option<Vec<_>> = kept.iter_mut().map(Iterator::next).collect();
            let Some(snapshots) = snapshots else {
                continue;
            };
            let len = start + rows;
            let at = Arc::new(Checkpoint { len, snapshots });
            // One at the end of a page comes with that page.
            let node = match len % KV_PAGE {
                0 => None,
                count if self.shares && self.chain.len() >= len / KV_PAGE => {
                    let node = self.insert(len / KV_PAGE, count);
                    node.inspect(|node| node.set_checkpoint(&at))
                }
                _ => None,
            };
            self.add_checkpoint(at, node);
        }
    }

    /// Goes back to a checkpoint, or on to one of another sequence.
    fn restore(&mut self, checkpoint: &Checkpoint) {
        for (state, snapshot) in self.recurrent.iter_mut().zip(&checkpoint.snapshots) {
            state.restore(snapshot.clone());
        }
    }

    /// The state of a layer with attention, during a pass.
    pub(super) fn layer(&mut self, index: usize) -> &mut KvState {
        &mut self.layers[index]
    }

    /// Forgets all positions from `len` on and gives their memory back. It forgets all when a layer has
    /// dropped what its window would show behind `len`, and those behind the last checkpoint where there are recurrent
    /// layers, so ask [`Self::len`] what is left.
    pub(crate) fn truncate(&mut self, len: usize) {
        if len >= self.len().max(1) {
            return;
        }
        let mut len = len;
        self.checkpoints.retain(|kept| kept.at.len <= len);
        if !self.recurrent.is_empty() {
            len = self.checkpoints.last().map_or(0, |last| last.at.len);
        }
        let possible = self.layers.iter().all(|layer| layer.can_truncate(len));
        let len = if possible { len } else { 0 };
        self.tail = None;
        self.tokens.truncate(len);
        self.chain.truncate(len / KV_PAGE);
        if len == 0 {
            self.layers.clear();
            self.recurrent.clear();
            self.checkpoints.clear();
            self.shares = true;
            return;
        }
        if let Some(last) = self.checkpoints.last() {
            let at = last.at.clone();
            self.restore(&at);
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
            recurrent: self.recurrent.iter().map(RecurrentState::fork).collect(),
            checkpoints: self.checkpoints.clone(),
            planned: Vec::new(),
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
        if self.is_new() {
            let layers = self.shape.layers.iter().cloned().map(KvState::new);
            self.layers = layers.collect::<Result<_>>()?;
            let recurrent = self.shape.recurrent.iter().cloned();
            self.recurrent = recurrent.map(RecurrentState::new).collect();
        }
        for layer in &mut self.layers {
            layer.reserve(count, self.limit)?;
        }
        Ok(())
    }

    /// Counts the positions of tokens, which all layers have written, and shares full pages with other sequences.
    pub(crate) fn commit(&mut self, tokens: &[u32]) {
        let start = self.len();
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
        self.commit_recurrent(start);
        for Kept { at, .. } in &self.checkpoints {
            if at.len > start
                && at.len.is_multiple_of(KV_PAGE)
                && let Some(node) = self.chain.get(at.len / KV_PAGE - 1)
            {
                node.set_checkpoint(at);
            }
        }
    }

    /// Drops what layers have written since the last [`Self::commit`].
    pub(crate) fn rollback(&mut self) {
        self.planned.clear();
        for layer in &mut self.layers {
            layer.rollback();
        }
        for layer in &mut self.recurrent {
            layer.rollback();
        }
    }

    /// Puts a page of so many positions into the tree; `None` where layers have none.
    fn insert(&self, index: usize, count: usize) -> Option<Arc<Node>> {
        let pages = self.layers.iter().map(|layer| layer.share_page(index));
        let tokens = &self.tokens[index * KV_PAGE..][..count];
        let pages = pages.collect::<Option<Vec<_>>>()?;
        let parent = index.checked_sub(1).map(|parent| &self.chain[parent]);
        Some(self.shape.tree.insert(parent, tokens, pages))
    }

    /// Puts a page whose positions are all that it has into the tree.
    fn publish(&mut self, index: usize, count: usize) -> Option<Arc<Node>> {
        let node = self.insert(index, count)?;
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
        if !self.recurrent.is_empty() && self.len() > 0 {
            let snapshots = self.recurrent.iter().map(RecurrentState::current);
            let at = Arc::new(Checkpoint {
                len: self.len(),
                snapshots: snapshots.collect(),
            });
            if let Some(node) = self.end_node(count) {
                node.set_checkpoint(&at);
            }
            self.add_checkpoint(at, None);
        }
    }

    /// The node at the end, whose page has `count` positions; 0 for a full one.
    fn end_node(&self, count: usize) -> Option<&Arc<Node>> {
        match count {
            0 if self.shares => self.chain.last(),
            0 => None,
            _ => self.tail.as_ref(),
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
        let (parent, tree) = (self.chain.last().cloned(), &self.shape.tree);
        let (found, checkpoint) = match self.shape.recurrent.is_empty() {
            true => (tree.find(parent, &tokens), None),
            false => match tree.find_checkpoint(parent, &tokens) {
                Some((found, checkpoint)) => (found, Some(checkpoint)),
                None => return 0,
            },
        };
        let Found { full, partial } = found;
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
        if misses || (self.is_new() && self.reserve(0).is_err()) {
            return 0;
        }
        if let Some(checkpoint) = checkpoint {
            self.restore(&checkpoint);
            let node = partial.as_ref().map(|(node, _)| node.clone());
            self.add_checkpoint(checkpoint, node);
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
        match self.is_new() {
            true => {
                let states: usize = self.shape.recurrent.iter().map(RecurrentShape::bytes).sum();
                // One that counts, one that is written, and a checkpoint.
                count.div_ceil(KV_PAGE) * self.shape.page_bytes() + 3 * states
            }
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
