//! The transformer: weights, and the forward pass of several sequences at once.

use std::sync::Arc;

use candle_core::{DType, Device, Tensor};

use super::attention::Attention;
use super::budget::KvBudget;
use super::cache::{CacheShape, SequenceCache};
use super::feed_forward::{Block, Experts, Mlp};
use super::linear::{FusedLinear, Linear};
use super::norm::Norm;
use super::packed_weights::PackedWeights;
use super::rotary::Rotary;
use super::rows::add;
use crate::description::{EMBEDDING, FeedForward, HEAD, LayerDescription, ModelDescription};
use crate::error::{Result, candle_error};
use crate::formats::{Matrix, TensorSource, unreadable};

/// The weights of a model, shared by all of its sequences.
pub(crate) struct Decoder {
    embedding: PackedWeights,
    layers: Vec<Layer>,
    norm: Norm,
    head: Linear,
    rotary: Rotary,
    cache: CacheShape,
    budget: Arc<KvBudget>,
    dtype: DType,
    device: Device,
}

struct Layer {
    attention_norm: Norm,
    attention: Attention,
    block_norm: Norm,
    block: Block,
}

/// Rows of a pass that looks for a fault.
const FAULT_ROWS: usize = 512;

/// The next tokens of one sequence in a forward pass.
pub(crate) struct SequenceStep<'a> {
    /// At least one.
    pub(crate) tokens: &'a [u32],
    /// Where their keys and values go.
    pub(crate) cache: &'a mut SequenceCache,
    /// Tokens that the sequence has once the call that this belongs to is done.
    pub(crate) length: usize,
    /// Behind which tokens logits are wanted.
    pub(crate) wanted: Logits,
    /// Becomes the logits, one row a token.
    pub(crate) logits: &'a mut Vec<f32>,
}

/// Tokens behind which logits are wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Logits {
    None,
    Last,
    Every,
}

