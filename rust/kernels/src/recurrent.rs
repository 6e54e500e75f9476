//! Recurrent layers: short convolutions and the gated delta rule.

use crate::attention::Strided;
use crate::dispatch::{Vectorized, dispatch};
use crate::instructions::Instructions;
use crate::simd::math::sum_of_squares;
use crate::simd::{F32x16, LANES};

/// Some steps of one head of the gated delta rule (Yang et al. 2024, Gated DeltaNet): with a state `S` of `key_dim ×
/// value_dim`, each step computes `S = g·S + k ⊗ β·(v − (g·S)ᵀk)` and answers `Sᵀq`. Queries and keys are divided by
/// their lengths first, and queries by the root of their width.
#[derive(Debug)]
pub struct DeltaHead<'a> {
    /// `[steps, key_dim]`.
    pub queries: Strided<'a>,
    /// `[steps, key_dim]`.
    pub keys: Strided<'a>,
    /// `[steps, value_dim]`.
    pub values: Strided<'a>,
    /// `g` of each step.
    pub decays: &'a [f32],
    /// `β` of each step.
    pub betas: &'a [f32],
    /// The state before; [`delta_state_len`] numbers.
    pub before: &'a [f32],
    /// Becomes the state behind the last step.
    pub after: &'a mut [f32],
    /// Becomes the answers, `[steps, value_dim]`.
    pub out: &'a mut [f32],
}

/// Numbers of the state of a head: rows are padded to whole vectors.
pub fn delta_state_len(key_dim: usize, value_dim: usize) -> usize {
    key_dim * value_dim.next_multiple_of(LANES)
}

/// Runs all steps of a head.
///
/// # Panics
/// When the sizes do not fit together, or there is no step.
pub fn delta_rule(head: DeltaHead) {
    let (steps, key_dim, value_dim) = (head.keys.rows, head.keys.columns, head.values.columns);
    assert!(steps > 0, "a step at least");
    assert_eq!((head.queries.rows, head.values.rows), (steps, steps));
    assert_eq!((head.decays.len(), head.betas.len()), (steps, steps));
    assert_eq!(head.queries.columns, key_dim);
    assert_eq!(head.before.len(), delta_state_len(key_dim, value_dim));
    assert_eq!(head.after.len(), head.before.len());
    assert_eq!(head.out.len(), steps * value_dim);
    dispatch(Instructions::detect(), head);
}

impl Vectorized for DeltaHead<'_> {
    #[inline(always)]
    unsafe fn run<V: F32x16>(self) {
        let (key_dim, value_dim) = (self.keys.columns, self.values.columns);
        let width = value_dim.next_multiple_of(LANES);
        let mut unit_key = vec![0f32; key_dim];
        let mut unit_query = vec![0f32; key_dim];
        let mut seen = vec![[0f32; LANES]; width / LANES];
        let mut value = vec![[0f32; LANES]; width / LANES];
        self.after.copy_from_slice(self.before);
        for step in 0..self.keys.rows {
            // SAFETY: the caller's promise.
            unsafe {
                unit::<V>(self.keys.row(step), 1.0, &mut unit_key);
                let scale = 1.0 / (key_dim as f32).sqrt();
                unit::<V>(self.queries.row(step), scale, &mut unit_query);
            }
            let (decay, beta) = (self.decays[step], self.betas[step]);
            let state = self.after.as_chunks_mut::<LANES>().0;
            value.as_flattened_mut()[..value_dim].copy_from_slice(self.values.row(step));
            let columns = width / LANES;
            // SAFETY: the caller's promise.
            unsafe {
                for (column, seen) in seen.iter_mut().enumerate() {
                    let mut sum = V::splat(0.0);
                    for (d, key) in unit_key.iter().enumerate() {
                        sum = V::load(&state[d * columns + column]).mul_add(V::splat(*key), sum);
                    }
                    // What is new: β · (v − g · Sᵀk).
                    let known = sum.mul(V::splat(-decay));
                    let new = V::load(&value[column]).mul_add(V::splat(1.0), known);
                    new.mul(V::splat(beta)).store(seen);
                }
                for (column, new) in seen.iter_mut().enumerate() {
                    let delta = V::load(new);
                    let mut answer = V::splat(0.0);
                    for (d, (key, query)) in unit_key.iter().zip(&unit_query).enumerate() {
                        let place = &mut state[d * columns + column];
                        let kept = V::load(place).mul(V::splat(decay));
                        let next = delta.mul_add(V::splat(*key), kept);
                        next.store(place);
                        answer = next.mul_add(V::splat(*query), answer);
                    }
                    answer.store(new);
                }
            }
            let out = &mut self.out[step * value_dim..][..value_dim];
            out.copy_from_slice(&seen.as_flattened()[..value_dim]);
        }
    }
}

/// `x / √(Σx² + 1e-6) · scale`.
///
/// # Safety
/// The processor has the instructions of `V`.
#[inline(always)]
unsafe fn unit<V: F32x16>(x: &[f32], scale: f32, out: &mut [f32]) {
    // SAFETY: the caller's promise.
    let factor = scale / (unsafe { sum_of_squares::<V>(x) } + 1e-6).sqrt();
    for (out, x) in out.iter_mut().zip(x) {
        *out = x * factor;
    }
}

/// A causal convolution of each channel by itself, over `[taps − 1, channels]` rows `before` and then `rows`: row `i` of
/// `out`, `[rows, channels]`, is `Σ weight[j] · row(i + j)`, with `weight` of `[taps, channels]`.
///
/// # Panics
/// When the sizes do not fit together.
pub fn short_conv(before: &[f32], rows: Strided, weight: &[f32], out: &mut [f32]) {
    let channels = rows.columns;
    let taps = weight.len() / channels;
    assert_eq!(weight.len(), taps * channels);
    assert_eq!(before.len(), (taps - 1) * channels);
    assert_eq!(out.len(), rows.rows * channels);
    dispatch(
        Instructions::detect(),
        ShortConv {
            before,
            rows,
            weight,
            out,
        },
    );
}

