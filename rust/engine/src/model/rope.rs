//! Rotary position embedding: what a configuration asks for.
//!
//! The keys stand in one of two forms: transformers 4 has `rope_theta` and `rope_scaling`,
//! transformers 5 has `rope_parameters` with everything inside. Both are read into one [`Rope`].

use super::config_file::ConfigFile;
use super::read_keys::ReadKeys;
use crate::error::Result;

/// The base of the angles when a configuration does not name one.
const DEFAULT_THETA: f64 = 10_000.0;

/// Rotary position embedding of a model.
#[derive(Debug, Clone, PartialEq)]
pub struct Rope {
    /// Base of the geometric series of wave lengths.
    pub theta: f64,
    /// How the series is changed to reach longer contexts.
    pub scaling: RopeScaling,
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
    /// Long wave lengths are stretched, short ones kept, those between blended (Llama 3.1).
    Llama3 {
        /// The stretch.
        factor: f64,
        /// Wave lengths above `original / low_freq_factor` are stretched.
        low_freq_factor: f64,
        /// Wave lengths below `original / high_freq_factor` are kept.
        high_freq_factor: f64,
        /// Positions of the first training.
        original_max_position_embeddings: usize,
    },
    /// Blending by the number of rotations within the trained context (Peng et al. 2023, YaRN).
    Yarn {
        /// The stretch.
        factor: f64,
        /// Scale of cosine and sine, so of attention's temperature.
        attention_factor: f64,
        /// Rotations above which a frequency is kept.
        beta_fast: f64,
        /// Rotations below which a frequency is stretched.
        beta_slow: f64,
        /// Whether the borders of the blend are rounded to whole dimensions.
        truncate: bool,
        /// Positions of the first training.
        original_max_position_embeddings: usize,
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
    /// How many positions a model of `max_position_embeddings` reaches with this scaling.
    ///
    /// Files leave the number at that of the first training when they stretch by a factor.
    pub fn reach(&self, max_position_embeddings: usize) -> usize {
        let stretched = |positions: usize, factor: f64| (positions as f64 * factor) as usize;
        match self {
            RopeScaling::None | RopeScaling::Llama3 { .. } | RopeScaling::LongRope { .. } => {
                max_position_embeddings
            }
            RopeScaling::Linear { factor } | RopeScaling::Dynamic { factor } => {
                stretched(max_position_embeddings, factor.max(1.0))
            }
            RopeScaling::Yarn {
                factor,
                original_max_position_embeddings,
                ..
            } => max_position_embeddings.max(stretched(*original_max_position_embeddings, *factor)),
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
            RopeScaling::LongRope { .. } => "longrope",
        }
    }
}

impl Rope {
    /// Reads the keys of either form. Where both stand, transformers takes the scaling of
    /// `rope_scaling`, and a `rope_theta` inside the object before the one outside.
    pub fn read(config: &ConfigFile, head_dim: usize) -> Result<Self> {
        if let Some(factor) = config.positive("partial_rotary_factor")?
            && factor != 1.0
        {
            return Err(config.unsupported(
                "partial_rotary_factor",
                "rotating a part of each head is not computed",
            ));
        }
        let positions = config.count("max_position_embeddings")?;
        let outer_theta = config.positive("rope_theta")?;
        let outer_original = config.count("original_max_position_embeddings")?;
        let new_form = config.object("rope_parameters")?;
        let old_form = config.object("rope_scaling")?;
        let filled = |object: &ConfigFile| !object.is_empty();
        let Some(rope) = old_form.filter(filled).or(new_form.filter(filled)) else {
            return Ok(Self {
                theta: outer_theta.unwrap_or(DEFAULT_THETA),
                scaling: RopeScaling::None,
            });
        };
        let theta = rope
            .positive("rope_theta")?
            .or(outer_theta)
            .unwrap_or(DEFAULT_THETA);
        let scaling = read_scaling(&rope, head_dim, positions, outer_original)?;
        // What another kind of scaling would read changes nothing in this one.
        rope.finish(&ReadKeys::new())?;
        Ok(Self { theta, scaling })
    }
}

fn read_scaling(
    rope: &ConfigFile,
    head_dim: usize,
    positions: Option<usize>,
    outer_original: Option<usize>,
) -> Result<RopeScaling> {
    if let Some(factor) = rope.positive("partial_rotary_factor")?
        && factor != 1.0
    {
        return Err(rope.unsupported(
            "partial_rotary_factor",
            "rotating a part of each head is not computed",
        ));
    }
    let legacy = rope.text("type")?;
    let kind = rope.text("rope_type")?.or(legacy).unwrap_or("default");
    let need = |key: &str, value: Option<f64>| {
        value.ok_or_else(|| rope.invalid(key, format!("rope_type {kind} needs this key")))
    };
    let factor = rope.positive("factor")?;
    let inner_original = rope.count("original_max_position_embeddings")?;
    let original = || {
        outer_original
            .or(inner_original)
            .or(positions)
            .ok_or_else(|| {
                rope.invalid(
                    "original_max_position_embeddings",
                    format!("rope_type {kind} needs this key"),
                )
            })
    };
    Ok(match kind {
        "default" => RopeScaling::None,
        "linear" => RopeScaling::Linear {
            factor: need("factor", factor)?,
        },
        "dynamic" => RopeScaling::Dynamic {
            factor: need("factor", factor)?,
        },
        "llama3" => {
            let low_freq_factor = need("low_freq_factor", rope.positive("low_freq_factor")?)?;
            let high_freq_factor = need("high_freq_factor", rope.positive("high_freq_factor")?)?;
            if high_freq_factor <= low_freq_factor {
                return Err(rope.invalid("high_freq_factor", "must exceed low_freq_factor"));
            }
            RopeScaling::Llama3 {
                factor: need("factor", factor)?,
                low_freq_factor,
                high_freq_factor,
                original_max_position_embeddings: original()?,
            }
        }
        "yarn" => {
            let original = original()?;
            let factor = match (factor, positions) {
                (Some(factor), _) => factor,
                (None, Some(positions)) => positions as f64 / original as f64,
                (None, None) => need("factor", None)?,
            };
            let mscale = rope.positive("mscale")?;
            let mscale_all_dim = rope.positive("mscale_all_dim")?;
            let attention_factor = match rope.positive("attention_factor")? {
                Some(given) => given,
                None => match (mscale, mscale_all_dim) {
                    (Some(m), Some(all)) => yarn_mscale(factor, m) / yarn_mscale(factor, all),
                    _ => yarn_mscale(factor, 1.0),
                },
            };
            RopeScaling::Yarn {
                factor,
                attention_factor,
                beta_fast: rope.positive("beta_fast")?.unwrap_or(32.0),
                beta_slow: rope.positive("beta_slow")?.unwrap_or(1.0),
                truncate: rope.flag("truncate")?.unwrap_or(true),
                original_max_position_embeddings: original,
            }
        }
        "longrope" => {
            let original = original()?;
            let factors = |key: &str| -> Result<Vec<f64>> {
                let list = rope
                    .positives(key)?
                    .ok_or_else(|| rope.invalid(key, "rope_type longrope needs this key"))?;
                if list.len() == head_dim / 2 {
                    Ok(list)
                } else {
                    Err(rope.invalid(
                        key,
                        format!("expected {} numbers, got {}", head_dim / 2, list.len()),
                    ))
                }
            };
            let factor = factor.or(positions.map(|p| p as f64 / original as f64));
            let attention_factor = match (rope.positive("attention_factor")?, factor) {
                (Some(given), _) => given,
                (None, Some(factor)) if factor > 1.0 => {
                    (1.0 + factor.ln() / (original as f64).ln()).sqrt()
                }
                _ => 1.0,
            };
            RopeScaling::LongRope {
                short_factor: factors("short_factor")?,
                long_factor: factors("long_factor")?,
                attention_factor,
                original_max_position_embeddings: original,
            }
        }
        _ => {
            let key = if rope.value("rope_type").is_some() {
                "rope_type"
            } else {
                "type"
            };
            return Err(rope.unsupported(key, "this kind of rotary embedding is not known"));
        }
    })
}

/// The temperature that YaRN recommends for a stretch.
pub(crate) fn yarn_mscale(factor: f64, mscale: f64) -> f64 {
    if factor <= 1.0 {
        1.0
    } else {
        0.1 * mscale * factor.ln() + 1.0
    }
}
