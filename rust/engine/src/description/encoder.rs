//! What a bidirectional encoder is made of, as data, and the names of its tensors.

use super::{Activation, Attention, LayerNorm};

/// The description of one encoder.
#[derive(Debug, Clone, PartialEq)]
pub struct EncoderDescription {
    /// Name of the architecture in the table, such as `bert`.
    pub architecture: &'static str,
    /// Rows of the embedding.
    pub vocab_size: usize,
    /// Width of a token's state.
    pub hidden_size: usize,
    /// The most tokens of a text, those that the tokenizer adds included.
    pub max_tokens: usize,
    /// What tells tokens their place, where that is not their rotation.
    pub positions: Positions,
    /// Rows of the embedding of token types (segments); 0 for none.
    pub token_types: usize,
    /// The norm of the embeddings.
    pub embedding_norm: LayerNorm,
    /// Where the norms of the layers stand.
    pub norm_place: NormPlace,
    /// The layers, first to last.
    pub layers: Vec<EncoderLayer>,
    /// The norm behind the last layer.
    pub final_norm: Option<LayerNorm>,
    /// What its tensors may be called; files have one of these.
    pub names: &'static [EncoderNames],
}

/// What tells tokens their place.
#[derive(Debug, Clone, PartialEq)]
pub enum Positions {
    /// The rotation of queries and keys.
    Rotary,
    /// One learned vector a position, added to the embedding.
    Learned {
        /// How many there are.
        rows: usize,
        /// The padding token of a RoBERTa: positions are counted from behind its id, and tokens that are it have it.
        padding: Option<u32>,
    },
}

/// Where norms stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NormPlace {
    /// `x = norm(x + block(x))`.
    Behind,
    /// `x = x + block(norm(x))`.
    Before,
}

/// The description of one layer.
#[derive(Debug, Clone, PartialEq)]
pub struct EncoderLayer {
    /// Attention to all positions, or to those within its window on both sides.
    pub attention: Attention,
    /// A number added to scores by head and distance; shared by all layers.
    pub distance_bias: Option<DistanceBuckets>,
    /// The norm of the attention; none in the first layer of a ModernBERT.
    pub attention_norm: Option<LayerNorm>,
    /// What works on each position by itself.
    pub feed_forward: EncoderMlp,
    /// The norm of the feed-forward block.
    pub feed_forward_norm: LayerNorm,
}

/// Distances in groups that share a number (Raffel et al. 2020): near ones each have their own, farther ones are grouped by
/// their logarithms, in each direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DistanceBuckets {
    /// Groups in both directions together.
    pub buckets: usize,
    /// From here on, distances share the last one.
    pub max_distance: usize,
    /// Rows of the table, which may have more than there are groups.
    pub rows: usize,
}

/// `down(act(up(x)))`, or `down(act(gate(x)) · up(x))`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct EncoderMlp {
    /// Width between the projections.
    pub intermediate_size: usize,
    /// The non-linearity.
    pub activation: Activation,
    /// Whether there is a gate.
    pub gated: bool,
    /// Whether the projections have biases.
    pub bias: bool,
}

/// The names of an encoder's tensors, without `.weight` and `.bias`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EncoderNames {
    /// What may stand before all names: that of the encoder in a model with a head.
    pub prefix: &'static str,
    /// Of the embedding of tokens.
    pub words: &'static str,
    /// Of the embedding of positions.
    pub positions: &'static str,
    /// Of the embedding of token types.
    pub token_types: &'static str,
    /// Of the norm of the embeddings.
    pub embedding_norm: &'static str,
    /// What stands before a layer's number.
    pub layer: &'static str,
    /// The projections to queries, keys and values: three, or one for all.
    pub qkv: &'static [&'static str],
    /// The projection behind the attention.
    pub output: &'static str,
    /// Of the norm of the attention.
    pub attention_norm: &'static str,
    /// The projections to the block's inside: the gate if there is one, and up; or one for both.
    pub up: &'static [&'static str],
    /// The projection back.
    pub down: &'static str,
    /// Of the norm of the block.
    pub feed_forward_norm: &'static str,
    /// Of the norm behind the last layer.
    pub final_norm: &'static str,
    /// Of the numbers that distances add.
    pub distance_bias: &'static str,
}

impl EncoderNames {
    /// The name of a part of a layer.
    pub fn of_layer(&self, index: usize, part: &str) -> String {
        format!("{}{index}.{part}", self.layer)
    }
}

