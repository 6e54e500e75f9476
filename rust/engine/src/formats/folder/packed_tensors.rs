//! Which tensors belong together as one packed matrix.

use candle_core::DType;

use super::checkpoint_tensors::{CheckpointTensors, Stored};
use super::packed::float8::{Float8, Kind, Scales};
use super::packed::integers::{Integers, Order, Zeros};
use super::packed::method::{GroupSize, Groups, Method};
use super::packed::{Bytes, Packed};
use super::tensor_entry::{TensorEntry, wrong_tensor};
use crate::error::Result;

impl CheckpointTensors {
    /// Gives packed matrices the names that they have in 16 bits.
    ///
    /// # Errors
    /// [`Error::InvalidTensor`](crate::error::Error::InvalidTensor) for tensors that do not fit each other, and
    /// [`Error::Io`](crate::error::Error::Io).
    pub(super) fn unpack(&mut self, method: Option<Method>) -> Result<()> {
        match method {
            None | Some(Method::Mxfp4) => Ok(()),
            Some(Method::Awq(groups)) => {
                self.each(".qweight", |tensors, name| tensors.awq(name, groups))
            }
            Some(Method::Gptq {
                bits,
                has_zeros,
                groups,
            }) => self.each(".qweight", |tensors, name| {
                tensors.gptq(name, bits, has_zeros, groups)
            }),
            Some(Method::Fp8(block)) => self.each(".weight_scale_inv", |tensors, name| {
                tensors.float8(name, "weight_scale_inv", block)
            }),
            Some(Method::CompressedTensors {
                block,
                bits,
                has_zeros,
                groups,
            }) => {
                self.each(".weight_packed", |tensors, name| {
                    tensors.packed_rows(name, bits, has_zeros, groups)
                })?;
                self.each(".weight_scale", |tensors, name| {
                    match tensors.stored(&format!("{name}.weight"))?.dtype.as_str() {
                        "I8" => tensors.bytes(name, has_zeros, groups),
                        _ => tensors.float8(name, "weight_scale", block),
                    }
                })
            }
        }
    }

    /// Does this for all matrices that have a tensor with such an end, by the beginning of their names.
    fn each(
        &mut self,
        end: &str,
        packed: impl Fn(&CheckpointTensors, &str) -> Result<([usize; 2], Packed)>,
    ) -> Result<()> {
        let mut names = self.stems(end);
        // So that of several that are wrong, always the same one is named.
        names.sort();
        for name in names {
            // Unpacked already.
            if self.get(&format!("{name}.weight")).is_some() {
                continue;
            }
            let (shape, packed) = packed(self, &name)?;
            let dtype = match packed {
                Packed::Mxfp4(_) => DType::BF16,
                // Of the numbers of 16 bits, those with the longer fraction; weights do not need the greater range.
                Packed::Integers(_) | Packed::Float8(_) => DType::F16,
            };
            let entry = TensorEntry::packed(shape, dtype, packed);
            self.put(format!("{name}.weight"), entry);
        }
        Ok(())
    }

    fn awq(&self, name: &str, said: Groups) -> Result<([usize; 2], Packed)> {
        let at = |part: &str| format!("{name}.{part}");
        let words = self.words(&at("qweight"))?;
        let [columns, in_row] = words.shape;
        let rows = in_row * 8;
        let (groups, scales) = self.scales_by_group(&at("scales"), rows)?;
        let group_size = size_of_groups(&at("scales"), said, columns, groups)?;
        let zeros = self.words(&at("qzeros"))?;
        zeros.expect(&at("qzeros"), [groups, in_row])?;
        let integers = Integers {
            numbers: words.bytes,
            order: Order::Awq,
            bits: 4,
            rows,
            columns,
            groups,
            group_size,
            group_of_column: None,
            scales,
            zeros: Zeros::Stored {
                bytes: zeros.bytes,
                plus: 0,
            },
        };
        Ok(([rows, columns], Packed::Integers(integers)))
    }

