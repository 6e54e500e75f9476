//! The keys of GGUF files, as llama.cpp writes them for all families.

use serde_json::Value;

use super::config_file::ConfigFile;
use super::gguf_experts::GgufExperts;
pub use super::gguf_metadata::GgufMetadata;
pub(crate) use super::gguf_metadata::{DENSE_OVER_VECTORS, GATE_UP_EXPERTS};
use super::{Described, read_keys};
use crate::description::rope::{Rope, RopeScaling, yarn_mscale};
use crate::description::{
    Activation, Attention, BlockNorms, FeedForward, KvSource, LAYER_LIMIT, LayerDescription, Mixer,
    Mlp, ModelDescription, Norm, NormKind, QkNorm,
};
use crate::error::{Error, Result};

/// How the files of a family rotate queries and keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GgufRotation {
    /// As transformers does it: the first half of a head with the second.
    Halves,
    /// Neighbours, and the rows of queries and keys are in another order than on the Hub to make up for it.
    Permuted,
    /// Neighbours, as transformers does it for these families.
    Neighbours,
}

/// A family as llama.cpp writes it.
pub struct GgufArchitecture {
    /// Its name in `general.architecture`, and the prefix of its keys.
    pub name: &'static str,
    /// What this library calls it.
    pub(super) ours: &'static str,
    /// How queries and keys are rotated.
    pub rotation: GgufRotation,
    /// Whether queries and keys are normalised per head; `None` for a family some of whose models do, and have weights for
    /// it.
    pub(super) qk_norm: Option<bool>,
    /// How its files say which experts run, of a family that has any.
    pub(super) experts: Option<GgufExperts>,
    /// The non-linearity of the feed-forward blocks.
    pub(super) activation: Activation,
    /// Whether the feed-forward blocks have a gate.
    pub(super) is_gated: bool,
    /// Whether some layers are recurrent.
    pub(super) is_hybrid: bool,
    /// Whether files may have layers behind the model's that predict further tokens, which answers do without.
    pub(super) has_further_layers: bool,
    /// Whether its models read texts and have layers over the vectors that they make of them.
    pub has_dense: bool,
    /// Another name of the same.
    pub(super) also: Option<&'static str>,
    /// Whether each layer is one block, a mixer or a feed-forward block, which its tensors say.
    pub(super) has_lone_blocks: bool,
    /// Whether keys and values come out of narrow vectors, whose widths [`Self::adapt`] reads.
    pub(super) is_latent: bool,
    /// Whether layers may differ in their heads of keys and values, which [`Self::adapt`] reads then.
    pub(super) heads_vary: bool,
    /// Reads what is particular of the family into a description of layers that are all alike.
    pub(super) adapt: fn(&ConfigFile, &mut ModelDescription) -> Result<()>,
    /// Then, what no key but the tensors say.
    pub(super) adapt_to_tensors: fn(&dyn GgufMetadata, &mut ModelDescription) -> Result<()>,
}

/// The tensor of factors by which Llama 3's converter writes its rotary scaling.
pub const ROPE_FACTORS: &str = "rope_freqs.weight";

/// The tensors of LongRoPE's two lists.
pub const SHORT_FACTORS: &str = "rope_factors_short.weight";
/// See [`SHORT_FACTORS`].
pub const LONG_FACTORS: &str = "rope_factors_long.weight";

/// The embedding, and the output projection.
const EMBEDDING: &str = "token_embd.weight";
const HEAD: &str = "output.weight";

/// Which layers have a window: the key says it layer by layer, or after how many there is one without; `period` where
/// it is left out.
pub(super) fn sliding_pattern(
    keys: &ConfigFile,
    num_layers: usize,
    period: usize,
) -> Result<Vec<bool>> {
    const KEY: &str = "attention.sliding_window_pattern";
    let every = |period: usize| {
        (1..=num_layers)
            .map(|number| !number.is_multiple_of(period))
            .collect()
    };
    match keys.value(KEY) {
        None => Ok(every(period)),
        Some(Value::Array(_)) => Ok(truths(keys, KEY, num_layers)?.unwrap_or_default()),
        Some(_) => Ok(every(keys.required_count(KEY)?)),
    }
}

