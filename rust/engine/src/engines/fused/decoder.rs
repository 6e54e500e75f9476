//! The transformer: weights, and the forward pass of several sequences at once.

use std::sync::Arc;

use candle_core::{DType, Device, Tensor};
use candle4j_kernels::{KvMemory, delta_state_len, state_space_len};

use super::attention::{Attention, QkNorms};
use super::budget::KvBudget;
use super::cache::{CacheShape, SequenceCache};
use super::delta_net::DeltaNet;
use super::feed_forward::{Block, Experts, Mlp, OwnNorms, SharedExpert};
use super::kv_state::KvShape;
use super::linear::{FusedLinear, Linear};
use super::norm::Norm;
use super::packed_weights::PackedWeights;
use super::per_layer::{PerLayerBlock, PerLayerEmbedding};
use super::recurrent::RecurrentShape;
use super::rotary::{Angles, Rotary};
use super::rows::add;
use super::short_conv::ShortConv;
use super::state_space::StateSpace;
use crate::description::{
    self, EMBEDDING, FeedForward, HEAD, KvSource, LayerDescription, Mixer, ModelDescription,
    NamedNorm, NormKind, OWN_NORMS, PER_LAYER_EMBEDDING, QkNorm,
};
use crate::error::{Result, candle_error};
use crate::formats::{Matrix, TensorSource, unreadable};

/// The weights of a model, shared by all of its sequences.
pub(crate) struct Decoder {
    embedding: PackedWeights,
    layers: Vec<Layer>,
    embedding_scale: f64,
    per_layer_inputs: Option<PerLayerEmbedding>,
    norm: Norm,
    head: Linear,
    logits_scale: f32,
    logits_cap: Option<f32>,
    /// The rotary embeddings of the layers, each once.
    rotaries: Vec<Rotary>,
    cache: CacheShape,
    /// The memory of all caches.
    memory: Arc<KvMemory>,
    budget: Arc<KvBudget>,
    dtype: DType,
    device: Device,
}

struct Layer {
    mixer_norms: Norms,
    mixer: MixerBlock,
    feed_forward_norms: Norms,
    feed_forward: Block,
    /// What a block's output is multiplied with.
    residual_scale: f64,
    is_parallel: bool,
    per_layer_input: Option<PerLayerBlock>,
    /// What the residual stream is multiplied with behind the layer.
    scalar: f64,
}

/// What mixes positions.
enum MixerBlock {
    Attention(Attention),
    ShortConv(ShortConv),
    DeltaNet(DeltaNet),
    StateSpace(StateSpace),
}

impl MixerBlock {
    /// See [`Attention::forward`].
    fn forward(
        &self,
        x: &Tensor,
        angles: &[Angles],
        sequences: &mut [(&mut SequenceCache, usize)],
    ) -> candle_core::Result<Tensor> {
        match self {
            MixerBlock::Attention(attention) => attention.forward(x, angles, sequences),
            MixerBlock::ShortConv(conv) => conv.forward(x, sequences),
            MixerBlock::DeltaNet(net) => net.forward(x, sequences),
            MixerBlock::StateSpace(space) => space.forward(x, sequences),
        }
    }
}

/// The norms around a block.
struct Norms {
    before: Option<Norm>,
    after: Option<Norm>,
}

impl Norms {
    /// What the block reads.
    fn input(&self, x: &Tensor) -> candle_core::Result<Tensor> {
        match &self.before {
            Some(norm) => norm.forward(x),
            None => Ok(x.clone()),
        }
    }

    /// The residual stream behind the block.
    fn residual(&self, x: &Tensor, output: Tensor, scale: f64) -> candle_core::Result<Tensor> {
        let output = match &self.after {
            Some(norm) => norm.forward(&output)?,
            None => output,
        };
        add(x, &scaled(output, scale)?)
    }
}

