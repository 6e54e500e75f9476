//! GGML's quantization blocks, as its file format documents them.

use candle_core::quantized::GgmlDType;
use half::f16;

/// A type of quantization blocks, as [`PackedMatrix::pack`](crate::PackedMatrix::pack) takes them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PackedType {
    /// One that Candle knows.
    Candle(GgmlDType),
    /// Four bits that choose one of 16 levels, with a scale for 32 weights.
    Iq4Nl,
    /// The same levels, with scales of 6 bits for 32 weights and one for 256.
    Iq4Xs,
    /// Floating point numbers of 4 bits with a power of two for 32 weights (OCP Microscaling Formats, 2023).
    Mxfp4,
}

impl From<GgmlDType> for PackedType {
    fn from(dtype: GgmlDType) -> Self {
        Self::Candle(dtype)
    }
}

/// Weights of a block as the kernels see it: they share scale and minimum.
pub(crate) const BLOCK: usize = 32;

/// What a quant of 4 bits stands for where that is not itself.
pub(crate) type Levels = [u8; 16];

/// The levels of IQ4_NL and IQ4_XS, 128 more.
const NON_LINEAR: Levels = [
    1, 24, 45, 63, 79, 93, 106, 118, 129, 141, 153, 166, 181, 197, 217, 241,
];

/// Twice the numbers of 4 bits of the OCP Microscaling Formats, 128 more.
const FLOAT4: Levels = [
    128, 129, 130, 131, 132, 134, 136, 140, 128, 127, 126, 125, 124, 122, 120, 116,
];

/// The level that stands for 0.
const LEVEL_ZERO: u8 = 128;

/// The values of a block: each weight is `scale · (quant − zero_point) + minimum`, or with the level of the quant
/// instead of it. The zero point belongs to the [`Format`].
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
    /// What quants of 4 bits stand for, if not for themselves.
    pub(crate) levels: Option<&'static Levels>,
    /// The quant, or the level, that stands for 0 where the minimum is 0.
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

/// Lines of a block of 4-bit quants.
pub(crate) const FOUR_BIT_LINES: usize = Bits::Four.lines();

/// Lines of a block of 8-bit quants.
pub(crate) const EIGHT_BIT_LINES: usize = Bits::Eight.lines();

impl Format {
    /// The format of a type, if there are kernels for it.
    pub(crate) fn of(packed_type: PackedType) -> Option<Self> {
        let dtype = match packed_type {
            PackedType::Candle(dtype) => dtype,
            PackedType::Iq4Nl => return Some(Self::of_levels(1, 18, &NON_LINEAR, q4_0)),
            PackedType::Iq4Xs => return Some(Self::of_levels(8, 136, &NON_LINEAR, iq4_xs)),
            PackedType::Mxfp4 => return Some(Self::of_levels(1, 17, &FLOAT4, mxfp4)),
        };
        let format = |bits, zero_point, minima, read| Self {
            blocks: dtype.block_size() / BLOCK,
            bytes: dtype.type_size(),
            bits,
            levels: None,
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

    /// Quants of 4 bits that stand for levels.
    fn of_levels(
        blocks: usize,
        bytes: usize,
        levels: &'static Levels,
        read: fn(&[u8], usize) -> BlockValues,
    ) -> Self {
        Self {
            blocks,
            bytes,
            bits: Bits::Four,
            levels: Some(levels),
            zero_point: LEVEL_ZERO,
            scales: 1,
            minima: false,
            read,
        }
    }
}

/// Reads an F16 at an offset.
#[inline]
fn float(bytes: &[u8], at: usize) -> f32 {
    f16::from_le_bytes([bytes[at], bytes[at + 1]]).to_f32()
}

/// So many bytes at an offset: loops over arrays become vector instructions.
fn array<const N: usize>(bytes: &[u8], at: usize) -> &[u8; N] {
    bytes[at..].first_chunk().expect("bytes of a whole block")
}

/// Numbers of 4 bits: the lower halves of 16 bytes, then their upper halves.
fn nibbles(bytes: &[u8]) -> [u8; BLOCK] {
    let bytes: &[u8; BLOCK / 2] = array(bytes, 0);
    let mut numbers = [0; BLOCK];
    let (lower, upper) = numbers.split_at_mut(BLOCK / 2);
    for ((lower, upper), byte) in lower.iter_mut().zip(upper).zip(bytes) {
        *lower = byte & 0x0f;
        *upper = byte >> 4;
    }
    numbers
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
        quants: array(bytes, 2).map(|quant: u8| quant ^ 0x80),
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
    let bytes: &[u8; BLOCK] = array(bytes, block / 2 * BLOCK);
    match block % 2 {
        0 => bytes.map(|byte| byte & 0x0f),
        _ => bytes.map(|byte| byte >> 4),
    }
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
    let lower: &[u8; BLOCK] = array(bytes, 64 * four + BLOCK * (index % 2));
    let upper: &[u8; BLOCK] = array(bytes, 128 + BLOCK * four);
    let scale = |half: usize| float(bytes, 208) * f32::from(bytes[192 + 2 * block + half] as i8);
    BlockValues {
        quants: std::array::from_fn(|i| {
            (lower[i] >> (index / 2 * 4) & 0x0f) | (upper[i] >> (2 * index) & 3) << 4
        }),
        scales: [scale(0), scale(1)],
        minimum: 0.0,
    }
}

/// The scales of eight blocks are multiples, from −32 to 31, of what they have in common: the lower 4 bits of two lie
/// in a byte, the upper 2 bits of all in two.
fn iq4_xs(bytes: &[u8], block: usize) -> BlockValues {
    let lower = bytes[4 + block / 2] >> (4 * (block % 2)) & 0x0f;
    let upper = bytes[2 + block / 4] >> (2 * (block % 4)) & 3;
    let multiple = (upper << 4 | lower) as i8 - 32;
    BlockValues {
        quants: nibbles(&bytes[8 + 16 * block..]),
        scales: [float(bytes, 0) * f32::from(multiple); 2],
        minimum: 0.0,
    }
}

/// The levels are twice the numbers, so that the scale is half of the power of two. Where all numbers are 0 it is 0
/// whatever the power.
fn mxfp4(bytes: &[u8], _: usize) -> BlockValues {
    let quants = nibbles(&bytes[1..]);
    let is_zero = quants.iter().all(|quant| quant & 7 == 0);
    let half = match bytes[0] {
        exponent @ (0 | 1) => 0x0020_0000 << exponent,
        exponent => u32::from(exponent - 1) << 23,
    };
    BlockValues {
        quants,
        scales: [if is_zero { 0.0 } else { f32::from_bits(half) }; 2],
        minimum: 0.0,
    }
}
