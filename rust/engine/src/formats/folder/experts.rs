//! Experts that are stored together, as tensors of their own.

use candle_core::DType;

use super::checkpoint_tensors::{CheckpointTensors, Stored};
use super::packed::Packed;
use super::packed::mxfp4::{ByteRows, Mxfp4};
use super::tensor_entry::{Layout, TensorEntry, wrong_tensor};
use crate::description::EXPERT_LIMIT;
use crate::error::Result;

const GATE_UP: &str = "gate_up_proj";
const DOWN: &str = "down_proj";
const UP: &str = "up_proj";

/// Whether a tensor can be one of experts × rows × columns, with the rows of so many `parts`. One without numbers could say
/// that there are more experts than can be counted.
fn is_plausible([experts, rows, columns]: [usize; 3], parts: &[&str]) -> bool {
    (1..=EXPERT_LIMIT).contains(&experts)
        && rows > 0
        && columns > 0
        && rows.is_multiple_of(parts.len())
}

impl CheckpointTensors {
    /// Gives the parts of expert tensors names of their own.
    ///
    /// Transformers 5 can save all experts of a layer as one tensor, gate above up, or up alone where there is no gate;
    /// published files have a tensor a projection and expert. Those of gpt-oss, which have biases, are one tensor whose matrices are transposed, or in
    /// MXFP4, with the rows of gate and up in turn.
    ///
    /// # Errors
    /// [`Error::InvalidTensor`](crate::error::Error::InvalidTensor) for shapes that do not belong together.
    pub fn split_experts(&mut self) -> Result<()> {
        let at = |name: &str| format!(".mlp.experts.{name}");
        for prefix in self.stems(&at("gate_up_proj_bias")) {
            self.split_alternating(&format!("{prefix}.mlp.experts."))?;
        }
        for prefix in self.stems(&at(GATE_UP)) {
            let prefix = format!("{prefix}.mlp.experts.");
            self.split_stacked(&prefix, GATE_UP, &["gate_proj", "up_proj"])?;
            self.split_stacked(&prefix, DOWN, &[DOWN])?;
        }
        for prefix in self.stems(&at(UP)) {
            let prefix = format!("{prefix}.mlp.experts.");
            self.split_stacked(&prefix, UP, &[UP])?;
            self.split_stacked(&prefix, DOWN, &[DOWN])?;
        }
        Ok(())
    }

    /// Splits a tensor of shape experts × rows × columns by expert, and its rows among `parts`.
    fn split_stacked(&mut self, prefix: &str, name: &str, parts: &[&str]) -> Result<()> {
        let expected = format!("experts × {} × columns", parts.join(" and "));
        let tensor = format!("{prefix}{name}");
        let Some(entry) = self.take(&tensor) else {
            return Err(wrong_tensor(tensor, expected, "no such tensor"));
        };
        let shape = format!("shape {:?}", entry.shape);
        let &[experts, rows, columns] = entry.shape.as_slice() else {
            return Err(wrong_tensor(tensor, expected, shape));
        };
        if !is_plausible([experts, rows, columns], parts) {
            return Err(wrong_tensor(tensor, expected, shape));
        }
        let rows = rows / parts.len();
        let bytes = rows * columns * entry.dtype.size_in_bytes();
        for expert in 0..experts {
            for (index, part) in parts.iter().enumerate() {
                let from = (expert * parts.len() + index) * bytes;
                self.put(
                    format!("{prefix}{expert}.{part}.weight"),
                    entry.part(from, vec![rows, columns], Layout::Dense),
                );
            }
        }
        Ok(())
    }

    /// Splits the experts of gpt-oss.
    fn split_alternating(&mut self, prefix: &str) -> Result<()> {
        for (name, parts) in [
            (GATE_UP, &["gate_proj", "up_proj"][..]),
            (DOWN, &[DOWN][..]),
        ] {
            self.split_biases(prefix, name, parts)?;
            match self.take(&format!("{prefix}{name}")) {
                Some(entry) => self.split_transposed(prefix, name, parts, &entry)?,
                None => self.split_mxfp4(prefix, name, parts)?,
            }
        }
        Ok(())
    }

