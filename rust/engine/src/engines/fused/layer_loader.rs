//! Layers out of a source's tensors.

use candle_core::{DType, Tensor};
use candle4j_kernels::{delta_state_len, state_space_len};

use super::attention::{Attention, QkNorms};
use super::cached_attention::CachedAttention;
use super::delta_net::DeltaNet;
use super::feed_forward::{Block, Experts, Mlp, OwnNorms, SharedExpert};
use super::latent_attention::{LatentAttention, LatentHead, LatentQuery, keys_and_values};
use super::layer::{Layer, MixerBlock, Norms, ParallelMixers};
use super::linear::{FusedLinear, Linear};
use super::norm::Norm;
use super::packed_weights::PackedWeights;
use super::per_layer::{PerLayerBlock, PerLayerEmbedding};
use super::rotary::Rotary;
use super::short_conv::ShortConv;
use super::state_space::StateSpace;
use crate::description::rope::Rope;
use crate::description::{
    self, FeedForward, KvSource, LayerDescription, Mixer, ModelDescription, NamedNorm, NormKind,
    OWN_NORMS, PER_LAYER_EMBEDDING, QkNorm,
};
use crate::error::Result;
use crate::formats::{Matrix, TensorSource, unreadable};

/// Puts layers together out of a source's tensors.
pub(super) struct LayerLoader<'a> {
    description: &'a ModelDescription,
    source: &'a dyn TensorSource,
    /// The rotary embeddings of the layers by now, each once.
    pub(super) rotaries: Vec<Rotary>,
    /// Of each layer by now that has keys and values of its own, its index.
    caches: Vec<usize>,
    /// Of each recurrent layer by now, the numbers that its convolution keeps, and those of its memory.
    pub(super) recurrent: Vec<(usize, usize)>,
}

/// A matrix by its name, its rows and columns, and whether it has a bias.
type Part = (String, (usize, usize), bool);

impl<'a> LayerLoader<'a> {
    /// For the layers of a description.
    pub(super) fn new(description: &'a ModelDescription, source: &'a dyn TensorSource) -> Self {
        Self {
            description,
            source,
            rotaries: Vec::new(),
            caches: Vec::new(),
            recurrent: Vec::new(),
        }
    }

    /// The next layer.
    pub(super) fn layer(&mut self, index: usize, layer: &LayerDescription) -> Result<Layer> {
        let at = |name: &str| format!("model.layers.{index}.{name}");
        let [
            before_mixer,
            after_mixer,
            before_feed_forward,
            after_feed_forward,
        ] = layer.norms();
        // In the order of the forward pass, so that the first tensor that is missing is named.
        let mixer_norms = self.norms(index, before_mixer, after_mixer)?;
        let mixer = self.mixer(index, &layer.mixer)?;
        Ok(Layer {
            mixer_norms,
            mixer,
            feed_forward_norms: self.norms(index, before_feed_forward, after_feed_forward)?,
            feed_forward: self.feed_forward(index, &layer.feed_forward)?,
            residual_scale: layer.residual_scale,
            is_parallel: layer.is_parallel,
            per_layer_input: match self.description.per_layer_inputs {
                Some(inputs) => Some(self.per_layer_block(index, inputs)?),
                None => None,
            },
            scalar: match layer.has_scalar {
                true => f64::from(self.numbers(&at("layer_scalar"), 1)?[0]),
                false => 1.0,
            },
        })
    }

    fn mixer(&mut self, index: usize, mixer: &Mixer) -> Result<Option<MixerBlock>> {
        Ok(Some(match mixer {
            Mixer::None => return Ok(None),
            Mixer::Attention(attention) => match &attention.latent {
                None => MixerBlock::Attention(self.attention(index, attention)?),
                Some(latent) => {
                    MixerBlock::LatentAttention(self.latent_attention(index, attention, latent)?)
                }
            },
            Mixer::ShortConv(conv) => MixerBlock::ShortConv(self.short_conv(index, *conv)?),
            Mixer::DeltaNet(net) => MixerBlock::DeltaNet(self.delta_net(index, *net)?),
            Mixer::StateSpace(space) => MixerBlock::StateSpace(self.state_space(index, *space)?),
            Mixer::Parallel(both) => MixerBlock::Parallel(Box::new(ParallelMixers {
                attention: self.attention(index, &both.attention)?,
                attention_scale: both.attention_scale,
                space: self.state_space(index, both.space)?,
                space_scale: both.space_scale,
            })),
        }))
    }

