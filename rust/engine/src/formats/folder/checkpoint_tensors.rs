//! The tensors of a model's folder: which there are, and their bytes.
//!
//! Files are read by position and never mapped into memory. A mapped file that somebody truncates
//! (an interrupted copy, a cache being cleaned) raises SIGBUS at the next touch, which ends the
//! whole process; a short read is an error like any other. Reading is also no slower, since every
//! byte is used exactly once.

use std::collections::HashMap;
use std::fmt;
use std::fs::File;
use std::ops::Range;
use std::path::{Path, PathBuf};

use candle_core::{DType, Device, Tensor, WithDType};
use safetensors::tensor::{Dtype, TensorInfo};
use serde::de::{Deserializer, MapAccess, Visitor};

use super::packed::Bytes;
use super::tensor_entry::{Layout, TensorEntry, parts_of, span_of, wrong_tensor};
use crate::description::{EMBEDDING, FeedForward, HEAD, Mixer, ModelDescription, stacked};
use crate::error::{Error, Result};
use crate::files::{self, Limit, ReadAt};

/// The largest header that is read; the format allows three times as much, and models have a hundredth.
const HEADER_LIMIT: u64 = 32 << 20;

/// All tensors of one model, of one file or of several shards.
#[derive(Debug, Default)]
pub struct CheckpointTensors {
    files: Vec<(PathBuf, File)>,
    tensors: HashMap<String, TensorEntry>,
    /// Tensors of types that no weight has by itself, such as the whole numbers that packed matrices are made of.
    others: HashMap<String, Stored>,
}

/// A tensor of a type that no weight has by itself.
#[derive(Debug, Clone)]
pub(super) struct Stored {
    /// The type's name in the file.
    pub(super) dtype: String,
    pub(super) shape: Vec<usize>,
    pub(super) bytes: Bytes,
}

/// What a folder without weights that can be read has instead.
fn without_weights(folder: &Path) -> Error {
    let others: Vec<String> = std::fs::read_dir(folder)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    let found = |ends: &[&str]| {
        others
            .iter()
            .find(|name| ends.iter().any(|end| name.ends_with(end)))
    };
    let reason = if let Some(adapter) = found(&["adapter_model.safetensors", "adapter_model.bin"]) {
        format!("{adapter} is a LoRA adapter; load its base model with this folder as the adapter")
    } else if let Some(pickled) = found(&[".bin", ".pth", ".pt"]) {
        format!("{pickled} is in PyTorch's format, which can run code; convert it to safetensors")
    } else if let Some(gguf) = found(&[".gguf"]) {
        format!("to load {gguf}, give the file and not its folder")
    } else if let Some(other) = found(&[".safetensors"]) {
        format!("{other} is none of these names")
    } else {
        "there are no weights".into()
    };
    Error::InvalidFile {
        file: folder.display().to_string(),
        reason: format!(
            "holds neither model.safetensors nor model.safetensors.index.json: {reason}"
        ),
    }
}

impl CheckpointTensors {
    /// Opens `model.safetensors`, else the shards that `model.safetensors.index.json` names, and reads
    /// and checks the headers. No tensor is read yet.
    ///
    /// As in transformers, an index beside `model.safetensors` is not looked at, and of an index only the
    /// names of the files count: what a tensor is said to lie in may be out of date.
    pub fn open(folder: &Path) -> Result<Self> {
        let single = folder.join("model.safetensors");
        let index = folder.join("model.safetensors.index.json");
        let mut weights = Self::default();
        if single.is_file() {
            weights.add_file(&single)?;
        } else if index.is_file() {
            weights.add_shards(folder, &index)?;
        } else {
            return Err(without_weights(folder));
        }
        weights.complete_names()?;
        Ok(weights)
    }

    /// The tensors of one file.
    ///
    /// # Errors
    /// See [`CheckpointTensors::open`].
    pub(super) fn of_file(path: &Path) -> Result<Self> {
        let mut tensors = Self::default();
        tensors.add_file(path)?;
        Ok(tensors)
    }