fn scaled(x: Tensor, scale: f64) -> candle_core::Result<Tensor> {
    match scale == 1.0 {
        true => Ok(x),
        false => x.affine(scale, 0.0),
    }
}

/// More positions than any sequence has.
const MAX_LENGTH: usize = 1 << 28;

/// Rows of a pass that looks for a fault.
const FAULT_ROWS: usize = 512;

/// The next tokens of one sequence in a forward pass.
pub(crate) struct SequenceStep<'a> {
    /// At least one.
    pub(crate) tokens: &'a [u32],
    /// Where their keys and values go.
    pub(crate) cache: &'a mut SequenceCache,
    /// Length of the sequence after its request; dynamic NTK scales by it.
    pub(crate) final_len: usize,
    /// Behind which tokens logits are wanted.
    pub(crate) wanted: Logits,
    /// Becomes the logits, or the states, one row a token.
    pub(crate) logits: &'a mut Vec<f32>,
}

/// Tokens behind which logits are wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Logits {
    None,
    Last,
    Every,
}

/// What a pass gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Output {
    /// Logits behind tokens.
    Logits,
    /// The states of tokens behind the last norm.
    States,
}

impl Decoder {
    /// Reads the weights of a description.
    pub(crate) fn load(description: &ModelDescription, source: &dyn TensorSource) -> Result<Self> {
        let memory = Arc::<KvMemory>::default();
        let mut loader = Loader {
            description,
            source,
            rotaries: Vec::new(),
            caches: Vec::new(),
            recurrent: Vec::new(),
        };
        let vocabulary = (description.vocab_size, description.hidden_size);
        let weights = |name: &str| {
            PackedWeights::new(source.matrix(name, vocabulary)?).map_err(|e| unreadable(name, &e))
        };
        let embedding = weights(EMBEDDING)?;
        let head = match description.tie_word_embeddings {
            true => embedding.clone(),
            false => weights(HEAD)?,
        };
        let per_layer_inputs = match description.per_layer_inputs {
            Some(inputs) => Some(loader.per_layer_embedding(inputs)?),
            None => None,
        };
        let mut layers = Vec::with_capacity(description.layers.len());
        for (index, layer) in description.layers.iter().enumerate() {
            layers.push(loader.layer(index, layer)?);
        }
        let norm = loader.norm(
            "model.norm",
            description.hidden_size,
            description.final_norm,
        )?;
        // Weights of 8 bits or less lose far more than keys and values in 16 bits do.
        let dtype = match source.device().is_cpu() && source.quantized() {
            true => DType::F16,
            false => source.dtype(),
        };
        let own = description
            .attentions()
            .filter(|attention| attention.has_own_kv());
        let shapes = own.map(|attention| KvShape {
            kv_heads: attention.num_kv_heads,
            head_dim: attention.head_dim,
            window: attention.window,
            dtype,
            device: source.device().clone(),
            memory: memory.clone(),
        });
        Ok(Self {
            embedding,
            layers,
            embedding_scale: description.embedding_scale,
            per_layer_inputs,
            norm,
            head: Linear::new(head, None),
            logits_scale: description.logits_scale as f32,
            logits_cap: description.logits_cap.map(|cap| cap as f32),
            rotaries: loader.rotaries,
            cache: CacheShape {
                layers: shapes.collect(),
                recurrent: loader
                    .recurrent
                    .iter()
                    .map(|(inputs, numbers)| RecurrentShape {
                        inputs: *inputs,
                        numbers: *numbers,
                        memory: memory.clone(),
                    })
                    .collect(),
                tree: Arc::default(),
            },
            budget: Arc::new(KvBudget::new(usize::MAX, memory.clone())),
            memory,
            dtype: source.dtype(),
            device: source.device().clone(),
        })
    }

    /// An empty cache for a sequence of up to `limit` tokens.
    pub(crate) fn new_cache(&self, limit: usize) -> SequenceCache {
        SequenceCache::new(self.cache.clone(), limit)
    }