    fn norms(&self, layer: usize, before: NamedNorm, after: NamedNorm) -> Result<Norms> {
        let hidden = self.description.hidden_size;
        let load = |(name, norm): NamedNorm| match norm {
            None => Ok(None),
            Some(norm) => self
                .norm(&format!("model.layers.{layer}.{name}"), hidden, norm)
                .map(Some),
        };
        Ok(Norms {
            before: load(before)?,
            after: load(after)?,
        })
    }

    fn attention(&mut self, index: usize, attention: &description::Attention) -> Result<Attention> {
        let hidden = self.description.hidden_size;
        let at = |name: &str| format!("model.layers.{index}.self_attn.{name}");
        let [query, key, value] = attention.qkv_sizes();
        let qkv: Vec<Part> = [("q_proj", query), ("k_proj", key), ("v_proj", value)]
            .into_iter()
            .filter(|(_, rows)| *rows > 0)
            .map(|(name, rows)| (at(name), (rows, hidden), attention.qkv_bias))
            .collect();
        let source = match attention.kv {
            KvSource::Layer(source) => source,
            _ => {
                self.caches.push(index);
                index
            }
        };
        let cached = self.cached_attention(index, attention, source)?;
        let norms = match attention.qk_norm {
            None => None,
            Some(QkNorm {
                norm,
                span,
                is_after_rotation,
            }) => {
                let [query, key] = attention.qk_norm_sizes(span);
                Some(QkNorms {
                    query: self.norm(&at("q_norm"), query, norm)?,
                    key: match attention.has_own_kv() {
                        true => Some(self.norm(&at("k_norm"), key, norm)?),
                        false => None,
                    },
                    span,
                    are_after_rotation: is_after_rotation,
                })
            }
        };
        Ok(Attention {
            cached,
            qkv: self.fused(&qkv)?,
            kv: attention.kv,
            value_norm: match (attention.v_norm, attention.qk_norm) {
                (true, Some(QkNorm { norm, .. })) => {
                    let ones = Tensor::ones(
                        attention.head_dim,
                        self.source.dtype(),
                        self.source.device(),
                    );
                    let norm = ones.and_then(|ones| Norm::rms(ones, norm.eps));
                    Some(norm.map_err(|e| unreadable(&at("v_norm"), &e))?)
                }
                _ => None,
            },
            has_gate: attention.output_gate,
            output: self.linear(&(
                at("o_proj"),
                (hidden, attention.query_size()),
                attention.output_bias,
            ))?,
            norms,
            rotary: self.rotary(attention.rope.as_ref(), attention.head_dim),
            query_temperature: attention.query_temperature,
        })
    }

    /// The attention over the keys and values of the layer `source`.
    fn cached_attention(
        &self,
        index: usize,
        attention: &description::Attention,
        source: usize,
    ) -> Result<CachedAttention> {
        let at = |name: &str| format!("model.layers.{index}.self_attn.{name}");
        let layer = self.caches.iter().position(|layer| *layer == source);
        Ok(CachedAttention {
            layer: layer.ok_or_else(|| {
                unreadable(&at("k_proj"), &"a layer before it has no keys and values")
            })?,
            heads: attention.num_heads,
            kv_heads: attention.num_kv_heads,
            head_dim: attention.head_dim,
            window: attention.window,
            scale: attention.scale as f32,
            cap: attention.score_cap.map(|cap| cap as f32),
            is_causal: attention.is_causal,
            sinks: match attention.has_sinks {
                true => Some(self.numbers(&at("sinks"), attention.num_heads)?),
                false => None,
            },
        })
    }