    /// Takes the files of another one over, and gives the tensors that were found in them, which get no names here.
    ///
    /// # Errors
    /// [`Error::InvalidTensor`] for those of types that no weight has.
    pub(super) fn append(&mut self, other: Self) -> Result<HashMap<String, TensorEntry>> {
        if let Some((name, stored)) = other.others.iter().next() {
            return Err(Error::InvalidTensor {
                file: files::name(&other.files[stored.bytes.file].0),
                tensor: name.clone(),
                expected: "a floating point type".into(),
                got: stored.dtype.clone(),
            });
        }
        let behind = self.files.len();
        self.files.extend(other.files);
        let moved = |entry: TensorEntry| TensorEntry {
            file: entry.file + behind,
            ..entry
        };
        let tensors = other.tensors.into_iter();
        Ok(tensors.map(|(name, entry)| (name, moved(entry))).collect())
    }

    fn add_shards(&mut self, folder: &Path, index: &Path) -> Result<()> {
        #[derive(serde::Deserialize)]
        struct Index {
            weight_map: HashMap<String, String>,
        }
        let Index { weight_map } = files::json(index, &files::read(index, Limit::Index)?)?;
        let mut shards: Vec<&String> = weight_map.values().collect();
        shards.sort_unstable();
        shards.dedup();
        for shard in &shards {
            let invalid = |reason: String| Error::InvalidFile {
                file: files::name(index),
                reason,
            };
            if !files::is_below(shard) {
                return Err(invalid(format!(
                    "shard name {shard:?}: expected a path below the folder"
                )));
            }
            let path = folder.join(shard);
            if !path.is_file() {
                return Err(invalid(format!(
                    "names the file {shard:?}, which is not there"
                )));
            }
            self.add_file(&path)?;
        }
        Ok(())
    }

    /// Gives tensors of a decoder that was saved without its head the names that they have with it.
    fn complete_names(&mut self) -> Result<()> {
        const PREFIX: &str = "model.";
        // As most families call it, and Nemotron-H.
        let embeddings = [&EMBEDDING[PREFIX.len()..], "embeddings.weight"];
        let is_bare = embeddings
            .iter()
            .any(|name| self.tensors.contains_key(*name))
            && !self.tensors.keys().any(|name| name.starts_with(PREFIX));
        if !is_bare {
            return Ok(());
        }
        self.rename(|name| match name == HEAD {
            true => name.to_owned(),
            false => format!("{PREFIX}{name}"),
        })
    }

    fn add_file(&mut self, path: &Path) -> Result<()> {
        let invalid = |reason: String| Error::InvalidFile {
            file: files::name(path),
            reason,
        };
        let file = File::open(path).map_err(|e| Error::io(path, &e))?;
        let size = file.metadata().map_err(|e| Error::io(path, &e))?.len();
        if let Some(other) = files::other_kind(path, &file, files::SAFETENSORS)? {
            return Err(invalid(format!("is {other} and no safetensors file")));
        }
        let mut length = [0u8; 8];
        if size < 8 {
            return Err(invalid(format!(
                "{size} bytes are too few for a safetensors file"
            )));
        }
        file.read_at(path, 0, &mut length)?;
        let header_len = u64::from_le_bytes(length);
        if header_len > HEADER_LIMIT || header_len > size - 8 {
            return Err(invalid(format!(
                "the header claims {header_len} bytes, the file has {size}"
            )));
        }
        let mut header = vec![0u8; header_len as usize];
        file.read_at(path, 8, &mut header)?;
        let entries = parse_header(&header).map_err(|e| invalid(format!("header: {e}")))?;

        let data_start = 8 + header_len;
        let data_len = size - data_start;
        let mut ranges = Vec::with_capacity(entries.len());
        for (name, info) in entries {
            let (start, end) = (info.data_offsets.0 as u64, info.data_offsets.1 as u64);
            let wrong = |expected: String, got: String| Error::InvalidTensor {
                file: files::name(path),
                tensor: name.clone(),
                expected,
                got,
            };
            let bytes = info
                .shape
                .iter()
                .try_fold(info.dtype.bitsize(), |bits, size| bits.checked_mul(*size))
                .map(|bits| bits / 8)
                .ok_or_else(|| {
                    wrong(
                        "a size below 2^61 bytes".into(),
                        format!("{:?}", info.shape),
                    )
                })?;
            if end < start || end - start != bytes as u64 {
                return Err(wrong(
                    format!("{bytes} bytes for shape {:?} of {}", info.shape, info.dtype),
                    format!("bytes {start} to {end}"),
                ));
            }
            if end > data_len {
                return Err(wrong(
                    format!("{end} bytes of data in {}", files::name(path)),
                    format!("{data_len}; the file is cut short"),
                ));
            }
            ranges.push((start, end, name.clone()));
            let offset = data_start + start;
            if self.tensors.contains_key(&name) || self.others.contains_key(&name) {
                return Err(wrong("one tensor of that name".into(), "several".into()));
            }
            let Some(dtype) = candle_dtype(info.dtype) else {
                let stored = Stored {
                    dtype: info.dtype.to_string(),
                    shape: info.shape,
                    bytes: Bytes {
                        file: self.files.len(),
                        offset,
                        len: bytes,
                    },
                };
                self.others.insert(name, stored);
                continue;
            };
            let entry = TensorEntry {
                shape: info.shape,
                dtype,
                file: self.files.len(),
                offset,
                bytes,
                layout: Layout::Dense,
            };
            self.tensors.insert(name, entry);
        }
        ranges.sort_unstable();
        for pair in ranges.windows(2) {
            if pair[1].0 < pair[0].1 {
                return Err(Error::InvalidTensor {
                    file: files::name(path),
                    tensor: pair[1].2.clone(),
                    expected: "bytes of its own".into(),
                    got: format!("bytes that overlap those of {}", pair[0].2),
                });
            }
        }
        self.files.push((path.to_path_buf(), file));
        Ok(())
    }