struct ShortConv<'a> {
    before: &'a [f32],
    rows: Strided<'a>,
    weight: &'a [f32],
    out: &'a mut [f32],
}

impl Vectorized for ShortConv<'_> {
    #[inline(always)]
    unsafe fn run<V: F32x16>(self) {
        let channels = self.rows.columns;
        let old = self.before.len() / channels;
        for (index, out) in self.out.chunks_exact_mut(channels).enumerate() {
            out.fill(0.0);
            for (tap, weight) in self.weight.chunks_exact(channels).enumerate() {
                let place = index + tap;
                let row = match place < old {
                    true => &self.before[place * channels..][..channels],
                    false => self.rows.row(place - old),
                };
                for ((out, x), weight) in out.iter_mut().zip(row).zip(weight) {
                    *out += x * weight;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(count: usize, factor: usize) -> Vec<f32> {
        (0..count)
            .map(|i| ((i * factor) % 1009) as f32 / 504.5 - 1.0)
            .collect()
    }

    fn strided(numbers: &[f32], columns: usize) -> Strided<'_> {
        Strided {
            numbers,
            stride: columns,
            rows: numbers.len() / columns,
            columns,
        }
    }

    /// The rule number by number.
    fn plainly(
        [queries, keys, values]: [&[f32]; 3],
        [decays, betas]: [&[f32]; 2],
        (key_dim, value_dim): (usize, usize),
    ) -> Vec<f64> {
        let unit = |x: &[f32]| -> Vec<f64> {
            let sum: f64 = x.iter().map(|x| f64::from(*x).powi(2)).sum();
            let length = (sum + 1e-6).sqrt();
            x.iter().map(|x| f64::from(*x) / length).collect()
        };
        let mut state = vec![vec![0f64; value_dim]; key_dim];
        let mut out = Vec::new();
        for step in 0..decays.len() {
            let key = unit(&keys[step * key_dim..][..key_dim]);
            let query = unit(&queries[step * key_dim..][..key_dim]);
            let (decay, beta) = (f64::from(decays[step]), f64::from(betas[step]));
            state.iter_mut().flatten().for_each(|x| *x *= decay);
            for column in 0..value_dim {
                let known: f64 = (0..key_dim).map(|d| state[d][column] * key[d]).sum();
                let new = (f64::from(values[step * value_dim + column]) - known) * beta;
                for d in 0..key_dim {
                    state[d][column] += key[d] * new;
                }
            }
            let scale = 1.0 / (key_dim as f64).sqrt();
            out.extend((0..value_dim).map(|column| {
                (0..key_dim)
                    .map(|d| state[d][column] * query[d] * scale)
                    .sum::<f64>()
            }));
        }
        out
    }

    #[test]
    fn the_delta_rule_is_what_plain_arithmetic_gives() {
        for (steps, key_dim, value_dim) in [(1, 4, 4), (7, 16, 20), (40, 128, 128)] {
            let (queries, keys) = (numbers(steps * key_dim, 37), numbers(steps * key_dim, 71));
            let values = numbers(steps * value_dim, 113);
            let share = |factor| -> Vec<f32> {
                numbers(steps, factor)
                    .iter()
                    .map(|x| x * 0.5 + 0.5)
                    .collect()
            };
            let (decays, betas) = (share(29), share(53));
            let expected = plainly(
                [&queries, &keys, &values],
                [&decays, &betas],
                (key_dim, value_dim),
            );
            // In two parts, the second of which goes on from the first.
            let mut state = vec![0f32; delta_state_len(key_dim, value_dim)];
            let mut got = Vec::new();
            let middle = steps.div_ceil(2);
            for range in [0..middle, middle..steps] {
                if range.is_empty() {
                    continue;
                }
                let mut after = vec![0f32; state.len()];
                let mut out = vec![0f32; range.len() * value_dim];
                delta_rule(DeltaHead {
                    queries: strided(&queries, key_dim).rows(&range),
                    keys: strided(&keys, key_dim).rows(&range),
                    values: strided(&values, value_dim).rows(&range),
                    decays: &decays[range.clone()],
                    betas: &betas[range],
                    before: &state,
                    after: &mut after,
                    out: &mut out,
                });
                state = after;
                got.extend(out);
            }
            for (got, expected) in got.iter().zip(&expected) {
                assert!(
                    (f64::from(*got) - expected).abs() < 1e-5,
                    "{got} instead of {expected}"
                );
            }
        }
    }

    #[test]
    fn a_convolution_goes_on_from_the_rows_before() {
        let (channels, taps) = (20, 3);
        let (rows, weight) = (numbers(9 * channels, 31), numbers(taps * channels, 17));
        let zeros = vec![0f32; (taps - 1) * channels];
        let mut whole = vec![0f32; 9 * channels];
        short_conv(&zeros, strided(&rows, channels), &weight, &mut whole);
        let mut second = vec![0f32; 4 * channels];
        let before = &rows[3 * channels..5 * channels];
        let behind = strided(&rows, channels).rows(&(5..9));
        short_conv(before, behind, &weight, &mut second);
        assert_eq!(whole[5 * channels..], second);
        let expected: f32 = (0..taps)
            .map(|tap| rows[(4 + tap) * channels + 7] * weight[tap * channels + 7])
            .sum();
        assert!((whole[6 * channels + 7] - expected).abs() < 1e-6);
    }
}