    fn latent_attention(
        &mut self,
        index: usize,
        attention: &description::Attention,
        latent: &description::Latent,
    ) -> Result<LatentAttention> {
        let (hidden, heads) = (self.description.hidden_size, attention.num_heads);
        let at = |name: &str| format!("model.layers.{index}.self_attn.{name}");
        self.caches.push(index);
        let rotated_dim = attention.head_dim - latent.kv_rank;
        let query_rows = heads * (latent.plain_dim + rotated_dim);
        let bias = attention.qkv_bias;
        let query = match latent.query_rank {
            None => {
                LatentQuery::Direct(self.linear(&(at("q_proj"), (query_rows, hidden), false))?)
            }
            Some(rank) => LatentQuery::Narrow {
                down: self.linear(&(at("q_a_proj"), (rank, hidden), bias))?,
                norm: self.norm(&at("q_a_layernorm"), rank, latent.norm)?,
                up: self.linear(&(at("q_b_proj"), (query_rows, rank), false))?,
            },
        };
        let kv_rows = latent.kv_rank + rotated_dim;
        Ok(LatentAttention {
            cached: self.cached_attention(index, attention, index)?,
            query,
            narrow: self.linear(&(at("kv_a_proj_with_mqa"), (kv_rows, hidden), bias))?,
            norm: self.norm(&at("kv_a_layernorm"), latent.kv_rank, latent.norm)?,
            heads: self.latent_heads(index, heads, latent)?,
            output: self.linear(&(
                at("o_proj"),
                (hidden, heads * latent.value_dim),
                attention.output_bias,
            ))?,
            rotary: self.rotary(attention.rope.as_ref(), rotated_dim),
            plain_dim: latent.plain_dim,
            rotated_dim,
            kv_rank: latent.kv_rank,
        })
    }

    /// What each head makes of narrow keys and values.
    fn latent_heads(
        &self,
        index: usize,
        heads: usize,
        latent: &description::Latent,
    ) -> Result<Vec<LatentHead>> {
        let at = |name: &str| format!("model.layers.{index}.self_attn.{name}.weight");
        let (plain, value, rank) = (latent.plain_dim, latent.value_dim, latent.kv_rank);
        let (name, parts) = match latent.is_by_head {
            true => {
                let (keys, values) = (at("k_b_proj"), at("v_b_proj"));
                let keys_matrix = self.source.matrix(&keys, (heads * rank, plain))?;
                let values_matrix = self.source.matrix(&values, (heads * value, rank))?;
                let keys_of = keys_matrix.split_rows(&vec![rank; heads]);
                let values_of = values_matrix.split_rows(&vec![value; heads]);
                let parts = keys_of.and_then(|keys| Ok((keys, values_of?)));
                (keys, parts)
            }
            false => {
                let name = at("kv_b_proj");
                let matrix = self.source.matrix(&name, (heads * (plain + value), rank))?;
                (name, keys_and_values(matrix, heads, plain, value))
            }
        };
        let heads = parts.and_then(|(keys, values)| {
            let heads = keys.into_iter().zip(values);
            heads
                .map(|(keys, values)| {
                    Ok(LatentHead {
                        keys: PackedWeights::new(keys)?,
                        values: PackedWeights::new(values)?,
                    })
                })
                .collect()
        });
        heads.map_err(|e| unreadable(&name, &e))
    }

    /// The embedding that all layers' inputs come from.
    pub(super) fn per_layer_embedding(
        &self,
        inputs: description::PerLayerInputs,
    ) -> Result<PerLayerEmbedding> {
        let (hidden, size) = (self.description.hidden_size, inputs.size);
        let all = self.description.layers.len() * size;
        let name = "model.per_layer_model_projection";
        let norm = description::Norm::rms(self.description.final_norm.eps);
        Ok(PerLayerEmbedding {
            rows: self
                .source
                .lazy_rows(PER_LAYER_EMBEDDING, (inputs.vocab_size, all))?,
            projection: self.linear(&(name.to_owned(), (all, hidden), false))?,
            norm: self.norm("model.per_layer_projection_norm", size, norm)?,
            hidden,
            size,
        })
    }

