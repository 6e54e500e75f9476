//! The embeddings of tokens, positions and types.

use candle_core::{CpuStorage, DType, Device, Result, Storage, Tensor, bail};
use half::slice::HalfFloatSliceExt;

use super::rows::{Norm, add_bias, for_each_row};
use crate::description::encoder::{EncoderDescription, EncoderNames, Positions};
use crate::engines::TextTokens;
use crate::engines::fused::packed_weights::PackedWeights;
use crate::error::Result as EngineResult;
use crate::formats::{Matrix, TensorSource, unreadable};

/// What stands before the first layer.
#[derive(Debug)]
pub(super) struct Embedding {
    words: Words,
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
            words: Words::new(source.matrix(&words, (description.vocab_size, width))?)
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
        let tokens: Vec<u32> = texts
            .iter()
            .flat_map(|text| text.tokens.iter().copied())
            .collect();
        let mut x = self.words.rows(&tokens, self.width)?;
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

/// The embedding of tokens.
#[derive(Debug)]
enum Words {
    /// Floating point numbers, row by row: a row is near itself in memory, which it is not among packed ones.
    Dense(Tensor),
    /// Blocks.
    Packed(PackedWeights),
}

impl Words {
    fn new(matrix: Matrix) -> Result<Self> {
        Ok(match matrix.loaded()? {
            Matrix::Dense(tensor) => Words::Dense(tensor.contiguous()?),
            blocks => Words::Packed(PackedWeights::new(blocks)?),
        })
    }

    /// The rows of tokens, behind each other.
    fn rows(&self, tokens: &[u32], width: usize) -> Result<Vec<f32>> {
        let tensor = match self {
            Words::Dense(tensor) => tensor,
            Words::Packed(weights) => {
                let rows = Tensor::from_slice(tokens, tokens.len(), &Device::Cpu)?;
                return weights.select(&rows, DType::F32)?.flatten_all()?.to_vec1();
            }
        };
        let (storage, layout) = tensor.storage_and_layout();
        let Storage::Cpu(storage) = &*storage else {
            bail!("expected an embedding on the CPU");
        };
        let start = layout.start_offset();
        let place = |row: u32| {
            let first = start + row as usize * width;
            first..first + width
        };
        let mut x = vec![0f32; tokens.len() * width];
        for_each_row(&mut x, width, |index, out| match storage {
            CpuStorage::F32(all) => out.copy_from_slice(&all[place(tokens[index])]),
            CpuStorage::F16(all) => all[place(tokens[index])].convert_to_f32_slice(out),
            CpuStorage::BF16(all) => all[place(tokens[index])].convert_to_f32_slice(out),
            _ => {}
        });
        Ok(x)
    }
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
