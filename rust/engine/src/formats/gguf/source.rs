//! A file's tensors for the `fused` engine.

use std::ops::Range;
use std::sync::Arc;

use candle_core::{DType, Device, Tensor};

use super::file::{GgufFile, GgufTensor, Place, Slice};
use super::lazy_rows::GgufRows;
use super::loaded_view::LoadedView;
use crate::architectures::gguf::{GgufArchitecture, GgufRotation};
use crate::description::ModelDescription;
use crate::error::Result;
use crate::formats::{
    BlockType, Kernels, LazyRows, Matrix, ReadRows, StoredRows, TensorSource, kept_type,
    quantized_matrix, unreadable,
};

/// The tensors of a file, each in the type that it gets in memory.
pub(crate) struct GgufSource<'a> {
    file: &'a Arc<GgufFile>,
    view: LoadedView<'a>,
    /// The decoder whose tensors are asked for by their names on the Hub; by those of the file where there is none.
    decoder: Option<(&'a ModelDescription, &'static GgufArchitecture)>,
    device: &'a Device,
}

impl<'a> GgufSource<'a> {
    pub(super) fn new(
        file: &'a Arc<GgufFile>,
        architecture: Option<&'static GgufArchitecture>,
        description: &'a ModelDescription,
        device: &'a Device,
    ) -> Self {
        Self {
            file,
            view: LoadedView::new(file, device, Kernels::Packed),
            decoder: architecture.map(|architecture| (description, architecture)),
            device,
        }
    }

    /// The tensors by the names that they have in the file.
    pub(super) fn plain(file: &'a Arc<GgufFile>, device: &'a Device) -> Self {
        Self {
            file,
            view: LoadedView::new(file, device, Kernels::Packed),
            decoder: None,
            device,
        }
    }

    /// Where a tensor lies.
    fn place(&self, name: &str) -> Place {
        match self.decoder {
            Some((description, _)) => self.file.place(name, description),
            None => Place::whole(name.to_owned()),
        }
    }

    /// How many heads of which width a tensor has whose rows the file permutes, if it does.
    fn permuted_heads(&self, name: &str) -> Option<(usize, usize)> {
        let (description, architecture) = self.decoder?;
        match architecture.rotation {
            GgufRotation::Permuted => rotated_heads(description, name),
            _ => None,
        }
    }

    /// The rows of a matrix where the CPU multiplies them as they are.
    fn stored(&self, name: &str) -> Result<Option<StoredRows>> {
        let place = self.place(name);
        let placed = self.view.placed(&place.tensor)?;
        let tensor = self.file.tensor(&place.tensor)?;
        let heads = self.permuted_heads(name);
        let dtype = placed.dtype();
        let has_kernels = dtype.float_type().is_some() || dtype.has_kernels(self.device);
        let &[ref outer @ .., columns] = placed.shape() else {
            return Ok(None);
        };
        if outer.is_empty()
            || dtype != tensor.dtype
            || !has_kernels
            || !self.device.is_cpu()
            || (heads.is_some() && place.part.is_some())
        {
            return Ok(None);
        }
        let rows = outer.iter().product();
        let reader = Arc::new(StoredTensor {
            file: self.file.clone(),
            tensor: tensor.clone(),
            heads,
        });
        let all = StoredRows::new(reader, dtype, (rows, columns));
        let parts: Vec<_> = selected(place.part, rows, outer[0])
            .into_iter()
            .map(|rows| all.slice(rows))
            .collect();
        Ok(StoredRows::stack(&parts.iter().collect::<Vec<_>>()))
    }

    /// The rows of a tensor, in the order that the decoder wants.
    fn load(&self, name: &str) -> Result<Loaded> {
        let place = self.place(name);
        let placed = self.view.placed(&place.tensor)?;
        let shape = placed.shape();
        let columns = shape.last().copied().unwrap_or(1);
        let rows: usize = shape.iter().product::<usize>() / columns;
        // Those of a vector, such as a bias, are columns in the file.
        if let (Some(Slice::Rows { rows, .. }), [_]) = (&place.part, shape) {
            let read = self.view.whole(placed);
            let bytes = read.map_err(|e| unreadable(&place.tensor, &e))?;
            let each = bytes.len() / columns;
            let parts = rows
                .iter()
                .map(|rows| &bytes[rows.start * each..rows.end * each]);
            return Ok(Loaded {
                bytes: parts.collect::<Vec<_>>().concat(),
                dtype: placed.dtype(),
                shape: (1, rows.iter().map(ExactSizeIterator::len).sum()),
            });
        }
        let selected = selected(place.part, rows, shape.first().copied().unwrap_or(1));
        let rows = selected.iter().map(ExactSizeIterator::len).sum();
        let mut parts = selected
            .into_iter()
            .map(|rows| self.view.rows(placed, rows.start, rows.len()))
            .collect::<std::io::Result<Vec<_>>>()
            .map_err(|e| unreadable(&place.tensor, &e))?;
        let mut bytes = match parts.as_mut_slice() {
            [one] => std::mem::take(one),
            several => several.concat(),
        };
        if let Some((heads, head_dim)) = self.permuted_heads(name) {
            bytes = unpermute_rope(&bytes, heads, head_dim);
        }
        Ok(Loaded {
            bytes,
            dtype: placed.dtype(),
            shape: (rows, columns),
        })
    }
}

