//! The transformer: weights, and the forward pass of several sequences at once.

use std::sync::Arc;

use candle_core::{DType, Device, Tensor};
use candle4j_kernels::KvMemory;

use super::budget::KvBudget;
use super::cache::{CacheShape, SequenceCache};
use super::kv_state::KvShape;
use super::layer::Layer;
use super::layer_loader::LayerLoader;
use super::linear::Linear;
use super::norm::Norm;
use super::packed_weights::PackedWeights;
use super::per_layer::PerLayerEmbedding;
use super::recurrent::RecurrentShape;
use super::rotary::{Angles, Rotary};
use super::rows::scaled;
use crate::description::{EMBEDDING, HEAD, ModelDescription};
use crate::error::{Result, candle_error};
use crate::formats::{TensorSource, unreadable};

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
    /// The last so many, of as many or more.
    Last(usize),
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
        let mut loader = LayerLoader::new(description, source);
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

    /// Whether a sequence can take its last tokens back at no cost, and whether several rows of one pass have the same
    /// logits as one row a pass: on CPUs they have. Recurrent layers can only go back to a checkpoint.
    pub(crate) fn can_go_back(&self) -> bool {
        self.device.is_cpu() && self.cache.recurrent.is_empty()
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
                wanted: Logits::Last(1),
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
                Logits::Last(last) => count - last,
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
            if let Some(mixer) = &layer.mixer {
                let output = mixer.forward(&input, &angles, &mut caches)?;
                x = layer
                    .mixer_norms
                    .residual(&x, output, layer.residual_scale)?;
            }
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
            if let Some(block) = &layer.feed_forward {
                let output = block.forward(&input, &x)?;
                x = layer
                    .feed_forward_norms
                    .residual(&x, output, layer.residual_scale)?;
            }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::description::rope::{Rope, RopeScaling};
    use crate::description::{
        self, Activation, BlockNorms, FeedForward, KvSource, LayerDescription, Mixer,
    };
    use crate::formats::Matrix;

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
                latent: None,
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
                gate_scale: 1.0,
                output_scale: 1.0,
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
            wanted: Logits::Last(1),
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
