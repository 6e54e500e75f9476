//! Vectors of 16 lanes, the types of their elements, and math on slices.

mod element;
pub(crate) mod math;
mod vector;

pub(crate) use element::Element;
pub(crate) use vector::{F32x16, LANES, Portable, joined};
