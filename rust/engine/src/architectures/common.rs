//! The keys that all architectures share, read with each one's defaults.

use super::config_file::ConfigFile;
use super::rope::{RopeDefaults, read_rope_or};
use crate::description::{
    Activation, Attention, BlockNorms, FeedForward, KvSource, LAYER_LIMIT, LayerDescription, Mixer,
    Mlp, ModelDescription, Norm, QkNorm,
};
use crate::error::Result;

/// More positions than any model reaches.
const POSITION_LIMIT: usize = 1 << 27;

/// What transformers assumes for keys that a `config.json` leaves out.
#[derive(Debug, Clone, Copy)]
pub struct Defaults {
    /// `vocab_size`
    pub vocab_size: usize,
    /// `hidden_size`
    pub hidden_size: usize,
    /// `intermediate_size`
    pub intermediate_size: usize,
    /// `num_hidden_layers`
    pub num_hidden_layers: usize,
    /// `num_attention_heads`
    pub num_attention_heads: usize,
    /// `num_key_value_heads`; as many as query heads when `None`.
    pub num_key_value_heads: Option<usize>,
    /// `head_dim`; `hidden_size / num_attention_heads` when `None`.
    pub head_dim: Option<usize>,
    /// `max_position_embeddings`
    pub max_position_embeddings: usize,
    /// `rms_norm_eps`
    pub rms_norm_eps: f64,
    /// The rotary embedding; `None` where the family reads that of each layer itself.
    pub rope: Option<RopeDefaults>,
    /// `tie_word_embeddings`
    pub tie_word_embeddings: bool,
}

impl Defaults {
    /// What most families have, and no sizes.
    pub const COMMON: Self = Self {
        vocab_size: 0,
        hidden_size: 0,
        intermediate_size: 0,
        num_hidden_layers: 0,
        num_attention_heads: 0,
        num_key_value_heads: None,
        head_dim: None,
        max_position_embeddings: 0,
        rms_norm_eps: 1e-6,
        rope: Some(RopeDefaults::of(10_000.0)),
        tie_word_embeddings: false,
    };
}

impl Defaults {
    /// The same for a family whose `head_dim` may be null, which means that the heads divide the hidden size.
    pub fn with_null_head_dim(self, config: &ConfigFile) -> Self {
        Self {
            head_dim: self.head_dim.filter(|_| !config.has("head_dim")),
            ..self
        }
    }
}

/// The keys that all families share: a model whose layers are all alike.
#[derive(Debug, Clone)]
pub struct Shared {
    /// Number of layers.
    pub num_layers: usize,
    /// The norm of all layers.
    pub norm: Norm,
    /// Full attention without biases and norms.
    attention: Attention,
    /// The dense feed-forward block, without biases.
    pub mlp: Mlp,
    /// Everything but the layers.
    base: ModelDescription,
}

impl Shared {
    /// Reads and checks the shared keys.
    pub fn read(
        architecture: &'static str,
        config: &ConfigFile,
        defaults: &Defaults,
    ) -> Result<Self> {
        let hidden_size = config.count("hidden_size")?.unwrap_or(defaults.hidden_size);
        let num_heads = config
            .count("num_attention_heads")?
            .unwrap_or(defaults.num_attention_heads);
        let num_kv_heads = match config.value("num_key_value_heads") {
            Some(_) => config.required_count("num_key_value_heads")?,
            None if config.has("num_key_value_heads") => num_heads,
            None => defaults.num_key_value_heads.unwrap_or(num_heads),
        };
        if !num_heads.is_multiple_of(num_kv_heads) {
            return Err(config.invalid(
                "num_key_value_heads",
                format!("must divide num_attention_heads = {num_heads}"),
            ));
        }
        let head_dim = match config.count("head_dim")?.or(defaults.head_dim) {
            Some(head_dim) => head_dim,
            None if hidden_size.is_multiple_of(num_heads) => hidden_size / num_heads,
            None => {
                return Err(config.invalid(
                    "num_attention_heads",
                    format!("must divide hidden_size = {hidden_size}"),
                ));
            }
        };
        if !head_dim.is_multiple_of(2) {
            return Err(config.invalid(
                "head_dim",
                "rotary embedding needs an even number of dimensions a head",
            ));
        }
        let num_layers = config
            .count("num_hidden_layers")?
            .unwrap_or(defaults.num_hidden_layers);
        if num_layers > LAYER_LIMIT {
            return Err(config.invalid(
                "num_hidden_layers",
                format!("more than {LAYER_LIMIT} layers are not believed"),
            ));
        }
        let max_position_embeddings = config
            .count("max_position_embeddings")?
            .unwrap_or(defaults.max_position_embeddings);
        if max_position_embeddings > POSITION_LIMIT {
            return Err(config.invalid(
                "max_position_embeddings",
                format!("more than {POSITION_LIMIT} positions are not believed"),
            ));
        }
        let activation = activation_of(config, "hidden_act", "silu")?;
        let norm = Norm::rms(
            config
                .positive("rms_norm_eps")?
                .unwrap_or(defaults.rms_norm_eps),
        );
        let intermediate_size = config.count("intermediate_size")?;
        Ok(Self {
            num_layers,
            norm,
            attention: Attention {
                num_heads,
                num_kv_heads,
                head_dim,
                window: None,
                rope: match &defaults.rope {
                    Some(rope) => Some(read_rope_or(config, head_dim, rope)?),
                    None => None,
                },
                scale: 1.0 / (head_dim as f64).sqrt(),
                score_cap: None,
                query_temperature: None,
                output_gate: false,
                has_sinks: false,
                is_causal: true,
                kv: KvSource::Projected,
                v_norm: false,
                latent: None,
                qkv_bias: false,
                output_bias: false,
                qk_norm: None,
            },
            mlp: Mlp {
                intermediate_size: intermediate_size.unwrap_or(defaults.intermediate_size),
                activation,
                bias: false,
                is_gated: true,
                gate_scale: 1.0,
                output_scale: 1.0,
                clamp: None,
            },
            base: ModelDescription {
                architecture,
                vocab_size: config.count("vocab_size")?.unwrap_or(defaults.vocab_size),
                hidden_size,
                max_position_embeddings,
                layers: Vec::new(),
                embedding_scale: 1.0,
                final_norm: norm,
                logits_scale: 1.0,
                logits_cap: None,
                tie_word_embeddings: config
                    .flag("tie_word_embeddings")?
                    .unwrap_or(defaults.tie_word_embeddings),
                per_layer_inputs: None,
            },
        })
    }