    fn per_layer_block(
        &self,
        layer: usize,
        inputs: description::PerLayerInputs,
    ) -> Result<PerLayerBlock> {
        let (hidden, size) = (self.description.hidden_size, inputs.size);
        let at = |name: &str| format!("model.layers.{layer}.{name}");
        let norm = description::Norm::rms(self.description.final_norm.eps);
        Ok(PerLayerBlock {
            gate: self.linear(&(at("per_layer_input_gate"), (size, hidden), false))?,
            projection: self.linear(&(at("per_layer_projection"), (hidden, size), false))?,
            norm: self.norm(&at("post_per_layer_input_norm"), hidden, norm)?,
            activation: inputs.activation,
            size,
        })
    }

    fn short_conv(&mut self, index: usize, conv: description::ShortConv) -> Result<ShortConv> {
        let hidden = self.description.hidden_size;
        let at = |name: &str| format!("model.layers.{index}.conv.{name}");
        self.recurrent.push(((conv.taps - 1) * hidden, 0));
        Ok(ShortConv {
            layer: self.recurrent.len() - 1,
            input: self.linear(&(at("in_proj"), (3 * hidden, hidden), conv.bias))?,
            weight: self.by_tap(&at("conv.weight"), (hidden, conv.taps))?,
            bias: match conv.bias {
                true => self.numbers(&at("conv.bias"), hidden)?,
                false => Vec::new(),
            },
            output: self.linear(&(at("out_proj"), (hidden, hidden), conv.bias))?,
        })
    }

    fn delta_net(&mut self, index: usize, net: description::DeltaNet) -> Result<DeltaNet> {
        let hidden = self.description.hidden_size;
        let at = |name: &str| format!("model.layers.{index}.linear_attn.{name}");
        let (channels, values, heads) = (net.channels(), net.values_size(), net.value_heads);
        let state = delta_state_len(net.key_dim, net.value_dim);
        self.recurrent
            .push(((net.taps - 1) * channels, heads * state));
        let input = [
            ("in_proj_qkv", channels),
            ("in_proj_z", values),
            ("in_proj_b", heads),
            ("in_proj_a", heads),
        ]
        .map(|(name, rows)| (at(name), (rows, hidden), false));
        let mut decay = self.numbers(&at("A_log"), heads)?;
        if !net.has_decays {
            decay.iter_mut().for_each(|a| *a = -a.exp());
        }
        Ok(DeltaNet {
            layer: self.recurrent.len() - 1,
            shape: net,
            input: self.fused(&input)?,
            conv: self.by_tap(&at("conv1d.weight"), (channels, net.taps))?,
            decay,
            time_bias: self.numbers(&at("dt_bias"), heads)?,
            norm: self.numbers(&at("norm.weight"), net.value_dim)?,
            output: self.linear(&(at("out_proj"), (hidden, values), false))?,
        })
    }

