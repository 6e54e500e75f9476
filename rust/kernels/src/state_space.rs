//! Selective state spaces.

use crate::attention::Strided;
use crate::dispatch::{Vectorized, dispatch};
use crate::instructions::Instructions;
use crate::simd::{F32x16, LANES};

/// Some steps of one head of a selective state space (Dao and Gu 2024, Mamba 2): with a state `S` of `state_dim × width`, each
/// step computes `S = g·S + b ⊗ t·x` and answers `Sᵀc + d·x`.
#[derive(Debug)]
pub struct StateSpaceHead<'a> {
    /// `x`, `[steps, width]`.
    pub inputs: Strided<'a>,
    /// `b`, `[steps, state_dim]`.
    pub writes: Strided<'a>,
    /// `c`, `[steps, state_dim]`.
    pub reads: Strided<'a>,
    /// `g` of each step.
    pub decays: &'a [f32],
    /// `t` of each step.
    pub times: &'a [f32],
    /// `d`.
    pub skip: f32,
    /// The state before; [`state_space_len`] numbers.
    pub before: &'a [f32],
    /// Becomes the state behind the last step.
    pub after: &'a mut [f32],
    /// Becomes the answers, `[steps, width]`.
    pub out: &'a mut [f32],
}

/// Numbers of the state of a head: rows are padded to whole vectors.
pub fn state_space_len(state_dim: usize, width: usize) -> usize {
    state_dim * width.next_multiple_of(LANES)
}

/// Runs all steps of a head.
///
/// # Panics
/// When the sizes do not fit together.
pub fn state_space(head: StateSpaceHead) {
    let (steps, width, state_dim) = (head.inputs.rows, head.inputs.columns, head.reads.columns);
    assert_eq!((head.writes.rows, head.reads.rows), (steps, steps));
    assert_eq!((head.decays.len(), head.times.len()), (steps, steps));
    assert_eq!(head.writes.columns, state_dim);
    assert_eq!(head.before.len(), state_space_len(state_dim, width));
    assert_eq!(head.after.len(), head.before.len());
    assert_eq!(head.out.len(), steps * width);
    dispatch(Instructions::detect(), head);
}

impl Vectorized for StateSpaceHead<'_> {
    #[inline(always)]
    unsafe fn run<V: F32x16>(self) {
        let width = self.inputs.columns;
        let columns = width.div_ceil(LANES);
        let mut row = vec![[0f32; LANES]; columns];
        self.after.copy_from_slice(self.before);
        let state = self.after.as_chunks_mut::<LANES>().0;
        for (step, out) in self.out.chunks_exact_mut(width.max(1)).enumerate() {
            let (decay, time) = (self.decays[step], self.times[step]);
            let (writes, reads) = (self.writes.row(step), self.reads.row(step));
            row.as_flattened_mut()[..width].copy_from_slice(self.inputs.row(step));
            // SAFETY: the caller's promise.
            unsafe {
                let decay = V::splat(decay);
                for (column, x) in row.iter_mut().enumerate() {
                    let input = V::load(x);
                    let timed = input.mul(V::splat(time));
                    let mut answer = input.mul(V::splat(self.skip));
                    for (d, (write, read)) in writes.iter().zip(reads).enumerate() {
                        let place = &mut state[d * columns + column];
                        let kept = V::load(place).mul(decay);
                        let next = timed.mul_add(V::splat(*write), kept);
                        next.store(place);
                        answer = next.mul_add(V::splat(*read), answer);
                    }
                    answer.store(x);
                }
            }
            out.copy_from_slice(&row.as_flattened()[..width]);
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

    #[test]
    fn it_is_what_plain_arithmetic_gives_however_steps_are_divided() {
        const SKIP: f32 = 0.3;
        for (steps, state_dim, width) in [(7, 16, 8), (5, 128, 64), (3, 5, 17)] {
            let inputs = numbers(steps * width, 37);
            let writes = numbers(steps * state_dim, 71);
            let reads = numbers(steps * state_dim, 113);
            let decays: Vec<f32> = numbers(steps, 7).iter().map(|x| 0.5 + 0.4 * x).collect();
            let times: Vec<f32> = numbers(steps, 11).iter().map(|x| 1.0 + 0.5 * x).collect();
            let mut state = vec![vec![0f64; width]; state_dim];
            let mut expected = Vec::new();
            for step in 0..steps {
                let x = &inputs[step * width..][..width];
                for (d, row) in state.iter_mut().enumerate() {
                    let write = f64::from(writes[step * state_dim + d] * times[step]);
                    for (s, x) in row.iter_mut().zip(x) {
                        *s = *s * f64::from(decays[step]) + write * f64::from(*x);
                    }
                }
                for (column, x) in x.iter().enumerate() {
                    let read = |d: usize| f64::from(reads[step * state_dim + d]);
                    let sum: f64 = (0..state_dim).map(|d| state[d][column] * read(d)).sum();
                    expected.push(sum + f64::from(SKIP * x));
                }
            }
            for first in [steps, 1, 2] {
                let mut before = vec![0f32; state_space_len(state_dim, width)];
                let mut got = vec![0f32; steps * width];
                for range in [0..first, first..steps] {
                    let mut after = vec![0f32; before.len()];
                    state_space(StateSpaceHead {
                        inputs: strided(&inputs[range.start * width..range.end * width], width),
                        writes: strided(
                            &writes[range.start * state_dim..range.end * state_dim],
                            state_dim,
                        ),
                        reads: strided(
                            &reads[range.start * state_dim..range.end * state_dim],
                            state_dim,
                        ),
                        decays: &decays[range.clone()],
                        times: &times[range.clone()],
                        skip: SKIP,
                        before: &before,
                        after: &mut after,
                        out: &mut got[range.start * width..range.end * width],
                    });
                    before = after;
                }
                for (got, expected) in got.iter().zip(&expected) {
                    assert!(
                        (f64::from(*got) - expected).abs() < 1e-4,
                        "{state_dim} × {width}: {got} instead of {expected}"
                    );
                }
            }
        }
    }
}
