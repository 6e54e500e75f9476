//! What a decoder-only transformer is made of, as data, and the names of its tensors.
//!
//! Each architecture fills a [`ModelDescription`] from the keys of a checkpoint; everything else (which tensors
//! must be there, what the engines compute, which configurations they refuse) is derived from it.

pub mod encoder;
pub mod rope;

use std::ops::Range;

use rope::{Rope, RopeScaling};

/// Name of the embedding's tensor.
pub const EMBEDDING: &str = "model.embed_tokens.weight";

/// Name of the output projection's tensor.
pub const HEAD: &str = "lm_head.weight";

/// Name of the embedding's tensor that all layers' inputs come from.
pub const PER_LAYER_EMBEDDING: &str = "model.embed_tokens_per_layer.weight";

/// The norms of experts that have their own: in front of them, behind them, and behind the block beside them.
pub(crate) const OWN_NORMS: [&str; 3] = [
    "pre_feedforward_layernorm_2",
    "post_feedforward_layernorm_2",
    "post_feedforward_layernorm_1",
];

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
    /// Positions that the file names; [`ModelDescription::max_context`] is the longest context.
    pub max_position_embeddings: usize,
    /// The layers, first to last.
    pub layers: Vec<LayerDescription>,
    /// What the rows of the embedding are multiplied with.
    pub embedding_scale: f64,
    /// The norm behind the last layer.
    pub final_norm: Norm,
    /// What logits are multiplied with.
    pub logits_scale: f64,
    /// The bound that logits, once multiplied, approach by a hyperbolic tangent.
    pub logits_cap: Option<f64>,
    /// Whether the output projection is the embedding matrix.
    pub tie_word_embeddings: bool,
    /// What each layer is told of the tokens besides.
    pub per_layer_inputs: Option<PerLayerInputs>,
}

/// A vector for each layer and token, from an embedding of its own and from the model's: behind its blocks a layer adds
/// `norm(projection(act(gate(x)) · input))` (as in Gemma 4).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PerLayerInputs {
    /// Rows of the embedding.
    pub vocab_size: usize,
    /// Width of a vector.
    pub size: usize,
    /// The non-linearity.
    pub activation: Activation,
}

/// The description of one layer: `x += s · after(mixer(before(x)))`, then the same with the feed-forward block; or, where
/// both are parallel, `x += s · (mixer(before(x)) + feed_forward(before(x)))` with the norm before the mixer. One of the two
/// may be missing.
#[derive(Debug, Clone, PartialEq)]
pub struct LayerDescription {
    /// The norms around the mixer.
    pub mixer_norms: BlockNorms,
    /// What mixes positions.
    pub mixer: Mixer,
    /// The norms around the feed-forward block.
    pub feed_forward_norms: BlockNorms,
    /// What works on each position by itself.
    pub feed_forward: FeedForward,
    /// What the output of each of the two is multiplied with before it is added: the `s` above.
    pub residual_scale: f64,
    /// Whether both blocks read the same input.
    pub is_parallel: bool,
    /// Whether the residual stream behind the layer is multiplied with a number.
    pub has_scalar: bool,
}

/// The norms around a block.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct BlockNorms {
    /// Of its input.
    pub before: Option<Norm>,
    /// Of its output, before that is added to the residual stream.
    pub after: Option<Norm>,
}

impl BlockNorms {
    /// A norm of the input alone, as most families have it.
    pub fn before(norm: Norm) -> Self {
        Self {
            before: Some(norm),
            after: None,
        }
    }

    /// A norm of the output alone.
    pub fn after(norm: Norm) -> Self {
        Self {
            before: None,
            after: Some(norm),
        }
    }

    /// No norms.
    pub fn none() -> Self {
        Self {
            before: None,
            after: None,
        }
    }

    /// Norms of input and output.
    pub fn around(norm: Norm) -> Self {
        Self {
            before: Some(norm),
            after: Some(norm),
        }
    }
}

/// What mixes the positions of a sequence.
#[derive(Debug, Clone, PartialEq)]
pub enum Mixer {
    /// Attention over keys and values.
    Attention(Attention),
    /// A gated short convolution.
    ShortConv(ShortConv),
    /// The gated delta rule.
    DeltaNet(DeltaNet),
    /// A selective state space.
    StateSpace(StateSpace),
    /// Attention beside a selective state space.
    Parallel(Box<ParallelMixers>),
    /// Nothing: the layer is a feed-forward block alone.
    None,
}

