//! One layer: attention, and a feed-forward block.

use std::sync::Arc;

use candle_core::Result;
use candle4j_kernels::{KvMemory, activate};

use super::attention::{Attention, Passage};
use super::linear::Linear;
use super::rows::{Norm, add_and_norm, add_bias, for_each_row};
use crate::description::Activation;
use crate::description::encoder::{EncoderDescription, EncoderNames, NormPlace};
use crate::engines::fused::rotary::{Angles, Rotary};
use crate::error::Result as EngineResult;
use crate::formats::TensorSource;

/// A layer's weights.
pub(super) struct Layer {
    attention: Attention,
    attention_norm: Option<Norm>,
    up: Linear,
    down: Linear,
    activation: Activation,
    gated: bool,
    feed_forward_norm: Norm,
}

/// Numbers that are added to scores, by head and distance, and how far they go.
pub(super) type Bias = Option<(Arc<[f32]>, usize)>;

impl Layer {
    /// Takes all rows through the layer.
    pub(super) fn forward(
        &self,
        x: &mut [f32],
        place: NormPlace,
        angles: &[Angles],
        passages: &mut [Passage],
        memory: &Arc<KvMemory>,
    ) -> Result<()> {
        let width = self.down.width();
        let mut attend = |rows: &[f32]| self.attention.forward(rows, angles, passages, memory);
        let bias = self.attention.output.bias();
        match (place, &self.attention_norm) {
            (NormPlace::Behind, norm) => {
                let more = attend(x)?;
                add_and_norm(x, &more, width, bias, norm.as_ref());
                let more = self.feed_forward(x)?;
                add_and_norm(
                    x,
                    &more,
                    width,
                    self.down.bias(),
                    Some(&self.feed_forward_norm),
                );
            }
            (NormPlace::Before, norm) => {
                let more = match norm {
                    Some(norm) => attend(&norm.of(x))?,
                    None => attend(x)?,
                };
                add_and_norm(x, &more, width, bias, None);
                let more = self.feed_forward(&self.feed_forward_norm.of(x))?;
                add_and_norm(x, &more, width, self.down.bias(), None);
            }
        }
        Ok(())
    }

    /// The block's results, before the bias of the projection back.
    fn feed_forward(&self, x: &[f32]) -> Result<Vec<f32>> {
        let mut inside = self.up.product(x)?;
        let width = self.up.width();
        let activation = self.activation.kernel();
        if !self.gated {
            for_each_row(&mut inside, width, |_, row| {
                add_bias(row, self.up.bias());
                activate(activation, row);
            });
            return self.down.product(&inside);
        }
        let half = width / 2;
        let mut gated = vec![0f32; inside.len() / 2];
        for_each_row(&mut gated, half, |index, out| {
            let row = &inside[index * width..][..width];
            let (gate, up) = row.split_at(half);
            out.copy_from_slice(gate);
            let (gate_bias, up_bias) = self.up.bias().split_at(self.up.bias().len() / 2);
            add_bias(out, gate_bias);
            activate(activation, out);
            match up_bias.is_empty() {
                true => multiply(out, up.iter().copied()),
                false => multiply(out, up.iter().zip(up_bias).map(|(up, bias)| up + bias)),
            }
        });
        self.down.product(&gated)
    }
}

fn multiply(out: &mut [f32], factors: impl Iterator<Item = f32>) {
    for (out, factor) in out.iter_mut().zip(factors) {
        *out *= factor;
    }
}

/// Puts layers together out of a source's tensors.
pub(super) struct Reader<'a> {
    pub(super) description: &'a EncoderDescription,
    pub(super) names: &'a EncoderNames,
    pub(super) source: &'a dyn TensorSource,
    /// Whether matrices are rounded to 16 bits.
    pub(super) rounded: bool,
}

impl Reader<'_> {
    pub(super) fn layer(
        &self,
        index: usize,
        rotaries: &mut Vec<Rotary>,
        bias: Bias,
    ) -> EngineResult<Layer> {
        let (description, names, source) = (self.description, self.names, self.source);
        let layer = &description.layers[index];
        let hidden = description.hidden_size;
        let at = |part: &str| names.of_layer(index, part);
        let attention = &layer.attention;
        let sizes = attention.qkv_sizes();
        let qkv: Vec<(String, usize)> = match names.qkv {
            [all] => vec![(at(all), sizes.iter().sum())],
            each => each.iter().map(|part| at(part)).zip(sizes).collect(),
        };
        let mlp = layer.feed_forward;
        let inside = mlp.intermediate_size;
        let up: Vec<(String, usize)> = match names.up {
            [all] if mlp.gated => vec![(at(all), 2 * inside)],
            each => each.iter().map(|part| (at(part), inside)).collect(),
        };
        let linear = |part: &str, columns: usize, bias: bool| {
            Linear::load(source, &[(at(part), hidden)], columns, bias, self.rounded)
        };
        let rotary = attention.rope.as_ref().map(|rope| {
            let wanted = Rotary::new(Some(rope), attention.head_dim, description.max_tokens);
            let known = rotaries.iter().position(|rotary| *rotary == wanted);
            known.unwrap_or_else(|| {
                rotaries.push(wanted);
                rotaries.len() - 1
            })
        });
        Ok(Layer {
            attention: Attention {
                qkv: Linear::load(source, &qkv, hidden, attention.qkv_bias, self.rounded)?,
                output: linear(names.output, attention.query_size(), attention.output_bias)?,
                shape: attention.clone(),
                rotary,
                bias,
            },
            attention_norm: match layer.attention_norm {
                None => None,
                Some(norm) => Some(Norm::load(source, &at(names.attention_norm), hidden, norm)?),
            },
            up: Linear::load(source, &up, hidden, mlp.bias, self.rounded)?,
            down: linear(names.down, inside, mlp.bias)?,
            activation: mlp.activation,
            gated: mlp.gated,
            feed_forward_norm: Norm::load(
                source,
                &at(names.feed_forward_norm),
                hidden,
                layer.feed_forward_norm,
            )?,
        })
    }

    /// The numbers that distances add to scores, spread out: one a head and distance.
    pub(super) fn distance_bias(&self) -> EngineResult<Bias> {
        let Some(layer) = self.description.layers.first() else {
            return Ok(None);
        };
        let Some(groups) = layer.distance_bias else {
            return Ok(None);
        };
        let heads = layer.attention.num_heads;
        let name = format!("{}.weight", self.names.distance_bias);
        let table = self.source.table(&name, (groups.rows, heads))?;
        let reach = groups.max_distance;
        let numbers: Vec<f32> = (0..heads)
            .flat_map(|head| {
                let table = &table;
                (-(reach as i64)..=reach as i64)
                    .map(move |distance| table[groups.bucket(distance) * heads + head])
            })
            .collect();
        Ok(Some((numbers.into(), reach)))
    }
}
