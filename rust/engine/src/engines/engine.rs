//! Which implementation of a model runs.

use candle_core::Device;
use serde::{Deserialize, Serialize};

/// An implementation that can be asked for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Engine {
    /// `fused` on the CPU and on CUDA, `candle` on Metal.
    #[default]
    Auto,
    /// Candle's ready-made models, which refuse what they would compute wrongly.
    Candle,
    /// The decoder of this crate, which computes every configuration of its architectures.
    Fused,
}

impl Engine {
    /// The implementation that runs on `device`; never [`Engine::Auto`].
    pub(crate) fn resolve(self, device: &Device) -> Engine {
        match self {
            Engine::Auto if device.is_metal() => Engine::Candle,
            Engine::Auto => Engine::Fused,
            chosen => chosen,
        }
    }

    /// Its name, as it stands in results.
    pub fn name(self) -> &'static str {
        match self {
            Engine::Auto => "auto",
            Engine::Candle => "candle",
            Engine::Fused => "fused",
        }
    }
}