/// Attention and a selective state space that read the same rows, and whose outputs are added (as in Falcon-H1).
#[derive(Debug, Clone, PartialEq)]
pub struct ParallelMixers {
    /// Attention over keys and values.
    pub attention: Attention,
    /// What its output is multiplied with.
    pub attention_scale: f64,
    /// A selective state space.
    pub space: StateSpace,
    /// What its output is multiplied with.
    pub space_scale: f64,
}

/// A selective state space behind a short convolution (Dao and Gu 2024, Mamba 2), whose answers are gated, and normed
/// before or after that.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct StateSpace {
    /// Heads of inputs.
    pub heads: usize,
    /// Width of a head.
    pub head_dim: usize,
    /// Heads with the same writes and reads, and with a norm together, are a group; divides `heads`.
    pub groups: usize,
    /// Width of writes and reads.
    pub state_dim: usize,
    /// Positions that the convolution sees, its own included.
    pub taps: usize,
    /// Whether the convolution has a bias.
    pub conv_bias: bool,
    /// Whether the projection of the input has a bias.
    pub bias: bool,
    /// Whether the projection of the output has one.
    pub output_bias: bool,
    /// The non-linearity behind the convolution. That of gates is SiLU.
    pub activation: Activation,
    /// The norm of each group, an RMS norm, if there is any.
    pub norm: Option<StateSpaceNorm>,
    /// What the projections to gates, inputs, writes, reads and time steps are multiplied with.
    pub scales: [f64; 5],
    /// Whether the decays are stored as `−exp(A)`, as GGUF files have them; else as `A`.
    pub has_decays: bool,
}

/// The norm of a state space.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct StateSpaceNorm {
    /// Its ε.
    pub eps: f64,
    /// Whether answers are normed and then gated; else first gated.
    pub is_before_gate: bool,
}

impl StateSpace {
    /// Width of all heads together.
    pub fn inner_size(&self) -> usize {
        self.heads * self.head_dim
    }

    /// The channels of the convolution: inputs, writes and reads.
    pub fn channels(&self) -> usize {
        self.inner_size() + 2 * self.groups * self.state_dim
    }

    /// Rows of the projection to gates, channels and time steps.
    pub fn projection_size(&self) -> usize {
        self.inner_size() + self.channels() + self.heads
    }
}

/// `output(c · conv(b · x))` with one projection to `b`, `c` and `x`, each as wide as the residual stream (Liquid AI
/// 2025, LFM2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ShortConv {
    /// Positions that the convolution sees, its own included.
    pub taps: usize,
    /// Whether projections and convolution have biases.
    pub bias: bool,
}

/// The rows of tensors of so many rows each in one that has them above each other.
pub(crate) fn stacked<const N: usize>(sizes: [usize; N]) -> [Vec<Range<usize>>; N] {
    let mut start = 0;
    sizes.map(|size| {
        start += size;
        std::iter::once(start - size..start).collect()
    })
}

/// The gated delta rule behind a short convolution (Yang et al. 2024, Gated DeltaNet).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct DeltaNet {
    /// Heads of queries and keys.
    pub key_heads: usize,
    /// Heads of values; a multiple of `key_heads`.
    pub value_heads: usize,
    /// Width of a head of queries and keys.
    pub key_dim: usize,
    /// Width of a head of values.
    pub value_dim: usize,
    /// Positions that the convolution sees, its own included.
    pub taps: usize,
    /// The ε of the norm of each head's answers.
    pub eps: f64,
    /// Whether the value heads of a key head are apart from each other, as many as there are key heads, as GGUF files
    /// have them; else they are neighbours.
    pub is_tiled: bool,
    /// Whether the decays are stored as `−exp(A)`, as GGUF files have them; else as `A`.
    pub has_decays: bool,
}

impl DeltaNet {
    /// Width of all value heads together.
    pub fn values_size(&self) -> usize {
        self.value_heads * self.value_dim
    }

    /// Rows of the projection to queries, keys and values: the channels of the convolution.
    pub fn channels(&self) -> usize {
        2 * self.key_heads * self.key_dim + self.values_size()
    }

