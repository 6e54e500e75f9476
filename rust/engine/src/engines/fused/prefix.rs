//! Beginnings that the sequences of one model share (as vLLM's prefix caching, by pages).
//!
//! Every full page of a sequence is a node of a tree: the tokens of its positions below the node of the page
//! before it. A sequence whose prompt begins like another that is alive takes its pages over instead of
//! computing them. The tree holds no page alive by itself: with its last sequence a node is gone.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use super::recurrent::Checkpoint;

use candle4j_kernels::{KV_PAGE, KvPage};

type Children = HashMap<Box<[u32]>, Weak<Node>>;

/// The tree of one model.
#[derive(Debug, Default)]
pub(crate) struct PrefixTree {
    roots: Mutex<Children>,
}

/// A page of all layers, and where it belongs.
#[derive(Debug)]
pub(super) struct Node {
    tree: Arc<PrefixTree>,
    parent: Option<Arc<Node>>,
    /// As many as the page has positions, or fewer at the end of a sequence.
    tokens: Box<[u32]>,
    pages: Vec<Held>,
    /// The states of recurrent layers behind its last position, while a sequence keeps them.
    checkpoint: Mutex<Weak<Checkpoint>>,
    children: Mutex<Children>,
}

/// A page of one layer.
#[derive(Debug)]
pub(super) enum Held {
    /// Of a layer that sees all positions.
    Strong(Arc<KvPage>),
    /// Of a layer with a window, which gives its pages up.
    Weak(Weak<KvPage>),
}

/// A beginning that was found.
pub(super) struct Found {
    /// Its full pages, one below the other.
    pub(super) full: Vec<Arc<Node>>,
    /// A page below those that begins like what is left, with how many positions of it do.
    pub(super) partial: Option<(Arc<Node>, usize)>,
}

impl Held {
    fn page(&self) -> Option<Arc<KvPage>> {
        match self {
            Held::Strong(page) => Some(page.clone()),
            Held::Weak(page) => page.upgrade(),
        }
    }
}

impl Node {
    /// The page of each layer, as far as it is still there.
    pub(super) fn pages(&self) -> impl Iterator<Item = Option<Arc<KvPage>>> {
        self.pages.iter().map(Held::page)
    }

    /// Lets others find the states behind its last position, unless they find some already.
    pub(super) fn set_checkpoint(&self, checkpoint: &Arc<Checkpoint>) {
        let mut place = self
            .checkpoint
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if place.strong_count() == 0 {
            *place = Arc::downgrade(checkpoint);
        }
    }

    fn checkpoint(&self) -> Option<Arc<Checkpoint>> {
        let place = self
            .checkpoint
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        place.upgrade()
    }
}

impl Node {
    /// Takes its place below its parent away.
    fn unlink(&self) {
        let mut siblings = self.tree.children(self.parent.as_deref());
        // Another one may have taken the place.
        if siblings
            .get(&self.tokens)
            .is_some_and(|node| node.strong_count() == 0)
        {
            siblings.remove(&self.tokens);
        }
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.unlink();
        // One after the other: parents that are dropped by their children, as deep as a context is long, would
        // overflow the stack.
        let mut parent = self.parent.take();
        while let Some(mut node) = parent.and_then(Arc::into_inner) {
            node.unlink();
            parent = node.parent.take();
        }
    }
}