/// The heads of keys and values of each layer; the list may have those of so many `further` layers behind them.
pub(super) fn heads_by_layer(
    keys: &ConfigFile,
    layers: usize,
    further: usize,
) -> Result<Vec<usize>> {
    const HEADS: &str = "attention.head_count_kv";
    let mut heads = keys.wholes(HEADS)?.ok_or_else(|| keys.missing(HEADS))?;
    if heads.len() != layers && heads.len() != layers + further {
        return Err(keys.invalid(HEADS, format!("expected {layers} entries")));
    }
    heads.truncate(layers);
    Ok(heads)
}

/// Gives layers that have no heads of keys and values another mixer than attention.
pub(super) fn mix_without_heads(
    keys: &ConfigFile,
    description: &mut ModelDescription,
    mixer: &Mixer,
) -> Result<()> {
    let heads = heads_by_layer(keys, description.layers.len(), 0)?;
    for (layer, heads) in description.layers.iter_mut().zip(heads) {
        if heads == 0 {
            layer.mixer = mixer.clone();
        }
    }
    Ok(())
}

/// A list of so many truth values, which some files have as numbers.
pub(super) fn truths(keys: &ConfigFile, key: &str, count: usize) -> Result<Option<Vec<bool>>> {
    let Some(value) = keys.value(key) else {
        return Ok(None);
    };
    let truth = |value: &Value| value.as_bool().or(value.as_u64().map(|flag| flag != 0));
    let list: Option<Vec<bool>> = value
        .as_array()
        .filter(|list| list.len() == count)
        .and_then(|list| list.iter().map(truth).collect());
    match list {
        Some(list) => Ok(Some(list)),
        None => Err(keys.invalid(key, format!("expected {count} truth values"))),
    }
}

impl GgufArchitecture {
    /// What most families have, and no name.
    pub(super) const COMMON: Self = Self {
        name: "",
        ours: "",
        rotation: GgufRotation::Halves,
        qk_norm: Some(false),
        experts: None,
        activation: Activation::Silu,
        is_gated: true,
        is_hybrid: false,
        has_further_layers: false,
        has_dense: false,
        also: None,
        has_lone_blocks: false,
        is_latent: false,
        heads_vary: false,
        adapt: |_, _| Ok(()),
        adapt_to_tensors: |_, _| Ok(()),
    };

