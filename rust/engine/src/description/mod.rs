//! What a decoder-only transformer is made of, as data, and the names of its tensors.
//!
//! Each architecture fills a [`ModelDescription`] from the keys of a checkpoint; everything else (which tensors
//! must be there, what the engines compute, which configurations they refuse) is derived from it.

pub mod rope;

use rope::{Rope, RopeScaling};

/// Name of the embedding's tensor.
pub const EMBEDDING: &str = "model.embed_tokens.weight";

/// Name of the output projection's tensor.
pub const HEAD: &str = "lm_head.weight";

/// More layers than any model has; what exceeds it is a damaged file.
pub const LAYER_LIMIT: usize = 4096;

/// Most experts of a layer. Published models have up to some hundred.
pub const EXPERT_LIMIT: usize = 16_384;

/// The description of one model.
#[derive(Debug, Clone, PartialEq)]
pub struct ModelDescription {
    /// Name of the architecture in the table, such as `llama`.
    pub architecture: &'static str,
    /// Rows of the embedding.
    pub vocab_size: usize,
    /// Width of the residual stream.
    pub hidden_size: usize,
    /// Query heads of every layer.
    pub num_heads: usize,
    /// Key and value heads of every layer; divides `num_heads`.
    pub num_kv_heads: usize,
    /// Width of one head.
    pub head_dim: usize,
    /// The ε inside every RMSNorm.
    pub rms_norm_eps: f64,
    /// The non-linearity of the feed-forward blocks.
    pub activation: Activation,
    /// Positions that the file names; [`ModelDescription::max_context`] is the longest context.
    pub max_position_embeddings: usize,
    /// Rotary position embedding, the same in all layers.
    pub rope: Rope,
    /// Whether the output projection is the embedding matrix.
    pub tie_word_embeddings: bool,
    /// The layers, first to last.
    pub layers: Vec<LayerDescription>,
}

/// The description of one layer.
#[derive(Debug, Clone, PartialEq)]
pub struct LayerDescription {
    /// How many positions a query sees, itself included; all earlier ones when `None`.
    pub window: Option<usize>,
    /// Whether the projections to queries, keys and values have biases.
    pub qkv_bias: bool,
    /// Whether the projection behind the attention has a bias.
    pub output_bias: bool,
    /// Whether queries and keys are normalised per head before the rotation.
    pub qk_norm: bool,
    /// The block behind the attention.
    pub feed_forward: FeedForward,
}

/// The block behind the attention.
#[derive(Debug, Clone, PartialEq)]
pub enum FeedForward {
    /// `down(act(gate(x)) · up(x))`.
    Dense {
        /// Width of gate and up.
        intermediate_size: usize,
        /// Whether the three projections have biases.
        bias: bool,
    },
    /// A router picks a few of many such blocks for each token.
    Experts {
        /// Width of gate and up of one expert.
        intermediate_size: usize,
        /// How many there are.
        num_experts: usize,
        /// How many run for a token.
        experts_per_token: usize,
        /// Whether the weights of the chosen ones are scaled to sum to 1.
        normalise_top_k: bool,
    },
}

/// The non-linearity between the projections of a feed-forward block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Activation {
    /// `x · sigmoid(x)`, also called swish.
    Silu,
    /// `x · Φ(x)`, exactly.
    Gelu,
    /// GELU by its tanh approximation.
    GeluTanh,
    /// `max(x, 0)`.
    Relu,
}

impl ModelDescription {
    /// The longest context, rotary scaling counted.
    pub fn max_context(&self) -> usize {
        self.rope.scaling.max_context(self.max_position_embeddings)
    }

    /// The context that the model was published for. Files with a linear factor have it in
    /// `max_position_embeddings` already, though nothing fails up to [`max_context`](Self::max_context).
    pub fn published_context(&self) -> usize {
        match self.rope.scaling {
            RopeScaling::Linear { .. } => self.max_position_embeddings,
            _ => self.max_context(),
        }
    }

    /// Width of all query heads together.
    pub fn query_size(&self) -> usize {
        self.num_heads * self.head_dim
    }

    /// Width of all key heads together, and of all value heads.
    pub fn kv_size(&self) -> usize {
        self.num_kv_heads * self.head_dim
    }

    /// Every tensor that the model reads, with its shape, in the order of the forward pass.
    ///
    /// Lazy, so that a configuration of a billion layers costs nothing before its first missing
    /// tensor is found.
    pub fn tensors(&self) -> impl Iterator<Item = (String, Vec<usize>)> + '_ {
        let head = (!self.tie_word_embeddings)
            .then(|| (HEAD.into(), vec![self.vocab_size, self.hidden_size]));
        std::iter::once((EMBEDDING.into(), vec![self.vocab_size, self.hidden_size]))
            .chain(
                self.layers
                    .iter()
                    .enumerate()
                    .flat_map(|(index, layer)| self.layer_tensors(index, layer)),
            )
            .chain([("model.norm.weight".into(), vec![self.hidden_size])])
            .chain(head)
    }

    fn layer_tensors(&self, index: usize, layer: &LayerDescription) -> Vec<(String, Vec<usize>)> {
        let (hidden, query, kv) = (self.hidden_size, self.query_size(), self.kv_size());
        let mut tensors = Vec::new();
        let mut add = |name: String, shape: Vec<usize>| {
            tensors.push((format!("model.layers.{index}.{name}"), shape));
        };
        add("input_layernorm.weight".into(), vec![hidden]);
        for (name, rows) in [("q", query), ("k", kv), ("v", kv)] {
            add(format!("self_attn.{name}_proj.weight"), vec![rows, hidden]);
            if layer.qkv_bias {
                add(format!("self_attn.{name}_proj.bias"), vec![rows]);
            }
        }
        if layer.qk_norm {
            add("self_attn.q_norm.weight".into(), vec![self.head_dim]);
            add("self_attn.k_norm.weight".into(), vec![self.head_dim]);
        }
        add("self_attn.o_proj.weight".into(), vec![hidden, query]);
        if layer.output_bias {
            add("self_attn.o_proj.bias".into(), vec![hidden]);
        }
        add("post_attention_layernorm.weight".into(), vec![hidden]);
        match &layer.feed_forward {
            FeedForward::Dense {
                intermediate_size,
                bias,
            } => {
                for (name, shape) in mlp(*intermediate_size, hidden) {
                    if *bias {
                        add(format!("mlp.{name}.bias"), vec![shape[0]]);
                    }
                    add(format!("mlp.{name}.weight"), shape);
                }
            }
            FeedForward::Experts {
                intermediate_size,
                num_experts,
                ..
            } => {
                add("mlp.gate.weight".into(), vec![*num_experts, hidden]);
                for expert in 0..*num_experts {
                    for (name, shape) in mlp(*intermediate_size, hidden) {
                        add(format!("mlp.experts.{expert}.{name}.weight"), shape);
                    }
                }
            }
        }
        tensors
    }
}

fn mlp(intermediate: usize, hidden: usize) -> [(&'static str, Vec<usize>); 3] {
    [
        ("gate_proj", vec![intermediate, hidden]),
        ("up_proj", vec![intermediate, hidden]),
        ("down_proj", vec![hidden, intermediate]),
    ]
}