    /// The rows of one of the projections `qkv`, `z`, `b` and `a` in a tensor of two of them, as Qwen3-Next has it: behind
    /// each other are those of the first key head and its value heads, then those of the second, and so on. Besides, the
    /// number of all rows of that tensor. `None` for other names.
    pub(crate) fn rows_by_key_head(&self, projection: &str) -> Option<(Vec<Range<usize>>, usize)> {
        let heads = self.value_heads / self.key_heads;
        let (key, values) = (self.key_dim, heads * self.value_dim);
        let (parts, wanted): (&[usize], _) = match projection {
            "qkv" => (&[key, key, values, values], 0..3),
            "z" => (&[key, key, values, values], 3..4),
            "b" => (&[heads, heads], 0..1),
            "a" => (&[heads, heads], 1..2),
            _ => return None,
        };
        let each: usize = parts.iter().sum();
        let of_part = |part: usize| {
            let start: usize = parts[..part].iter().sum();
            (0..self.key_heads).map(move |head| {
                let start = head * each + start;
                start..start + parts[part]
            })
        };
        Some((wanted.flat_map(of_part).collect(), self.key_heads * each))
    }

    /// The head of queries and keys that belongs to a head of values.
    pub fn key_head(&self, value_head: usize) -> usize {
        match self.is_tiled {
            true => value_head % self.key_heads,
            false => value_head / (self.value_heads / self.key_heads),
        }
    }
}

/// Causal attention of grouped query heads (Ainslie et al. 2023).
#[derive(Debug, Clone, PartialEq)]
pub struct Attention {
    /// Query heads.
    pub num_heads: usize,
    /// Key and value heads; divides `num_heads`.
    pub num_kv_heads: usize,
    /// Width of one head.
    pub head_dim: usize,
    /// How many positions a query sees, itself included; all earlier ones when `None`.
    pub window: Option<usize>,
    /// Rotary position embedding; none when `None`.
    pub rope: Option<Rope>,
    /// What products of queries and keys are multiplied with.
    pub scale: f64,
    /// The bound that these products, once multiplied, approach by a hyperbolic tangent (Bello et al. 2016).
    pub score_cap: Option<f64>,
    /// How queries grow with their positions.
    pub query_temperature: Option<QueryTemperature>,
    /// Whether the projections to queries, keys and values have biases.
    pub qkv_bias: bool,
    /// Whether the output projection has a bias.
    pub output_bias: bool,
    /// The norm of queries and keys.
    pub qk_norm: Option<QkNorm>,
    /// Whether the output of each head is multiplied with the sigmoid of a gate, which the projection to queries gives
    /// behind the head's query.
    pub output_gate: bool,
    /// Whether each head has a score that takes part in the softmax beside those of the positions, with no value (Xiao et
    /// al. 2023, attention sinks).
    pub has_sinks: bool,
    /// Whether a position sees no later ones. Models without that read texts and do not write any.
    pub is_causal: bool,
    /// Where keys and values come from.
    pub kv: KvSource,
    /// Whether values are normed like heads of queries and keys, but without a weight.
    pub v_norm: bool,
    /// What keys and values are made of where that is one narrow vector a position. Such attention has one head of keys
    /// and values, a narrow vector and behind it the part of keys that is rotated; the other parts of this description
    /// speak of that.
    pub latent: Option<Box<Latent>>,
}

/// Narrow vectors that queries, keys and values are made of (DeepSeek-AI 2024, multi-head latent attention).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Latent {
    /// Width of those of queries; `None` where queries have one projection.
    pub query_rank: Option<usize>,
    /// Width of those of keys and values.
    pub kv_rank: usize,
    /// Width of the part of a head of queries and keys that is not rotated.
    pub plain_dim: usize,
    /// Width of a head of values.
    pub value_dim: usize,
    /// Of narrow vectors.
    pub norm: Norm,
    /// Whether the matrices that make keys and values of narrow vectors are two, by head, that of keys with rows for
    /// columns, as GGUF files have them; else one, with the rows of keys and of values of a head behind each other.
    pub is_by_head: bool,
}

/// Where the keys and values of a layer come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KvSource {
    /// From a projection each.
    Projected,
    /// Values are the keys, before those are normed and rotated.
    KeysAsValues,
    /// They are those of an earlier layer, by its index.
    Layer(usize),
}

/// Queries are multiplied with `1 + beta · ln(1 + ⌊position / step⌋)`, as Llama 4's are.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct QueryTemperature {
    /// How much they grow.
    pub beta: f64,
    /// Positions with the same factor.
    pub step: usize,
}

/// A norm of queries and one of keys.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct QkNorm {
    /// The norm of both, with a weight each.
    pub norm: Norm,
    /// What is normed at a time.
    pub span: NormSpan,
    /// Whether it follows the rotation.
    pub is_after_rotation: bool,
}

impl QkNorm {
    /// Of each head, before the rotation.
    pub fn of_heads(norm: Norm) -> Self {
        Self {
            norm,
            span: NormSpan::Head,
            is_after_rotation: false,
        }
    }
}