    /// Width of a head.
    pub fn head_dim(&self) -> usize {
        self.attention.head_dim
    }

    /// The norm of queries and keys, a head at a time.
    pub fn head_norm(&self) -> Option<QkNorm> {
        Some(QkNorm::of_heads(self.norm))
    }

    /// The whole description; `differ` says how the attention and the feed-forward block of each layer differ from the
    /// shared ones.
    pub fn describe(
        self,
        mut differ: impl FnMut(usize, &mut Attention, &mut FeedForward),
    ) -> ModelDescription {
        let layers = (0..self.num_layers).map(|index| {
            let mut attention = self.attention.clone();
            let mut feed_forward = FeedForward::Dense(self.mlp);
            differ(index, &mut attention, &mut feed_forward);
            LayerDescription {
                mixer_norms: BlockNorms::before(self.norm),
                mixer: Mixer::Attention(attention),
                feed_forward_norms: BlockNorms::before(self.norm),
                feed_forward,
                residual_scale: 1.0,
                is_parallel: false,
                has_scalar: false,
            }
        });
        ModelDescription {
            layers: layers.collect(),
            final_norm: self.norm,
            ..self.base
        }
    }
}

/// The activation of a key, by the names that transformers knows.
pub fn activation_of(config: &ConfigFile, key: &str, default: &'static str) -> Result<Activation> {
    Ok(match config.text(key)?.unwrap_or(default) {
        "silu" | "swish" => Activation::Silu,
        "gelu" | "gelu_python" => Activation::Gelu,
        "gelu_new" | "gelu_pytorch_tanh" | "gelu_python_tanh" | "gelu_fast" | "gelu_accurate" => {
            Activation::GeluTanh
        }
        "relu" => Activation::Relu,
        "relu2" => Activation::ReluSquared,
        _ => return Err(config.unsupported(key, "this activation is not known")),
    })
}

/// The window of each layer, as Qwen2 and Qwen3 describe it: by `layer_types` where the key is
/// there, else full attention below `max_window_layers` and the window from there on, and no
/// window at all unless `use_sliding_window` is true.
pub fn qwen_windows(config: &ConfigFile, num_layers: usize) -> Result<Vec<Option<usize>>> {
    let used = config.flag("use_sliding_window")?.unwrap_or(false);
    let size = match config.has("sliding_window") {
        true => config.count("sliding_window")?,
        false => Some(4096),
    };
    let first = config.whole("max_window_layers")?.unwrap_or(28);
    let types = config.texts("layer_types")?;
    let size = size.filter(|_| used);
    let Some(types) = types else {
        return Ok((0..num_layers)
            .map(|index| size.filter(|_| index >= first))
            .collect());
    };
    let sliding = sliding_layers(config, &types, num_layers)?;
    if size.is_none() && sliding.contains(&true) {
        return Err(config.invalid(
            "layer_types",
            "sliding_attention needs use_sliding_window = true and a sliding_window",
        ));
    }
    Ok(sliding
        .into_iter()
        .map(|slides| size.filter(|_| slides))
        .collect())
}

/// Which layers have a window: by `layer_types`, else all but each `period`th.
pub fn sliding_or_every(
    config: &ConfigFile,
    num_layers: usize,
    period: usize,
) -> Result<Vec<bool>> {
    match config.texts("layer_types")? {
        Some(types) => sliding_layers(config, &types, num_layers),
        None => Ok((1..=num_layers)
            .map(|number| !number.is_multiple_of(period))
            .collect()),
    }
}

/// The size of the window where the key is there, `default` where it is not, and none where it is null.
pub fn window_or(config: &ConfigFile, default: usize) -> Result<Option<usize>> {
    match config.has("sliding_window") {
        true => config.count("sliding_window"),
        false => Ok(Some(default)),
    }
}

/// Which layers have a window, by the entries of `layer_types`.
pub fn sliding_layers(config: &ConfigFile, types: &[&str], num_layers: usize) -> Result<Vec<bool>> {
    let kinds = ["sliding_attention", "full_attention"];
    layers_of_kind(config, "layer_types", types, kinds, num_layers)
}

/// Which layers are of the first of two kinds, by a list with an entry a layer.
pub fn layers_of_kind(
    config: &ConfigFile,
    key: &str,
    types: &[&str],
    [wanted, other]: [&str; 2],
    num_layers: usize,
) -> Result<Vec<bool>> {
    if types.len() != num_layers {
        return Err(config.invalid(key, format!("expected {num_layers} entries")));
    }
    types
        .iter()
        .map(|kind| match *kind {
            kind if kind == wanted => Ok(true),
            kind if kind == other => Ok(false),
            _ => Err(config.unsupported(key, format!("only {other} and {wanted} are known"))),
        })
        .collect()
}
