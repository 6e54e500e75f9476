//! Golden checkpoints changed in one place, in a temporary folder.

use std::collections::HashMap;
use std::path::Path;

use candle4j_engine::error::Error;
use candle4j_engine::loader::LoadOptions;
use candle4j_engine::model::Model;
use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use serde_json::{Map, Value};
use tempfile::TempDir;

use crate::golden::models;

pub struct Checkpoint {
    pub folder: TempDir,
}

impl Checkpoint {
    /// A copy of a golden checkpoint.
    pub fn copy(case: &str) -> Self {
        Self::copy_of(&models().join(case))
    }

    /// A copy of any folder.
    pub fn copy_of(source: &Path) -> Self {
        let folder = TempDir::new().unwrap();
        copy_into(source, folder.path());
        Self { folder }
    }

    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Changes keys of a JSON file; null removes a key.
    pub fn edit(&self, file: &str, change: impl FnOnce(&mut Map<String, Value>)) {
        let path = self.path().join(file);
        let mut keys: Map<String, Value> =
            serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        change(&mut keys);
        std::fs::write(path, serde_json::to_vec(&keys).unwrap()).unwrap();
    }

    /// Changes the tensors of `model.safetensors`: `(shape, values)` by name.
    pub fn edit_weights(&self, change: impl FnOnce(&mut HashMap<String, (Vec<usize>, Vec<f32>)>)) {
        self.rewrite_weights(Dtype::F32, change);
    }

    /// The same, and stores the upper half of each number where that is all there is of BF16.
    pub fn rewrite_weights(
        &self,
        dtype: Dtype,
        change: impl FnOnce(&mut HashMap<String, (Vec<usize>, Vec<f32>)>),
    ) {
        let path = self.path().join("model.safetensors");
        let bytes = std::fs::read(&path).unwrap();
        let mut tensors = HashMap::new();
        for (name, view) in SafeTensors::deserialize(&bytes).unwrap().tensors() {
            assert_eq!(view.dtype(), Dtype::F32);
            let values = view
                .data()
                .chunks_exact(4)
                .map(|b| f32::from_le_bytes(b.try_into().unwrap()))
                .collect();
            tensors.insert(name, (view.shape().to_vec(), values));
        }
        change(&mut tensors);
        let bytes = |value: &f32| match dtype {
            Dtype::BF16 => value.to_le_bytes()[2..].to_vec(),
            _ => value.to_le_bytes().to_vec(),
        };
        let raw: Vec<(String, Vec<usize>, Vec<u8>)> = tensors
            .into_iter()
            .map(|(name, (shape, values))| (name, shape, values.iter().flat_map(bytes).collect()))
            .collect();
        let views: Vec<(&str, TensorView)> = raw
            .iter()
            .map(|(name, shape, bytes)| {
                let view = TensorView::new(dtype, shape.clone(), bytes).unwrap();
                (name.as_str(), view)
            })
            .collect();
        safetensors::serialize_to_file(views, None, &path).unwrap();
    }

    pub fn load(&self) -> Result<Model, Error> {
        self.load_with(&LoadOptions::default())
    }

    pub fn load_with(&self, options: &LoadOptions) -> Result<Model, Error> {
        Model::load(self.path(), options)
    }
}

fn copy_into(source: &Path, target: &Path) {
    for entry in std::fs::read_dir(source).unwrap() {
        let entry = entry.unwrap();
        let own = target.join(entry.file_name());
        match entry.file_type().unwrap().is_dir() {
            true => {
                std::fs::create_dir(&own).unwrap();
                copy_into(&entry.path(), &own);
            }
            false => drop(std::fs::copy(entry.path(), own).unwrap()),
        }
    }
}
