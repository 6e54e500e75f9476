//! The steps behind a transformer, each with a folder of its own.

use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use super::keys::refuse_others;
use crate::architectures::config_file::ConfigFile;
use crate::error::Result;
use crate::files;
use crate::formats::folder::read_json;

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

/// Where the weights of a dense step lie.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum DenseWeights {
    /// In a folder of its own.
    Folder(PathBuf),
    /// In the GGUF file of the model, in the tensor of this name.
    Gguf(&'static str),
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
        weights: DenseWeights,
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

pub(super) fn pooling(folder: &Path) -> Result<Module> {
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
        if names.is_empty() {
            return Err(config.invalid("pooling_mode", "expected at least one"));
        }
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
    // Beside the modes' names, older keys do not count.
    let older = MODES.iter().map(|(_, _, key)| *key);
    let inert: Vec<&str> = ["embedding_dimension", "word_embedding_dimension"]
        .into_iter()
        .chain(older)
        .collect();
    refuse_others(&config, &keys, &inert)?;
    Ok(Module::Pooling {
        modes,
        include_prompt,
    })
}

pub(super) fn normalize(folder: &Path) -> Result<Module> {
    let (keys, file) = (keys_of(folder)?, name_of(folder));
    let config = ConfigFile::new(&file, &keys);
    expect_vector(&config)?;
    refuse_others(&config, &keys, &[])?;
    Ok(Module::Normalize)
}

pub(super) fn dense(folder: &Path) -> Result<Module> {
    let (keys, file) = (keys_of(folder)?, name_of(folder));
    let config = ConfigFile::new(&file, &keys);
    expect_vector(&config)?;
    if config.flag("use_residual")? == Some(true) {
        return Err(config.unsupported("use_residual", "expected false"));
    }
    let class = config
        .text("activation_function")?
        .unwrap_or("torch.nn.modules.activation.Tanh");
    let activation = match torch_class(class) {
        "Identity" => DenseActivation::Identity,
        "Tanh" => DenseActivation::Tanh,
        "Sigmoid" => DenseActivation::Sigmoid,
        "ReLU" => DenseActivation::Relu,
        "GELU" => DenseActivation::Gelu,
        "SiLU" => DenseActivation::Silu,
        _ => return Err(config.unsupported("activation_function", "it is not known")),
    };
    let module = Module::Dense {
        weights: DenseWeights::Folder(folder.to_path_buf()),
        columns: config.required_count("in_features")?,
        rows: config.required_count("out_features")?,
        bias: config.flag("bias")?.unwrap_or(true),
        activation,
    };
    refuse_others(&config, &keys, &[])?;
    Ok(module)
}

/// The name of a class of torch; empty for others, which sentence-transformers does not run either.
pub(crate) fn torch_class(path: &str) -> &str {
    match path.starts_with("torch.") {
        true => path.rsplit('.').next().unwrap_or_default(),
        false => "",
    }
}

pub(super) fn logit_score(folder: &Path) -> Result<Module> {
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