    fn state_space(&mut self, index: usize, space: description::StateSpace) -> Result<StateSpace> {
        let hidden = self.description.hidden_size;
        let at = |name: &str| format!("model.layers.{index}.mamba.{name}");
        let (inner, channels, heads) = (space.inner_size(), space.channels(), space.heads);
        let state = heads * state_space_len(space.state_dim, space.head_dim);
        self.recurrent.push(((space.taps - 1) * channels, state));
        let decay = self.numbers(&at("A_log"), heads)?;
        // What inputs, writes and reads are multiplied with goes through the convolution.
        let [gate_scale, input, write, read, time_scale] = space.scales.map(|scale| scale as f32);
        let mut conv = self.by_tap(&at("conv1d.weight"), (channels, space.taps))?;
        for taps in conv.chunks_exact_mut(channels) {
            let (inputs, others) = taps.split_at_mut(inner);
            let (writes, reads) = others.split_at_mut(space.groups * space.state_dim);
            for (weights, scale) in [(inputs, input), (writes, write), (reads, read)] {
                weights.iter_mut().for_each(|weight| *weight *= scale);
            }
        }
        Ok(StateSpace {
            layer: self.recurrent.len() - 1,
            shape: space,
            input: self.linear(&(at("in_proj"), (space.projection_size(), hidden), space.bias))?,
            conv,
            conv_bias: match space.conv_bias {
                true => self.numbers(&at("conv1d.bias"), channels)?,
                false => Vec::new(),
            },
            decay: match space.has_decays {
                true => decay,
                false => decay.iter().map(|a| -a.exp()).collect(),
            },
            time_bias: self.numbers(&at("dt_bias"), heads)?,
            skip: self.numbers(&at("D"), heads)?,
            norm: match space.norm {
                Some(_) => self.numbers(&at("norm.weight"), inner)?,
                None => Vec::new(),
            },
            gate_scale,
            time_scale,
            output: self.linear(&(at("out_proj"), (hidden, inner), space.output_bias))?,
        })
    }

    /// A vector in 32 bits.
    fn numbers(&self, name: &str, len: usize) -> Result<Vec<f32>> {
        self.source
            .vector(name, len)?
            .to_dtype(DType::F32)
            .and_then(|vector| vector.to_vec1())
            .map_err(|e| unreadable(name, &e))
    }

    /// The weights of a convolution, `[channels, taps]` in the file, as `[taps, channels]`.
    fn by_tap(&self, name: &str, (channels, taps): (usize, usize)) -> Result<Vec<f32>> {
        let table = self.source.table(name, (channels, taps))?;
        let taps_of = |tap| (0..channels).map(move |channel| channel * taps + tap);
        Ok((0..taps).flat_map(taps_of).map(|i| table[i]).collect())
    }

    /// The index of a layer's rotary embedding among those of all layers.
    fn rotary(&mut self, rope: Option<&Rope>, head_dim: usize) -> usize {
        let positions = self.description.max_position_embeddings;
        let wanted = Rotary::new(rope, head_dim, positions);
        let known = self.rotaries.iter().position(|rotary| *rotary == wanted);
        known.unwrap_or_else(|| {
            self.rotaries.push(wanted);
            self.rotaries.len() - 1
        })
    }

    fn feed_forward(&self, index: usize, block: &FeedForward) -> Result<Option<Block>> {
        let name = &format!("model.layers.{index}.mlp");
        Ok(Some(match block {
            FeedForward::None => return Ok(None),
            FeedForward::Dense(mlp) => Block::Dense(self.mlp(name, mlp)?),
            FeedForward::Experts {
                expert,
                num_experts,
                experts_per_token,
                router,
                shared,
                own_norms,
            } => Block::Experts(Experts {
                router: self.linear(&(
                    format!("{name}.gate"),
                    (*num_experts, self.description.hidden_size),
                    router.has_bias,
                ))?,
                experts: (0..*num_experts)
                    .map(|index| self.mlp(&format!("{name}.experts.{index}"), expert))
                    .collect::<Result<_>>()?,
                per_token: *experts_per_token,
                routing: *router,
                choice_bias: match router.has_choice_bias {
                    true => self.numbers(
                        &format!("{name}.gate.e_score_correction_bias"),
                        *num_experts,
                    )?,
                    false => Vec::new(),
                },
                shared: match shared {
                    Some(shared) => Some(self.shared_expert(name, shared)?),
                    None => None,
                },
                own: match own_norms {
                    Some(norm) => Some(Box::new(self.own_norms(index, *num_experts, *norm)?)),
                    None => None,
                },
            }),
        }))
    }

