//! The embeddings of tokens, positions and types.

use candle_core::{DType, Device, Result, Tensor};

use super::rows::{Norm, add_bias, for_each_row};
use crate::description::encoder::{EncoderDescription, EncoderNames, Positions};
use crate::engines::TextTokens;
use crate::engines::fused::packed_weights::PackedWeights;
use crate::error::Result as EngineResult;
use crate::formats::{TensorSource, unreadable};

/// What stands before the first layer.
#[derive(Debug)]
pub(super) struct Embedding {
    words: PackedWeights,
    /// Learned vectors, and the padding token from behind whose id they are counted.
    positions: Option<(Vec<f32>, Option<u32>)>,
    /// A vector a type.
    types: Option<Vec<f32>>,
    norm: Norm,
    width: usize,
}

impl Embedding {
    pub(super) fn load(
        description: &EncoderDescription,
        names: &EncoderNames,
        source: &dyn TensorSource,
    ) -> EngineResult<Self> {
        let width = description.hidden_size;
        let words = format!("{}.weight", names.words);
        let table = |name: &str, rows| source.table(&format!("{name}.weight"), (rows, width));
        Ok(Self {
            words: PackedWeights::new(source.matrix(&words, (description.vocab_size, width))?)
                .map_err(|e| unreadable(&words, &e))?,
            positions: match description.positions {
                Positions::Rotary => None,
                Positions::Learned { rows, padding } => {
                    Some((table(names.positions, rows)?, padding))
                }
            },
            types: match description.token_types {
                0 => None,
                rows => Some(table(names.token_types, rows)?),
            },
            norm: Norm::load(
                source,
                names.embedding_norm,
                width,
                description.embedding_norm,
            )?,
            width,
        })
    }

    /// The rows of all tokens.
    pub(super) fn forward(&self, texts: &[TextTokens]) -> Result<Vec<f32>> {
        let tokens = || texts.iter().flat_map(|text| text.tokens.iter().copied());
        let mut x = rows_of(&self.words, tokens().collect())?;
        let types: Vec<u32> = texts
            .iter()
            .flat_map(|text| text.types.iter().copied())
            .collect();
        let padding = self.positions.as_ref().and_then(|(_, padding)| *padding);
        let places: Vec<u32> = texts
            .iter()
            .flat_map(|text| positions_of(text.tokens, padding))
            .collect();
        let width = self.width;
        for_each_row(&mut x, width, |index, row| {
            if let Some(table) = &self.types {
                add_bias(row, &table[types[index] as usize * width..][..width]);
            }
            if let Some((table, _)) = &self.positions {
                add_bias(row, &table[places[index] as usize * width..][..width]);
            }
            self.norm.row(row);
        });
        Ok(x)
    }
}

fn rows_of(table: &PackedWeights, rows: Vec<u32>) -> Result<Vec<f32>> {
    let count = rows.len();
    let rows = Tensor::from_vec(rows, count, &Device::Cpu)?;
    table.select(&rows, DType::F32)?.flatten_all()?.to_vec1()
}

/// The position of each token: its place, or with a padding token, its number among those that are not it, counted from
/// behind its id.
fn positions_of(tokens: &[u32], padding: Option<u32>) -> Vec<u32> {
    let Some(padding) = padding else {
        return (0..tokens.len() as u32).collect();
    };
    let mut count = 0;
    tokens
        .iter()
        .map(|token| {
            if *token == padding {
                return padding;
            }
            count += 1;
            padding + count
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn padding_tokens_count_for_nothing() {
        assert_eq!(positions_of(&[5, 5, 5], None), [0, 1, 2]);
        assert_eq!(positions_of(&[5, 1, 5], Some(1)), [2, 1, 3]);
    }
}
