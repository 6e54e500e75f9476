//! Work on the rows of a tensor on the CPU, without Candle's detour over many small operations.
//!
//! Threads come from the pool that Candle's quantised kernels use. Its threads spin for a while after
//! each product, so that work of another pool in between would compete with them for processors.

use candle_core::utils::barrier_pool;
use candle_core::{CpuStorage, Layout, Result, Tensor, bail};
use candle4j_kernels::{Strided, for_each_part};

/// Numbers below which one thread does all.
const WORTH_THREADS: usize = 1 << 14;

/// Parts for each thread, so that one that is held up does not hold up all.
const PARTS: usize = 4;

/// Whether the operations here can be used on a tensor.
pub(super) fn usable(x: &Tensor) -> bool {
    x.device().is_cpu() && x.dtype() == candle_core::DType::F32
}

/// Calls `work` with each row of `out` and its number, on several threads if there is enough.
pub(super) fn for_each_row(out: &mut [f32], row: usize, work: impl Fn(usize, &mut [f32]) + Sync) {
    if out.len() < WORTH_THREADS || row == 0 {
        for (index, row) in out.chunks_mut(row.max(1)).enumerate() {
            work(index, row);
        }
        return;
    }
    let rows = out.len() / row;
    let each = rows
        .div_ceil(PARTS * (barrier_pool().n_workers() + 1))
        .max(1);
    let parts = out.chunks_mut(each * row).enumerate().collect();
    for_each_part(parts, |(part, rows): (usize, &mut [f32])| {
        for (index, row) in rows.chunks_mut(row).enumerate() {
            work(part * each + index, row);
        }
    });
}

/// The rows of a tensor of two dimensions in 32 bits, whose numbers may have gaps between rows but
/// not inside of them.
pub(super) fn strided<'a>(storage: &'a CpuStorage, layout: &Layout) -> Result<Strided<'a>> {
    let (CpuStorage::F32(numbers), &[rows, columns], &[stride, step]) =
        (storage, layout.dims(), layout.stride())
    else {
        bail!("expected rows in 32 bits, got {:?}", layout.shape());
    };
    if step != 1 && columns > 1 {
        bail!("expected rows without gaps inside");
    }
    Ok(Strided {
        numbers: &numbers[layout.start_offset()..],
        stride,
        rows,
        columns,
    })
}
