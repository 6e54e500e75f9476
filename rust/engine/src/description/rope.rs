//! Rotary position embedding (Su et al. 2021), as data.

/// Rotary position embedding of a layer.
#[derive(Debug, Clone, PartialEq)]
pub struct Rope {
    /// Base of the geometric series of wave lengths.
    pub theta: f64,
    /// How the series is changed to reach longer contexts.
    pub scaling: RopeScaling,
    /// How many of a head's first dimensions are rotated; even. The others stay as they are.
    pub dims: usize,
    /// Whether each dimension of even number turns with the next one; else the first half with the second.
    pub is_interleaved: bool,
}

impl Rope {
    /// Rotates all of heads that are `head_dim` wide, the first half with the second.
    pub fn new(theta: f64, scaling: RopeScaling, head_dim: usize) -> Self {
        Self {
            theta,
            scaling,
            dims: head_dim,
            is_interleaved: false,
        }
    }
}

/// How the series of wave lengths is changed.
#[derive(Debug, Clone, PartialEq)]
pub enum RopeScaling {
    /// Not at all.
    None,
    /// All frequencies divided by a factor (Chen et al. 2023, position interpolation).
    Linear {
        /// The divisor.
        factor: f64,
    },
    /// The base grows with the length of the sequence beyond the trained one (dynamic NTK).
    Dynamic {
        /// The factor of the formula.
        factor: f64,
    },
    /// Long wave lengths are scaled, short ones kept, those between blended (Llama 3.1).
    Llama3 {
        /// The factor.
        factor: f64,
        /// Wave lengths above `original / low_freq_factor` are scaled.
        low_freq_factor: f64,
        /// Wave lengths below `original / high_freq_factor` are kept.
        high_freq_factor: f64,
        /// Positions of the first training.
        original_max_position_embeddings: usize,
    },
    /// Blending by the number of rotations within the trained context (Peng et al. 2023, YaRN).
    Yarn {
        /// The factor.
        factor: f64,
        /// Scale of cosine and sine, so of attention's temperature.
        attention_factor: f64,
        /// Rotations above which a frequency is kept.
        beta_fast: f64,
        /// Rotations below which a frequency is scaled.
        beta_slow: f64,
        /// Whether the borders of the blend are rounded to whole dimensions.
        truncate: bool,
        /// Positions of the first training.
        original_max_position_embeddings: usize,
    },
    /// The series of a whole head, of which the first frequencies turn and the others stand still (as in Gemma 4).
    Proportional {
        /// How many turn.
        frequencies: usize,
        /// Their divisor.
        factor: f64,
    },
    /// One factor a frequency, from one of two lists (Ding et al. 2024, LongRoPE).
    LongRope {
        /// Divisors while the sequence is at most as long as the first training.
        short_factor: Vec<f64>,
        /// Divisors beyond.
        long_factor: Vec<f64>,
        /// Scale of cosine and sine.
        attention_factor: f64,
        /// Positions of the first training.
        original_max_position_embeddings: usize,
    },
}

impl RopeScaling {
    /// The longest context of a model of `max_position_embeddings` with this scaling. Files that scale by a factor
    /// leave that key at the context of the first training.
    pub fn max_context(&self, max_position_embeddings: usize) -> usize {
        let scaled = |positions: usize, factor: f64| (positions as f64 * factor) as usize;
        match self {
            RopeScaling::None
            | RopeScaling::Llama3 { .. }
            | RopeScaling::Proportional { .. }
            | RopeScaling::LongRope { .. } => max_position_embeddings,
            RopeScaling::Linear { factor } | RopeScaling::Dynamic { factor } => {
                scaled(max_position_embeddings, factor.max(1.0))
            }
            RopeScaling::Yarn {
                factor,
                original_max_position_embeddings,
                ..
            } => max_position_embeddings.max(scaled(*original_max_position_embeddings, *factor)),
        }
    }

    /// The name that configurations use.
    pub fn name(&self) -> &'static str {
        match self {
            RopeScaling::None => "default",
            RopeScaling::Linear { .. } => "linear",
            RopeScaling::Dynamic { .. } => "dynamic",
            RopeScaling::Llama3 { .. } => "llama3",
            RopeScaling::Yarn { .. } => "yarn",
            RopeScaling::Proportional { .. } => "proportional",
            RopeScaling::LongRope { .. } => "longrope",
        }
    }
}

/// YaRN's recommended attention temperature for a scaling factor (Peng et al. 2023, eq. 22).
pub(crate) fn yarn_mscale(factor: f64, mscale: f64) -> f64 {
    if factor <= 1.0 {
        1.0
    } else {
        0.1 * mscale * factor.ln() + 1.0
    }
}
