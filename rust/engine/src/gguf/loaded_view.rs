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
use crate::files::ReadAt;
use crate::model::blocks::quantised_blocks;

/// The file as it would be with its tensors in the form that they get in memory, one behind the
/// other. They are converted when they are read, so that there is never a second copy of all.
pub(super) struct LoadedView<'a> {
    file: &'a GgufFile,
    tensors: Vec<Placed<'a>>,
    size: u64,
    position: u64,
    /// The tensor that is being read, and its bytes.
    current: Option<(usize, Vec<u8>)>,
}

/// One tensor of the view.
pub(super) struct Placed<'a> {
    tensor: &'a GgufTensor,
    dtype: GgmlDType,
    shape: Vec<usize>,
    start: u64,
    len: u64,
}

impl<'a> LoadedView<'a> {
    pub(super) fn new(file: &'a GgufFile, device: &Device) -> Self {
        let mut size = 0;
        let tensors = file
            .tensors()
            .map(|tensor| {
                let dtype = loaded_type(tensor.dtype, device);
                let shape = loaded_shape(file, tensor, device);
                let elements = shape.iter().map(|n| *n as u64).product::<u64>();
                let placed = Placed {
                    tensor,
                    dtype,
                    start: size,
                    len: elements / dtype.block_size() as u64 * dtype.type_size() as u64,
                    shape,
                };
                size += placed.len;
                placed
            })
            .collect();
        Self {
            file,
            tensors,
            size,
            position: 0,
            current: None,
        }
    }

    /// Bytes of all tensors in memory.
    pub(super) fn byte_len(&self) -> u64 {
        self.size
    }

    /// The type of most of the weights.
    pub(super) fn prevailing_type(&self) -> GgmlDType {
        let mut elements: Vec<(GgmlDType, usize)> = Vec::new();
        for placed in &self.tensors {
            let count = placed.shape.iter().product::<usize>();
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
            .map_or(GgmlDType::F32, |(dtype, _)| dtype)
    }

    /// What Candle is to read from here, with `metadata` for it.
    pub(super) fn content(&self, metadata: HashMap<String, Value>) -> Content {
        let tensor_infos = self
            .tensors
            .iter()
            .map(|placed| {
                let info = TensorInfo {
                    ggml_dtype: placed.dtype,
                    shape: Shape::from(placed.shape.clone()),
                    offset: placed.start,
                };
                (placed.tensor.name.clone(), info)
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
                tensor: name.into(),
                expected: "a tensor of that name".into(),
                got: "none".into(),
            })
    }

    /// The bytes in memory of a tensor.
    pub(super) fn whole(&self, placed: &Placed) -> io::Result<Vec<u8>> {
        let rows = placed.tensor.shape.iter().rev().skip(1).product();
        let mut bytes = self.rows(placed, 0, rows)?;
        if placed.shape != placed.tensor.shape {
            bytes = pad(&bytes, placed);
        }
        Ok(bytes)
    }

    /// The bytes in memory of some rows of a tensor as it is in the file, all dimensions but the last
    /// flattened.
    pub(super) fn rows(&self, placed: &Placed, first: usize, count: usize) -> io::Result<Vec<u8>> {
        let tensor = placed.tensor;
        let row_bytes = row_bytes(tensor);
        let mut bytes = vec![0; count * row_bytes];
        let start = tensor.offset + (first * row_bytes) as u64;
        self.file
            .file()
            .read_at(self.file.path(), start, &mut bytes)
            .map_err(io::Error::other)?;
        if placed.dtype != tensor.dtype {
            bytes = requantize(&bytes, tensor, placed.dtype).map_err(io::Error::other)?;
        }
        Ok(bytes)
    }
}

impl Placed<'_> {
    /// Its shape in memory.
    pub(super) fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// Its type in memory.
    pub(super) fn dtype(&self) -> GgmlDType {
        self.dtype
    }
}

/// Bytes of one row in the file.
fn row_bytes(tensor: &GgufTensor) -> usize {
    let row = tensor.shape.last().copied().unwrap_or(1);
    row / tensor.dtype.block_size() * tensor.dtype.type_size()
}