/// What of a row of heads is normed at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NormSpan {
    /// Each head by itself, all with the same weight.
    Head,
    /// All heads together.
    Row,
}

/// A norm of rows, with a weight.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Norm {
    /// Added to the mean of the squares, or to the variance.
    pub eps: f64,
    /// What rows are divided by.
    pub kind: NormKind,
}

/// Kinds of norms.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NormKind {
    /// By the root of the mean of the squares (Zhang and Sennrich 2019).
    Rms {
        /// Whether the factor is the weight + 1.
        plus_one: bool,
    },
    /// By the deviation, after the mean was subtracted (Ba et al. 2016).
    Layer {
        /// Whether there is a bias beside the weight.
        bias: bool,
    },
}

impl Norm {
    /// An RMS norm whose factor is its weight.
    pub fn rms(eps: f64) -> Self {
        Self {
            eps,
            kind: NormKind::Rms { plus_one: false },
        }
    }

    /// Whether there is a bias beside the weight.
    pub fn has_bias(&self) -> bool {
        self.kind == NormKind::Layer { bias: true }
    }
}

/// Norm by mean and deviation (Ba et al. 2016).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LayerNorm {
    /// Added to the variance.
    pub eps: f64,
    /// Whether there is a bias beside the weight.
    pub bias: bool,
}

/// The block behind the mixer.
#[derive(Debug, Clone, PartialEq)]
pub enum FeedForward {
    /// One block.
    Dense(Mlp),
    /// A router picks a few of many such blocks for each token.
    Experts {
        /// One of them.
        expert: Mlp,
        /// How many there are.
        num_experts: usize,
        /// How many run for a token.
        experts_per_token: usize,
        /// How they are chosen and weighed.
        router: Router,
        /// A block that runs for every token beside them.
        shared: Option<SharedExpert>,
        /// The norm of experts that read the residual stream by norms of their own (Gemma 4): one in front of them, one
        /// without weights but with a factor a column in front of their router, one behind them and one behind the block
        /// beside them. Besides, each expert's weight has a factor. `None` for those that read what the layer's norm gives.
        own_norms: Option<Norm>,
    },
    /// Nothing: the layer is a mixer alone.
    None,
}

/// How experts are chosen and weighed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Router {
    /// What makes weights of the router's scores.
    pub scoring: Scoring,
    /// Whether the router adds a bias to the scores.
    pub has_bias: bool,
    /// Whether a bias is added to the weights for the choice alone (DeepSeek-V3, 2024).
    pub has_choice_bias: bool,
    /// Into how many groups experts are divided, and from how many of them they are chosen: those with the best expert
    /// where weights are a softmax (DeepSeek-V2, 2024), those with the best two where they are sigmoids (DeepSeek-V3).
    pub groups: Option<(usize, usize)>,
    /// Whether weights are divided by their sum, and what is added to it.
    pub normalise: Option<f64>,
    /// What weights are multiplied with.
    pub scale: f64,
}

/// What makes weights of the scores of a router.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scoring {
    /// The softmax over all experts.
    Softmax,
    /// The sigmoid of each.
    Sigmoid,
}

/// An expert that runs for every token.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SharedExpert {
    /// The block.
    pub mlp: Mlp,
    /// Whether its output is multiplied with the sigmoid of a gate.
    pub is_gated: bool,
}

impl SharedExpert {
    /// So many experts like `expert` that run for every token, as one block that is as wide as all of them; none of none.
    pub fn of_all(expert: Mlp, count: usize) -> Option<Self> {
        (count > 0).then_some(Self {
            mlp: Mlp {
                intermediate_size: expert.intermediate_size * count,
                ..expert
            },
            is_gated: false,
        })
    }
}

impl Router {
    /// A softmax whose chosen weights are divided by their sum, or are not.
    pub fn softmax(normalises: bool) -> Self {
        Self {
            scoring: Scoring::Softmax,
            has_bias: false,
            has_choice_bias: false,
            groups: None,
            normalise: normalises.then_some(0.0),
            scale: 1.0,
        }
    }