    /// Gives every tensor another name.
    ///
    /// # Errors
    /// [`Error::InvalidTensor`] where two would have the same.
    pub(crate) fn rename(&mut self, rename: impl Fn(&str) -> String) -> Result<()> {
        self.tensors = renamed(std::mem::take(&mut self.tensors), &rename)?;
        self.others = renamed(std::mem::take(&mut self.others), &rename)?;
        Ok(())
    }

    /// Gives the projections of a layer that are one tensor, above each other, names of their own.
    pub fn split_fused(&mut self, description: &ModelDescription) -> Result<()> {
        for (index, layer) in description.layers.iter().enumerate() {
            for name in [
                "conv.conv.weight",
                "linear_attn.conv1d.weight",
                "mamba.conv1d.weight",
            ] {
                self.squeeze(&format!("model.layers.{index}.{name}"));
            }
            let bias = format!("model.layers.{index}.mlp.gate.e_score_correction_bias");
            if let Some(entry) = self.tensors.get_mut(&bias)
                && let [1, experts] = entry.shape[..]
            {
                entry.shape = vec![experts];
            }
            let [lone, beside] = ["mlp", "mlp.shared_expert"];
            let (from, to, parts) = match layer.feed_forward {
                // Granite's block of a layer without experts goes by the name of the one beside them,
                FeedForward::Dense(_) => (beside, lone, &["gate_up_proj", "down_proj"][..]),
                // and Gemma's beside experts by that of the only one.
                _ => (lone, beside, &["gate_proj", "up_proj", "down_proj"][..]),
            };
            for part in parts {
                let at = |name: &str| format!("model.layers.{index}.{name}.{part}.weight");
                if let Some(entry) = self.tensors.remove(&at(from)) {
                    self.tensors.insert(at(to), entry);
                }
            }
            for kind in ["weight", "bias"] {
                let at = |name: &str| format!("model.layers.{index}.{name}.{kind}");
                if let Some(attention) = layer.attention() {
                    let [query, key, value] = stacked(attention.qkv_sizes());
                    let parts = [
                        (at("self_attn.q_proj"), query),
                        (at("self_attn.k_proj"), key),
                        (at("self_attn.v_proj"), value),
                    ];
                    self.split_rows(&at("self_attn.qkv_proj"), parts)?;
                }
                if let Mixer::DeltaNet(net) = &layer.mixer {
                    for (name, [first, second]) in [("qkvz", ["qkv", "z"]), ("ba", ["b", "a"])] {
                        let at = |name: &str| at(&format!("linear_attn.in_proj_{name}"));
                        let rows = |name| net.rows_by_key_head(name).expect("one of the four").0;
                        let parts = [first, second].map(|part| (at(part), rows(part)));
                        self.split_rows(&at(name), parts)?;
                    }
                }
                let (name, size) = match &layer.feed_forward {
                    FeedForward::Dense(mlp) => ("mlp", mlp.intermediate_size),
                    FeedForward::Experts {
                        shared: Some(shared),
                        ..
                    } => ("mlp.shared_expert", shared.mlp.intermediate_size),
                    FeedForward::Experts { shared: None, .. } | FeedForward::None => continue,
                };
                let at = |part: &str| at(&format!("{name}.{part}"));
                let [gate, up] = stacked([size, size]);
                let parts = [(at("gate_proj"), gate), (at("up_proj"), up)];
                self.split_rows(&at("gate_up_proj"), parts)?;
            }
        }
        Ok(())
    }

