//! GGML's quantization blocks, as its file format documents them.

use candle_core::quantized::GgmlDType;
use half::f16;

/// Weights of a block as the kernels see it: they share scale and minimum.
pub(crate) const BLOCK: usize = 32;

/// The values of a block: each weight is `scale · (quant − zero_point) + minimum`. The zero point belongs to the
/// [`Format`].
pub(crate) struct BlockValues {
    pub(crate) quants: [u8; BLOCK],
    /// Scales of the two halves of the block; equal unless [`Format::scales`] is 2.
    pub(crate) scales: [f32; 2],
    pub(crate) minimum: f32,
}

/// A format that there are kernels for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Format {
    /// Blocks of 32 weights that are stored together (8 in the K formats).
    pub(crate) blocks: usize,
    /// Bytes of these.
    pub(crate) bytes: usize,
    /// Bits of a quant in memory.
    pub(crate) bits: Bits,
    /// The quant that stands for 0 where the minimum is 0.
    pub(crate) zero_point: u8,
    /// How many scales a block has, 1 or 2.
    pub(crate) scales: usize,
    /// Whether blocks have a minimum other than 0.
    pub(crate) minima: bool,
    /// Reads one of the blocks that are stored together.
    pub(crate) read: fn(&[u8], usize) -> BlockValues,
}

/// Bits of a quant in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Bits {
    Four,
    Eight,
}

impl Bits {
    /// Lines of a block.
    pub(crate) const fn lines(self) -> usize {
        match self {
            Bits::Four => BLOCK / 8,
            Bits::Eight => BLOCK / 4,
        }
    }
}

impl Format {
    /// The format of a type, if there are kernels for it.
    pub(crate) fn of(dtype: GgmlDType) -> Option<Self> {
        let format = |bits, zero_point, minima, read| Self {
            blocks: dtype.block_size() / BLOCK,
            bytes: dtype.type_size(),
            bits,
            zero_point,
            scales: if dtype == GgmlDType::Q6K { 2 } else { 1 },
            minima,
            read,
        };
        Some(match dtype {
            GgmlDType::Q4_0 => format(Bits::Four, 8, false, q4_0),
            GgmlDType::Q4_1 => format(Bits::Four, 0, true, q4_1),
            GgmlDType::Q4K => format(Bits::Four, 0, true, q4_k),
            GgmlDType::Q5_0 => format(Bits::Eight, 16, false, q5_0),
            GgmlDType::Q5_1 => format(Bits::Eight, 0, true, q5_1),
            GgmlDType::Q5K => format(Bits::Eight, 0, true, q5_k),
            GgmlDType::Q6K => format(Bits::Eight, 32, false, q6_k),
            GgmlDType::Q8_0 => format(Bits::Eight, 0x80, false, q8_0),
            _ => return None,
        })
    }
}

/// Reads an F16 at an offset.
fn float(bytes: &[u8], at: usize) -> f32 {
    f16::from_le_bytes([bytes[at], bytes[at + 1]]).to_f32()
}

/// Numbers of 4 bits: the lower halves of 16 bytes, then their upper halves.
fn nibbles(bytes: &[u8]) -> [u8; BLOCK] {
    std::array::from_fn(|i| (bytes[i % 16] >> (i / 16 * 4)) & 0x0f)
}

/// A fifth bit of each number, in the order of the numbers.
fn with_fifth_bits(mut numbers: [u8; BLOCK], bits: &[u8]) -> [u8; BLOCK] {
    for (i, number) in numbers.iter_mut().enumerate() {
        *number |= (bits[i / 8] >> (i % 8) & 1) << 4;
    }
    numbers
}

fn q4_0(bytes: &[u8], _: usize) -> BlockValues {
    BlockValues {
        quants: nibbles(&bytes[2..]),
        scales: [float(bytes, 0); 2],
        minimum: 0.0,
    }
}

fn q4_1(bytes: &[u8], _: usize) -> BlockValues {
    BlockValues {
        quants: nibbles(&bytes[4..]),
        scales: [float(bytes, 0); 2],
        minimum: float(bytes, 2),
    }
}

fn q5_0(bytes: &[u8], _: usize) -> BlockValues {
    BlockValues {
        quants: with_fifth_bits(nibbles(&bytes[6..]), &bytes[2..]),
        scales: [float(bytes, 0); 2],
        minimum: 0.0,
    }
}

fn q5_1(bytes: &[u8], _: usize) -> BlockValues {
    BlockValues {
        quants: with_fifth_bits(nibbles(&bytes[8..]), &bytes[4..]),
        scales: [float(bytes, 0); 2],
        minimum: float(bytes, 2),
    }
}

fn q8_0(bytes: &[u8], _: usize) -> BlockValues {
    BlockValues {
        quants: std::array::from_fn(|i| bytes[2 + i] ^ 0x80),
        scales: [float(bytes, 0); 2],
        minimum: 0.0,
    }
}

/// The scale and the minimum of one of eight blocks. Both are multiples, of 6 bits, of what the eight
/// have in common; the multiples lie in 12 bytes, those of the last four blocks in two parts.
fn scale_and_minimum(bytes: &[u8], block: usize) -> (f32, f32) {
    let packed = &bytes[4..16];
    let (scale, minimum) = match block {
        0..4 => (packed[block] & 0x3f, packed[block + 4] & 0x3f),
        _ => (
            (packed[block + 4] & 0x0f) | (packed[block - 4] >> 6 << 4),
            (packed[block + 4] >> 4) | (packed[block] >> 6 << 4),
        ),
    };
    (
        float(bytes, 0) * f32::from(scale),
        -float(bytes, 2) * f32::from(minimum),
    )
}

/// Numbers of 4 bits of one of eight blocks, two of which lie in the halves of the same 32 bytes.
fn nibbles_of_eight(bytes: &[u8], block: usize) -> [u8; BLOCK] {
    let bytes = &bytes[block / 2 * BLOCK..];
    std::array::from_fn(|i| (bytes[i] >> (block % 2 * 4)) & 0x0f)
}

fn q4_k(bytes: &[u8], block: usize) -> BlockValues {
    let (scale, minimum) = scale_and_minimum(bytes, block);
    BlockValues {
        quants: nibbles_of_eight(&bytes[16..], block),
        scales: [scale; 2],
        minimum,
    }
}

fn q5_k(bytes: &[u8], block: usize) -> BlockValues {
    let (scale, minimum) = scale_and_minimum(bytes, block);
    let (fifth, lower) = bytes[16..].split_at(BLOCK);
    let mut numbers = nibbles_of_eight(lower, block);
    for (number, bits) in numbers.iter_mut().zip(fifth) {
        *number |= (bits >> block & 1) << 4;
    }
    BlockValues {
        quants: numbers,
        scales: [scale; 2],
        minimum,
    }
}

/// Lower four bits of two blocks of four lie in the same 32 bytes, and upper two bits of all four.
fn q6_k(bytes: &[u8], block: usize) -> BlockValues {
    let (four, index) = (block / 4, block % 4);
    let lower = &bytes[64 * four + BLOCK * (index % 2)..];
    let upper = &bytes[128 + BLOCK * four..];
    let scale = |half: usize| float(bytes, 208) * f32::from(bytes[192 + 2 * block + half] as i8);
    BlockValues {
        quants: std::array::from_fn(|i| {
            (lower[i] >> (index / 2 * 4) & 0x0f) | (upper[i] >> (2 * index) & 3) << 4
        }),
        scales: [scale(0), scale(1)],
        minimum: 0.0,
    }
}
