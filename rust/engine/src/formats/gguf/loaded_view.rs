//! Reading a file's tensors for Candle, some of them in a form that it computes faster or better.

use std::collections::HashMap;
use std::io::{self, Read, Seek, SeekFrom};

use candle_core::quantized::GgmlDType;
use candle_core::quantized::ggml_file::qtensor_from_ggml;
use candle_core::quantized::gguf_file::{Content, TensorInfo, Value};
use candle_core::{Device, Shape};
use rayon::prelude::*;

use super::file::{GgufFile, GgufTensor};
use crate::error::{Error, Result};
use crate::formats::quantize::quantized_blocks;
use crate::formats::{BlockType, Kernels};

/// What is looked up in the file and never loaded.
const PER_LAYER_EMBEDDING: &str = "per_layer_token_embd.weight";

/// The file as it would be with its tensors in the form that they get in memory, one behind the
/// other. They are converted when they are read, so that there is never a second copy of all.
pub(crate) struct LoadedView<'a> {
    file: &'a GgufFile,
    tensors: Vec<Placed<'a>>,
    size: u64,
    /// Bytes of all tensors in memory.
    byte_len: u64,
    position: u64,
    /// The tensor that is being read, and its bytes.
    current: Option<(usize, Vec<u8>)>,
}

/// One tensor of the view.
pub(super) struct Placed<'a> {
    tensor: &'a GgufTensor,
    dtype: BlockType,
    start: u64,
    len: u64,
}

impl<'a> LoadedView<'a> {
    /// `kernels` are those that will multiply the tensors.
    pub(super) fn new(file: &'a GgufFile, device: &Device, kernels: Kernels) -> Self {
        let (mut size, mut byte_len) = (0, 0);
        let tensors = file
            .tensors()
            .map(|tensor| {
                let dtype = loaded_type(tensor.dtype, device, kernels);
                let elements = tensor.shape.iter().map(|n| *n as u64).product::<u64>();
                let placed = Placed {
                    tensor,
                    dtype,
                    start: size,
                    len: elements / dtype.block_size() as u64 * dtype.type_size() as u64,
                };
                size += placed.len;
                byte_len += match kernels {
                    // Stays in the file.
                    Kernels::Packed if tensor.name == PER_LAYER_EMBEDDING => 0,
                    Kernels::Packed => dtype.bytes_in_memory(elements, device),
                    Kernels::Candle => placed.len,
                };
                placed
            })
            .collect();
        Self {
            file,
            tensors,
            size,
            byte_len,
            position: 0,
            current: None,
        }
    }

    /// Bytes of all tensors in memory.
    pub(super) fn byte_len(&self) -> u64 {
        self.byte_len
    }

    /// The type of most of the weights.
    pub(super) fn prevailing_type(&self) -> BlockType {
        let mut elements: Vec<(BlockType, usize)> = Vec::new();
        let kept = |placed: &&Placed| placed.tensor.name != PER_LAYER_EMBEDDING;
        for placed in self.tensors.iter().filter(kept) {
            let count = placed.tensor.shape.iter().product::<usize>();
            match elements
                .iter_mut()
                .find(|(known, _)| *known == placed.dtype)
            {
                Some((_, sum)) => *sum += count,
                None => elements.push((placed.dtype, count)),
            }
        }
        elements
            .into_iter()
            .max_by_key(|(_, count)| *count)
            .map_or(BlockType::Candle(GgmlDType::F32), |(dtype, _)| dtype)
    }

    /// What Candle is to read from here, with `metadata` for it: all types are ones that it knows.
    pub(crate) fn content(&self, metadata: HashMap<String, Value>) -> Content {
        let tensor_infos = self
            .tensors
            .iter()
            .filter_map(|placed| {
                let BlockType::Candle(ggml_dtype) = placed.dtype else {
                    return None;
                };
                let info = TensorInfo {
                    ggml_dtype,
                    shape: Shape::from(placed.tensor.shape.clone()),
                    offset: placed.start,
                };
                Some((placed.tensor.name.clone(), info))
            })
            .collect();
        Content {
            magic: self.file.magic(),
            metadata,
            tensor_infos,
            tensor_data_offset: 0,
        }
    }

