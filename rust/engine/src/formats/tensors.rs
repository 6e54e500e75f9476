//! The tensors of a checkpoint, and how they are kept in memory.

use std::fmt::Display;
use std::sync::Arc;

use candle_core::quantized::GgmlDType;
use candle_core::{DType, Device, Tensor};

use super::folder::{CheckpointTensors, FolderSource};
use super::gguf::GgufTensors;
use super::{BlockType, Matrix};
use crate::description::{EMBEDDING, HEAD, ModelDescription, PER_LAYER_EMBEDDING};
use crate::error::{Error, Result};

/// The tensors of a checkpoint, on disk.
pub(crate) enum Tensors {
    /// Safetensors files, converted to the type asked for when they are read.
    Folder(Arc<CheckpointTensors>),
    /// A GGUF file, each of whose tensors has a type of its own.
    Gguf(GgufTensors),
}

/// Whose kernels multiply the tensors: they take different types.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kernels {
    /// Those of this library.
    Packed,
    /// Candle's own.
    Candle,
}

/// How tensors are kept in memory.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Storage {
    /// The type of vectors, and of matrices that are not quantized. GGUF files have their own.
    pub(crate) dtype: DType,
    /// What the matrices of a folder are quantized to.
    pub(crate) quantize: Option<GgmlDType>,
    /// Whether packed matrices of a folder become blocks of the same numbers, or numbers of 16 bits; else they get `dtype`.
    pub(crate) blocks: bool,
    /// What multiplies them.
    pub(crate) kernels: Kernels,
}

impl Tensors {
    /// The type of most numbers of a folder; `None` for a GGUF file.
    pub(crate) fn stored_type(&self) -> Option<DType> {
        match self {
            Tensors::Gguf(_) => None,
            Tensors::Folder(folder) => {
                let largest = folder.iter().max_by_key(|(_, entry)| entry.byte_len());
                largest.map(|(_, entry)| entry.dtype)
            }
        }
    }

    /// The type of blocks that most numbers of a folder get in memory for our own kernels, if any: those of packed
    /// matrices.
    pub(crate) fn most_blocks(&self, device: &Device) -> Option<BlockType> {
        let Tensors::Folder(folder) = self else {
            return None;
        };
        let all: usize = folder.iter().map(|(_, entry)| entry.byte_len()).sum();
        let block_type = folder.iter().find_map(|(_, entry)| entry.block_type())?;
        let blocks: usize = folder
            .iter()
            .filter(|(_, entry)| entry.block_type() == Some(block_type))
            .map(|(_, entry)| entry.byte_len())
            .sum();
        (2 * blocks > all).then(|| block_type.kept(device))
    }

    /// The name of the type that the weights have in memory for our own kernels, unless they are quantized.
    pub(crate) fn precision(&self, device: &Device) -> &'static str {
        match self {
            Tensors::Gguf(gguf) => gguf.precision(device, Kernels::Packed),
            Tensors::Folder(_) => {
                if let Some(block_type) = self.most_blocks(device) {
                    return block_type.name();
                }
                let stored = self.stored_type().unwrap_or(DType::F32);
                crate::device::precision_name(kept_type(stored, DType::F32, device))
            }
        }
    }

    /// Bytes in memory.
    pub(crate) fn byte_len(
        &self,
        description: &ModelDescription,
        storage: Storage,
        device: &Device,
    ) -> u64 {
        match (self, storage.quantize) {
            (Tensors::Gguf(gguf), _) => gguf.byte_len(device, storage.kernels),
            (Tensors::Folder(folder), None) => folder
                .iter()
                // Stays in the file.
                .filter(|(name, _)| *name != PER_LAYER_EMBEDDING)
                .map(|(_, entry)| {
                    let kept = match storage.kernels {
                        Kernels::Candle => storage.dtype,
                        _ if entry.is_packed() && !storage.blocks => storage.dtype,
                        Kernels::Packed => kept_type(entry.dtype, storage.dtype, device),
                    };
                    let elements = entry.byte_len() / entry.dtype.size_in_bytes();
                    if storage.blocks
                        && let Some(block_type) = entry.block_type()
                    {
                        let kept = block_type.kept(device);
                        return kept.bytes_in_memory(elements as u64, device);
                    }
                    (elements * kept.size_in_bytes()) as u64
                })
                .sum(),
            (Tensors::Folder(_), wanted) => description
                .tensors()
                .filter(|(name, _)| name != PER_LAYER_EMBEDDING)
                .map(|(name, shape)| {
                    let elements = shape.iter().product::<usize>() as u64;
                    match (
                        shape.len(),
                        quantized_type(&name, shape[shape.len() - 1], wanted),
                    ) {
                        (2, Some(dtype)) => {
                            BlockType::Candle(dtype).bytes_in_memory(elements, device)
                        }
                        _ => elements * size_of::<f32>() as u64,
                    }
                })
                .sum(),
        }
    }

    /// The tensors of an encoder, by the names that they have in the file.
    pub(crate) fn encoder_source<'a>(
        &'a self,
        quantize: Option<GgmlDType>,
        device: &'a Device,
    ) -> Box<dyn TensorSource + 'a> {
        match self {
            Tensors::Gguf(gguf) => Box::new(gguf.plain_source(device)),
            Tensors::Folder(tensors) => Box::new(FolderSource {
                tensors: tensors.clone(),
                dtype: DType::F32,
                quantize,
                blocks: true,
                device: device.clone(),
            }),
        }
    }

    /// The tensors as they will be in memory; each is read when it is asked for.
    pub(crate) fn source<'a>(
        &'a self,
        description: &'a ModelDescription,
        storage: Storage,
        device: &'a Device,
    ) -> Box<dyn TensorSource + 'a> {
        match self {
            Tensors::Gguf(gguf) => Box::new(gguf.source(description, device)),
            Tensors::Folder(tensors) => Box::new(FolderSource {
                tensors: tensors.clone(),
                dtype: storage.dtype,
                quantize: storage.quantize,
                blocks: storage.blocks,
                device: device.clone(),
            }),
        }
    }
}

