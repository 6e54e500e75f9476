//! The files that sentence-transformers keeps beside a model: what becomes of the states of a text's tokens.
//!
//! `modules.json` lists the steps; each has a folder with its configuration and weights. What would change the numbers and is
//! not understood is refused by name.

use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use super::read_json;
use crate::architectures::config_file::ConfigFile;
use crate::error::Result;
use crate::files::{self, Limit};

/// How states of tokens become one vector.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum PoolingMode {
    /// The first token's state.
    Cls,
    /// The greatest number in each place.
    Max,
    /// The mean.
    Mean,
    /// The sum divided by the root of the number of tokens.
    MeanSqrtLen,
    /// The mean, weighted by the place of the token, from 1.
    WeightedMean,
    /// The last token's state.
    LastToken,
}

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

/// The non-linearity of a dense step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum DenseActivation {
    Identity,
    Tanh,
    Sigmoid,
    Relu,
    Gelu,
    Silu,
}

/// A step behind the transformer.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Module {
    /// Vectors of several modes stand beside each other.
    Pooling {
        modes: Vec<PoolingMode>,
        include_prompt: bool,
    },
    /// A layer over the vector.
    Dense {
        folder: PathBuf,
        columns: usize,
        rows: usize,
        bias: bool,
        activation: DenseActivation,
    },
    /// Divides a vector by its length.
    Normalize,
    /// The logit of one token, less that of another, behind the last token.
    LogitScore { yes: u32, no: Option<u32> },
}

/// A model as sentence-transformers describes it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct SentenceFiles {
    /// The folder of the transformer.
    pub(crate) transformer: PathBuf,
    /// The steps behind it, where `modules.json` lists some.
    pub(crate) modules: Option<Vec<Module>>,
    /// The most tokens of a text.
    pub(crate) max_seq_length: Option<usize>,
    /// Whether texts are written small.
    pub(crate) lower_case: bool,
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