    fn gptq(
        &self,
        name: &str,
        bits: u32,
        has_zeros: bool,
        said: Groups,
    ) -> Result<([usize; 2], Packed)> {
        let at = |part: &str| format!("{name}.{part}");
        let per_word = (32 / bits) as usize;
        let words = self.words(&at("qweight"))?;
        let [in_column, rows] = words.shape;
        let columns = in_column * per_word;
        let (groups, scales) = self.scales_by_group(&at("scales"), rows)?;
        let zeros = self.words(&at("qzeros"))?;
        zeros.expect(&at("qzeros"), [groups, rows.div_ceil(per_word)])?;
        let names = [at("g_idx"), at("scales")];
        let (group_size, group_of_column) = self.groups_of(&names, said, columns, groups)?;
        let integers = Integers {
            numbers: words.bytes,
            order: Order::Gptq,
            bits,
            rows,
            columns,
            groups,
            group_size,
            group_of_column,
            scales,
            zeros: Zeros::Stored {
                bytes: zeros.bytes,
                plus: u32::from(!has_zeros),
            },
        };
        Ok(([rows, columns], Packed::Integers(integers)))
    }

    /// Words of compressed-tensors.
    fn packed_rows(
        &self,
        name: &str,
        said_bits: Option<u32>,
        has_zeros: bool,
        said: Groups,
    ) -> Result<([usize; 2], Packed)> {
        let at = |part: &str| format!("{name}.{part}");
        let words = self.words(&at("weight_packed"))?;
        let (rows, columns) = self.weight_shape(&at("weight_shape"))?;
        // Of so many bits that the columns fill the words.
        let bits = [2, 4, 8]
            .into_iter()
            .filter(|bits| said_bits.is_none_or(|said| said as usize == *bits))
            .find(|bits| words.shape == [rows, columns.div_ceil(32 / bits)]);
        let Some(bits) = bits else {
            return Err(wrong_tensor(
                at("weight_packed"),
                format!(
                    "words of {rows} × {columns} numbers of {}",
                    said_bits.map_or("2, 4 or 8 bits".into(), |bits| format!("{bits} bits"))
                ),
                format!("shape {:?}", words.shape),
            ));
        };
        let (groups, scales) = self.scales_by_row(&at("weight_scale"), rows)?;
        let zeros = match self.zeros(&at("weight_zero_point"), has_zeros)? {
            None => Zeros::All(1 << (bits - 1)),
            Some(_) => {
                let zeros = self.words(&at("weight_zero_point"))?;
                zeros.expect(&at("weight_zero_point"), [rows.div_ceil(32 / bits), groups])?;
                Zeros::Stored {
                    bytes: zeros.bytes,
                    plus: 0,
                }
            }
        };
        let names = [at("weight_g_idx"), at("weight_scale")];
        let (group_size, group_of_column) = self.groups_of(&names, said, columns, groups)?;
        let integers = Integers {
            numbers: words.bytes,
            order: Order::Rows,
            bits: bits as u32,
            rows,
            columns,
            groups,
            group_size,
            group_of_column,
            scales,
            zeros,
        };
        Ok(([rows, columns], Packed::Integers(integers)))
    }

    /// Bytes of compressed-tensors.
    fn bytes(&self, name: &str, has_zeros: bool, said: Groups) -> Result<([usize; 2], Packed)> {
        let at = |part: &str| format!("{name}.{part}");
        let numbers = self.matrix(&at("weight"), &["I8"])?;
        let [rows, columns] = numbers.shape;
        let (groups, scales) = self.scales_by_row(&at("weight_scale"), rows)?;
        let group_size = size_of_groups(&at("weight_scale"), said, columns, groups)?;
        let zeros = match self.zeros(&at("weight_zero_point"), has_zeros)? {
            None => Zeros::All(0),
            Some(zeros) if zeros.dtype == "I8" && zeros.bytes.len == rows * groups => {
                Zeros::Stored {
                    bytes: zeros.bytes,
                    plus: 0,
                }
            }
            Some(zeros) => {
                return Err(wrong_tensor(
                    at("weight_zero_point"),
                    format!("a byte for each of {rows} rows and {groups} groups"),
                    format!("{} of shape {:?}", zeros.dtype, zeros.shape),
                ));
            }
        };
        let integers = Integers {
            numbers: numbers.bytes,
            order: Order::Bytes,
            bits: 8,
            rows,
            columns,
            groups,
            group_size,
            group_of_column: None,
            scales,
            zeros,
        };
        Ok(([rows, columns], Packed::Integers(integers)))
    }