    /// Takes the dimension of 1 out of the weights of a convolution, if they are there: each channel has one input.
    fn squeeze(&mut self, name: &str) {
        if let Some(entry) = self.tensors.get_mut(name)
            && let [channels, 1, taps] = entry.shape[..]
        {
            entry.shape = vec![channels, taps];
        }
    }

    /// Gives parts of the rows of a tensor, if it is there, names of their own.
    fn split_rows<const N: usize>(
        &mut self,
        name: &str,
        parts: [(String, Vec<Range<usize>>); N],
    ) -> Result<()> {
        let Some(entry) = self.tensors.remove(name) else {
            return Ok(());
        };
        let all = parts.iter().flat_map(|(_, ranges)| ranges);
        let rows: usize = all.map(ExactSizeIterator::len).sum();
        if entry.shape.first() != Some(&rows) {
            let got = format!("shape {:?}", entry.shape);
            return Err(wrong_tensor(name, format!("{rows} rows"), got));
        }
        for (part, ranges) in parts {
            self.tensors.insert(part, entry.select_rows(&ranges));
        }
        Ok(())
    }

    /// Whether the embedding really is the output projection of a model whose configuration ties
    /// them: transformers uses an output projection of its own where the file holds a different
    /// one, and the output projection as embedding where only that one is there.
    pub fn ties_embeddings(&mut self, embedding: &str, head: &str) -> Result<bool> {
        match (self.tensors.get(embedding), self.tensors.get(head)) {
            (_, None) => Ok(true),
            (None, Some(only)) => {
                let only = only.clone();
                self.tensors.insert(embedding.into(), only);
                Ok(true)
            }
            (Some(a), Some(b)) => self.equal(a, b),
        }
    }