    /// `count` groups of experts, of which the best `kept` are chosen from; `None` where all are.
    ///
    /// # Errors
    /// Why so many experts cannot be chosen in this way.
    pub fn check_groups(
        count: usize,
        kept: usize,
        num_experts: usize,
        experts_per_token: usize,
    ) -> Result<Option<(usize, usize)>, String> {
        if count == 1 {
            return Ok(None);
        }
        let fits = num_experts.is_multiple_of(count)
            && num_experts / count >= 2
            && kept <= count
            && experts_per_token <= kept * (num_experts / count);
        match fits {
            true => Ok(Some((count, kept))),
            false => Err(format!(
                "cannot choose {experts_per_token} of {num_experts} experts out of the best {kept} of {count} groups"
            )),
        }
    }
}

/// `down(act(gate(x)) · up(x))` (Shazeer 2020), or without a gate `down(act(up(x)))`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Mlp {
    /// Width of gate and up.
    pub intermediate_size: usize,
    /// The non-linearity.
    pub activation: Activation,
    /// Whether the projections have biases.
    pub bias: bool,
    /// Whether there is a gate.
    pub is_gated: bool,
    /// What the gate is multiplied with before the non-linearity.
    pub gate_scale: f64,
    /// What the output is multiplied with.
    pub output_scale: f64,
    /// The limits of gate and up, of a block that has any: then `g · sigmoid(alpha · g) · (u + 1)` stands for
    /// `act(g) · u`, with `g` at most the limit, and `u` between it and its opposite.
    pub clamp: Option<Clamp>,
}

/// See [`Mlp::clamp`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Clamp {
    /// What the gate is multiplied with inside of the sigmoid.
    pub alpha: f64,
    /// The greatest number.
    pub limit: f64,
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
    /// The square of `max(x, 0)` (So et al. 2021, Primer).
    ReluSquared,
}

impl Attention {
    /// Width of all query heads together.
    pub fn query_size(&self) -> usize {
        self.num_heads * self.head_dim
    }

    /// Rows of the projections to queries, keys and values; 0 of one that there is not.
    pub fn qkv_sizes(&self) -> [usize; 3] {
        let query = self.query_size() * (1 + usize::from(self.output_gate));
        match self.kv {
            KvSource::Projected => [query, self.kv_size(), self.kv_size()],
            KvSource::KeysAsValues => [query, self.kv_size(), 0],
            KvSource::Layer(_) => [query, 0, 0],
        }
    }

    /// Whether the layer has keys and values of its own.
    pub fn has_own_kv(&self) -> bool {
        !matches!(self.kv, KvSource::Layer(_))
    }

    /// Width of all key heads together, and of all value heads.
    pub fn kv_size(&self) -> usize {
        self.num_kv_heads * self.head_dim
    }

    /// Lengths of the weights of the norms of queries and of keys.
    pub fn qk_norm_sizes(&self, span: NormSpan) -> [usize; 2] {
        match span {
            NormSpan::Head => [self.head_dim; 2],
            NormSpan::Row => [self.query_size(), self.kv_size()],
        }
    }
}