    fn float8(&self, name: &str, scale: &str, block: [usize; 2]) -> Result<([usize; 2], Packed)> {
        let at = |part: &str| format!("{name}.{part}");
        let numbers = self.matrix(&at("weight"), &["F8_E4M3", "F8_E5M2"])?;
        let kind = match numbers.dtype.as_str() {
            "F8_E4M3" => Kind::E4m3,
            _ => Kind::E5m2,
        };
        let [rows, columns] = numbers.shape;
        if self.zeros(&at("weight_zero_point"), false)?.is_some() {
            return Err(wrong_tensor(
                at("weight_zero_point"),
                "no zero points of floating point numbers",
                "some",
            ));
        }
        let (scales, shape) = self.scales(&at(scale))?;
        let blocks = [rows.div_ceil(block[0]), columns.div_ceil(block[1])];
        let block = match shape.as_slice() {
            [] | [1] | [1, 1] => [rows, columns],
            [all] | [all, 1] if *all == rows => [1, columns],
            shape if shape == blocks => block,
            shape => {
                return Err(wrong_tensor(
                    at(scale),
                    format!("one scale, {rows} of them or {blocks:?}"),
                    format!("shape {shape:?}"),
                ));
            }
        };
        let float8 = Float8 {
            kind,
            numbers: numbers.bytes,
            columns,
            block,
            scales,
        };
        Ok(([rows, columns], Packed::Float8(float8)))
    }

    /// The rows and columns that a matrix had.
    fn weight_shape(&self, name: &str) -> Result<(usize, usize)> {
        let stored = self.stored(name)?;
        let wrong = || wrong_tensor(name, "two whole numbers", format!("{:?}", stored.shape));
        let width = match (stored.dtype.as_str(), stored.bytes.len) {
            ("I64", 16) => 8,
            ("I32", 8) => 4,
            _ => return Err(wrong()),
        };
        let mut bytes = vec![0; stored.bytes.len];
        self.read_bytes(stored.bytes.file, stored.bytes.offset, &mut bytes)?;
        let sizes: Vec<usize> = bytes
            .chunks_exact(width)
            .map(|size| {
                let bytes = size.iter().rev();
                bytes.fold(0, |all, byte| all << 8 | usize::from(*byte))
            })
            .collect();
        match sizes[..] {
            [rows, columns]
                if [rows, columns]
                    .iter()
                    .all(|size| (1..1 << 32).contains(size)) =>
            {
                Ok((rows, columns))
            }
            _ => Err(wrong()),
        }
    }

    /// A tensor of zero points, if there is one.
    fn zeros(&self, name: &str, is_needed: bool) -> Result<Option<&Stored>> {
        match self.has(name) || is_needed {
            true => self.stored(name).map(Some),
            false => Ok(None),
        }
    }

    /// Whether there is a tensor of that name, of any type.
    fn has(&self, name: &str) -> bool {
        self.get(name).is_some() || self.stored(name).is_ok()
    }

    /// How many columns behind each other are a group, or the tensor that says the group of each where they are in another
    /// order. `index` may say it; the number of `groups` comes from `scales`.
    fn groups_of(
        &self,
        [index, scales]: &[String; 2],
        said: Groups,
        columns: usize,
        groups: usize,
    ) -> Result<(usize, Option<Bytes>)> {
        if !self.has(index) && !said.is_told {
            return Ok((size_of_groups(scales, said, columns, groups)?, None));
        }
        let stored = self.stored(index)?;
        if stored.dtype != "I32" || stored.shape != [columns] {
            return Err(wrong_tensor(
                index,
                format!("a whole number for each of {columns} columns"),
                format!("{} of shape {:?}", stored.dtype, stored.shape),
            ));
        }
        let read = |file, offset, bytes: &mut [u8]| self.read_bytes(file, offset, bytes);
        let of_column = stored.bytes.words(&read)?;
        if let Some(group) = of_column.iter().find(|group| **group as usize >= groups) {
            let expected = format!("groups below {groups}");
            return Err(wrong_tensor(index, expected, group.to_string()));
        }
        let size = columns / groups;
        let in_order = |(column, group): (usize, &u32)| *group as usize == column / size;
        Ok(
            match columns.is_multiple_of(groups) && of_column.iter().enumerate().all(in_order) {
                true => (size, None),
                false => (columns, Some(stored.bytes)),
            },
        )
    }