    /// The tensor of a name.
    pub(super) fn placed(&self, name: &str) -> Result<&Placed<'a>> {
        // They are in the order of their names.
        self.tensors
            .binary_search_by(|placed| placed.tensor.name.as_str().cmp(name))
            .map(|index| &self.tensors[index])
            .map_err(|_| Error::InvalidTensor {
                file: String::new(),
                tensor: name.into(),
                expected: "a tensor of that name".into(),
                got: "none".into(),
            })
    }

    /// The bytes in memory of a tensor.
    pub(super) fn whole(&self, placed: &Placed) -> io::Result<Vec<u8>> {
        let rows = placed.tensor.shape.iter().rev().skip(1).product();
        self.rows(placed, 0, rows)
    }

    /// The bytes in memory of some rows of a tensor, all dimensions but the last flattened.
    pub(super) fn rows(&self, placed: &Placed, first: usize, count: usize) -> io::Result<Vec<u8>> {
        let tensor = placed.tensor;
        let row_bytes = row_bytes(tensor);
        let mut bytes = vec![0; count * row_bytes];
        self.file
            .read(tensor, (first * row_bytes) as u64, &mut bytes)
            .map_err(io::Error::other)?;
        if placed.dtype != tensor.dtype {
            bytes = requantize(&bytes, tensor, placed.dtype).map_err(io::Error::other)?;
        }
        Ok(bytes)
    }
}

impl Placed<'_> {
    /// Its shape.
    pub(super) fn shape(&self) -> &[usize] {
        &self.tensor.shape
    }

    /// Its type in memory.
    pub(super) fn dtype(&self) -> BlockType {
        self.dtype
    }
}

/// Bytes of one row in the file.
fn row_bytes(tensor: &GgufTensor) -> usize {
    let row = tensor.shape.last().copied().unwrap_or(1);
    row / tensor.dtype.block_size() * tensor.dtype.type_size()
}

/// The type that a tensor gets in memory. Candle's own kernels multiply by Q4_1, Q5_0 and Q5_1 one number
/// after the other on the CPU; for Q8_0 there is one of vector instructions, and it loses next to
/// nothing of them. Floating point numbers of 16 bits are multiplied in 32 bits: our own kernels widen them on the way.
fn loaded_type(stored: BlockType, device: &Device, kernels: Kernels) -> BlockType {
    let is_widened =
        device.is_cpu() && matches!(stored, BlockType::Candle(GgmlDType::F16 | GgmlDType::BF16));
    if kernels == Kernels::Packed && (is_widened || stored.has_kernels(device)) {
        return stored;
    }
    BlockType::Candle(match stored {
        BlockType::Codebook(_) => GgmlDType::Q8_0,
        BlockType::Candle(GgmlDType::Q4_1 | GgmlDType::Q5_0 | GgmlDType::Q5_1)
            if device.is_cpu() =>
        {
            GgmlDType::Q8_0
        }
        BlockType::Candle(GgmlDType::F16 | GgmlDType::BF16) => GgmlDType::F32,
        BlockType::Candle(other) => other,
    })
}

/// Elements that one thread converts at a time.
const ELEMENTS_AT_ONCE: usize = 1 << 16;

/// Converts the rows of a tensor, many at a time.
fn requantize(bytes: &[u8], tensor: &GgufTensor, to: BlockType) -> candle_core::Result<Vec<u8>> {
    let row = tensor.shape.last().copied().unwrap_or(1);
    let row_bytes = row_bytes(tensor);
    let rows_at_once = ELEMENTS_AT_ONCE.div_ceil(row);
    let parts: Vec<Vec<u8>> = bytes
        .par_chunks(rows_at_once * row_bytes)
        .map(|rows| {
            let (dtype, to) = match (tensor.dtype, to) {
                (BlockType::Codebook(kind), _) => return Ok(kind.to_q8_0(rows)),
                (BlockType::Candle(dtype), BlockType::Candle(to)) => (dtype, to),
                (_, BlockType::Codebook(_)) => candle_core::bail!("nothing becomes a code book"),
            };
            let shape = vec![rows.len() / row_bytes, row];
            let values =
                qtensor_from_ggml(dtype, rows, shape, &Device::Cpu)?.dequantize(&Device::Cpu)?;
            quantized_blocks(&values, to)
        })
        .collect::<candle_core::Result<_>>()?;
    Ok(parts.concat())
}

impl Read for LoadedView<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let index = self
            .tensors
            .partition_point(|placed| placed.start + placed.len <= self.position);
        let Some(placed) = self.tensors.get(index) else {
            return Ok(0);
        };
        let offset = (self.position - placed.start) as usize;
        let bytes = match &self.current {
            Some((current, bytes)) if *current == index => bytes,
            _ => {
                let bytes = self.whole(placed)?;
                &self.current.insert((index, bytes)).1
            }
        };
        let rest = &bytes[offset..];
        let count = rest.len().min(buffer.len());
        buffer[..count].copy_from_slice(&rest[..count]);
        self.position += count as u64;
        Ok(count)
    }
}

impl Seek for LoadedView<'_> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let position = match to {
            SeekFrom::Start(position) => Some(position),
            SeekFrom::End(offset) => self.size.checked_add_signed(offset),
            SeekFrom::Current(offset) => self.position.checked_add_signed(offset),
        };
        self.position = position.ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?;
        Ok(self.position)
    }
}