/// A norm of a layer, by the name of its tensor without `.weight`.
pub type NamedNorm = (&'static str, Option<Norm>);

impl LayerDescription {
    /// The norms before and after the mixer, and before and after the feed-forward block.
    pub fn norms(&self) -> [NamedNorm; 4] {
        // Without a norm behind the mixer, the one with that name stands before the next block.
        let before_feed_forward = match (&self.mixer, self.has_norms_after()) {
            (Mixer::None, _) => "input_layernorm",
            (_, true) => "pre_feedforward_layernorm",
            (_, false) => "post_attention_layernorm",
        };
        [
            ("input_layernorm", self.mixer_norms.before),
            ("post_attention_layernorm", self.mixer_norms.after),
            (before_feed_forward, self.feed_forward_norms.before),
            ("post_feedforward_layernorm", self.feed_forward_norms.after),
        ]
    }

    /// Whether the output of a block is normed.
    pub fn has_norms_after(&self) -> bool {
        self.mixer_norms.after.is_some() || self.feed_forward_norms.after.is_some()
    }

    /// The attention of the layer, if that is its mixer.
    pub fn attention(&self) -> Option<&Attention> {
        match &self.mixer {
            Mixer::Attention(attention) => Some(attention),
            Mixer::Parallel(both) => Some(&both.attention),
            Mixer::ShortConv(_) | Mixer::DeltaNet(_) | Mixer::StateSpace(_) | Mixer::None => None,
        }
    }

    /// The same, to be changed.
    pub fn attention_mut(&mut self) -> Option<&mut Attention> {
        match &mut self.mixer {
            Mixer::Attention(attention) => Some(attention),
            Mixer::Parallel(both) => Some(&mut both.attention),
            Mixer::ShortConv(_) | Mixer::DeltaNet(_) | Mixer::StateSpace(_) | Mixer::None => None,
        }
    }
}

impl ModelDescription {
    /// Whether the outputs of blocks are normed.
    pub fn has_norms_after(&self) -> bool {
        self.layers.iter().any(LayerDescription::has_norms_after)
    }

    /// The attention of all layers that have one.
    pub fn attentions(&self) -> impl Iterator<Item = &Attention> {
        self.layers.iter().filter_map(LayerDescription::attention)
    }

    /// The same, to be changed.
    pub fn attentions_mut(&mut self) -> impl Iterator<Item = &mut Attention> {
        self.layers
            .iter_mut()
            .filter_map(LayerDescription::attention_mut)
    }

    /// Whether no position sees later ones.
    pub fn is_causal(&self) -> bool {
        self.attentions().all(|attention| attention.is_causal)
    }

    /// Makes sure that there are no more experts in all layers together than any model has: each has tensors of its own.
    ///
    /// # Errors
    /// What is not believed.
    pub fn check_experts(&self) -> Result<(), String> {
        const LIMIT: usize = 1 << 17;
        let experts = self.layers.iter().map(|layer| match &layer.feed_forward {
            FeedForward::Experts { num_experts, .. } => *num_experts,
            FeedForward::Dense(_) | FeedForward::None => 0,
        });
        match experts.sum::<usize>() <= LIMIT {
            true => Ok(()),
            false => Err(format!(
                "more than {LIMIT} experts in all layers are not believed"
            )),
        }
    }

    /// Places the same norms at both blocks of all layers.
    pub fn place_norms(&mut self, norms: BlockNorms) {
        for layer in &mut self.layers {
            layer.mixer_norms = norms;
            layer.feed_forward_norms = norms;
        }
    }

    /// The rotary scalings of all layers.
    fn scalings(&self) -> impl Iterator<Item = &RopeScaling> {
        self.attentions()
            .filter_map(|attention| Some(&attention.rope.as_ref()?.scaling))
    }

    /// The longest context, rotary scaling counted.
    pub fn max_context(&self) -> usize {
        let positions = self.max_position_embeddings;
        let scaled = self
            .scalings()
            .map(|scaling| scaling.max_context(positions));
        scaled.max().unwrap_or(positions)
    }

    /// The context that the model was published for. Files with a linear factor have it in
    /// `max_position_embeddings` already, though nothing fails up to [`max_context`](Self::max_context).
    pub fn published_context(&self) -> usize {
        let mut scalings = self.scalings();
        match scalings.any(|scaling| matches!(scaling, RopeScaling::Linear { .. })) {
            true => self.max_position_embeddings,
            false => self.max_context(),
        }
    }

    /// Every tensor that the model reads, with its shape, in the order of the forward pass.
    ///
    /// Lazy, so that a configuration of a billion layers costs nothing before its first missing
    /// tensor is found.
    pub fn tensors(&self) -> impl Iterator<Item = (String, Vec<usize>)> + '_ {
        let head = (!self.tie_word_embeddings)
            .then(|| (HEAD.into(), vec![self.vocab_size, self.hidden_size]));
        let bias = (self.final_norm.has_bias())
            .then(|| ("model.norm.bias".into(), vec![self.hidden_size]));
        std::iter::once((EMBEDDING.into(), vec![self.vocab_size, self.hidden_size]))
            .chain(self.per_layer_tensors())
            .chain(
                self.layers
                    .iter()
                    .enumerate()
                    .flat_map(|(index, layer)| self.layer_tensors(index, layer)),
            )
            .chain([("model.norm.weight".into(), vec![self.hidden_size])])
            .chain(bias)
            .chain(head)
    }

    fn per_layer_tensors(&self) -> impl Iterator<Item = (String, Vec<usize>)> {
        let (hidden, layers) = (self.hidden_size, self.layers.len());
        self.per_layer_inputs.into_iter().flat_map(move |inputs| {
            let all = layers * inputs.size;
            [
                (PER_LAYER_EMBEDDING.to_owned(), vec![inputs.vocab_size, all]),
                (
                    "model.per_layer_model_projection.weight".to_owned(),
                    vec![all, hidden],
                ),
                (
                    "model.per_layer_projection_norm.weight".to_owned(),
                    vec![inputs.size],
                ),
            ]
        })
    }

    fn layer_tensors(&self, index: usize, layer: &LayerDescription) -> Vec<(String, Vec<usize>)> {
        let hidden = self.hidden_size;
        let mut tensors = Vec::new();
        let mut add = |name: String, shape: Vec<usize>| {
            tensors.push((format!("model.layers.{index}.{name}"), shape));
        };
        let [
            before_mixer,
            after_mixer,
            before_feed_forward,
            after_feed_forward,
        ] = layer.norms();
        norm_tensors(before_mixer, hidden, &mut add);
        match &layer.mixer {
            Mixer::Attention(attention) => attention_tensors(attention, hidden, &mut add),
            Mixer::Parallel(both) => {
                attention_tensors(&both.attention, hidden, &mut add);
                for (name, shape) in state_space_tensors(&both.space, hidden) {
                    add(format!("mamba.{name}"), shape);
                }
            }
            Mixer::None => {}
            Mixer::ShortConv(conv) => {
                for (name, shape) in [
                    ("in_proj", vec![3 * hidden, hidden]),
                    ("conv", vec![hidden, conv.taps]),
                    ("out_proj", vec![hidden, hidden]),
                ] {
                    if conv.bias {
                        add(format!("conv.{name}.bias"), vec![shape[0]]);
                    }
                    add(format!("conv.{name}.weight"), shape);
                }
            }
            Mixer::DeltaNet(net) => {
                let (heads, values) = (net.value_heads, net.values_size());
                for (name, shape) in [
                    ("in_proj_qkv.weight", vec![net.channels(), hidden]),
                    ("in_proj_z.weight", vec![values, hidden]),
                    ("in_proj_b.weight", vec![heads, hidden]),
                    ("in_proj_a.weight", vec![heads, hidden]),
                    ("conv1d.weight", vec![net.channels(), net.taps]),
                    ("A_log", vec![heads]),
                    ("dt_bias", vec![heads]),
                    ("norm.weight", vec![net.value_dim]),
                    ("out_proj.weight", vec![hidden, values]),
                ] {
                    add(format!("linear_attn.{name}"), shape);
                }
            }
            Mixer::StateSpace(space) => {
                for (name, shape) in state_space_tensors(space, hidden) {
                    add(format!("mamba.{name}"), shape);
                }
            }
        }
        for norm in [after_mixer, before_feed_forward, after_feed_forward] {
            norm_tensors(norm, hidden, &mut add);
        }
        match &layer.feed_forward {
            FeedForward::None => {}
            FeedForward::Dense(mlp) => {
                for (name, shape) in mlp_tensors(mlp, hidden) {
                    if mlp.bias {
                        add(format!("mlp.{name}.bias"), vec![shape[0]]);
                    }
                    add(format!("mlp.{name}.weight"), shape);
                }
            }
            FeedForward::Experts {
                expert,
                num_experts,
                router,
                shared,
                own_norms,
                ..
            } => {
                add("mlp.gate.weight".into(), vec![*num_experts, hidden]);
                if let Some(norm) = own_norms {
                    for name in OWN_NORMS {
                        norm_tensors((name, Some(*norm)), hidden, &mut add);
                    }
                    add("mlp.gate.scale".into(), vec![hidden]);
                    add("mlp.experts.scale".into(), vec![*num_experts]);
                }
                if router.has_bias {
                    add("mlp.gate.bias".into(), vec![*num_experts]);
                }
                if router.has_choice_bias {
                    add(
                        "mlp.gate.e_score_correction_bias".into(),
                        vec![*num_experts],
                    );
                }
                if let Some(shared) = shared {
                    for (name, shape) in mlp_tensors(&shared.mlp, hidden) {
                        add(format!("mlp.shared_expert.{name}.weight"), shape);
                    }
                    if shared.is_gated {
                        add("mlp.shared_expert_gate.weight".into(), vec![1, hidden]);
                    }
                }
                for index in 0..*num_experts {
                    for (name, shape) in mlp_tensors(expert, hidden) {
                        if expert.bias {
                            add(format!("mlp.experts.{index}.{name}.bias"), vec![shape[0]]);
                        }
                        add(format!("mlp.experts.{index}.{name}.weight"), shape);
                    }
                }
            }
        }
        if let Some(inputs) = self.per_layer_inputs {
            add(
                "per_layer_input_gate.weight".into(),
                vec![inputs.size, hidden],
            );
            add(
                "per_layer_projection.weight".into(),
                vec![hidden, inputs.size],
            );
            add("post_per_layer_input_norm.weight".into(), vec![hidden]);
        }
        if layer.has_scalar {
            add("layer_scalar".into(), vec![1]);
        }
        tensors
    }
}