    /// Scales by group and row, and how many groups there are.
    fn scales_by_group(&self, name: &str, rows: usize) -> Result<(usize, Scales)> {
        let (scales, shape) = self.scales(name)?;
        match shape[..] {
            [groups, own] if own == rows && groups > 0 => Ok((groups, scales)),
            _ => Err(wrong_tensor(
                name,
                format!("{rows} for each group of columns"),
                format!("shape {shape:?}"),
            )),
        }
    }

    /// Scales by row and group, and how many groups there are.
    fn scales_by_row(&self, name: &str, rows: usize) -> Result<(usize, Scales)> {
        let (scales, shape) = self.scales(name)?;
        match shape[..] {
            [own, groups] if own == rows && groups > 0 => Ok((groups, scales)),
            [own] if own == rows => Ok((1, scales)),
            _ => Err(wrong_tensor(
                name,
                format!("for each of {rows} rows one for each group of columns"),
                format!("shape {shape:?}"),
            )),
        }
    }

    /// Scales and their shape.
    fn scales(&self, name: &str) -> Result<(Scales, Vec<usize>)> {
        let entry = self
            .get(name)
            .ok_or_else(|| wrong_tensor(name, "scales of a packed matrix", "no such tensor"))?;
        let dtype = entry.dtype;
        if dtype == DType::F64 {
            return Err(wrong_tensor(
                name,
                "scales in 16 or 32 bits",
                format!("{dtype:?}"),
            ));
        }
        let bytes = Bytes {
            file: entry.file,
            offset: entry.offset,
            len: entry.byte_len(),
        };
        Ok((Scales { bytes, dtype }, entry.shape.clone()))
    }

    /// A matrix of words of 32 bits.
    fn words(&self, name: &str) -> Result<Matrix> {
        self.matrix(name, &["I32"])
    }

    /// A matrix of one of these types.
    fn matrix(&self, name: &str, dtypes: &[&str]) -> Result<Matrix> {
        let Stored {
            dtype,
            shape,
            bytes,
        } = self.stored(name)?;
        match shape[..] {
            [rows, columns] if rows > 0 && columns > 0 && dtypes.contains(&dtype.as_str()) => {
                Ok(Matrix {
                    dtype: dtype.clone(),
                    shape: [rows, columns],
                    bytes: *bytes,
                })
            }
            _ => Err(wrong_tensor(
                name,
                format!("a matrix of {}", dtypes.join(" or ")),
                format!("{dtype} of shape {shape:?}"),
            )),
        }
    }
}

/// How many columns behind each other are a group.
fn size_of_groups(name: &str, said: Groups, columns: usize, groups: usize) -> Result<usize> {
    let size = match said.size {
        GroupSize::All => columns,
        GroupSize::Columns(size) => size.min(columns),
        GroupSize::Unknown if columns.is_multiple_of(groups) => columns / groups,
        GroupSize::Unknown => 0,
    };
    match size > 0 && columns.div_ceil(size) == groups {
        true => Ok(size),
        false => Err(wrong_tensor(
            name,
            match size {
                0 => format!("scales of groups that {columns} columns fall into"),
                size => format!("scales of groups of {size} of {columns} columns"),
            },
            format!("those of {groups}"),
        )),
    }
}

/// A matrix of a type that no weight has by itself.
struct Matrix {
    dtype: String,
    shape: [usize; 2],
    bytes: Bytes,
}

impl Matrix {
    fn expect(&self, name: &str, shape: [usize; 2]) -> Result<()> {
        match self.shape == shape {
            true => Ok(()),
            false => Err(wrong_tensor(
                name,
                format!("shape {shape:?}"),
                format!("shape {:?}", self.shape),
            )),
        }
    }
}