impl Decoder {
    /// Reads the weights of a description.
    pub(crate) fn load(config: &ModelDescription, source: &dyn TensorSource) -> Result<Self> {
        let loader = Loader { config, source };
        let vocabulary = (config.vocab_size, config.hidden_size);
        let weights = |name: &str| {
            PackedWeights::new(source.matrix(name, vocabulary)?).map_err(|e| unreadable(name, &e))
        };
        let embedding = weights(EMBEDDING)?;
        let head = match config.tie_word_embeddings {
            true => embedding.clone(),
            false => weights(HEAD)?,
        };
        let layers = config
            .layers
            .iter()
            .enumerate()
            .map(|(index, layer)| loader.layer(index, layer))
            .collect::<Result<_>>()?;
        let memory = Arc::default();
        Ok(Self {
            budget: Arc::new(KvBudget::new(usize::MAX, Arc::clone(&memory))),
            embedding,
            layers,
            norm: loader.norm("model.norm", config.hidden_size)?,
            head: Linear::new(head, None),
            rotary: Rotary::new(
                &config.rope,
                config.head_dim,
                config.max_position_embeddings,
            ),
            cache: CacheShape {
                windows: config.layers.iter().map(|layer| layer.window).collect(),
                kv_heads: config.num_kv_heads,
                head_dim: config.head_dim,
                dtype: match source.device().is_cpu() && source.quantized() {
                    // PackedWeights of 8 bits or less lose far more than keys and values do here.
                    true => DType::F16,
                    false => source.dtype(),
                },
                device: source.device().clone(),
                memory: memory.clone(),
                tree: Arc::default(),
            },
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
        self.budget = Arc::new(KvBudget::new(bytes, self.cache.memory.clone()));
    }

    /// The memory of the caches of all sequences.
    pub(crate) fn budget(&self) -> &Arc<KvBudget> {
        &self.budget
    }

    /// Which rotary frequencies a sequence of this length has, see [`Rotary::frequency_set`].
    pub(crate) fn frequency_set(&self, length: usize) -> usize {
        self.rotary.frequency_set(length)
    }

    /// Takes the tokens of all steps through the model.
    ///
    /// # Errors
    /// [`Error::Compute`](crate::error::Error::Compute); the caches are then as they were.
    pub(crate) fn forward(&self, steps: &mut [SequenceStep]) -> Result<()> {
        self.run(steps, &mut |_, _| Ok(()))
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
                length: step.length,
                wanted: Logits::Last,
                logits: &mut Vec::new(),
            };
            let ran = self.run(&mut [chunk], &mut |layer, x| {
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
            let position = step.cache.len();
            places.extend((position..position + count).map(|p| (p, step.length)));
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
        let tokens = Tensor::from_vec(tokens, rows, &self.device)?;
        let angles = self.rotary.angles(&places, &self.device);
        let mut x = self.embedding.select(&tokens, self.dtype)?;
        for (index, layer) in self.layers.iter().enumerate() {
            let normed = layer.attention_norm.forward(&x)?;
            x = add(&x, &layer.attention.forward(&normed, &angles, &mut caches)?)?;
            if index + 1 == self.layers.len() && wanted.len() < rows {
                // Nobody sees the other rows any more.
                if wanted.is_empty() {
                    break;
                }
                let wanted = Tensor::from_slice(&wanted, wanted.len(), &self.device)?;
                x = x.index_select(&wanted, 0)?;
            }
            let normed = layer.block_norm.forward(&x)?;
            x = add(&x, &layer.block.forward(&normed)?)?;
            after_layer(index, &x)?;
        }
        if !wanted.is_empty() {
            self.head.forward_to(&self.norm.forward(&x)?, &mut logits)?;
        }
        // Last, so that a pass that fails leaves all sequences as they were.
        for ((cache, _), tokens) in caches.into_iter().zip(all_tokens) {
            cache.advance(tokens);
        }
        Ok(())
    }
}

/// Puts layers together out of a source's tensors.
struct Loader<'a> {
    config: &'a ModelDescription,
    source: &'a dyn TensorSource,
}

/// A matrix by its name, its rows and columns, and whether it has a bias.
type Part = (String, (usize, usize), bool);

impl Loader<'_> {
    fn layer(&self, index: usize, layer: &LayerDescription) -> Result<Layer> {
        let config = self.config;
        let hidden = config.hidden_size;
        let at = |name: &str| format!("model.layers.{index}.{name}");
        let qkv = [
            ("q", config.query_size()),
            ("k", config.kv_size()),
            ("v", config.kv_size()),
        ]
        .map(|(name, rows)| {
            let name = at(&format!("self_attn.{name}_proj"));
            (name, (rows, hidden), layer.qkv_bias)
        });
        let norms = match layer.qk_norm {
            false => None,
            true => Some((
                self.norm(&at("self_attn.q_norm"), config.head_dim)?,
                self.norm(&at("self_attn.k_norm"), config.head_dim)?,
            )),
        };
        Ok(Layer {
            attention_norm: self.norm(&at("input_layernorm"), hidden)?,
            attention: Attention {
                layer: index,
                qkv: self.fused(&qkv)?,
                output: self.linear(&(
                    at("self_attn.o_proj"),
                    (hidden, config.query_size()),
                    layer.output_bias,
                ))?,
                norms,
                heads: config.num_heads,
                kv_heads: config.num_kv_heads,
                head_dim: config.head_dim,
                window: layer.window,
            },
            block_norm: self.norm(&at("post_attention_layernorm"), hidden)?,
            block: self.block(&at("mlp"), &layer.feed_forward)?,
        })
    }

    fn block(&self, name: &str, block: &FeedForward) -> Result<Block> {
        match *block {
            FeedForward::Dense {
                intermediate_size,
                bias,
            } => self.mlp(name, intermediate_size, bias).map(Block::Dense),
            FeedForward::Experts {
                intermediate_size,
                num_experts,
                experts_per_token,
                normalise_top_k,
            } => Ok(Block::Experts(Experts {
                router: self.linear(&(
                    format!("{name}.gate"),
                    (num_experts, self.config.hidden_size),
                    false,
                ))?,
                experts: (0..num_experts)
                    .map(|expert| {
                        self.mlp(
                            &format!("{name}.experts.{expert}"),
                            intermediate_size,
                            false,
                        )
                    })
                    .collect::<Result<_>>()?,
                per_token: experts_per_token,
                normalise: normalise_top_k,
            })),
        }
    }

    fn mlp(&self, name: &str, size: usize, bias: bool) -> Result<Mlp> {
        let hidden = self.config.hidden_size;
        Ok(Mlp {
            gate_up: self.fused(&[
                (format!("{name}.gate_proj"), (size, hidden), bias),
                (format!("{name}.up_proj"), (size, hidden), bias),
            ])?,
            down: self.linear(&(format!("{name}.down_proj"), (hidden, size), bias))?,
            activation: self.config.activation,
        })
    }

    fn norm(&self, name: &str, len: usize) -> Result<Norm> {
        let name = format!("{name}.weight");
        let weight = self.source.vector(&name, len)?;
        Norm::new(weight, self.config.rms_norm_eps).map_err(|e| unreadable(&name, &e))
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
    use crate::description::Activation;
    use crate::description::rope::{Rope, RopeScaling};

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
        let layer = LayerDescription {
            window: None,
            qkv_bias: false,
            output_bias: false,
            qk_norm: false,
            feed_forward: FeedForward::Dense {
                intermediate_size: 24,
                bias: false,
            },
        };
        let config = ModelDescription {
            architecture: "llama",
            vocab_size: 40,
            hidden_size: 16,
            num_heads: 4,
            num_kv_heads: 2,
            head_dim: 4,
            rms_norm_eps: 1e-5,
            activation: Activation::Silu,
            max_position_embeddings: 64,
            rope: Rope {
                theta: 10_000.0,
                scaling: RopeScaling::None,
            },
            tie_word_embeddings: false,
            layers: vec![layer; 2],
        };
        Decoder::load(&config, &Numbers(Device::Cpu)).unwrap()
    }

    fn forward(decoder: &Decoder, cache: &mut SequenceCache, tokens: &[u32]) -> Result<Vec<f32>> {
        let mut logits = Vec::new();
        decoder.forward(&mut [SequenceStep {
            tokens,
            cache,
            length: 8,
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
        assert_eq!(cache.len(), 2);
        decoder.head = head;
        let again = forward(&decoder, &mut cache, &[3, 4]).unwrap();
        let mut whole = decoder.new_cache(8);
        forward(&decoder, &mut whole, &[1, 2]).unwrap();
        assert_eq!(again, forward(&decoder, &mut whole, &[3, 4]).unwrap());
    }
}
