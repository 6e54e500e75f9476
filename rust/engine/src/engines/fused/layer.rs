//! One layer: what mixes positions, the block behind it, and the norms around both.

use candle_core::Tensor;

use super::attention::Attention;
use super::cache::SequenceCache;
use super::delta_net::DeltaNet;
use super::feed_forward::Block;
use super::latent_attention::LatentAttention;
use super::norm::Norm;
use super::per_layer::PerLayerBlock;
use super::rotary::Angles;
use super::rows::{add, scaled};
use super::short_conv::ShortConv;
use super::state_space::StateSpace;

/// One layer.
pub(super) struct Layer {
    pub(super) mixer_norms: Norms,
    /// None where the layer is a feed-forward block alone.
    pub(super) mixer: Option<MixerBlock>,
    pub(super) feed_forward_norms: Norms,
    /// None where the layer is a mixer alone.
    pub(super) feed_forward: Option<Block>,
    /// What a block's output is multiplied with.
    pub(super) residual_scale: f64,
    pub(super) is_parallel: bool,
    pub(super) per_layer_input: Option<PerLayerBlock>,
    /// What the residual stream is multiplied with behind the layer.
    pub(super) scalar: f64,
}

/// What mixes positions.
pub(super) enum MixerBlock {
    Attention(Attention),
    LatentAttention(LatentAttention),
    ShortConv(ShortConv),
    DeltaNet(DeltaNet),
    StateSpace(StateSpace),
    Parallel(Box<ParallelMixers>),
}

/// Attention and a state space, whose outputs are multiplied with numbers and added.
pub(super) struct ParallelMixers {
    pub(super) attention: Attention,
    pub(super) attention_scale: f64,
    pub(super) space: StateSpace,
    pub(super) space_scale: f64,
}

impl MixerBlock {
    /// See [`Attention::forward`].
    pub(super) fn forward(
        &self,
        x: &Tensor,
        angles: &[Angles],
        sequences: &mut [(&mut SequenceCache, usize)],
    ) -> candle_core::Result<Tensor> {
        match self {
            MixerBlock::Attention(attention) => attention.forward(x, angles, sequences),
            MixerBlock::LatentAttention(attention) => attention.forward(x, angles, sequences),
            MixerBlock::ShortConv(conv) => conv.forward(x, sequences),
            MixerBlock::DeltaNet(net) => net.forward(x, sequences),
            MixerBlock::StateSpace(space) => space.forward(x, sequences),
            MixerBlock::Parallel(both) => {
                let attended = both.attention.forward(x, angles, sequences)?;
                let answers = both.space.forward(x, sequences)?;
                add(
                    &scaled(attended, both.attention_scale)?,
                    &scaled(answers, both.space_scale)?,
                )
            }
        }
    }
}

/// The norms around a block.
pub(super) struct Norms {
    pub(super) before: Option<Norm>,
    pub(super) after: Option<Norm>,
}

impl Norms {
    /// What the block reads.
    pub(super) fn input(&self, x: &Tensor) -> candle_core::Result<Tensor> {
        match &self.before {
            Some(norm) => norm.forward(x),
            None => Ok(x.clone()),
        }
    }

    /// The residual stream behind the block.
    pub(super) fn residual(
        &self,
        x: &Tensor,
        output: Tensor,
        scale: f64,
    ) -> candle_core::Result<Tensor> {
        let output = match &self.after {
            Some(norm) => norm.forward(&output)?,
            None => output,
        };
        add(x, &scaled(output, scale)?)
    }
}
