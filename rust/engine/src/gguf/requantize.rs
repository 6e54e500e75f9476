//! Reading a file's tensors for Candle, some of them in a type that it computes faster.

use std::io::{self, Read, Seek, SeekFrom};

use candle_core::quantized::ggml_file::qtensor_from_ggml;
use candle_core::quantized::gguf_file::{Content, TensorInfo, Value};
use candle_core::quantized::{GgmlDType, QTensor};
use candle_core::{Device, Shape};
use rayon::prelude::*;
use std::collections::HashMap;

use super::file::{GgufFile, GgufTensor};
use crate::files::ReadAt;

/// The type that a tensor gets in memory. Candle multiplies by Q4_1, Q5_0 and Q5_1 one number after
/// the other on the CPU; as Q8_0, which loses next to nothing of them, it is three times as fast.
fn loaded_type(dtype: GgmlDType, device: &Device) -> GgmlDType {
    match dtype {
        GgmlDType::Q4_1 | GgmlDType::Q5_0 | GgmlDType::Q5_1 if device.is_cpu() => GgmlDType::Q8_0,
        other => other,
    }
}

/// Bytes of a tensor in memory.
pub(super) fn loaded_len(tensor: &GgufTensor, device: &Device) -> u64 {
    let loaded = loaded_type(tensor.dtype, device);
    tensor.bytes / tensor.dtype.type_size() as u64 * tensor.dtype.block_size() as u64
        / loaded.block_size() as u64
        * loaded.type_size() as u64
}

/// The type in memory of most of the weights.
pub(super) fn prevailing<'a>(
    tensors: impl Iterator<Item = &'a GgufTensor>,
    device: &Device,
) -> GgmlDType {
    let mut elements: Vec<(GgmlDType, u64)> = Vec::new();
    for tensor in tensors {
        let dtype = loaded_type(tensor.dtype, device);
        let count = tensor.shape.iter().map(|n| *n as u64).product::<u64>();
        match elements.iter_mut().find(|(known, _)| *known == dtype) {
            Some((_, sum)) => *sum += count,
            None => elements.push((dtype, count)),
        }
    }
    elements
        .into_iter()
        .max_by_key(|(_, count)| *count)
        .map_or(GgmlDType::F32, |(dtype, _)| dtype)
}

/// The file as it would be with its tensors in the types that they get in memory, one behind the
/// other. They are converted when they are read, so that there is never a second copy of all.
pub(super) struct LoadedView<'a> {
    file: &'a GgufFile,
    device: Device,
    tensors: Vec<Placed<'a>>,
    size: u64,
    position: u64,
    /// The tensor that is being read, and its bytes.
    current: Option<(usize, Vec<u8>)>,
}

struct Placed<'a> {
    tensor: &'a GgufTensor,
    start: u64,
    len: u64,
}

impl<'a> LoadedView<'a> {
    pub(super) fn new(file: &'a GgufFile, device: &Device) -> Self {
        let mut size = 0;
        let tensors = file
            .tensors()
            .map(|tensor| {
                let placed = Placed {
                    tensor,
                    start: size,
                    len: loaded_len(tensor, device),
                };
                size += placed.len;
                placed
            })
            .collect();
        Self {
            file,
            device: device.clone(),
            tensors,
            size,
            position: 0,
            current: None,
        }
    }

    /// What Candle is to read from here, with `metadata` for it.
    pub(super) fn content(&self, metadata: HashMap<String, Value>) -> Content {
        let tensor_infos = self
            .tensors
            .iter()
            .map(|placed| {
                let info = TensorInfo {
                    ggml_dtype: loaded_type(placed.tensor.dtype, &self.device),
                    shape: Shape::from(placed.tensor.shape.clone()),
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

    fn loaded_bytes(&self, tensor: &GgufTensor) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; tensor.bytes as usize];
        self.file
            .file()
            .read_at(self.file.path(), tensor.offset, &mut bytes)
            .map_err(io::Error::other)?;
        let loaded = loaded_type(tensor.dtype, &self.device);
        if loaded == tensor.dtype {
            Ok(bytes)
        } else {
            requantize(&bytes, tensor, loaded).map_err(io::Error::other)
        }
    }
}

/// Elements that one thread converts at a time.
const ELEMENTS_AT_ONCE: usize = 1 << 16;

/// Converts the rows of a tensor, many at a time.
fn requantize(bytes: &[u8], tensor: &GgufTensor, to: GgmlDType) -> candle_core::Result<Vec<u8>> {
    let row = tensor.shape.last().copied().unwrap_or(1);
    let row_bytes = row / tensor.dtype.block_size() * tensor.dtype.type_size();
    let rows_at_once = ELEMENTS_AT_ONCE.div_ceil(row);
    let parts: Vec<Vec<u8>> = bytes
        .par_chunks(rows_at_once * row_bytes)
        .map(|rows| {
            let shape = vec![rows.len() / row_bytes, row];
            let values = qtensor_from_ggml(tensor.dtype, rows, shape, &Device::Cpu)?
                .dequantize(&Device::Cpu)?;
            Ok(QTensor::quantize(&values, to)?.data()?.into_owned())
        })
        .collect::<candle_core::Result<_>>()?;
    Ok(parts.concat())
}

impl Read for LoadedView<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let index = self
            .tensors
            .partition_point(|placed| placed.start + placed.len <= self.position);
        let Some(&Placed { tensor, start, .. }) = self.tensors.get(index) else {
            return Ok(0);
        };
        let bytes = match self.current.take() {
            Some((current, bytes)) if current == index => bytes,
            _ => self.loaded_bytes(tensor)?,
        };
        let rest = &bytes[(self.position - start) as usize..];
        let count = rest.len().min(buffer.len());
        buffer[..count].copy_from_slice(&rest[..count]);
        self.position += count as u64;
        self.current = Some((index, bytes));
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