impl PrefixTree {
    fn children<'a>(&'a self, parent: Option<&'a Node>) -> MutexGuard<'a, Children> {
        let children = parent.map_or(&self.roots, |node| &node.children);
        children.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The node of these tokens below `parent`: the one that is there, else a new one with these pages.
    pub(super) fn insert(
        self: &Arc<Self>,
        parent: Option<&Arc<Node>>,
        tokens: &[u32],
        pages: Vec<Held>,
    ) -> Arc<Node> {
        let mut children = self.children(parent.map(Arc::as_ref));
        if let Some(node) = children.get(tokens).and_then(Weak::upgrade) {
            return node;
        }
        let node = Arc::new(Node {
            tree: self.clone(),
            parent: parent.cloned(),
            tokens: tokens.into(),
            pages,
            checkpoint: Mutex::default(),
            children: Mutex::default(),
        });
        children.insert(tokens.into(), Arc::downgrade(&node));
        node
    }

    /// What there is below `parent` of `tokens`.
    pub(super) fn find(&self, parent: Option<Arc<Node>>, mut tokens: &[u32]) -> Found {
        let mut parent = parent;
        let mut full = Vec::new();
        while tokens.len() >= KV_PAGE {
            let (page, rest) = tokens.split_at(KV_PAGE);
            let child = self
                .children(parent.as_deref())
                .get(page)
                .and_then(Weak::upgrade);
            let Some(child) = child else {
                break;
            };
            full.push(child.clone());
            parent = Some(child);
            tokens = rest;
        }
        let partial = self
            .children(parent.as_deref())
            .iter()
            .map(|(page, node)| {
                (
                    page.iter().zip(tokens).take_while(|(a, b)| a == b).count(),
                    node,
                )
            })
            .filter(|(count, _)| *count > 0)
            .max_by_key(|(count, _)| *count)
            .and_then(|(count, node)| Some((node.upgrade()?, count)));
        Found { full, partial }
    }

    /// What there is below `parent` of `tokens` up to the last states of recurrent layers, and these.
    pub(super) fn find_checkpoint(
        &self,
        parent: Option<Arc<Node>>,
        mut tokens: &[u32],
    ) -> Option<(Found, Arc<Checkpoint>)> {
        let mut parent = parent;
        let mut full: Vec<Arc<Node>> = Vec::new();
        let mut best = None;
        loop {
            let (short, child) = {
                let children = self.children(parent.as_deref());
                let short: Vec<Arc<Node>> = children
                    .iter()
                    .filter(|(page, _)| page.len() < KV_PAGE && tokens.starts_with(page))
                    .filter_map(|(_, node)| node.upgrade())
                    .collect();
                let page = tokens.get(..KV_PAGE);
                let child = page.and_then(|page| children.get(page));
                (short, child.and_then(Weak::upgrade))
            };
            // Looked at and dropped after the lock is free: the last owner of a node takes the lock to unlink it.
            let partial = short
                .into_iter()
                .filter_map(|node| Some((node.tokens.len(), node.checkpoint()?, node)))
                .max_by_key(|(count, _, _)| *count);
            if let Some((count, checkpoint, node)) = partial {
                best = Some((full.len(), Some((node, count)), checkpoint));
            }
            let Some(child) = child else {
                break;
            };
            full.push(child.clone());
            if let Some(checkpoint) = child.checkpoint() {
                best = Some((full.len(), None, checkpoint));
            }
            parent = Some(child);
            tokens = &tokens[KV_PAGE..];
        }
        let (count, partial, checkpoint) = best?;
        full.truncate(count);
        Some((Found { full, partial }, checkpoint))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn searching_does_not_block_while_nodes_are_dropped() {
        let tree = Arc::new(PrefixTree::default());
        let (done, wait) = std::sync::mpsc::channel();
        for inserts in [true, false] {
            let (tree, done) = (tree.clone(), done.clone());
            std::thread::spawn(move || {
                for _ in 0..1_000_000 {
                    match inserts {
                        true => drop(tree.insert(None, &[1, 2], Vec::new())),
                        false => assert!(tree.find_checkpoint(None, &[1, 2, 3]).is_none()),
                    }
                }
                done.send(())
            });
        }
        for _ in 0..2 {
            let limit = std::time::Duration::from_secs(60);
            wait.recv_timeout(limit).expect("threads that end");
        }
    }

    #[test]
    fn k3_a_chain_as_long_as_a_context_is_dropped_on_a_small_stack() {
        const LENGTH: u32 = 100_000;
        let tree = Arc::new(PrefixTree::default());
        let thread = std::thread::Builder::new().stack_size(64 << 10);
        let own = tree.clone();
        let dropping = thread.spawn(move || {
            let mut last: Option<Arc<Node>> = None;
            for token in 0..LENGTH {
                last = Some(own.insert(last.as_ref(), &[token], Vec::new()));
            }
        });
        dropping.unwrap().join().unwrap();
        assert!(tree.children(None).is_empty());
    }
}
