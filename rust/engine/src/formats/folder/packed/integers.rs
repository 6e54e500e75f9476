//! Weights as whole numbers of 2 to 8 bits, groups of columns with a scale and maybe a zero point: AWQ (Lin et al. 2023), GPTQ
//! (Frantar et al. 2022) and compressed-tensors.

use super::float8::Scales;
use super::{BLOCK, Bytes, ReadBytes, exact_scale};
use crate::error::Result;

/// A matrix of whole numbers. Every number is `(n − zero) · scale`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::formats::folder) struct Integers {
    pub(in crate::formats::folder) numbers: Bytes,
    pub(in crate::formats::folder) order: Order,
    pub(in crate::formats::folder) bits: u32,
    pub(in crate::formats::folder) rows: usize,
    pub(in crate::formats::folder) columns: usize,
    /// How many groups the columns fall into: as many as `group_size` behind each other into one, unless
    /// `group_of_column` says it.
    pub(in crate::formats::folder) groups: usize,
    pub(in crate::formats::folder) group_size: usize,
    pub(in crate::formats::folder) group_of_column: Option<Bytes>,
    pub(in crate::formats::folder) scales: Scales,
    pub(in crate::formats::folder) zeros: Zeros,
}

/// Where the number of a row and column lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::formats::folder) enum Order {
    /// Words of 32 bits, transposed: each has eight rows of a column in turn, and scales and zero points are by group and
    /// then by row.
    Awq,
    /// Words of 32 bits: each has columns behind each other of one row, and the words of all rows for the same columns lie
    /// behind each other; so do scales, and zero points, which words have of rows behind each other.
    Gptq,
    /// Words of 32 bits: each has columns behind each other of one row; zero points have rows so. Scales are by row.
    Rows,
    /// A signed byte each, and so zero points. Scales are by row.
    Bytes,
}

/// The numbers that stand for zero.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::formats::folder) enum Zeros {
    /// One for all.
    All(i32),
    /// One a group and row, to which so much is added.
    Stored { bytes: Bytes, plus: u32 },
}

/// Of the eight rows in a word of AWQ, which bits each has, in fours.
const AWQ_PLACES: [usize; 8] = [0, 4, 1, 5, 2, 6, 3, 7];

/// Zero points as they are read.
enum ZeroPoints {
    All(i32),
    /// In the order of scales.
    Each(Vec<i32>),
}

/// Some rows, unpacked.
struct Unpacked {
    /// Without zero points, row by row.
    numbers: Vec<i32>,
    /// By row and group.
    scales: Vec<f32>,
    group_of_column: Vec<usize>,
}

impl Integers {
    /// Whether blocks of Q8_0 hold the same numbers, as far as can be told without reading them.
    pub(super) fn fits_q8_0(&self) -> bool {
        self.group_of_column.is_none()
            && self.columns.is_multiple_of(BLOCK)
            && (self.group_size.is_multiple_of(BLOCK) || self.groups == 1)
    }

    pub(super) fn numbers(
        &self,
        read: ReadBytes<'_>,
        first: usize,
        count: usize,
    ) -> Result<Vec<f32>> {
        let unpacked = self.unpack(read, first, count)?;
        let mut numbers = Vec::with_capacity(unpacked.numbers.len());
        let rows = unpacked.numbers.chunks_exact(self.columns);
        for (row, scales) in rows.zip(unpacked.scales.chunks_exact(self.groups)) {
            let scaled = row.iter().zip(&unpacked.group_of_column);
            numbers.extend(scaled.map(|(number, group)| *number as f32 * scales[*group]));
        }
        Ok(numbers)
    }

    /// Some of the rows as blocks of Q8_0, where scales are numbers of 16 bits, and whole numbers of 8.
    pub(super) fn q8_0(
        &self,
        read: ReadBytes<'_>,
        first: usize,
        count: usize,
    ) -> Result<Option<Vec<u8>>> {
        if !self.fits_q8_0() {
            return Ok(None);
        }
        let unpacked = self.unpack(read, first, count)?;
        let Some(scales) = unpacked
            .scales
            .iter()
            .map(|scale| exact_scale(*scale))
            .collect::<Option<Vec<_>>>()
        else {
            return Ok(None);
        };
        let mut blocks = Vec::with_capacity(unpacked.numbers.len() / BLOCK * (BLOCK + 2));
        let rows = unpacked.numbers.chunks_exact(self.columns);
        for (row, scales) in rows.zip(scales.chunks_exact(self.groups)) {
            for (index, block) in row.chunks_exact(BLOCK).enumerate() {
                let group = unpacked.group_of_column[index * BLOCK];
                blocks.extend_from_slice(&scales[group].to_le_bytes());
                for number in block {
                    let Ok(byte) = i8::try_from(*number) else {
                        return Ok(None);
                    };
                    blocks.push(byte as u8);
                }
            }
        }
        Ok(Some(blocks))
    }