fn norm_tensors((name, norm): NamedNorm, hidden: usize, add: &mut impl FnMut(String, Vec<usize>)) {
    if let Some(norm) = norm {
        add(format!("{name}.weight"), vec![hidden]);
        if norm.has_bias() {
            add(format!("{name}.bias"), vec![hidden]);
        }
    }
}

fn attention_tensors(
    attention: &Attention,
    hidden: usize,
    add: &mut impl FnMut(String, Vec<usize>),
) {
    if let Some(latent) = &attention.latent {
        latent_tensors(attention, latent, hidden, add);
        return;
    }
    let query = attention.query_size();
    let sizes = attention.qkv_sizes();
    for (name, rows) in ["q", "k", "v"]
        .iter()
        .zip(sizes)
        .filter(|(_, rows)| *rows > 0)
    {
        add(format!("self_attn.{name}_proj.weight"), vec![rows, hidden]);
        if attention.qkv_bias {
            add(format!("self_attn.{name}_proj.bias"), vec![rows]);
        }
    }
    if let Some(norm) = attention.qk_norm {
        let [query, key] = attention.qk_norm_sizes(norm.span);
        add("self_attn.q_norm.weight".into(), vec![query]);
        if attention.has_own_kv() {
            add("self_attn.k_norm.weight".into(), vec![key]);
        }
    }
    if attention.has_sinks {
        add("self_attn.sinks".into(), vec![attention.num_heads]);
    }
    add("self_attn.o_proj.weight".into(), vec![hidden, query]);
    if attention.output_bias {
        add("self_attn.o_proj.bias".into(), vec![hidden]);
    }
}