    /// Sets how much memory the caches of all sequences may take.
    pub(crate) fn limit_caches(&mut self, bytes: usize) {
        self.budget = Arc::new(KvBudget::new(bytes, self.memory.clone()));
    }

    /// The memory of the caches of all sequences.
    pub(crate) fn budget(&self) -> &Arc<KvBudget> {
        &self.budget
    }

    /// Which rotary frequencies a sequence of this length has, see [`Rotary::frequency_set`].
    pub(crate) fn frequency_set(&self, length: usize) -> usize {
        let sets = self
            .rotaries
            .iter()
            .map(|rotary| rotary.frequency_set(length));
        // Several that depend on the length do so at limits of their own.
        sets.fold(0, |all, set| all * (MAX_LENGTH + 1) + set.min(MAX_LENGTH))
    }

    /// Takes the tokens of all steps through the model.
    ///
    /// # Errors
    /// [`Error::Compute`](crate::error::Error::Compute); the caches are to be rolled back then.
    pub(crate) fn forward(&self, steps: &mut [SequenceStep]) -> Result<()> {
        self.forward_to(steps, Output::Logits)
    }

    /// Like [`Self::forward`], for an output of choice.
    pub(crate) fn forward_to(&self, steps: &mut [SequenceStep], output: Output) -> Result<()> {
        self.run(steps, output, &mut |_, _| Ok(()))
            .map_err(|e| candle_error(&e))
    }

    /// Says in which layer the numbers of a step first stop being finite. Its cache is to be thrown
    /// away.
    pub(crate) fn locate_fault(&self, step: SequenceStep) -> Option<usize> {
        step.tokens.chunks(FAULT_ROWS).find_map(|tokens| {
            let mut found = None;
            let chunk = SequenceStep {
                tokens,
                cache: &mut *step.cache,
                final_len: step.final_len,
                wanted: Logits::Last,
                logits: &mut Vec::new(),
            };
            let ran = self.run(&mut [chunk], Output::Logits, &mut |layer, x| {
                let sum = x.to_dtype(DType::F32)?.abs()?.sum_all()?;
                match sum.to_scalar::<f32>()?.is_finite() {
                    true => Ok(()),
                    false => {
                        found = Some(layer);
                        candle_core::bail!("not finite")
                    }
                }
            });
            ran.err().and(found)
        })
    }