    fn split_biases(&mut self, prefix: &str, name: &str, parts: &[&str]) -> Result<()> {
        const EXPECTED: &str = "a row of biases for each expert";
        let tensor = format!("{prefix}{name}_bias");
        let Some(entry) = self.take(&tensor) else {
            return Err(wrong_tensor(tensor, EXPECTED, "no such tensor"));
        };
        let &[experts, rows] = entry.shape.as_slice() else {
            return Err(wrong_tensor(
                tensor,
                EXPECTED,
                format!("shape {:?}", entry.shape),
            ));
        };
        if !is_plausible([experts, rows, 1], parts) {
            return Err(wrong_tensor(
                tensor,
                EXPECTED,
                format!("shape {:?}", entry.shape),
            ));
        }
        let size = entry.dtype.size_in_bytes();
        for expert in 0..experts {
            for (index, part) in parts.iter().enumerate() {
                self.put(
                    format!("{prefix}{expert}.{part}.bias"),
                    entry.part(
                        (expert * rows + index) * size,
                        vec![rows / parts.len()],
                        Layout::Strided([parts.len() * size, size]),
                    ),
                );
            }
        }
        Ok(())
    }

    fn split_transposed(
        &mut self,
        prefix: &str,
        name: &str,
        parts: &[&str],
        entry: &TensorEntry,
    ) -> Result<()> {
        let refused = || {
            let expected = format!("experts × columns × {}", parts.join(" and "));
            let got = format!("shape {:?}", entry.shape);
            Err(wrong_tensor(format!("{prefix}{name}"), expected, got))
        };
        let &[experts, columns, rows] = entry.shape.as_slice() else {
            return refused();
        };
        if !is_plausible([experts, rows, columns], parts) {
            return refused();
        }
        let size = entry.dtype.size_in_bytes();
        for expert in 0..experts {
            for (index, part) in parts.iter().enumerate() {
                self.put(
                    format!("{prefix}{expert}.{part}.weight"),
                    entry.part(
                        (expert * columns * rows + index) * size,
                        vec![rows / parts.len(), columns],
                        Layout::Strided([parts.len() * size, rows * size]),
                    ),
                );
            }
        }
        Ok(())
    }

    fn split_mxfp4(&mut self, prefix: &str, name: &str, parts: &[&str]) -> Result<()> {
        let mut take = |kind: &str| {
            let tensor = format!("{prefix}{name}_{kind}");
            let found = self.take_bytes(&tensor);
            found.ok_or_else(|| wrong_tensor(tensor, "bytes of MXFP4", "no such tensor of bytes"))
        };
        let (blocks, scales) = (take("blocks")?, take("scales")?);
        let fits = matches!(
            (blocks.shape.as_slice(), scales.shape.as_slice()),
            (&[e, r, c, 16], &[experts, rows, columns])
                if [e, r, c] == [experts, rows, columns]
                    && is_plausible([experts, rows, columns], parts)
        );
        if !fits {
            return Err(wrong_tensor(
                format!("{prefix}{name}_blocks"),
                "experts × rows × blocks × 16, and scales of experts × rows × blocks",
                format!("shapes {:?} and {:?}", blocks.shape, scales.shape),
            ));
        }
        let (experts, rows, columns) = (scales.shape[0], scales.shape[1], scales.shape[2]);
        let of_bytes = |stored: &Stored, row: usize, len: usize| ByteRows {
            file: stored.bytes.file,
            offset: stored.bytes.offset + (row * len) as u64,
            len,
            stride: parts.len() * len,
        };
        for expert in 0..experts {
            for (index, part) in parts.iter().enumerate() {
                let row = expert * rows + index;
                let mxfp4 = Mxfp4 {
                    blocks: of_bytes(&blocks, row, 16 * columns),
                    scales: of_bytes(&scales, row, columns),
                };
                self.put(
                    format!("{prefix}{expert}.{part}.weight"),
                    TensorEntry::packed(
                        [rows / parts.len(), 32 * columns],
                        DType::BF16,
                        Packed::Mxfp4(mxfp4),
                    ),
                );
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tensors_without_numbers_and_halves_of_rows_are_no_experts() {
        let pair = ["gate_proj", "up_proj"];
        assert!(is_plausible([4, 6, 2], &pair));
        assert!(!is_plausible([4, 5, 2], &pair));
        assert!(!is_plausible([1 << 58, 0, 1], &pair));
        assert!(!is_plausible([1 << 58, 2, 0], &pair));
        assert!(!is_plausible([EXPERT_LIMIT + 1, 2, 1], &pair));
    }
}