/// Reads what there is beside a model.
///
/// # Errors
/// Those of files that are damaged, and [`Error::UnsupportedModel`](crate::error::Error::UnsupportedModel) for steps that are
/// not computed.
pub(crate) fn read(folder: &Path) -> Result<SentenceFiles> {
    let mut files = none(folder);
    if let Some(keys) = read_json(folder, SETTINGS)? {
        files.read_settings(&keys)?;
    }
    let path = folder.join(MODULES);
    if let Some(bytes) = files::read_if_present(&path, Limit::Settings)? {
        let list: Vec<Map<String, Value>> = files::json(&path, &bytes)?;
        files.read_modules(folder, &list)?;
    }
    for name in TRANSFORMER_SETTINGS {
        if let Some(keys) = read_json(&files.transformer, name)? {
            let config = ConfigFile::new(name, &keys);
            files.max_seq_length = config.count("max_seq_length")?;
            files.lower_case = config.flag("do_lower_case")?.unwrap_or(false);
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
        max_seq_length: None,
        lower_case: false,
        prompts: Vec::new(),
        default_prompt: None,
        similarity: Similarity::default(),
        truncate_dim: None,
        activation: None,
    }
}

impl SentenceFiles {
    fn read_settings(&mut self, keys: &Map<String, Value>) -> Result<()> {
        let config = ConfigFile::new(SETTINGS, keys);
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
                (1.., "Pooling") if modules.is_empty() => modules.push(pooling(&own)?),
                (1.., "Normalize") => modules.push(normalize(&own)?),
                (1.., "Dense") => modules.push(dense(&own)?),
                (1.., "LogitScore") if modules.is_empty() => modules.push(logit_score(&own)?),
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

/// The keys of a step's `config.json`; without one, none.
fn keys_of(folder: &Path) -> Result<Map<String, Value>> {
    Ok(read_json(folder, "config.json")?.unwrap_or_default())
}

/// The name of a step's file in messages.
fn name_of(folder: &Path) -> String {
    format!("{}/config.json", files::name(folder))
}

/// The modes in the order of their vectors, with the keys of older files.
const MODES: [(PoolingMode, &str, &str); 6] = [
    (PoolingMode::Cls, "cls", "pooling_mode_cls_token"),
    (PoolingMode::Max, "max", "pooling_mode_max_tokens"),
    (PoolingMode::Mean, "mean", "pooling_mode_mean_tokens"),
    (
        PoolingMode::MeanSqrtLen,
        "mean_sqrt_len_tokens",
        "pooling_mode_mean_sqrt_len_tokens",
    ),
    (
        PoolingMode::WeightedMean,
        "weightedmean",
        "pooling_mode_weightedmean_tokens",
    ),
    (
        PoolingMode::LastToken,
        "lasttoken",
        "pooling_mode_lasttoken",
    ),
];

fn pooling(folder: &Path) -> Result<Module> {
    let (keys, file) = (keys_of(folder)?, name_of(folder));
    let config = ConfigFile::new(&file, &keys);
    let include_prompt = config.flag("include_prompt")?.unwrap_or(true);
    let named = match config.value("pooling_mode") {
        Some(Value::String(name)) => Some(vec![name.as_str()]),
        Some(_) => config.texts("pooling_mode")?,
        None => None,
    };
    let mut modes = Vec::new();
    if let Some(names) = named {
        for name in names {
            match MODES.iter().find(|(_, known, _)| *known == name) {
                Some((mode, _, _)) => modes.push(*mode),
                None => return Err(config.unsupported("pooling_mode", "it is not known")),
            }
        }
    } else {
        for (mode, _, key) in MODES {
            if config.flag(key)? == Some(true) {
                modes.push(mode);
            }
        }
        if modes.is_empty() {
            modes.push(PoolingMode::Mean);
        }
    }
    refuse_others(
        &config,
        &keys,
        &["embedding_dimension", "word_embedding_dimension"],
    )?;
    Ok(Module::Pooling {
        modes,
        include_prompt,
    })
}

fn normalize(folder: &Path) -> Result<Module> {
    let (keys, file) = (keys_of(folder)?, name_of(folder));
    let config = ConfigFile::new(&file, &keys);
    expect_vector(&config)?;
    refuse_others(&config, &keys, &[])?;
    Ok(Module::Normalize)
}

fn dense(folder: &Path) -> Result<Module> {
    let (keys, file) = (keys_of(folder)?, name_of(folder));
    let config = ConfigFile::new(&file, &keys);
    expect_vector(&config)?;
    if config.flag("use_residual")? == Some(true) {
        return Err(config.unsupported("use_residual", "expected false"));
    }
    let class = config
        .text("activation_function")?
        .unwrap_or("torch.nn.modules.activation.Tanh");
    let activation = match class.rsplit('.').next().unwrap_or_default() {
        "Identity" => DenseActivation::Identity,
        "Tanh" => DenseActivation::Tanh,
        "Sigmoid" => DenseActivation::Sigmoid,
        "ReLU" => DenseActivation::Relu,
        "GELU" => DenseActivation::Gelu,
        "SiLU" => DenseActivation::Silu,
        _ => return Err(config.unsupported("activation_function", "it is not known")),
    };
    let module = Module::Dense {
        folder: folder.to_path_buf(),
        columns: config.required_count("in_features")?,
        rows: config.required_count("out_features")?,
        bias: config.flag("bias")?.unwrap_or(true),
        activation,
    };
    refuse_others(&config, &keys, &[])?;
    Ok(module)
}

fn logit_score(folder: &Path) -> Result<Module> {
    let (keys, file) = (keys_of(folder)?, name_of(folder));
    let config = ConfigFile::new(&file, &keys);
    let id = |key: &str| -> Result<Option<u32>> { Ok(config.whole(key)?.map(|id| id as u32)) };
    let yes = id("true_token_id")?
        .ok_or_else(|| config.invalid("true_token_id", "this key is needed"))?;
    let no = id("false_token_id")?;
    refuse_others(&config, &keys, &["module_input_name"])?;
    Ok(Module::LogitScore { yes, no })
}

/// Refuses steps between other things than the vectors of texts.
fn expect_vector(config: &ConfigFile) -> Result<()> {
    for key in ["module_input_name", "module_output_name"] {
        if let Some(name) = config.text(key)?
            && name != "sentence_embedding"
        {
            return Err(config.unsupported(key, "expected sentence_embedding"));
        }
    }
    Ok(())
}

/// Refuses keys that were not read, unless they are known to change nothing.
fn refuse_others(config: &ConfigFile, keys: &Map<String, Value>, inert: &[&str]) -> Result<()> {
    for key in keys.keys() {
        let is_read = config.was_read(key);
        if !is_read && !inert.contains(&key.as_str()) && !key.starts_with("__") {
            return Err(config.unsupported(key, "what this key asks for is not computed"));
        }
    }
    Ok(())
}
