//! Types of blocks that Candle does not know: the IQ types of llama.cpp, whose numbers stand in code books,
//! MXFP4, and the two of ternary numbers.
//!
//! How their bits lie follows llama.cpp's `ggml-quants.c`. Our own kernels multiply those of 4 bits as they are. The
//! others become Q8_0 while they are read, and those of 4 bits where there are no such kernels: 16 numbers share a
//! scale and are whole multiples of it that fit into 8 bits, so that nothing is lost where the scales of 32 numbers
//! are equal, but for the scale's 16 bits.

use candle4j_kernels::PackedType;
use half::f16;

use super::grids;

/// A type of blocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(non_camel_case_types)]
pub(crate) enum Codebook {
    Iq4Nl,
    Iq4Xs,
    Mxfp4,
    Iq2Xxs,
    Iq2Xs,
    Iq2S,
    Iq3Xxs,
    Iq3S,
    Iq1S,
    Iq1M,
    Tq1_0,
    Tq2_0,
}

use Codebook::*;

/// Numbers that share a scale.
const GROUP: usize = 16;

/// The multiples of IQ4_NL and IQ4_XS.
const NON_LINEAR: [i8; 16] = [
    -127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113,
];

/// Twice the numbers of 4 bits of the OCP Microscaling Formats.
const FLOAT4: [i8; 16] = [0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12];

/// The values of code books.
const LEVELS_OF_IQ2: [i8; 4] = [8, 25, 43, 0];
const LEVELS_OF_IQ3_XXS: [i8; 8] = [4, 12, 20, 28, 36, 44, 52, 62];
const LEVELS_OF_IQ3_S: [i8; 8] = [1, 3, 5, 7, 9, 11, 13, 15];
/// Eight times −1, 0 and 1, so that an eighth can be added.
const LEVELS_OF_IQ1: [i8; 4] = [-8, 0, 8, 0];

/// Sixteen numbers: whole multiples of a scale.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Group {
    scale: f32,
    multiples: [i8; GROUP],
}

impl Codebook {
    /// By the number that a GGUF file has for the type.
    pub(crate) fn of(number: u32) -> Option<Self> {
        Some(match number {
            16 => Iq2Xxs,
            17 => Iq2Xs,
            18 => Iq3Xxs,
            19 => Iq1S,
            20 => Iq4Nl,
            21 => Iq3S,
            22 => Iq2S,
            23 => Iq4Xs,
            29 => Iq1M,
            34 => Tq1_0,
            35 => Tq2_0,
            39 => Mxfp4,
            _ => return None,
        })
    }

    /// As our own kernels know it; `None` where there are none.
    pub(crate) fn packed_type(self) -> Option<PackedType> {
        match self {
            Iq4Nl => Some(PackedType::Iq4Nl),
            Iq4Xs => Some(PackedType::Iq4Xs),
            Mxfp4 => Some(PackedType::Mxfp4),
            _ => None,
        }
    }

    /// Its name as it stands in results.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Iq4Nl => "iq4_nl",
            Iq4Xs => "iq4_xs",
            Mxfp4 => "mxfp4",
            Iq2Xxs => "iq2_xxs",
            Iq2Xs => "iq2_xs",
            Iq2S => "iq2_s",
            Iq3Xxs => "iq3_xxs",
            Iq3S => "iq3_s",
            Iq1S => "iq1_s",
            Iq1M => "iq1_m",
            Tq1_0 => "tq1_0",
            Tq2_0 => "tq2_0",
        }
    }

    /// Numbers of a block.
    pub(crate) fn block_size(self) -> usize {
        match self {
            Iq4Nl | Mxfp4 => 32,
            _ => 256,
        }
    }

    /// Bytes of a block.
    pub(crate) fn type_size(self) -> usize {
        match self {
            Iq4Nl => 18,
            Iq4Xs => 136,
            Mxfp4 => 17,
            Iq2Xxs | Tq2_0 => 66,
            Iq2Xs => 74,
            Iq2S => 82,
            Iq3Xxs => 98,
            Iq3S => 110,
            Iq1S => 50,
            Iq1M => 56,
            Tq1_0 => 54,
        }
    }

    /// Blocks of this type as blocks of Q8_0.
    pub(crate) fn to_q8_0(self, blocks: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for block in blocks.chunks_exact(self.type_size()) {
            for pair in self.groups(block).as_chunks::<2>().0 {
                q8_0(pair, &mut bytes);
            }
        }
        bytes
    }

    /// The numbers of blocks.
    pub(crate) fn numbers(self, blocks: &[u8]) -> Vec<f32> {
        let groups = blocks
            .chunks_exact(self.type_size())
            .flat_map(|block| self.groups(block));
        let numbers = groups.flat_map(|group| group.multiples.map(|x| group.scale * f32::from(x)));
        numbers.collect()
    }

    /// The numbers of a block.
    fn groups(self, block: &[u8]) -> Vec<Group> {
        match self {
            Iq4Nl => of_nibbles(f16_at(block, 0), &block[2..], &NON_LINEAR).to_vec(),
            Mxfp4 => of_nibbles(half_of_power(block[0]), &block[1..], &FLOAT4).to_vec(),
            Iq4Xs => (0..8).flat_map(|i| iq4_xs(block, i)).collect(),
            Iq2Xxs => (0..16).map(|i| iq2_xxs(block, i)).collect(),
            Iq2Xs => (0..16).map(|i| iq2_xs(block, i)).collect(),
            Iq2S => (0..16).map(|i| iq2_s(block, i)).collect(),
            Iq3Xxs => (0..16).map(|i| iq3_xxs(block, i)).collect(),
            Iq3S => (0..16).map(|i| iq3_s(block, i)).collect(),
            Iq1S => (0..16).map(|i| iq1_s(block, i)).collect(),
            Iq1M => (0..16).map(|i| iq1_m(block, i)).collect(),
            Tq1_0 => (0..16).map(|i| ternary(block, i, tq1_0)).collect(),
            Tq2_0 => (0..16).map(|i| ternary(block, i, tq2_0)).collect(),
        }
    }
}

