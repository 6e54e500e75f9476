//! The keys of rotary position embedding in `config.json`.
//!
//! They stand in one of two forms: transformers 4 has `rope_theta` and `rope_scaling`, transformers 5 has
//! `rope_parameters` with everything inside. Both are read into one [`Rope`].

use super::config_file::ConfigFile;
use super::read_keys::ReadKeys;
use crate::description::rope::{Rope, RopeScaling, yarn_mscale};
use crate::error::Result;

/// How a family rotates where its keys do not say otherwise.
#[derive(Debug, Clone, Copy)]
pub(super) struct RopeDefaults {
    /// The base.
    pub theta: f64,
    /// The share of each head that is rotated; `None` where the family knows no such key.
    pub share: Option<f64>,
    /// Whether neighbours turn against each other, see [`Rope::is_interleaved`].
    pub is_interleaved: bool,
    /// Positions of the first training where `original_max_position_embeddings` is left out; the model's when `None`.
    pub original: Option<usize>,
}

impl RopeDefaults {
    /// Rotates whole heads, halves against each other.
    pub const fn of(theta: f64) -> Self {
        Self {
            theta,
            share: None,
            is_interleaved: false,
            original: None,
        }
    }

    /// How many dimensions of a head are rotated.
    fn dims(&self, keys: &[&ConfigFile], head_dim: usize) -> Result<usize> {
        const KEY: &str = "partial_rotary_factor";
        let mut share = self.share.unwrap_or(1.0);
        for file in keys {
            let Some(given) = file.positive(KEY)? else {
                continue;
            };
            if self.share.is_none() && given != 1.0 {
                return Err(file.unsupported(KEY, "this family rotates whole heads"));
            }
            share = given;
        }
        let dims = (head_dim as f64 * share) as usize;
        match dims.is_multiple_of(2) && (2..=head_dim).contains(&dims) {
            true => Ok(dims),
            false => Err(keys[0].invalid(
                KEY,
                format!("expected an even number of dimensions of {head_dim}, got {dims}"),
            )),
        }
    }
}

/// Reads the keys of either form. Where both stand, transformers takes the scaling of
/// `rope_scaling`, and what is inside the object before what is outside.
pub(super) fn read_rope_or(
    config: &ConfigFile,
    head_dim: usize,
    defaults: &RopeDefaults,
) -> Result<Rope> {
    let positions = config.count("max_position_embeddings")?;
    let outer_theta = config.positive("rope_theta")?;
    let outer_original = config
        .count("original_max_position_embeddings")?
        .or(defaults.original);
    let new_form = config.object("rope_parameters")?;
    let old_form = config.object("rope_scaling")?;
    let filled = |object: &ConfigFile| !object.is_empty();
    let Some(rope) = old_form.filter(filled).or(new_form.filter(filled)) else {
        return Ok(Rope {
            theta: outer_theta.unwrap_or(defaults.theta),
            scaling: RopeScaling::None,
            dims: defaults.dims(&[config], head_dim)?,
            is_interleaved: defaults.is_interleaved,
        });
    };
    let theta = rope
        .positive("rope_theta")?
        .or(outer_theta)
        .unwrap_or(defaults.theta);
    let dims = defaults.dims(&[config, &rope], head_dim)?;
    let scaling = read_scaling(&rope, dims, positions, outer_original)?;
    // What another kind of scaling would read changes nothing in this one.
    rope.finish(&ReadKeys::new())?;
    Ok(Rope {
        theta,
        scaling,
        dims,
        is_interleaved: defaults.is_interleaved,
    })
}

/// Reads the rotary embedding of layers of a type: transformers 5 has an object for each type inside
/// `rope_parameters`, older files have the base under a name of its own, `outer`, or none. `default_theta` is
/// the base where none is named, and `scaling` what takes the place of the object's scaling.
pub(super) fn read_layer_rope<'a>(
    config: &ConfigFile<'a>,
    head_dim: usize,
    layer_type: &str,
    outer: Option<&str>,
    default_theta: f64,
    scaling: Option<ConfigFile<'a>>,
) -> Result<Rope> {
    let positions = config.count("max_position_embeddings")?;
    let outer = match outer {
        Some(key) => config.positive(key)?,
        None => None,
    };
    let own = match config.object("rope_parameters")? {
        Some(all) => {
            for key in ["rope_theta", "rope_type"] {
                if all.value(key).is_some() {
                    return Err(all.unsupported(key, "expected an object for each type of layer"));
                }
            }
            all.object(layer_type)?
        }
        None => None,
    };
    let named = match &own {
        Some(own) => own.positive("rope_theta")?,
        None => None,
    };
    let theta = named.or(outer).unwrap_or(default_theta);
    let scaling = match scaling.filter(|object| !object.is_empty()).or(own) {
        Some(rope) if rope.text("rope_type")? == Some("proportional") => {
            let share = rope.positive("partial_rotary_factor")?.unwrap_or(1.0);
            let frequencies = (share * head_dim as f64 / 2.0) as usize;
            if frequencies > head_dim / 2 {
                return Err(rope.invalid("partial_rotary_factor", "expected at most 1"));
            }
            let factor = rope.positive("factor")?.unwrap_or(1.0);
            rope.finish(&ReadKeys::new())?;
            RopeScaling::Proportional {
                frequencies,
                factor,
            }
        }
        Some(rope) => {
            RopeDefaults::of(theta).dims(&[&rope], head_dim)?;
            let scaling = read_scaling(&rope, head_dim, positions, None)?;
            rope.finish(&ReadKeys::new())?;
            scaling
        }
        None => RopeScaling::None,
    };
    Ok(Rope::new(theta, scaling, head_dim))
}

fn read_scaling(
    rope: &ConfigFile,
    dims: usize,
    positions: Option<usize>,
    outer_original: Option<usize>,
) -> Result<RopeScaling> {
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
            // 0 stands for none.
            let mscale = rope.not_negative("mscale")?.filter(|m| *m > 0.0);
            let mscale_all_dim = rope.not_negative("mscale_all_dim")?.filter(|m| *m > 0.0);
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
                truncate: rope.flag_or("truncate", true)?,
                original_max_position_embeddings: original,
            }
        }
        "longrope" => {
            let original = original()?;
            let factors = |key: &str| -> Result<Vec<f64>> {
                let list = rope
                    .positives(key)?
                    .ok_or_else(|| rope.invalid(key, "rope_type longrope needs this key"))?;
                if list.len() == dims / 2 {
                    Ok(list)
                } else {
                    Err(rope.invalid(
                        key,
                        format!("expected {} numbers, got {}", dims / 2, list.len()),
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
