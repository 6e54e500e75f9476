//! Operations on the rows of a tensor on the CPU, without Candle's detour over many small
//! operations, on the threads of the kernels.

use std::ops::Deref;

use candle_core::{CpuStorage, CustomOp2, Layout, Result, Shape, Storage, Tensor, bail};
use candle4j_kernels::{Strided, for_each_part, threads};

/// Numbers below which one thread does all.
const WORTH_THREADS: usize = 1 << 14;

/// Parts for each thread, so that one that is held up does not hold up all.
const PARTS: usize = 4;

/// Whether the operations here can be used on a tensor.
pub(super) fn usable(x: &Tensor) -> bool {
    x.device().is_cpu() && x.dtype() == candle_core::DType::F32
}

/// Calls `work` with each row of `out` and its number, on several threads if there is enough.
pub(crate) fn for_each_row(out: &mut [f32], row: usize, work: impl Fn(usize, &mut [f32]) + Sync) {
    if out.len() < WORTH_THREADS || row == 0 {
        for (index, row) in out.chunks_mut(row.max(1)).enumerate() {
            work(index, row);
        }
        return;
    }
    let rows = out.len() / row;
    let each = rows.div_ceil(PARTS * threads()).max(1);
    let parts = out.chunks_mut(each * row).enumerate().collect();
    for_each_part(parts, |(part, rows): (usize, &mut [f32])| {
        for (index, row) in rows.chunks_mut(row).enumerate() {
            work(part * each + index, row);
        }
    });
}

/// `f` of each number of `x` and the one of `y` in its place: `rows × columns` both, or `y` a row for all rows
/// or a column for all columns. On the threads of the kernels where [`usable`], else by `otherwise`.
fn zip(
    x: &Tensor,
    y: &Tensor,
    f: impl Fn(f32, f32) -> f32 + Copy + Send + Sync,
    otherwise: fn(&Tensor, &Tensor) -> Result<Tensor>,
) -> Result<Tensor> {
    let flat = y.dims().len() == 1;
    match usable(x) && usable(y) {
        true if flat => x.apply_op2_no_bwd(&y.unsqueeze(0)?, &Zip(f)),
        true => x.apply_op2_no_bwd(y, &Zip(f)),
        false => otherwise(x, y),
    }
}

/// See [`zip`].
struct Zip<F>(F);

impl<F: Fn(f32, f32) -> f32 + Copy + Send + Sync> CustomOp2 for Zip<F> {
    fn name(&self) -> &'static str {
        "zip-rows"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_layout: &Layout,
        y: &CpuStorage,
        y_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (x, y) = (strided(x, x_layout)?, strided(y, y_layout)?);
        if ![1, x.rows].contains(&y.rows) || ![1, x.columns].contains(&y.columns) {
            bail!("rows of {:?} and {:?}", x_layout.shape(), y_layout.shape());
        }
        let mut out = vec![0f32; x.rows * x.columns];
        for_each_row(&mut out, x.columns, |index, out| {
            let row = x.row(index);
            match y.row(index.min(y.rows - 1)) {
                [one] => combine(out, row, std::iter::repeat(one), self.0),
                many => combine(out, row, many, self.0),
            }
        });
        Ok((CpuStorage::F32(out), x_layout.shape().clone()))
    }
}

fn combine<'a>(
    out: &mut [f32],
    x: &[f32],
    y: impl IntoIterator<Item = &'a f32>,
    f: impl Fn(f32, f32) -> f32,
) {
    for ((out, x), y) in out.iter_mut().zip(x).zip(y) {
        *out = f(*x, *y);
    }
}

/// `x + y`, see [`zip`].
pub(super) fn add(x: &Tensor, y: &Tensor) -> Result<Tensor> {
    zip(x, y, |x, y| x + y, Tensor::broadcast_add)
}

/// `x · y`, see [`zip`].
pub(super) fn multiply(x: &Tensor, y: &Tensor) -> Result<Tensor> {
    zip(x, y, |x, y| x * y, Tensor::broadcast_mul)
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

/// The rows of a matrix on the CPU.
pub(super) fn on_cpu<'a>(
    (storage, layout): &'a (impl Deref<Target = Storage>, &Layout),
) -> Result<Strided<'a>> {
    match &**storage {
        Storage::Cpu(storage) => strided(storage, layout),
        _ => bail!("expected rows on the CPU"),
    }
}

/// Times a number.
pub(super) fn scaled(x: Tensor, scale: f64) -> Result<Tensor> {
    match scale == 1.0 {
        true => Ok(x),
        false => x.affine(scale, 0.0),
    }
}