fn latent_tensors(
    attention: &Attention,
    latent: &Latent,
    hidden: usize,
    add: &mut impl FnMut(String, Vec<usize>),
) {
    let heads = attention.num_heads;
    let rotated = attention.head_dim - latent.kv_rank;
    let queries = heads * (latent.plain_dim + rotated);
    let (rank, plain, value) = (latent.kv_rank, latent.plain_dim, latent.value_dim);
    let mut linear = |name: &str, shape: Vec<usize>, bias: bool| {
        if bias {
            add(format!("self_attn.{name}.bias"), vec![shape[0]]);
        }
        add(format!("self_attn.{name}.weight"), shape);
    };
    match latent.query_rank {
        None => linear("q_proj", vec![queries, hidden], false),
        Some(rank) => {
            linear("q_a_proj", vec![rank, hidden], attention.qkv_bias);
            linear("q_a_layernorm", vec![rank], false);
            linear("q_b_proj", vec![queries, rank], false);
        }
    }
    linear(
        "kv_a_proj_with_mqa",
        vec![rank + rotated, hidden],
        attention.qkv_bias,
    );
    linear("kv_a_layernorm", vec![rank], false);
    if latent.is_by_head {
        linear("k_b_proj", vec![heads, rank, plain], false);
        linear("v_b_proj", vec![heads, value, rank], false);
    } else {
        linear("kv_b_proj", vec![heads * (plain + value), rank], false);
    }
    linear("o_proj", vec![hidden, heads * value], attention.output_bias);
}

fn state_space_tensors(
    space: &StateSpace,
    hidden: usize,
) -> impl Iterator<Item = (&'static str, Vec<usize>)> {
    let (inner, heads) = (space.inner_size(), space.heads);
    let (channels, projection) = (space.channels(), space.projection_size());
    [
        (true, "in_proj.weight", vec![projection, hidden]),
        (space.bias, "in_proj.bias", vec![projection]),
        (true, "conv1d.weight", vec![channels, space.taps]),
        (space.conv_bias, "conv1d.bias", vec![channels]),
        (true, "dt_bias", vec![heads]),
        (true, "A_log", vec![heads]),
        (true, "D", vec![heads]),
        (space.norm.is_some(), "norm.weight", vec![inner]),
        (true, "out_proj.weight", vec![hidden, inner]),
        (space.output_bias, "out_proj.bias", vec![hidden]),
    ]
    .into_iter()
    .filter(|(is_there, _, _)| *is_there)
    .map(|(_, name, shape)| (name, shape))
}

fn mlp_tensors(mlp: &Mlp, hidden: usize) -> impl Iterator<Item = (&'static str, Vec<usize>)> {
    let size = mlp.intermediate_size;
    let gate = mlp.is_gated.then(|| ("gate_proj", vec![size, hidden]));
    gate.into_iter().chain([
        ("up_proj", vec![size, hidden]),
        ("down_proj", vec![hidden, size]),
    ])
}