/// A block of Q8_0 of two groups. Where their scales differ, the larger numbers say what the scale becomes.
fn q8_0(groups: &[Group; 2], bytes: &mut Vec<u8>) {
    let [first, second] = groups;
    if first.scale == second.scale {
        bytes.extend_from_slice(&f16::from_f32(first.scale).to_le_bytes());
        bytes.extend(groups.iter().flat_map(|g| g.multiples).map(|x| x as u8));
        return;
    }
    let numbers: Vec<f32> = groups
        .iter()
        .flat_map(|g| g.multiples.map(|x| g.scale * f32::from(x)))
        .collect();
    let largest = numbers.iter().fold(0f32, |a, b| a.max(b.abs()));
    let error = |scale: f32| -> f32 {
        let nearest = |x: &f32| (x / scale).round().clamp(-127.0, 127.0) * scale;
        numbers.iter().map(|x| (x - nearest(x)).powi(2)).sum()
    };
    let scale = (104..=127)
        .map(|most| f16::from_f32(largest / most as f32).to_f32())
        .filter(|scale| *scale > 0.0)
        .min_by(|a, b| error(*a).total_cmp(&error(*b)))
        .unwrap_or(0.0);
    bytes.extend_from_slice(&f16::from_f32(scale).to_le_bytes());
    bytes.extend(numbers.iter().map(|x| match scale > 0.0 {
        true => (x / scale).round().clamp(-127.0, 127.0) as i8 as u8,
        false => 0,
    }));
}

fn f16_at(bytes: &[u8], place: usize) -> f32 {
    f16::from_le_bytes([bytes[place], bytes[place + 1]]).to_f32()
}

fn u16_at(bytes: &[u8], place: usize) -> u16 {
    u16::from_le_bytes([bytes[place], bytes[place + 1]])
}

fn u32_at(bytes: &[u8], place: usize) -> u32 {
    u32::from(u16_at(bytes, place)) | u32::from(u16_at(bytes, place + 2)) << 16
}

fn nibble(bytes: &[u8], index: usize) -> u8 {
    bytes[index / 2] >> (4 * (index % 2)) & 15
}

/// Half of two to the power of `exponent` − 127.
fn half_of_power(exponent: u8) -> f32 {
    f32::from_bits(match exponent {
        0 | 1 => 0x0020_0000 << exponent,
        _ => u32::from(exponent - 1) << 23,
    })
}

/// Thirty-two numbers of 4 bits: the lower ones of all bytes, then the upper ones.
fn of_nibbles(scale: f32, bytes: &[u8], levels: &[i8; 16]) -> [Group; 2] {
    let half = |shift: u8| Group {
        scale,
        multiples: std::array::from_fn(|i| levels[usize::from(bytes[i] >> shift & 15)]),
    };
    [half(0), half(4)]
}

fn iq4_xs(block: &[u8], index: usize) -> [Group; 2] {
    let high = u16_at(block, 2) >> (2 * index) & 3;
    let scale = i32::from(nibble(&block[4..8], index)) | i32::from(high) << 4;
    let scale = f16_at(block, 0) * (scale - 32) as f32;
    of_nibbles(scale, &block[8 + 16 * index..], &NON_LINEAR)
}

/// The eight elements of a code book's entry, with signs by the bits of `signs`.
fn entry8(entry: u16, levels: &[i8; 4], signs: u8) -> [i8; 8] {
    std::array::from_fn(|i| {
        signed(
            levels[usize::from(entry >> (2 * i) & 3)],
            signs >> i & 1 == 1,
        )
    })
}