    fn own_norms(
        &self,
        index: usize,
        num_experts: usize,
        norm: description::Norm,
    ) -> Result<OwnNorms> {
        let hidden = self.description.hidden_size;
        let at = |name: &str| format!("model.layers.{index}.{name}");
        let norm_of = |name: &str| self.norm(&at(name), hidden, norm);
        let [before, behind, behind_shared] = OWN_NORMS;
        let name = at("mlp.gate.scale");
        let router = self
            .source
            .vector(&name, hidden)?
            .affine(1.0 / (hidden as f64).sqrt(), 0.0)
            .and_then(|factors| Norm::rms(factors, norm.eps))
            .map_err(|e| unreadable(&name, &e))?;
        Ok(OwnNorms {
            router,
            norms: [norm_of(before)?, norm_of(behind)?, norm_of(behind_shared)?],
            scales: self.numbers(&at("mlp.experts.scale"), num_experts)?,
        })
    }

    fn shared_expert(
        &self,
        name: &str,
        shared: &description::SharedExpert,
    ) -> Result<SharedExpert> {
        let hidden = self.description.hidden_size;
        Ok(SharedExpert {
            mlp: self.mlp(&format!("{name}.shared_expert"), &shared.mlp)?,
            gate: match shared.is_gated {
                true => Some(self.linear(&(
                    format!("{name}.shared_expert_gate"),
                    (1, hidden),
                    false,
                ))?),
                false => None,
            },
        })
    }

    fn mlp(&self, name: &str, mlp: &description::Mlp) -> Result<Mlp> {
        let (hidden, size) = (self.description.hidden_size, mlp.intermediate_size);
        let part = |part: &str| (format!("{name}.{part}"), (size, hidden), mlp.bias);
        let gate_up = match mlp.is_gated {
            true => vec![part("gate_proj"), part("up_proj")],
            false => vec![part("up_proj")],
        };
        Ok(Mlp {
            gate_up: self.fused(&gate_up)?,
            down: self.linear(&(format!("{name}.down_proj"), (hidden, size), mlp.bias))?,
            activation: mlp.activation,
            is_gated: mlp.is_gated,
            gate_scale: mlp.gate_scale,
            output_scale: mlp.output_scale,
            clamp: mlp.clamp,
        })
    }

    /// The norm of rows that are `len` wide, by its name.
    pub(super) fn norm(&self, name: &str, len: usize, norm: description::Norm) -> Result<Norm> {
        let weight_name = format!("{name}.weight");
        let weight = self.source.vector(&weight_name, len)?;
        let loaded = match norm.kind {
            NormKind::Rms { plus_one: false } => Norm::rms(weight, norm.eps),
            NormKind::Rms { plus_one: true } => weight
                .affine(1.0, 1.0)
                .and_then(|factor| Norm::rms(factor, norm.eps)),
            NormKind::Layer { bias } => {
                let bias = match bias {
                    true => Some(self.source.vector(&format!("{name}.bias"), len)?),
                    false => None,
                };
                Norm::layer(weight, bias, norm.eps)
            }
        };
        loaded.map_err(|e| unreadable(&weight_name, &e))
    }

    fn read(&self, (name, shape, biased): &Part) -> Result<(Matrix, Option<Tensor>)> {
        let bias = match biased {
            true => Some(self.source.vector(&format!("{name}.bias"), shape.0)?),
            false => None,
        };
        let matrix = self.source.matrix(&format!("{name}.weight"), *shape)?;
        Ok((matrix, bias))
    }

    fn linear(&self, part: &Part) -> Result<Linear> {
        let (matrix, bias) = self.read(part)?;
        let weights = PackedWeights::new(matrix).map_err(|e| unreadable(&part.0, &e))?;
        Ok(Linear::new(weights, bias))
    }

    fn fused(&self, parts: &[Part]) -> Result<FusedLinear> {
        let matrices = parts
            .iter()
            .map(|part| self.read(part))
            .collect::<Result<_>>()?;
        FusedLinear::new(matrices).map_err(|e| unreadable(&parts[0].0, &e))
    }
}