/// Which of a tensor's rows a part of it is; `outer` is the tensor's first dimension.
fn selected(part: Option<Slice>, rows: usize, outer: usize) -> Vec<Range<usize>> {
    let together = match part {
        None => 0..rows,
        Some(Slice::Expert { number, half }) => {
            let each = rows / outer;
            let count = if half.is_some() { each / 2 } else { each };
            let first = number * each + half.unwrap_or(0) * count;
            first..first + count
        }
        Some(Slice::Rows { rows, .. }) => return rows,
    };
    std::iter::once(together).collect()
}

/// Number and width of the heads of a projection to queries or keys.
fn rotated_heads(description: &ModelDescription, name: &str) -> Option<(usize, usize)> {
    let (index, part) = name.strip_prefix("model.layers.")?.split_once('.')?;
    let layer = description.layers.get(index.parse::<usize>().ok()?)?;
    let attention = layer.attention()?;
    let heads = match part.strip_prefix("self_attn.")?.get(..6)? {
        "q_proj" => attention.num_heads,
        "k_proj" => attention.num_kv_heads,
        _ => return None,
    };
    Some((heads, attention.head_dim))
}

/// A tensor whose type stays.
struct StoredTensor {
    file: Arc<GgufFile>,
    tensor: GgufTensor,
    /// Number and width of the heads whose rows the file permutes for interleaved rotary embedding.
    heads: Option<(usize, usize)>,
}

impl ReadRows for StoredTensor {
    fn read(&self, first: usize, bytes: &mut [u8]) -> Result<()> {
        let columns = self.tensor.shape.last().copied().unwrap_or(1);
        let row = columns / self.tensor.dtype.block_size() * self.tensor.dtype.type_size();
        let Some((_, head_dim)) = self.heads else {
            return self.file.read(&self.tensor, (first * row) as u64, bytes);
        };
        for (index, bytes) in bytes.chunks_exact_mut(row).enumerate() {
            let place = unpermuted(first + index, head_dim) * row;
            self.file.read(&self.tensor, place as u64, bytes)?;
        }
        Ok(())
    }
}

/// Where the file has a row of heads whose rows it permutes: of each head, the even ones come first here.
fn unpermuted(row: usize, head_dim: usize) -> usize {
    let (head, place) = (row / head_dim, row % head_dim);
    let half = head_dim / 2;
    head * head_dim + 2 * (place % half) + place / half
}

struct Loaded {
    bytes: Vec<u8>,
    dtype: BlockType,
    shape: (usize, usize),
}

impl Loaded {
    fn matrix(self, device: &Device) -> candle_core::Result<Matrix> {
        let Some(stored) = self.dtype.float_type() else {
            return quantized_matrix(self.dtype, self.bytes, self.shape, device);
        };
        let (rows, columns) = self.shape;
        Tensor::from_raw_buffer(&self.bytes, stored, &[rows, columns], device)?
            .to_dtype(kept_type(stored, DType::F32, device))
            .map(Matrix::Dense)
    }
}

impl TensorSource for GgufSource<'_> {
    fn matrix(&self, name: &str, _: (usize, usize)) -> Result<Matrix> {
        if let Some(stored) = self.stored(name)? {
            return Ok(Matrix::Stored(stored));
        }
        self.load(name)?
            .matrix(self.device)
            .map_err(|e| unreadable(name, &e))
    }

    fn table(&self, name: &str, _: (usize, usize)) -> Result<Vec<f32>> {
        let loaded = self.load(name)?;
        let numbers = loaded.matrix(&Device::Cpu).and_then(|matrix| {
            matrix
                .dense()?
                .to_dtype(DType::F32)?
                .flatten_all()?
                .to_vec1()
        });
        numbers.map_err(|e| unreadable(name, &e))
    }

    fn lazy_rows(&self, name: &str, _: (usize, usize)) -> Result<Box<dyn LazyRows>> {
        let place = self.place(name);
        Ok(Box::new(GgufRows {
            file: self.file.clone(),
            tensor: self.file.tensor(&place.tensor)?.clone(),
        }))
    }

    fn vector(&self, name: &str, _: usize) -> Result<Tensor> {
        let loaded = self.load(name)?;
        let floats = quantized_matrix(
            loaded.dtype,
            loaded.bytes,
            (1, loaded.shape.0 * loaded.shape.1),
            self.device,
        );
        floats
            .and_then(|matrix| matrix.dense()?.flatten_all())
            .map_err(|e| unreadable(name, &e))
    }

    fn dtype(&self) -> DType {
        DType::F32
    }

    fn quantized(&self) -> bool {
        self.view.prevailing_type().block_size() > 1
    }

    fn device(&self) -> &Device {
        self.device
    }
}

/// Undoes the permutation of query and key rows for interleaved rotary embedding: of each head, the even rows
/// come before the odd ones.
fn unpermute_rope(bytes: &[u8], heads: usize, head_dim: usize) -> Vec<u8> {
    let rows = heads * head_dim;
    let row_bytes = bytes.len() / rows;
    let sorted = (0..rows).map(|row| &bytes[unpermuted(row, head_dim) * row_bytes..][..row_bytes]);
    sorted.collect::<Vec<_>>().concat()
}

#[cfg(test)]
mod tests {
    use super::{unpermute_rope, unpermuted};

    #[test]
    fn interleaved_rows_become_halves() {
        // Two heads of four dimensions, rows of one byte.
        let stored = [0, 2, 1, 3, 10, 12, 11, 13];
        let sorted = [0, 1, 2, 3, 10, 11, 12, 13];
        assert_eq!(unpermute_rope(&stored, 2, 4), sorted);
        assert_eq!(
            std::array::from_fn(|row| stored[unpermuted(row, 4)]),
            sorted
        );
    }
}