/// The four elements of an entry of three bits each.
fn entry4(entry: u16, levels: &[i8; 8], signs: u8) -> [i8; 4] {
    std::array::from_fn(|i| {
        signed(
            levels[usize::from(entry >> (3 * i) & 7)],
            signs >> i & 1 == 1,
        )
    })
}

fn signed(level: i8, negative: bool) -> i8 {
    if negative { -level } else { level }
}

/// Seven signs, and an eighth that makes the number of minus signs even.
fn even_signs(bits: u32) -> u8 {
    let seven = (bits & 127) as u8;
    seven | ((seven.count_ones() & 1) as u8) << 7
}

/// Parts one behind the other.
fn joined<const N: usize, const PARTS: usize>(parts: [[i8; N]; PARTS]) -> [i8; GROUP] {
    std::array::from_fn(|i| parts[i / N][i % N])
}

fn iq2_xxs(block: &[u8], index: usize) -> Group {
    let place = 2 + 8 * (index / 2);
    let (codes, rest) = (&block[place..place + 4], u32_at(block, place + 4));
    Group {
        scale: f16_at(block, 0) * (0.5 + (rest >> 28) as f32) * 0.25,
        multiples: joined([0, 1].map(|i| {
            let part = 2 * (index % 2) + i;
            let entry = grids::IQ2_XXS[usize::from(codes[part])];
            entry8(entry, &LEVELS_OF_IQ2, even_signs(rest >> (7 * part)))
        })),
    }
}

fn iq2_xs(block: &[u8], index: usize) -> Group {
    Group {
        scale: f16_at(block, 0) * (0.5 + f32::from(nibble(&block[66..], index))) * 0.25,
        multiples: joined([0, 1].map(|i| {
            let code = u16_at(block, 2 + 2 * (2 * index + i));
            let entry = grids::IQ2_XS[usize::from(code & 511)];
            entry8(entry, &LEVELS_OF_IQ2, even_signs(u32::from(code >> 9)))
        })),
    }
}

fn iq2_s(block: &[u8], index: usize) -> Group {
    let (codes, signs, high) = (&block[2..34], &block[34..66], &block[66..74]);
    Group {
        scale: f16_at(block, 0) * (0.5 + f32::from(nibble(&block[74..], index))) * 0.25,
        multiples: joined([0, 1].map(|i| {
            let part = 2 * index + i;
            let upper = usize::from(high[part / 4] >> (2 * (part % 4)) & 3);
            let entry = grids::IQ2_S[usize::from(codes[part]) | upper << 8];
            entry8(entry, &LEVELS_OF_IQ2, signs[part])
        })),
    }
}

fn iq3_xxs(block: &[u8], index: usize) -> Group {
    let (codes, rest) = (&block[2..66], u32_at(block, 66 + 4 * (index / 2)));
    let four = |i: usize| {
        let part = 4 * index + i;
        let signs = even_signs(rest >> (7 * (part / 2 % 4))) >> (4 * (i % 2));
        entry4(
            grids::IQ3_XXS[usize::from(codes[part])],
            &LEVELS_OF_IQ3_XXS,
            signs,
        )
    };
    Group {
        scale: f16_at(block, 0) * (0.5 + (rest >> 28) as f32) * 0.5,
        multiples: joined([four(0), four(1), four(2), four(3)]),
    }
}

fn iq3_s(block: &[u8], index: usize) -> Group {
    let (codes, high, signs) = (&block[2..66], &block[66..74], &block[74..106]);
    let four = |i: usize| {
        let part = 4 * index + i;
        let upper = usize::from(high[part / 8] >> (part % 8) & 1);
        entry4(
            grids::IQ3_S[usize::from(codes[part]) | upper << 8],
            &LEVELS_OF_IQ3_S,
            signs[part / 2] >> (4 * (i % 2)),
        )
    };
    let scale = 1 + 2 * nibble(&block[106..], index / 2);
    Group {
        scale: f16_at(block, 0) * f32::from(scale),
        multiples: joined([four(0), four(1), four(2), four(3)]),
    }
}

/// Eight numbers of a code book, each an eighth more or less.
fn shifted(entry: u16, less: bool) -> [i8; 8] {
    entry8(entry, &LEVELS_OF_IQ1, 0).map(|x| if less { x - 1 } else { x + 1 })
}

fn iq1_s(block: &[u8], index: usize) -> Group {
    let (codes, high) = (&block[2..34], u16_at(block, 34 + 2 * (index / 2)));
    let scale = 2 * (high >> 12 & 7) + 1;
    Group {
        scale: f16_at(block, 0) * f32::from(scale) / 8.0,
        multiples: joined([0, 1].map(|i| {
            let part = 2 * index + i;
            let upper = usize::from(high >> (3 * (part % 4)) & 7);
            let entry = grids::IQ1[usize::from(codes[part]) | upper << 8];
            shifted(entry, high & 0x8000 != 0)
        })),
    }
}

