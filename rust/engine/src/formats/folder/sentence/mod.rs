//! The files that sentence-transformers keeps beside a model: what becomes of the states of a text's tokens.
//!
//! `modules.json` lists the steps; each has a folder with its configuration and weights. What would change the numbers and is
//! not understood is refused by name.

mod keys;
mod steps;
mod transformer;

use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

pub use steps::PoolingMode;
pub(crate) use steps::{DenseActivation, DenseWeights, Module, torch_class};
use transformer::TransformerSettings;
pub(crate) use transformer::{MessageSettings, ModelType};

use super::read_json;
use crate::architectures::config_file::ConfigFile;
use crate::error::Result;
use crate::files::{self, Limit};

/// Similarity of two vectors.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Similarity {
    /// Of their directions.
    #[default]
    Cosine,
    /// Their product.
    Dot,
    /// Their distance, negative.
    Euclidean,
    /// The sum of the differences, negative.
    Manhattan,
}

/// A model as sentence-transformers describes it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct SentenceFiles {
    /// The folder of the transformer.
    pub(crate) transformer: PathBuf,
    /// The steps behind it, where `modules.json` lists some.
    pub(crate) modules: Option<Vec<Module>>,
    /// How the transformer reads texts.
    pub(crate) settings: TransformerSettings,
    /// Texts that are put before texts, by their names, in the file's order.
    pub(crate) prompts: Vec<(String, String)>,
    /// Which of them is used where nothing else is said.
    pub(crate) default_prompt: Option<String>,
    pub(crate) similarity: Similarity,
    /// Numbers of a vector that are kept.
    pub(crate) truncate_dim: Option<usize>,
    /// The class of an activation behind a classifier.
    pub(crate) activation: Option<String>,
}

const MODULES: &str = "modules.json";
const SETTINGS: &str = "config_sentence_transformers.json";

/// The names that the transformer's own settings had in the course of time.
const TRANSFORMER_SETTINGS: [&str; 7] = [
    "sentence_bert_config.json",
    "sentence_roberta_config.json",
    "sentence_distilbert_config.json",
    "sentence_camembert_config.json",
    "sentence_albert_config.json",
    "sentence_xlm-roberta_config.json",
    "sentence_xlnet_config.json",
];

/// Reads what there is beside a model that is to be loaded as `wanted`. As in sentence-transformers, without `modules.json`
/// nothing else counts, nor does it where a model for embeddings becomes a reranker.
///
/// # Errors
/// Those of files that are damaged, and [`Error::UnsupportedModel`](crate::error::Error::UnsupportedModel) for what is not
/// computed.
pub(crate) fn read(folder: &Path, wanted: ModelType) -> Result<SentenceFiles> {
    let mut files = none(folder);
    let path = folder.join(MODULES);
    let Some(bytes) = files::read_if_present(&path, Limit::Settings)? else {
        return Ok(files);
    };
    let settings = read_json(folder, SETTINGS)?.unwrap_or_default();
    let config = ConfigFile::new(SETTINGS, &settings);
    match (config.text("model_type")?, wanted) {
        (None | Some("SentenceTransformer"), ModelType::SentenceTransformer)
        | (Some("CrossEncoder"), ModelType::CrossEncoder) => {}
        (_, ModelType::CrossEncoder) => return Ok(files),
        (Some("CrossEncoder"), ModelType::SentenceTransformer) => {
            return Err(config.unsupported("model_type", "this is a reranker and gives no vectors"));
        }
        (Some(_), ModelType::SentenceTransformer) => {
            return Err(config.unsupported("model_type", "expected SentenceTransformer"));
        }
    }
    files.read_settings(&config)?;
    let list: Vec<Map<String, Value>> = files::json(&path, &bytes)?;
    files.read_modules(folder, &list)?;
    for name in TRANSFORMER_SETTINGS {
        if let Some(keys) = read_json(&files.transformer, name)?
            && !keys.is_empty()
        {
            files.settings = transformer::read(&ConfigFile::new(name, &keys), &keys, wanted)?;
            break;
        }
    }
    Ok(files)
}

/// What is known of a model, in a folder or a file, that has nothing beside it.
pub(crate) fn none(model: &Path) -> SentenceFiles {
    SentenceFiles {
        transformer: model.to_path_buf(),
        modules: None,
        settings: TransformerSettings::default(),
        prompts: Vec::new(),
        default_prompt: None,
        similarity: Similarity::default(),
        truncate_dim: None,
        activation: None,
    }
}

impl SentenceFiles {
    fn read_settings(&mut self, config: &ConfigFile) -> Result<()> {
        if let Some(prompts) = config.value("prompts") {
            let map = prompts
                .as_object()
                .ok_or_else(|| config.invalid("prompts", "expected an object of texts"))?;
            for (name, prompt) in map {
                match prompt {
                    Value::Null => {}
                    Value::String(text) => self.prompts.push((name.clone(), text.clone())),
                    _ => return Err(config.invalid("prompts", "expected an object of texts")),
                }
            }
        }
        self.default_prompt = config.text("default_prompt_name")?.map(str::to_owned);
        if let Some(name) = &self.default_prompt
            && !self.prompts.iter().any(|(known, _)| known == name)
        {
            return Err(config.invalid("default_prompt_name", "expected the name of a prompt"));
        }
        self.similarity = match config.text("similarity_fn_name")?.unwrap_or("cosine") {
            "cosine" => Similarity::Cosine,
            "dot" => Similarity::Dot,
            "euclidean" => Similarity::Euclidean,
            "manhattan" => Similarity::Manhattan,
            _ => return Err(config.unsupported("similarity_fn_name", "it is not known")),
        };
        self.truncate_dim = config.count("truncate_dim")?;
        self.activation = config.text("activation_fn")?.map(str::to_owned);
        Ok(())
    }

    fn read_modules(&mut self, folder: &Path, list: &[Map<String, Value>]) -> Result<()> {
        let mut modules = Vec::new();
        for (index, entry) in list.iter().enumerate() {
            let config = ConfigFile::new(MODULES, entry);
            let class = config.text("type")?.unwrap_or_default();
            let path = config.text("path")?.unwrap_or_default();
            if !path.is_empty() && !files::is_below(path) {
                return Err(config.invalid("path", "expected a path below the folder"));
            }
            let own = folder.join(path);
            let kind = class.rsplit('.').next().unwrap_or_default();
            match (index, kind) {
                (0, "Transformer") => self.transformer = own,
                (0, _) => {
                    return Err(config.unsupported("type", "expected a Transformer first"));
                }
                (1.., "Pooling") if modules.is_empty() => modules.push(steps::pooling(&own)?),
                (1.., "Normalize") => modules.push(steps::normalize(&own)?),
                (1.., "Dense") => modules.push(steps::dense(&own)?),
                (1.., "LogitScore") if modules.is_empty() => {
                    modules.push(steps::logit_score(&own)?)
                }
                _ => {
                    return Err(config.unsupported(
                        "type",
                        "of steps, Pooling and then Dense and Normalize are computed",
                    ));
                }
            }
        }
        self.modules = Some(modules);
        Ok(())
    }
}