/// The type that a tensor gets in memory. Candle multiplies by Q4_1, Q5_0 and Q5_1 one number after
/// the other on the CPU; Q8_0 has a kernel of vector instructions and loses next to nothing of them.
/// Floating point numbers of 16 bits are multiplied in 32 anyway.
fn loaded_type(dtype: GgmlDType, device: &Device) -> GgmlDType {
    match dtype {
        GgmlDType::Q4_1 | GgmlDType::Q5_0 | GgmlDType::Q5_1 if device.is_cpu() => GgmlDType::Q8_0,
        GgmlDType::F16 | GgmlDType::BF16 => GgmlDType::F32,
        other => other,
    }
}

/// Width of the blocks that share one scale where Candle multiplies by Q8_0 with AVX-512.
const WIDE_BLOCK: usize = 256;

/// The shape that a tensor gets in memory.
///
/// Candle's AVX-512 kernel for Q8_0 rounds activations to 8 bits by blocks of 256, all others by
/// blocks of 32. In front of some down projections there are outliers of a hundred times the usual
/// size (Sun et al. 2024, "Massive Activations in Large Language Models", finds them in early
/// layers), which swallow what else is in so wide a block. The kernel is not taken when the width is
/// no multiple of 256, so in the first third of the layers one block of zeros is put behind it, in
/// gate and up as well, whose product is zero there. The other layers keep the faster kernel.
fn loaded_shape(file: &GgufFile, tensor: &GgufTensor, device: &Device) -> Vec<usize> {
    let mut shape = tensor.shape.clone();
    let (layer, dimension) = match tensor.name.rsplit_once(".ffn_") {
        Some((layer, "down.weight")) => (layer, 1),
        Some((layer, "gate.weight" | "up.weight")) => (layer, 0),
        _ => return shape,
    };
    let down = file.tensor(&format!("{layer}.ffn_down.weight"));
    let widened = down.is_ok_and(|down| {
        device.is_cpu()
            && is_early(file, layer)
            && loaded_type(down.dtype, device) == GgmlDType::Q8_0
            && down.shape[1].is_multiple_of(WIDE_BLOCK)
    });
    if widened {
        shape[dimension] += GgmlDType::Q8_0.block_size();
    }
    shape
}

/// Whether a layer, such as `blk.3`, is in the first third of them.
fn is_early(file: &GgufFile, layer: &str) -> bool {
    let index: Option<usize> = layer.strip_prefix("blk.").and_then(|n| n.parse().ok());
    index.is_some_and(|index| file.has_tensor(&format!("blk.{}.ffn_down.weight", 3 * index)))
}

/// Puts zeros behind each row, and rows of zeros behind all. A block of any type that consists of
/// zero bytes stands for zeros.
fn pad(bytes: &[u8], placed: &Placed) -> Vec<u8> {
    let row_len = |width: usize| width / placed.dtype.block_size() * placed.dtype.type_size();
    let (from, to) = (row_len(placed.tensor.shape[1]), row_len(placed.shape[1]));
    let mut padded = vec![0; placed.len as usize];
    for (row, target) in bytes.chunks_exact(from).zip(padded.chunks_exact_mut(to)) {
        target[..from].copy_from_slice(row);
    }
    padded
}

/// Elements that one thread converts at a time.
const ELEMENTS_AT_ONCE: usize = 1 << 16;

/// Converts the rows of a tensor, many at a time.
fn requantize(bytes: &[u8], tensor: &GgufTensor, to: GgmlDType) -> candle_core::Result<Vec<u8>> {
    let row = tensor.shape.last().copied().unwrap_or(1);
    let row_bytes = row_bytes(tensor);
    let rows_at_once = ELEMENTS_AT_ONCE.div_ceil(row);
    let parts: Vec<Vec<u8>> = bytes
        .par_chunks(rows_at_once * row_bytes)
        .map(|rows| {
            let shape = vec![rows.len() / row_bytes, row];
            let values = qtensor_from_ggml(tensor.dtype, rows, shape, &Device::Cpu)?
                .dequantize(&Device::Cpu)?;
            quantised_blocks(&values, to)
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
