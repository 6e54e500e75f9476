//! The kernels beside plain arithmetic.

mod attention;
mod floats;
mod products;
mod rounded;
mod support;