    /// Reads the keys of the architecture. Those that llama.cpp reads and this does not are refused by
    /// name; the names of the others that are left come second.
    pub fn describe(&self, file: &dyn GgufMetadata) -> Result<Described> {
        let prefix = self.prefix(file);
        let (name, keys) = (file.name(), file.section(&prefix));
        let keys = ConfigFile::inside(&name, &prefix, &keys);

        let vocab_size = match file.shape(EMBEDDING) {
            Some(&[vocab_size, _]) => vocab_size,
            other => {
                return Err(Error::InvalidTensor {
                    file: file.name(),
                    tensor: EMBEDDING.into(),
                    expected: "two dimensions".into(),
                    got: other.map_or("none".into(), |shape| format!("shape {shape:?}")),
                });
            }
        };
        // Says again what the embedding's shape says.
        let _ = keys.count("vocab_size")?;

        let hidden_size = keys.required_count("embedding_length")?;
        let num_heads = keys.required_count("attention.head_count")?;
        let num_kv_heads = self.kv_heads(&keys)?.unwrap_or(num_heads);
        if !num_heads.is_multiple_of(num_kv_heads) {
            return Err(keys.invalid(
                "attention.head_count_kv",
                format!("must divide attention.head_count = {num_heads}"),
            ));
        }
        let head_dim = match keys.count("attention.key_length")? {
            Some(length) if length.is_multiple_of(2) => length,
            Some(_) => {
                return Err(keys.invalid(
                    "attention.key_length",
                    "rotary embedding needs an even number of dimensions a head",
                ));
            }
            None if hidden_size.is_multiple_of(2 * num_heads) => hidden_size / num_heads,
            None => {
                return Err(keys.invalid(
                    "attention.head_count",
                    format!(
                        "must divide embedding_length = {hidden_size} into heads of even width"
                    ),
                ));
            }
        };
        const VALUES: &str = "attention.value_length";
        if !self.is_latent && keys.count(VALUES)?.is_some_and(|n| n != head_dim) {
            return Err(
                keys.unsupported(VALUES, format!("keys are {head_dim} wide, and values too"))
            );
        }
        let all_layers = keys.required_count("block_count")?;
        if all_layers > LAYER_LIMIT {
            return Err(keys.invalid(
                "block_count",
                format!("more than {LAYER_LIMIT} layers are not believed"),
            ));
        }
        const FURTHER: &str = "nextn_predict_layers";
        let further = match self.has_further_layers {
            true => keys.whole(FURTHER)?.unwrap_or(0),
            false => 0,
        };
        if further >= all_layers {
            return Err(keys.invalid(FURTHER, format!("expected less than {all_layers}")));
        }
        let num_layers = all_layers - further;
        let max_position_embeddings = keys.required_count("context_length")?;
        let rope = self.rope(file, &keys, head_dim, max_position_embeddings)?;
        let feed_forwards = self.feed_forwards(file, &keys, num_layers)?;
        // Not every layer has attention: the first one with a projection to queries tells.
        let biased = |names: &[&str]| {
            let has = |layer: usize, name: &str, kind: &str| {
                file.shape(&format!("blk.{layer}.{name}.{kind}")).is_some()
            };
            let found = names.iter().find_map(|name| {
                let layer = (0..num_layers).find(|layer| has(*layer, name, "weight"))?;
                Some(has(layer, name, "bias"))
            });
            found.unwrap_or(false)
        };
        // Files of Mistral's have one for all layers. Other families that have any read the key themselves.
        let window = match self.name {
            "llama" => keys.count("attention.sliding_window")?,
            _ => None,
        };
        let norm = self.norm(file, &keys)?;
        let layer = |feed_forward| LayerDescription {
            mixer_norms: BlockNorms::before(norm),
            mixer: Mixer::Attention(Attention {
                num_heads,
                num_kv_heads,
                head_dim,
                window,
                rope: Some(rope.clone()),
                scale: 1.0 / (head_dim as f64).sqrt(),
                score_cap: None,
                query_temperature: None,
                output_gate: false,
                has_sinks: false,
                is_causal: true,
                kv: KvSource::Projected,
                v_norm: false,
                latent: None,
                qkv_bias: biased(&["attn_q", "attn_qkv"]),
                output_bias: biased(&["attn_output"]),
                qk_norm: self
                    .qk_norm
                    .unwrap_or_else(|| file.shape("blk.0.attn_q_norm.weight").is_some())
                    .then_some(QkNorm::of_heads(norm)),
            }),
            feed_forward_norms: BlockNorms::before(norm),
            residual_scale: 1.0,
            is_parallel: false,
            has_scalar: false,
            feed_forward,
        };
        let mut config = ModelDescription {
            architecture: self.ours,
            vocab_size,
            hidden_size,
            max_position_embeddings,
            layers: feed_forwards.into_iter().map(layer).collect(),
            embedding_scale: 1.0,
            final_norm: norm,
            logits_scale: 1.0,
            logits_cap: None,
            tie_word_embeddings: file.shape(HEAD).is_none(),
            per_layer_inputs: None,
        };
        (self.adapt)(&keys, &mut config)?;
        (self.adapt_to_tensors)(file, &mut config)?;
        config
            .check_experts()
            .map_err(|reason| keys.invalid("expert_count", reason))?;
        keys.finish(read_keys::of_gguf(self.name))?;
        Ok((config, keys.ignored()))
    }

    /// What the keys of a file begin with.
    fn prefix(&self, file: &dyn GgufMetadata) -> String {
        let prefix = |name: &str| format!("{name}.");
        let also = self.also.map(prefix);
        also.filter(|also| !file.section(also).is_empty())
            .unwrap_or_else(|| prefix(self.name))
    }