    fn run(
        &self,
        steps: &mut [SequenceStep],
        output: Output,
        after_layer: &mut dyn FnMut(usize, &Tensor) -> candle_core::Result<()>,
    ) -> candle_core::Result<()> {
        let mut tokens = Vec::new();
        let mut places = Vec::new();
        let mut wanted = Vec::new();
        let mut caches = Vec::with_capacity(steps.len());
        let mut all_tokens = Vec::with_capacity(steps.len());
        let mut logits = Vec::with_capacity(steps.len());
        for step in steps.iter_mut() {
            let count = step.tokens.len();
            step.cache.reserve(count)?;
            step.cache
                .plan_checkpoints(count, step.wanted != Logits::None);
            let position = step.cache.len();
            places.extend((position..position + count).map(|p| (p, step.final_len)));
            let first = match step.wanted {
                Logits::Every => 0,
                Logits::Last => count - 1,
                Logits::None => count,
            };
            wanted.extend((first..count).map(|row| (tokens.len() + row) as u32));
            tokens.extend_from_slice(step.tokens);
            caches.push((&mut *step.cache, count));
            all_tokens.push(step.tokens);
            if first < count {
                logits.push((count - first, &mut *step.logits));
            }
        }
        let rows = tokens.len();
        let ids = tokens;
        let tokens = Tensor::from_slice(&ids, rows, &self.device)?;
        let angles: Vec<Angles> = self
            .rotaries
            .iter()
            .map(|rotary| rotary.angles(&places, &self.device))
            .collect();
        let mut x = scaled(
            self.embedding.select(&tokens, self.dtype)?,
            self.embedding_scale,
        )?;
        let mut per_layer_inputs = match &self.per_layer_inputs {
            Some(embedding) => Some(embedding.inputs(&ids, &x)?),
            None => None,
        };
        for (index, layer) in self.layers.iter().enumerate() {
            let mut input = layer.mixer_norms.input(&x)?;
            let output = layer.mixer.forward(&input, &angles, &mut caches)?;
            x = layer
                .mixer_norms
                .residual(&x, output, layer.residual_scale)?;
            if index + 1 == self.layers.len() && wanted.len() < rows {
                // Nobody sees the other rows any more.
                if wanted.is_empty() {
                    break;
                }
                let wanted = Tensor::from_slice(&wanted, wanted.len(), &self.device)?;
                x = x.index_select(&wanted, 0)?;
                per_layer_inputs = match per_layer_inputs {
                    Some(inputs) => Some(inputs.index_select(&wanted, 0)?),
                    None => None,
                };
                if layer.is_parallel {
                    input = input.index_select(&wanted, 0)?;
                }
            }
            if !layer.is_parallel {
                input = layer.feed_forward_norms.input(&x)?;
            }
            let output = layer.feed_forward.forward(&input, &x)?;
            x = layer
                .feed_forward_norms
                .residual(&x, output, layer.residual_scale)?;
            if let (Some(block), Some(inputs)) = (&layer.per_layer_input, &per_layer_inputs) {
                x = block.forward(&x, inputs, index)?;
            }
            x = scaled(x, layer.scalar)?;
            after_layer(index, &x)?;
        }
        if !wanted.is_empty() {
            let states = self.norm.forward(&x)?;
            match output {
                Output::Logits => {
                    self.head.forward_to(&states, &mut logits)?;
                    self.finish_logits(&mut logits);
                }
                Output::States => copy_rows(&states, &mut logits)?,
            }
        }
        // Last: what a pass that fails has written does not count.
        for ((cache, _), tokens) in caches.into_iter().zip(all_tokens) {
            cache.commit(tokens);
        }
        Ok(())
    }
}

impl Decoder {
    /// Multiplies and bounds them.
    fn finish_logits(&self, parts: &mut [(usize, &mut Vec<f32>)]) {
        for (_, logits) in parts {
            if self.logits_scale != 1.0 {
                for logit in logits.iter_mut() {
                    *logit *= self.logits_scale;
                }
            }
            if let Some(cap) = self.logits_cap {
                for logit in logits.iter_mut() {
                    *logit = cap * (*logit / cap).tanh();
                }
            }
        }
    }
}

/// Makes each vector so many of the rows, in order.
fn copy_rows(rows: &Tensor, parts: &mut [(usize, &mut Vec<f32>)]) -> candle_core::Result<()> {
    let rows = rows.to_dtype(DType::F32)?;
    let mut start = 0;
    for (count, out) in parts {
        **out = rows.narrow(0, start, *count)?.flatten_all()?.to_vec1()?;
        start += *count;
    }
    Ok(())
}

/// Puts layers together out of a source's tensors.
struct Loader<'a> {
    description: &'a ModelDescription,
    source: &'a dyn TensorSource,
    rotaries: Vec<Rotary>,
    /// Of each layer by now that has keys and values of its own, its index.
    caches: Vec<usize>,
    /// Of each recurrent layer by now, the numbers that its convolution keeps, and those of its memory.
    recurrent: Vec<(usize, usize)>,
}

/// A matrix by its name, its rows and columns, and whether it has a bias.
type Part = (String, (usize, usize), bool);