fn iq1_m(block: &[u8], index: usize) -> Group {
    let (codes, high, scales) = (&block[..32], &block[32..48], &block[48..]);
    let bits = (0..4).fold(0, |bits, i| bits | u16_at(scales, 2 * i) >> 12 << (4 * i));
    let scale = u16_at(scales, 2 * (index / 4)) >> (3 * (index % 4)) & 7;
    Group {
        scale: f16::from_bits(bits).to_f32() * f32::from(2 * scale + 1) / 8.0,
        multiples: joined([0, 1].map(|i| {
            let part = 2 * index + i;
            let high = nibble(high, part);
            let entry = grids::IQ1[usize::from(codes[part]) | usize::from(high & 7) << 8];
            shifted(entry, high & 8 != 0)
        })),
    }
}

/// Ternary numbers with one scale, which is a block's last two bytes.
fn ternary(block: &[u8], index: usize, number: fn(&[u8], usize) -> u8) -> Group {
    Group {
        scale: f16_at(block, block.len() - 2),
        multiples: std::array::from_fn(|i| number(block, GROUP * index + i) as i8 - 1),
    }
}

/// Five ternary digits a byte, the first the most significant; of the last 16 numbers four.
fn tq1_0(block: &[u8], index: usize) -> u8 {
    let (place, digit) = match index {
        0..160 => (index % 32, index / 32),
        160..240 => (32 + (index - 160) % 16, (index - 160) / 16),
        _ => (48 + (index - 240) % 4, (index - 240) / 4),
    };
    let power = [1u8, 3, 9, 27, 81][digit];
    ((u16::from(block[place].wrapping_mul(power)) * 3) >> 8) as u8
}

fn tq2_0(block: &[u8], index: usize) -> u8 {
    let (half, index) = (index / 128, index % 128);
    block[32 * half + index % 32] >> (2 * (index / 32)) & 3
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;
    use sha2::{Digest, Sha256};

    use super::*;

    #[derive(Deserialize)]
    struct Case {
        r#type: String,
        blocks: Vec<u8>,
        sha256: String,
    }

    fn cases() -> Vec<(Codebook, Case)> {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/blocks.json");
        let cases: Vec<Case> = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
        let kind = |case: &Case| {
            let found = (0..64).filter_map(Codebook::of);
            found
                .into_iter()
                .find(|kind| kind.name() == case.r#type)
                .unwrap()
        };
        cases.into_iter().map(|case| (kind(&case), case)).collect()
    }

    fn numbers(kind: Codebook, block: &[u8]) -> Vec<f32> {
        let groups = kind.groups(block);
        assert_eq!(groups.len() * GROUP, kind.block_size());
        let number = |group: Group, x: i8| group.scale * f32::from(x);
        groups
            .iter()
            .flat_map(|group| group.multiples.map(|x| number(*group, x)))
            .collect()
    }

    #[test]
    fn blocks_stand_for_what_they_do_in_gguf_py() {
        let cases = cases();
        assert_eq!(cases.len(), 12);
        for (kind, case) in cases {
            let mut digest = Sha256::new();
            for block in case.blocks.chunks_exact(kind.type_size()) {
                for x in numbers(kind, block) {
                    digest.update(x.to_le_bytes());
                }
            }
            let digest: String = digest
                .finalize()
                .iter()
                .map(|b| format!("{b:02x}"))
                .collect();
            assert_eq!(digest, case.sha256, "{}", case.r#type);
        }
    }

    #[test]
    fn next_to_nothing_is_lost_in_q8_0() {
        for (kind, case) in cases() {
            let blocks = kind.to_q8_0(&case.blocks);
            let ours: Vec<f32> = blocks
                .chunks_exact(34)
                .flat_map(|block| {
                    let scale = f16_at(block, 0);
                    block[2..].iter().map(move |x| scale * f32::from(*x as i8))
                })
                .collect();
            let exact: Vec<f32> = case
                .blocks
                .chunks_exact(kind.type_size())
                .flat_map(|block| numbers(kind, block))
                .collect();
            assert_eq!(ours.len(), exact.len());
            let sum = |f: &dyn Fn(usize) -> f32| (0..exact.len()).map(f).sum::<f32>();
            let error = sum(&|i| (ours[i] - exact[i]).powi(2)) / sum(&|i| exact[i].powi(2));
            let most = match kind {
                Iq2Xs | Iq2S | Iq1M => 3e-5,
                // The scale alone is rounded.
                _ => 1e-7,
            };
            assert!(error <= most, "{}: {error}", kind.name());
        }
    }
}