/// Tensors by their Hugging Face names. Each is read when it is asked for, so that no more than the parts of one
/// fused matrix are in memory twice.
pub(crate) trait TensorSource {
    /// The matrix of a name, `rows × columns`.
    fn matrix(&self, name: &str, shape: (usize, usize)) -> Result<Matrix>;

    /// The numbers of a small matrix that is looked up and not multiplied, in 32 bits, row by row.
    fn table(&self, name: &str, shape: (usize, usize)) -> Result<Vec<f32>>;

    /// The rows of a matrix too large to be kept, each read when it is looked up.
    fn lazy_rows(&self, name: &str, shape: (usize, usize)) -> Result<Box<dyn LazyRows>> {
        let table = self.table(name, shape)?;
        Ok(Box::new(KeptRows {
            table,
            columns: shape.1,
        }))
    }

    /// The vector of a name, in the type in which the decoder computes.
    fn vector(&self, name: &str, len: usize) -> Result<Tensor>;

    /// The type in which the decoder computes between its matrices.
    fn dtype(&self) -> DType;

    /// Whether the matrices of its layers are quantized.
    fn quantized(&self) -> bool;

    /// Where it computes.
    fn device(&self) -> &Device;
}

/// Rows of a matrix that are looked up.
pub(crate) trait LazyRows: Send + Sync {
    /// The numbers of some rows behind each other. Several threads may read at once.
    ///
    /// # Errors
    /// When the file cannot be read, or has no such row.
    fn read(&self, rows: &[u32]) -> candle_core::Result<Vec<f32>>;
}

/// Rows that are in memory nevertheless.
struct KeptRows {
    table: Vec<f32>,
    columns: usize,
}

impl LazyRows for KeptRows {
    fn read(&self, rows: &[u32]) -> candle_core::Result<Vec<f32>> {
        let mut numbers = Vec::with_capacity(rows.len() * self.columns);
        for row in rows {
            let start = *row as usize * self.columns;
            match self.table.get(start..start + self.columns) {
                Some(row) => numbers.extend_from_slice(row),
                None => candle_core::bail!("there is no row {row}"),
            }
        }
        Ok(numbers)
    }
}

/// The type of blocks that the matrix of a name becomes, if any.
///
/// The router of experts stays as it is, for it is small and decides much. Embedding and output
/// projection, whose errors reach every token, get 8 bits at least; and so does a matrix whose rows
/// are no whole number of the wanted blocks.
pub(crate) fn quantized_type(
    name: &str,
    columns: usize,
    wanted: Option<GgmlDType>,
) -> Option<GgmlDType> {
    let wanted = match name {
        EMBEDDING | HEAD => wanted.map(|_| GgmlDType::Q8_0),
        words if words.ends_with("word_embeddings.weight") => wanted.map(|_| GgmlDType::Q8_0),
        words if words.ends_with("tok_embeddings.weight") => wanted.map(|_| GgmlDType::Q8_0),
        router if router.ends_with(".mlp.gate.weight") => None,
        gate if gate.ends_with(".mlp.shared_expert_gate.weight") => None,
        _ => wanted,
    }?;
    [wanted, GgmlDType::Q8_0]
        .into_iter()
        .find(|dtype| columns.is_multiple_of(dtype.block_size()))
}

/// The type in which the numbers of a matrix are kept that are `stored` in a file and `computed` with.
///
/// Those of 16 bits stay so on the CPU, for which there are kernels that widen them: they take half of the
/// memory, and give what they would in 32 bits.
pub(crate) fn kept_type(stored: DType, computed: DType, device: &Device) -> DType {
    match (stored, computed) {
        (DType::F16 | DType::BF16, DType::F32) if device.is_cpu() => stored,
        _ => computed,
    }
}

/// What a source could not read or convert.
pub(crate) fn unreadable(name: &str, error: &impl Display) -> Error {
    Error::InvalidTensor {
        file: String::new(),
        tensor: name.into(),
        expected: "weights that can be read and converted".into(),
        got: error.to_string(),
    }
}