    /// Heads of keys and values of those layers that have any: one number, or one a layer.
    fn kv_heads(&self, keys: &ConfigFile) -> Result<Option<usize>> {
        const KEY: &str = "attention.head_count_kv";
        let Some(Value::Array(_)) = keys.value(KEY) else {
            return keys.count(KEY);
        };
        let all = keys.wholes(KEY)?.unwrap_or_default();
        let first = all.iter().copied().find(|heads| *heads > 0);
        let alike = |heads: &usize| {
            Some(*heads) == first || (self.is_hybrid && *heads == 0) || self.heads_vary
        };
        match all.iter().all(alike) {
            true => Ok(first),
            false => Err(keys.unsupported(KEY, "layers with other heads than others")),
        }
    }

    /// The norm of all layers: each family has one of the two keys.
    fn norm(&self, file: &dyn GgufMetadata, keys: &ConfigFile) -> Result<Norm> {
        const RMS: &str = "attention.layer_norm_rms_epsilon";
        if let Some(eps) = keys.positive(RMS)? {
            return Ok(Norm::rms(eps));
        }
        match keys.positive("attention.layer_norm_epsilon")? {
            Some(eps) => Ok(Norm {
                eps,
                kind: NormKind::Layer {
                    bias: file.shape("output_norm.bias").is_some(),
                },
            }),
            None => Err(keys.invalid(RMS, "this key is needed")),
        }
    }

    /// The block of each layer.
    fn feed_forwards(
        &self,
        file: &dyn GgufMetadata,
        keys: &ConfigFile,
        num_layers: usize,
    ) -> Result<Vec<FeedForward>> {
        let mlp = |intermediate_size, layer: usize| Mlp {
            intermediate_size,
            activation: self.activation,
            bias: file.shape(&format!("blk.{layer}.ffn_up.bias")).is_some(),
            is_gated: self.is_gated,
            gate_scale: 1.0,
            output_scale: 1.0,
            clamp: None,
        };
        const DENSE: &str = "feed_forward_length";
        let sizes = match keys.value(DENSE) {
            None => None,
            Some(Value::Array(_)) => keys.wholes(DENSE)?,
            Some(_) => keys.whole(DENSE)?.map(|size| vec![size; num_layers]),
        };
        let has_experts = keys.whole("expert_count")?.is_some_and(|count| count > 0);
        if self.has_lone_blocks {
            let block = |layer: usize| -> Result<FeedForward> {
                let shape = |name: &str| file.shape(&format!("blk.{layer}.{name}.weight"));
                match (shape("ffn_up_exps"), shape("ffn_up"), self.experts) {
                    (Some(_), _, Some(experts)) => experts.read(file, keys, layer, mlp(0, layer)),
                    (_, Some(&[size, _]), _) => Ok(FeedForward::Dense(mlp(size, layer))),
                    _ => Ok(FeedForward::None),
                }
            };
            return (0..num_layers).map(block).collect();
        }
        let dense_sizes = |sizes: Option<Vec<usize>>, count: usize| {
            let mut sizes = sizes.ok_or_else(|| keys.missing(DENSE))?;
            if sizes.len() != num_layers || sizes[..count].contains(&0) {
                let expected = format!("expected {num_layers} numbers, the first {count} above 0");
                return Err(keys.invalid(DENSE, expected));
            }
            sizes.truncate(count);
            Ok(sizes)
        };
        let Some(experts) = self.experts.filter(|_| has_experts) else {
            if has_experts {
                return Err(
                    keys.unsupported("expert_count", "this family's experts are not computed")
                );
            }
            // Of no experts, as files of Granite 4 without any have it.
            let _ = keys.whole("expert_used_count")?;
            let sizes = dense_sizes(sizes, num_layers)?;
            let dense = sizes
                .into_iter()
                .map(|size| FeedForward::Dense(mlp(size, 0)));
            return Ok(dense.collect());
        };
        const LEADING: &str = "leading_dense_block_count";
        let leading = keys.whole(LEADING)?.unwrap_or(0).min(num_layers);
        // Of dense blocks, which there may be none of.
        let sizes = match leading {
            0 => Vec::new(),
            _ => dense_sizes(sizes, leading)?,
        };
        let dense = sizes.into_iter();
        let mut all: Vec<_> = dense.map(|size| FeedForward::Dense(mlp(size, 0))).collect();
        let experts = experts.read(file, keys, leading, mlp(0, leading))?;
        all.resize(num_layers, experts);
        Ok(all)
    }