    fn unpack(&self, read: ReadBytes<'_>, first: usize, count: usize) -> Result<Unpacked> {
        let scales = self.scales.read(read)?;
        let by_group = matches!(self.order, Order::Awq | Order::Gptq);
        let place = |row: usize, group: usize| match by_group {
            true => group * self.rows + row,
            false => row * self.groups + group,
        };
        let group_of_column: Vec<usize> = match self.group_of_column {
            Some(bytes) => {
                let groups = bytes.words(read)?.into_iter();
                groups
                    .map(|group| (group as usize).min(self.groups - 1))
                    .collect()
            }
            None => {
                let group = |column| column / self.group_size;
                (0..self.columns).map(group).collect()
            }
        };
        let rows = first..first + count;
        let zeros = self.zero_points(read)?;
        let mut numbers = self.stored(read, first, count)?;
        for (row, numbers) in rows.clone().zip(numbers.chunks_exact_mut(self.columns)) {
            for (number, group) in numbers.iter_mut().zip(&group_of_column) {
                *number -= match &zeros {
                    ZeroPoints::All(zero) => *zero,
                    ZeroPoints::Each(zeros) => zeros[place(row, *group)],
                };
            }
        }
        let scales = rows
            .flat_map(|row| (0..self.groups).map(move |group| (row, group)))
            .map(|(row, group)| scales[place(row, group)])
            .collect();
        Ok(Unpacked {
            numbers,
            scales,
            group_of_column,
        })
    }

    /// How many numbers a word has.
    fn per_word(&self) -> usize {
        (32 / self.bits) as usize
    }

    /// The number at a place of a word, to which so much is added, without carry.
    fn in_word(&self, word: u32, place: usize, plus: u32) -> i32 {
        let mask = u32::MAX >> (32 - self.bits);
        ((word >> (place as u32 * self.bits)).wrapping_add(plus) & mask) as i32
    }

    /// The numbers of rows as they are stored.
    fn stored(&self, read: ReadBytes<'_>, first: usize, count: usize) -> Result<Vec<i32>> {
        let per_word = self.per_word();
        let number = |word, place| self.in_word(word, place, 0);
        let columns = self.columns;
        let rows = first..first + count;
        if self.order == Order::Bytes {
            let bytes = self.numbers.part(read, first * columns, count * columns)?;
            return Ok(bytes
                .into_iter()
                .map(|byte| i32::from(byte as i8))
                .collect());
        }
        if self.order == Order::Rows {
            let in_row = columns.div_ceil(per_word);
            let part = Bytes {
                offset: self.numbers.offset + (first * in_row * 4) as u64,
                len: count * in_row * 4,
                ..self.numbers
            };
            let words = part.words(read)?;
            let of_row = |words: &[u32]| {
                (0..columns)
                    .map(|column| number(words[column / per_word], column % per_word))
                    .collect::<Vec<_>>()
            };
            return Ok(words.chunks_exact(in_row).flat_map(of_row).collect());
        }
        let words = self.numbers.words(read)?;
        let mut numbers = Vec::with_capacity(count * columns);
        for row in rows {
            numbers.extend((0..columns).map(|column| match self.order {
                Order::Awq => {
                    let word = words[column * (self.rows / per_word) + row / per_word];
                    number(word, AWQ_PLACES[row % per_word])
                }
                _ => {
                    let word = words[column / per_word * self.rows + row];
                    number(word, column % per_word)
                }
            }));
        }
        Ok(numbers)
    }

    fn zero_points(&self, read: ReadBytes<'_>) -> Result<ZeroPoints> {
        let (bytes, plus) = match &self.zeros {
            Zeros::All(zero) => return Ok(ZeroPoints::All(*zero)),
            Zeros::Stored { bytes, plus } => (bytes, plus),
        };
        if self.order == Order::Bytes {
            let bytes = bytes.read(read)?.into_iter();
            let zeros = bytes.map(|byte| i32::from(byte as i8));
            return Ok(ZeroPoints::Each(zeros.collect()));
        }
        let words = bytes.words(read)?;
        let per_word = self.per_word();
        let number = |word, place| self.in_word(word, place, *plus);
        let (rows, groups) = (self.rows, self.groups);
        let zeros = match self.order {
            Order::Awq | Order::Gptq => (0..groups * rows)
                .map(|index| {
                    let (group, row) = (index / rows, index % rows);
                    let word = words[group * rows.div_ceil(per_word) + row / per_word];
                    let place = match self.order {
                        Order::Awq => AWQ_PLACES[row % per_word],
                        _ => row % per_word,
                    };
                    number(word, place)
                })
                .collect(),
            _ => (0..rows * groups)
                .map(|index| {
                    let (row, group) = (index / groups, index % groups);
                    number(words[row / per_word * groups + group], row % per_word)
                })
                .collect(),
        };
        Ok(ZeroPoints::Each(zeros))
    }
}

#[cfg(test)]
mod tests {
    use super::AWQ_PLACES;

    #[test]
    fn places_of_awq_undo_the_order_in_which_rows_are_packed() {
        // From the lowest bits on, a word has these rows.
        for (place, row) in [0, 2, 4, 6, 1, 3, 5, 7].into_iter().enumerate() {
            assert_eq!(AWQ_PLACES[row], place);
        }
    }
}