impl Loader<'_> {
    fn layer(&mut self, index: usize, layer: &LayerDescription) -> Result<Layer> {
        let at = |name: &str| format!("model.layers.{index}.{name}");
        let [
            before_mixer,
            after_mixer,
            before_feed_forward,
            after_feed_forward,
        ] = layer.norms();
        // In the order of the forward pass, so that the first tensor that is missing is named.
        let mixer_norms = self.norms(index, before_mixer, after_mixer)?;
        let mixer = match &layer.mixer {
            Mixer::Attention(attention) => MixerBlock::Attention(self.attention(index, attention)?),
            Mixer::ShortConv(conv) => MixerBlock::ShortConv(self.short_conv(index, *conv)?),
            Mixer::DeltaNet(net) => MixerBlock::DeltaNet(self.delta_net(index, *net)?),
            Mixer::StateSpace(space) => MixerBlock::StateSpace(self.state_space(index, *space)?),
        };
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
        let cache = self.caches.iter().position(|layer| *layer == source);
        let cache = cache.ok_or_else(|| {
            unreadable(&at("k_proj"), &"a layer before it has no keys and values")
        })?;
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
            layer: cache,
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
            rotary: self.rotary(attention),
            heads: attention.num_heads,
            kv_heads: attention.num_kv_heads,
            head_dim: attention.head_dim,
            window: attention.window,
            scale: attention.scale as f32,
            cap: attention.score_cap.map(|cap| cap as f32),
            query_temperature: attention.query_temperature,
            is_causal: attention.is_causal,
            sinks: match attention.has_sinks {
                true => Some(self.numbers(&at("sinks"), attention.num_heads)?),
                false => None,
            },
        })
    }

    fn per_layer_embedding(
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

    /// A vector in 32 bits.
    fn state_space(&mut self, index: usize, space: description::StateSpace) -> Result<StateSpace> {
        let hidden = self.description.hidden_size;
        let at = |name: &str| format!("model.layers.{index}.mamba.{name}");
        let (inner, channels, heads) = (space.inner_size(), space.channels(), space.heads);
        let state = heads * state_space_len(space.state_dim, space.head_dim);
        self.recurrent.push(((space.taps - 1) * channels, state));
        let decay = self.numbers(&at("A_log"), heads)?;
        Ok(StateSpace {
            layer: self.recurrent.len() - 1,
            shape: space,
            input: self.linear(&(at("in_proj"), (space.projection_size(), hidden), space.bias))?,
            conv: self.by_tap(&at("conv1d.weight"), (channels, space.taps))?,
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
            norm: self.numbers(&at("norm.weight"), inner)?,
            output: self.linear(&(at("out_proj"), (hidden, inner), space.bias))?,
        })
    }

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
    fn rotary(&mut self, attention: &description::Attention) -> usize {
        let positions = self.description.max_position_embeddings;
        let wanted = Rotary::new(attention.rope.as_ref(), attention.head_dim, positions);
        let known = self.rotaries.iter().position(|rotary| *rotary == wanted);
        known.unwrap_or_else(|| {
            self.rotaries.push(wanted);
            self.rotaries.len() - 1
        })
    }

    fn feed_forward(&self, index: usize, block: &FeedForward) -> Result<Block> {
        let name = &format!("model.layers.{index}.mlp");
        match block {
            FeedForward::Dense(mlp) => self.mlp(name, mlp).map(Block::Dense),
            FeedForward::Experts {
                expert,
                num_experts,
                experts_per_token,
                router,
                shared,
                own_norms,
            } => Ok(Block::Experts(Experts {
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
            })),
        }
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
            clamp: mlp.clamp,
        })
    }

    fn norm(&self, name: &str, len: usize, norm: description::Norm) -> Result<Norm> {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::description::rope::{Rope, RopeScaling};
    use crate::description::{Activation, BlockNorms};

    /// Numbers that depend on the name and the place.
    struct Numbers(Device);

    impl Numbers {
        fn of(name: &str, count: usize) -> Vec<f32> {
            let seed: usize = name.bytes().map(usize::from).sum();
            let number = |i: usize| ((i * 31 + seed * 17) % 97) as f32 / 97.0 - 0.5;
            (0..count).map(number).collect()
        }
    }

    impl TensorSource for Numbers {
        fn table(&self, name: &str, shape: (usize, usize)) -> Result<Vec<f32>> {
            Ok(Self::of(name, shape.0 * shape.1))
        }

        fn matrix(&self, name: &str, shape: (usize, usize)) -> Result<Matrix> {
            let numbers = Self::of(name, shape.0 * shape.1);
            let tensor = Tensor::from_vec(numbers, shape, &self.0);
            tensor.map(Matrix::Dense).map_err(|e| candle_error(&e))
        }

        fn vector(&self, name: &str, len: usize) -> Result<Tensor> {
            let tensor = Tensor::from_vec(Self::of(name, len), len, &self.0);
            tensor.map_err(|e| candle_error(&e))
        }

        fn dtype(&self) -> DType {
            DType::F32
        }

        fn quantized(&self) -> bool {
            false
        }

        fn device(&self) -> &Device {
            &self.0
        }
    }

    fn decoder() -> Decoder {
        let norm = description::Norm::rms(1e-5);
        let layer = LayerDescription {
            mixer_norms: BlockNorms::before(norm),
            mixer: Mixer::Attention(description::Attention {
                num_heads: 4,
                num_kv_heads: 2,
                head_dim: 4,
                window: None,
                rope: Some(Rope::new(10_000.0, RopeScaling::None, 4)),
                scale: 0.5,
                score_cap: None,
                query_temperature: None,
                output_gate: false,
                has_sinks: false,
                is_causal: true,
                kv: KvSource::Projected,
                v_norm: false,
                qkv_bias: false,
                output_bias: false,
                qk_norm: None,
            }),
            feed_forward_norms: BlockNorms::before(norm),
            residual_scale: 1.0,
            is_parallel: false,
            has_scalar: false,
            feed_forward: FeedForward::Dense(description::Mlp {
                intermediate_size: 24,
                activation: Activation::Silu,
                bias: false,
                is_gated: true,
                clamp: None,
            }),
        };
        let config = ModelDescription {
            architecture: "llama",
            vocab_size: 40,
            hidden_size: 16,
            max_position_embeddings: 64,
            layers: vec![layer; 2],
            embedding_scale: 1.0,
            final_norm: norm,
            logits_scale: 1.0,
            logits_cap: None,
            tie_word_embeddings: false,
            per_layer_inputs: None,
        };
        Decoder::load(&config, &Numbers(Device::Cpu)).unwrap()
    }

    fn forward(decoder: &Decoder, cache: &mut SequenceCache, tokens: &[u32]) -> Result<Vec<f32>> {
        let mut logits = Vec::new();
        decoder.forward(&mut [SequenceStep {
            tokens,
            cache,
            final_len: 8,
            wanted: Logits::Last,
            logits: &mut logits,
        }])?;
        Ok(logits)
    }

    #[test]
    fn s2_a_pass_that_fails_at_its_end_leaves_the_caches_as_they_were() {
        let mut decoder = decoder();
        let mut cache = decoder.new_cache(8);
        forward(&decoder, &mut cache, &[1, 2]).unwrap();
        let wrong = Numbers(Device::Cpu).matrix("wrong", (40, 15)).unwrap();
        let wrong = Linear::new(PackedWeights::new(wrong).unwrap(), None);
        let head = std::mem::replace(&mut decoder.head, wrong);
        let failed = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            forward(&decoder, &mut cache, &[3, 4])
        }));
        assert!(!matches!(failed, Ok(Ok(_))));
        cache.rollback();
        assert_eq!(cache.len(), 2);
        decoder.head = head;
        let again = forward(&decoder, &mut cache, &[3, 4]).unwrap();
        let mut whole = decoder.new_cache(8);
        forward(&decoder, &mut whole, &[1, 2]).unwrap();
        assert_eq!(again, forward(&decoder, &mut whole, &[3, 4]).unwrap());
    }
}