    fn rope(
        &self,
        file: &dyn GgufMetadata,
        keys: &ConfigFile,
        head_dim: usize,
        positions: usize,
    ) -> Result<Rope> {
        const DIMS: &str = "rope.dimension_count";
        let dims = keys.count(DIMS)?.unwrap_or(head_dim);
        if dims != head_dim && self.rotation == GgufRotation::Permuted {
            return Err(keys.unsupported(DIMS, format!("this family rotates all {head_dim}")));
        }
        if dims > head_dim || !dims.is_multiple_of(2) {
            return Err(keys.invalid(DIMS, format!("expected an even number up to {head_dim}")));
        }
        let theta = keys.positive("rope.freq_base")?.unwrap_or(10_000.0);
        // The second is an old name for the first; 0 means none.
        let old_factor = keys.not_negative("rope.scale_linear")?;
        let factor = keys
            .not_negative("rope.scaling.factor")?
            .or(old_factor)
            .filter(|factor| *factor != 0.0);
        // llama.cpp takes a factor without a type for a linear one.
        let kind = match keys.text("rope.scaling.type")? {
            Some(kind) => kind,
            None if factor.is_some() => "linear",
            None => "none",
        };
        let original = keys
            .count("rope.scaling.original_context_length")?
            .unwrap_or(positions);
        let needed = || {
            factor.ok_or_else(|| keys.invalid("rope.scaling.factor", "rope.scaling.type needs it"))
        };
        let scaling = match kind {
            "none" | "linear" | "longrope" if file.shape(LONG_FACTORS).is_some() => {
                let factor = keys.positive("rope.scaling.attn_factor")?;
                RopeScaling::LongRope {
                    short_factor: file.floats(SHORT_FACTORS, dims / 2)?,
                    long_factor: file.floats(LONG_FACTORS, dims / 2)?,
                    attention_factor: factor.unwrap_or(1.0),
                    original_max_position_embeddings: original,
                }
            }
            "none" | "linear" if file.shape(ROPE_FACTORS).is_some() => {
                if kind == "linear" && factor.is_some_and(|factor| factor != 1.0) {
                    return Err(keys.unsupported(
                        "rope.scaling.factor",
                        format!("a linear factor beside the tensor {ROPE_FACTORS}"),
                    ));
                }
                let factors = file.floats(ROPE_FACTORS, dims / 2)?;
                RopeScaling::LongRope {
                    short_factor: factors.clone(),
                    long_factor: factors,
                    attention_factor: 1.0,
                    original_max_position_embeddings: positions,
                }
            }
            "none" => RopeScaling::None,
            "linear" if factor.is_none_or(|factor| factor == 1.0) => RopeScaling::None,
            "linear" => RopeScaling::Linear { factor: needed()? },
            "yarn" => {
                let factor = needed()?;
                // A further factor of some converters, which transformers does not know: a file and
                // the folder that it was made from compute the same.
                let _ = keys.value("rope.scaling.attn_factor");
                // What some families take back of YaRN's temperature.
                let taken = keys.positive("rope.scaling.yarn_log_multiplier")?;
                let taken = taken.map_or(1.0, |mscale| yarn_mscale(factor, mscale));
                RopeScaling::Yarn {
                    factor,
                    attention_factor: yarn_mscale(factor, 1.0) / taken,
                    beta_fast: keys
                        .positive("rope.scaling.yarn_beta_fast")?
                        .unwrap_or(32.0),
                    beta_slow: keys.positive("rope.scaling.yarn_beta_slow")?.unwrap_or(1.0),
                    truncate: true,
                    original_max_position_embeddings: original,
                }
            }
            _ => {
                return Err(
                    keys.unsupported("rope.scaling.type", "none, linear and yarn are known")
                );
            }
        };
        Ok(Rope {
            theta,
            scaling,
            dims,
            is_interleaved: self.rotation == GgufRotation::Neighbours,
        })
    }
}