impl DistanceBuckets {
    /// The group of a distance of a key from its query, below 0 for keys before it.
    pub fn bucket(&self, distance: i64) -> usize {
        let each = self.buckets / 2;
        let exact = each / 2;
        let far = distance.unsigned_abs() as usize;
        let side = if distance > 0 { each } else { 0 };
        if far < exact {
            return side + far;
        }
        // In 32 bits, as transformers has it: borders fall where it puts them.
        let share = (far as f32 / exact as f32).ln()
            / ((self.max_distance as f64 / exact as f64).ln() as f32);
        let group = exact + (share * (each - exact) as f32) as usize;
        side + group.min(each - 1)
    }
}

impl EncoderDescription {
    /// Which of the names a file has: the first where nothing tells.
    pub fn names(&self, has: impl Fn(&str) -> bool) -> &'static EncoderNames {
        let has_both = |names: &&EncoderNames| {
            [names.words, names.embedding_norm]
                .iter()
                .all(|name| has(&format!("{name}.weight")))
        };
        self.names.iter().find(has_both).unwrap_or(&self.names[0])
    }

    /// Every tensor that the encoder reads, with its shape.
    pub fn tensors(
        &self,
        names: &EncoderNames,
    ) -> impl Iterator<Item = (String, Vec<usize>)> + use<'_> {
        let names = *names;
        let hidden = self.hidden_size;
        let mut first = vec![(
            format!("{}.weight", names.words),
            vec![self.vocab_size, hidden],
        )];
        if let Positions::Learned { rows, .. } = self.positions {
            first.push((format!("{}.weight", names.positions), vec![rows, hidden]));
        }
        if self.token_types > 0 {
            first.push((
                format!("{}.weight", names.token_types),
                vec![self.token_types, hidden],
            ));
        }
        first.extend(norm(names.embedding_norm, hidden, self.embedding_norm));
        let buckets = self.layers.first().and_then(|layer| layer.distance_bias);
        if let (Some(buckets), Some(layer)) = (buckets, self.layers.first()) {
            first.push((
                format!("{}.weight", names.distance_bias),
                vec![buckets.rows, layer.attention.num_heads],
            ));
        }
        let last = self
            .final_norm
            .into_iter()
            .flat_map(move |of| norm(names.final_norm, hidden, of));
        first
            .into_iter()
            .chain((0..self.layers.len()).flat_map(move |index| self.layer_tensors(index, &names)))
            .chain(last)
    }

    fn layer_tensors(&self, index: usize, names: &EncoderNames) -> Vec<(String, Vec<usize>)> {
        let (layer, hidden) = (&self.layers[index], self.hidden_size);
        let at = |part: &str| names.of_layer(index, part);
        let mut tensors = Vec::new();
        let mut linear = |part: &str, rows: usize, columns: usize, bias: bool| {
            tensors.push((format!("{}.weight", at(part)), vec![rows, columns]));
            if bias {
                tensors.push((format!("{}.bias", at(part)), vec![rows]));
            }
        };
        let attention = &layer.attention;
        let sizes = attention.qkv_sizes();
        match names.qkv {
            [all] => linear(all, sizes.iter().sum(), hidden, attention.qkv_bias),
            each => {
                for (part, rows) in each.iter().zip(sizes) {
                    linear(part, rows, hidden, attention.qkv_bias);
                }
            }
        }
        linear(
            names.output,
            hidden,
            attention.query_size(),
            attention.output_bias,
        );
        let mlp = layer.feed_forward;
        let rows = mlp.intermediate_size;
        for part in names.up {
            let all = mlp.gated && names.up.len() == 1;
            linear(part, if all { 2 * rows } else { rows }, hidden, mlp.bias);
        }
        linear(names.down, hidden, rows, mlp.bias);
        if let Some(of) = layer.attention_norm {
            tensors.extend(norm(&at(names.attention_norm), hidden, of));
        }
        tensors.extend(norm(
            &at(names.feed_forward_norm),
            hidden,
            layer.feed_forward_norm,
        ));
        tensors
    }
}

fn norm(name: &str, width: usize, norm: LayerNorm) -> Vec<(String, Vec<usize>)> {
    let mut tensors = vec![(format!("{name}.weight"), vec![width])];
    if norm.bias {
        tensors.push((format!("{name}.bias"), vec![width]));
    }
    tensors
}