    fn equal(&self, a: &TensorEntry, b: &TensorEntry) -> Result<bool> {
        const CHUNK: usize = 1 << 20;
        if (a.dtype, &a.shape) != (b.dtype, &b.shape) {
            return Ok(false);
        }
        if a.layout != Layout::Dense || b.layout != Layout::Dense {
            return Ok(a == b);
        }
        let (mut left, mut right) = (vec![0; CHUNK], vec![0; CHUNK]);
        for start in (0..a.bytes).step_by(CHUNK) {
            let len = CHUNK.min(a.bytes - start);
            self.read_into(a, start, &mut left[..len])?;
            self.read_into(b, start, &mut right[..len])?;
            if left[..len] != right[..len] {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// The description of a tensor, if there is one of that name.
    pub fn get(&self, name: &str) -> Option<&TensorEntry> {
        self.tensors.get(name)
    }

    /// The description of a tensor that must be there with exactly this shape.
    pub fn expect(&self, name: &str, shape: &[usize]) -> Result<&TensorEntry> {
        let wrong = |got: String| wrong_tensor(name, format!("shape {shape:?}"), got);
        match self.get(name) {
            None => Err(match self.others.get(name) {
                Some(stored) => wrong_tensor(name, "a floating point type", stored.dtype.clone()),
                None => wrong("no such tensor".into()),
            }),
            Some(entry) if entry.shape != shape => Err(wrong(format!("shape {:?}", entry.shape))),
            Some(entry) => Ok(entry),
        }
    }

    /// Reads a part of a tensor's bytes, little-endian as in the file, which must lie behind each other.
    ///
    /// `offset` counts from the tensor's first byte. Several threads may read at once.
    pub fn read_into(&self, entry: &TensorEntry, offset: usize, buffer: &mut [u8]) -> Result<()> {
        let is_dense = entry.layout == Layout::Dense;
        assert!(is_dense, "read bytes that do not lie behind each other");
        assert!(offset + buffer.len() <= entry.bytes, "read past the tensor");
        self.read_bytes(entry.file, entry.offset + offset as u64, buffer)
    }

    /// A whole tensor, converted to `dtype`, on `device`.
    pub fn tensor(&self, entry: &TensorEntry, dtype: DType, device: &Device) -> Result<Tensor> {
        let rows = entry.shape.first().copied().unwrap_or(1);
        self.rows(entry, 0, rows)?
            .to_device(device)
            .and_then(|tensor| tensor.to_dtype(dtype))
            .map_err(|e| Error::DeviceUnavailable {
                device: format!("{:?}", device.location()),
                reason: e.to_string(),
            })
    }

    /// Some of a tensor's rows, which are its slices along the first dimension, in the type that its entry names; those of
    /// packed matrices in 32 bits.
    pub fn rows(&self, entry: &TensorEntry, first: usize, count: usize) -> Result<Tensor> {
        match &entry.layout {
            Layout::Packed(packed) => {
                let read = |file, offset, bytes: &mut [u8]| self.read_bytes(file, offset, bytes);
                let numbers = packed.numbers(&read, first, count)?;
                return Tensor::from_vec(numbers, (count, entry.shape[1]), &Device::Cpu)
                    .map_err(|e| self.unreadable(entry.file, &e));
            }
            Layout::Rows { of, ranges } => {
                let (span, parts) = span_of(parts_of(ranges, first, count));
                let all = self.rows(of, span.start, span.len())?;
                let parts = parts
                    .into_iter()
                    .map(|part| all.narrow(0, part.start, part.len()));
                return parts
                    .collect::<candle_core::Result<Vec<_>>>()
                    .and_then(|parts| Tensor::cat(&parts, 0))
                    .map_err(|e| self.unreadable(entry.file, &e));
            }
            Layout::Merged(merged) => {
                let part = |entry: &TensorEntry, first, count| {
                    let rows = self.rows(entry, first, count)?.to_dtype(DType::F32);
                    rows.map_err(|e| self.unreadable(entry.file, &e))
                };
                let base = part(&merged.base, first, count)?;
                let up = part(&merged.up, first, count)?;
                let down = part(&merged.down, 0, merged.down.shape[0])?;
                return up
                    .matmul(&down)
                    .and_then(|product| product.affine(merged.scale, 0.0))
                    .and_then(|change| base + change)
                    .map_err(|e| self.unreadable(entry.file, &e));
            }
            Layout::Dense | Layout::Strided(_) => {}
        }
        match entry.dtype {
            DType::F16 => self.elements::<half::f16>(entry, first, count),
            DType::BF16 => self.elements::<half::bf16>(entry, first, count),
            DType::F64 => self.elements::<f64>(entry, first, count),
            _ => self.elements::<f32>(entry, first, count),
        }
    }

    /// Some of the rows of a packed matrix as blocks of its [`TensorEntry::block_type`], where those hold the same
    /// numbers.
    pub(super) fn rows_as_blocks(
        &self,
        entry: &TensorEntry,
        first: usize,
        count: usize,
    ) -> Result<Option<Vec<u8>>> {
        match &entry.layout {
            Layout::Packed(packed) => {
                let read = |file, offset, bytes: &mut [u8]| self.read_bytes(file, offset, bytes);
                packed.blocks(&read, first, count)
            }
            Layout::Rows { of, ranges } => {
                let (span, parts) = span_of(parts_of(ranges, first, count));
                let Some(all) = self.rows_as_blocks(of, span.start, span.len())? else {
                    return Ok(None);
                };
                let each = all.len() / span.len().max(1);
                let parts = parts
                    .into_iter()
                    .map(|part| &all[part.start * each..part.end * each]);
                Ok(Some(parts.collect::<Vec<_>>().concat()))
            }
            Layout::Dense | Layout::Strided(_) | Layout::Merged(_) => Ok(None),
        }
    }

    fn elements<T: WithDType + bytemuck::Pod>(
        &self,
        entry: &TensorEntry,
        first: usize,
        count: usize,
    ) -> Result<Tensor> {
        let mut shape = entry.shape.clone();
        if let Some(rows) = shape.first_mut() {
            *rows = count;
        }
        let row: usize = shape.iter().skip(1).product();
        let mut elements: Vec<T> = bytemuck::zeroed_vec(count * row);
        match entry.layout {
            // Only some of the bytes of the last row are there.
            Layout::Strided([row_stride, column_stride]) if !elements.is_empty() => {
                let last = (count - 1) * row_stride + (row - 1) * column_stride;
                let mut span = vec![0u8; last + size_of::<T>()];
                let start = entry.offset + (first * row_stride) as u64;
                self.read_bytes(entry.file, start, &mut span)?;
                for (index, element) in elements.iter_mut().enumerate() {
                    let at = index / row * row_stride + index % row * column_stride;
                    *element = bytemuck::pod_read_unaligned(&span[at..][..size_of::<T>()]);
                }
            }
            Layout::Dense => {
                let start = first * row * size_of::<T>();
                self.read_into(entry, start, bytemuck::cast_slice_mut(&mut elements))?;
            }
            _ => {}
        }
        Tensor::from_vec(elements, shape, &Device::Cpu).map_err(|e| self.unreadable(entry.file, &e))
    }

    /// Reads bytes of a file.
    pub(super) fn read_bytes(&self, file: usize, offset: u64, bytes: &mut [u8]) -> Result<()> {
        let (path, file) = &self.files[file];
        file.read_at(path, offset, bytes)
    }

    fn unreadable(&self, file: usize, error: &candle_core::Error) -> Error {
        Error::InvalidFile {
            file: files::name(&self.files[file].0),
            reason: error.to_string(),
        }
    }

    /// Takes a tensor out that other tensors are made of.
    pub(super) fn take(&mut self, name: &str) -> Option<TensorEntry> {
        self.tensors.remove(name)
    }

    /// Takes a tensor of bytes out that a packed tensor is made of.
    pub(super) fn take_bytes(&mut self, name: &str) -> Option<Stored> {
        match self.others.get(name) {
            Some(stored) if stored.dtype == "U8" => self.others.remove(name),
            _ => None,
        }
    }

    /// A tensor of a type that no weight has.
    pub(super) fn stored(&self, name: &str) -> Result<&Stored> {
        self.others.get(name).ok_or_else(|| {
            let got = match self.tensors.get(name) {
                Some(entry) => format!("{:?}", entry.dtype),
                None => "no such tensor".into(),
            };
            wrong_tensor(name, "a tensor of a packed matrix", got)
        })
    }

    /// Adds a tensor that is made of others.
    pub(super) fn put(&mut self, name: String, entry: TensorEntry) {
        self.tensors.insert(name, entry);
    }

    /// The names of all tensors that end so, without that end; those of types that no weight has, too.
    pub(super) fn stems(&self, end: &str) -> Vec<String> {
        let names = self.tensors.keys().chain(self.others.keys());
        names
            .filter_map(|name| name.strip_suffix(end).map(str::to_owned))
            .collect()
    }

    /// Names and descriptions in no particular order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &TensorEntry)> {
        self.tensors.iter().map(|(name, e)| (name.as_str(), e))
    }

    /// Bytes of all tensors together.
    pub fn byte_len(&self) -> u64 {
        self.tensors.values().map(|e| e.bytes as u64).sum()
    }
}

/// The same under other names.
fn renamed<T>(
    tensors: HashMap<String, T>,
    rename: impl Fn(&str) -> String,
) -> Result<HashMap<String, T>> {
    let mut all = HashMap::new();
    for (name, tensor) in tensors {
        let new = rename(&name);
        if all.contains_key(&new) {
            let got = format!("{name}, and another");
            return Err(wrong_tensor(new, "one of the names that it goes by", got));
        }
        all.insert(new, tensor);
    }
    Ok(all)
}

/// The types that weights come in. Others (integers of packed quantizations, float8 with scales
/// beside it) mean a format that would have to be understood as a whole.
fn candle_dtype(dtype: Dtype) -> Option<DType> {
    match dtype {
        Dtype::F16 => Some(DType::F16),
        Dtype::BF16 => Some(DType::BF16),
        Dtype::F32 => Some(DType::F32),
        Dtype::F64 => Some(DType::F64),
        _ => None,
    }
}

/// Parses the JSON header, refusing a name that occurs twice (which a map would swallow).
fn parse_header(header: &[u8]) -> serde_json::Result<Vec<(String, TensorInfo)>> {
    struct Entries;
    impl<'de> Visitor<'de> for Entries {
        type Value = Vec<(String, TensorInfo)>;
        fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
            f.write_str("an object of tensors")
        }
        fn visit_map<A: MapAccess<'de>>(
            self,
            mut map: A,
        ) -> std::result::Result<Self::Value, A::Error> {
            let mut entries = Vec::new();
            while let Some(name) = map.next_key::<String>()? {
                if name == "__metadata__" {
                    map.next_value::<serde::de::IgnoredAny>()?;
                } else {
                    entries.push((name, map.next_value()?));
                }
            }
            Ok(entries)
        }
    }
    let mut json = serde_json::Deserializer::from_slice(header);
    let entries = json.deserialize_map(Entries)?;
    json.end()?;
    Ok(entries)
}
