//! Vectors of 16 lanes, the types of their elements, and math on slices.

mod element;
pub(crate) mod math;
mod vector;

pub(crate) use element::Element;
#[cfg(target_arch = "x86_64")]
pub(crate) use vector::joined;
pub(crate) use vector::{F32x16, LANES, Portable};
