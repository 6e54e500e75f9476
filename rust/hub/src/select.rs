//! Which files of a repository are needed.
//!
//! A model is its configuration, its tokenizer and one set of weights. Repositories hold the same
//! weights several times over, in other formats and precisions, and those would be gigabytes for
//! nothing.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;

use super::id::ModelId;
use super::names;
use crate::error::{Error, Result};

/// The configuration.
const CONFIG: &str = "config.json";

/// Weights in one file.
const SINGLE: &str = "model.safetensors";

/// The list of shards, where weights are in several files.
pub(crate) const INDEX: &str = "model.safetensors.index.json";

/// What a model may have beside its weights.
pub(crate) const COMPANIONS: [&str; 8] = [
    CONFIG,
    "generation_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "chat_template.jinja",
    "chat_template.json",
];

/// Most shards that an index may name. The largest models have a few hundred.
const MAX_SHARDS: usize = 10_000;

/// Quantisations that are taken when none is asked for, the better compromise first.
const PREFERRED: [&str; 2] = ["Q4_K_M", "Q8_0"];

/// The files that are needed, as far as the list of files tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Needed {
    /// Everything but the weights.
    pub(crate) companions: Vec<String>,
    /// The weights.
    pub(crate) weights: WeightFiles,
}

/// Where the weights are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum WeightFiles {
    /// In one file of this name.
    Single(String),
    /// In the shards that the index names.
    Sharded,
    /// In GGUF files, of which the first is to be opened.
    Gguf(Vec<String>),
}

impl Needed {
    /// All names that are known without the index, which itself is one of them.
    pub(crate) fn names(&self) -> Vec<String> {
        let weights = match &self.weights {
            WeightFiles::Single(name) => vec![name.clone()],
            WeightFiles::Sharded => vec![INDEX.to_owned()],
            WeightFiles::Gguf(files) => files.clone(),
        };
        self.companions.iter().cloned().chain(weights).collect()
    }
}

/// Decides which of `listing` are needed for `id`.
pub(crate) fn select(id: &ModelId, listing: &BTreeSet<String>) -> Result<Needed> {
    let companions = COMPANIONS.iter().filter(|name| listing.contains(**name));
    let weights = match id.quantisation() {
        Some(quantisation) => WeightFiles::Gguf(gguf_with(id, listing, quantisation)?),
        None if listing.contains(INDEX) => WeightFiles::Sharded,
        None if listing.contains(SINGLE) => WeightFiles::Single(SINGLE.to_owned()),
        None => WeightFiles::Gguf(preferred_gguf(id, listing)?),
    };
    if !matches!(weights, WeightFiles::Gguf(_)) && !listing.contains(CONFIG) {
        return Err(missing(id, CONFIG.to_owned()));
    }
    Ok(Needed {
        companions: companions.map(|name| (*name).to_owned()).collect(),
        weights,
    })
}

/// The shards that an index names, each once and in order.
pub(crate) fn shards(index: &[u8]) -> Result<Vec<String>> {
    #[derive(Deserialize)]
    struct Index {
        weight_map: BTreeMap<String, String>,
    }
    let refuse = |reason: String| Error::InvalidFile {
        file: INDEX.to_owned(),
        reason,
    };
    let index: Index = serde_json::from_slice(index).map_err(|error| refuse(error.to_string()))?;
    let shards: BTreeSet<String> = index.weight_map.into_values().collect();
    if shards.is_empty() || shards.len() > MAX_SHARDS {
        return Err(refuse(format!("weight_map names {} files", shards.len())));
    }
    for shard in &shards {
        let flaw = match names::check(shard) {
            Err(flaw) => flaw.reason,
            Ok(()) if !shard.ends_with(".safetensors") => "is no safetensors file",
            Ok(()) => continue,
        };
        let shown = names::shown(shard);
        return Err(refuse(format!("weight_map names '{shown}', which {flaw}")));
    }
    Ok(shards.into_iter().collect())
}

/// Whether a file of a listing can matter to [`select`], so that only those need be remembered.
pub(crate) fn matters(name: &str) -> bool {
    COMPANIONS.contains(&name) || name == SINGLE || name == INDEX || gguf_stem(name).is_some()
}

/// One model in GGUF form: a file, or several into which it was split.
struct Gguf {
    /// The name without ending and part number.
    stem: String,
    files: Vec<String>,
    /// How many files there should be.
    parts: usize,
}

impl Gguf {
    fn complete(&self, id: &ModelId) -> Result<Vec<String>> {
        if self.files.len() == self.parts {
            return Ok(self.files.clone());
        }
        let (stem, there) = (names::shown(&self.stem), self.files.len());
        let file = format!("all {} parts of {stem} (there are {there})", self.parts);
        Err(missing(id, file))
    }
}

fn gguf_with(id: &ModelId, listing: &BTreeSet<String>, quantisation: &str) -> Result<Vec<String>> {
    let models = gguf_models(listing);
    let fitting = |model: &&Gguf| has_quantisation(&model.stem, quantisation);
    let fitting: Vec<&Gguf> = models.iter().filter(fitting).collect();
    match fitting.as_slice() {
        [model] => model.complete(id),
        [] => Err(missing(
            id,
            format!("*{quantisation}*.gguf{}", choices(&models)),
        )),
        _ => Err(Error::argument(
            "model",
            format!(
                "'{}' has several files for {quantisation}{}",
                id.repository(),
                choices(&models)
            ),
        )),
    }
}

fn preferred_gguf(id: &ModelId, listing: &BTreeSet<String>) -> Result<Vec<String>> {
    let models = gguf_models(listing);
    let the_one_with = |quantisation: &&str| {
        let fits = |model: &&Gguf| has_quantisation(&model.stem, quantisation);
        let mut fitting = models.iter().filter(fits);
        fitting.next().filter(|_| fitting.next().is_none())
    };
    match (PREFERRED.iter().find_map(the_one_with), models.as_slice()) {
        (Some(model), _) | (None, [model]) => model.complete(id),
        (None, []) => {
            let file = format!("{SINGLE}, {INDEX} or *.gguf (no weights that can be used)");
            Err(missing(id, file))
        }
        (None, _) => Err(Error::argument(
            "model",
            format!(
                "'{0}' has several quantisations{1}; name one as {0}:NAME",
                id.repository(),
                choices(&models)
            ),
        )),
    }
}

/// What there is to choose from, to follow a message.
fn choices(models: &[Gguf]) -> String {
    const MAX_CHOICES: usize = 40;
    if models.is_empty() {
        return " (there are no GGUF files)".to_owned();
    }
    let name = |model: &Gguf| match quantisation_of(&model.stem) {
        Some(quantisation) => quantisation.to_owned(),
        None => names::shown(&model.stem),
    };
    let mut names: Vec<String> = models.iter().take(MAX_CHOICES).map(name).collect();
    names.dedup();
    let more = if models.len() > MAX_CHOICES {
        ", …"
    } else {
        ""
    };
    format!(" (there are {}{more})", names.join(", "))
}

/// A GGUF file's name without its ending.
fn gguf_stem(name: &str) -> Option<&str> {
    let (stem, ending) = name.split_at_checked(name.len().checked_sub(".gguf".len())?)?;
    ending.eq_ignore_ascii_case(".gguf").then_some(stem)
}

fn gguf_models(listing: &BTreeSet<String>) -> Vec<Gguf> {
    let mut models: BTreeMap<(String, usize), Vec<String>> = BTreeMap::new();
    for name in listing {
        let file = name.rsplit('/').next().unwrap_or(name).to_ascii_lowercase();
        // Projectors of vision models and importance matrices are no language models.
        if let Some(stem) = gguf_stem(name)
            && !file.starts_with("mmproj")
            && !file.contains("imatrix")
        {
            let (stem, parts) = split_stem(stem).unwrap_or((stem, 1));
            let files = models.entry((stem.to_owned(), parts)).or_default();
            files.push(name.clone());
        }
    }
    models
        .into_iter()
        .map(|((stem, parts), files)| Gguf { stem, files, parts })
        .collect()
}

/// Takes `-00001-of-00003` off: what is before it, and how many parts there are.
fn split_stem(stem: &str) -> Option<(&str, usize)> {
    let (rest, of) = stem.rsplit_once("-of-")?;
    let (rest, part) = rest.rsplit_once('-')?;
    let is_number = |text: &str| text.len() == 5 && text.bytes().all(|byte| byte.is_ascii_digit());
    (is_number(part) && is_number(of)).then_some((rest, of.parse().ok()?))
}

/// Whether a file's name says that it has this quantisation, as one whole word in any case.
fn has_quantisation(stem: &str, quantisation: &str) -> bool {
    let stem = stem.to_ascii_lowercase();
    let wanted = quantisation.to_ascii_lowercase();
    let is_border = |c: char| "-./ ".contains(c);
    stem.match_indices(&wanted).any(|(at, _)| {
        let before = stem[..at].chars().next_back();
        let after = stem[at + wanted.len()..].chars().next();
        // An underscore is also part of names such as Q4_K_M, whose end is no name by itself.
        let begins = before.is_none_or(|c| is_border(c) || c == '_' && is_quantisation(&wanted));
        begins && after.is_none_or(is_border)
    })
}

/// The word in a file's name that is a quantisation: the last one, or else the folder's name.
fn quantisation_of(stem: &str) -> Option<&str> {
    stem.rsplit(['-', '.', '/', ' '])
        .find(|word| is_quantisation(&word.to_ascii_lowercase()))
}

/// Whether a word in lower case is made as the names of quantisations are: letters of the kind, then
/// the number of bits.
fn is_quantisation(word: &str) -> bool {
    ["ud-q", "ud-iq", "mxfp", "bf", "fp", "tq", "iq", "q", "f"]
        .iter()
        .filter_map(|kind| word.strip_prefix(kind))
        .any(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
}

fn missing(id: &ModelId, file: String) -> Error {
    Error::FileNotFound {
        id: id.repository().to_owned(),
        file,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Code;

    fn listing(names: &[&str]) -> BTreeSet<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    fn selected(id: &str, names: &[&str]) -> Result<Needed> {
        select(&id.parse().unwrap(), &listing(names))
    }

    fn gguf(id: &str, names: &[&str]) -> Vec<String> {
        match selected(id, names).unwrap().weights {
            WeightFiles::Gguf(files) => files,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn one_file_and_its_companions() {
        let needed = selected(
            "a/b",
            &[
                ".gitattributes",
                "README.md",
                "chat_template.jinja",
                "config.json",
                "consolidated.safetensors",
                "generation_config.json",
                "model.fp16.safetensors",
                "model.onnx",
                "model.safetensors",
                "onnx/model.onnx",
                "original/consolidated.00.pth",
                "pytorch_model.bin",
                "special_tokens_map.json",
                "tokenizer.json",
                "tokenizer_config.json",
            ],
        )
        .unwrap();
        assert_eq!(
            needed.weights,
            WeightFiles::Single("model.safetensors".into())
        );
        assert_eq!(
            needed.companions,
            [
                "config.json",
                "generation_config.json",
                "tokenizer.json",
                "tokenizer_config.json",
                "special_tokens_map.json",
                "chat_template.jinja",
            ]
        );
    }

    #[test]
    fn an_index_comes_first() {
        let names = [
            "config.json",
            "model-00001-of-00002.safetensors",
            "model.safetensors.index.json",
        ];
        assert_eq!(
            selected("a/b", &names).unwrap().weights,
            WeightFiles::Sharded
        );
    }

    #[test]
    fn nothing_to_use() {
        let error = selected("a/b", &["config.json", "pytorch_model.bin"]).unwrap_err();
        assert_eq!(error.code(), Code::FileNotFound);
        assert!(error.to_string().contains("model.safetensors"), "{error}");
        let error = selected("a/b", &["model.safetensors"]).unwrap_err();
        assert!(error.to_string().contains("config.json"), "{error}");
        // Another precision alone is not taken for the plain one.
        assert!(selected("a/b", &["config.json", "model.fp16.safetensors"]).is_err());
    }

    #[test]
    fn shards_of_an_index() {
        let index = br#"{"metadata": {}, "weight_map": {"b": "two.safetensors",
            "a": "one.safetensors", "c": "two.safetensors"}}"#;
        assert_eq!(
            shards(index).unwrap(),
            ["one.safetensors", "two.safetensors"]
        );
        for (index, reason) in [
            (r#"{"weight_map": {}}"#, "names 0 files"),
            (r#"{}"#, "weight_map"),
            (r#"{"weight_map": {"a": 1}}"#, "invalid type"),
            ("not json", "expected"),
            (r#"{"weight_map": {"a": "../x.safetensors"}}"#, "'..'"),
            (r#"{"weight_map": {"a": "/x.safetensors"}}"#, "absolute"),
            (r#"{"weight_map": {"a": "..\\x.safetensors"}}"#, "backslash"),
            (r#"{"weight_map": {"a": "C:x.safetensors"}}"#, "drive"),
            (
                r#"{"weight_map": {"a": "\\\\s\\x.safetensors"}}"#,
                "backslash",
            ),
            (r#"{"weight_map": {"a": "a\u0000.safetensors"}}"#, "control"),
            (r#"{"weight_map": {"a": "model.bin"}}"#, "no safetensors"),
        ] {
            let error = shards(index.as_bytes()).unwrap_err();
            assert_eq!(error.code(), Code::InvalidModel);
            assert!(error.to_string().contains(reason), "{index}: {error}");
        }
    }

    #[test]
    fn one_gguf_by_its_quantisation() {
        let names = [
            "README.md",
            "config.json",
            "mmproj-model-f16.gguf",
            "qwen2.5-0.5b-instruct-fp16.gguf",
            "qwen2.5-0.5b-instruct-q4_k_m.gguf",
            "qwen2.5-0.5b-instruct-q4_k.gguf",
            "qwen2.5-0.5b-instruct-q8_0.gguf",
        ];
        assert_eq!(gguf("a/b:Q4_K_M", &names), [names[4]]);
        assert_eq!(gguf("a/b:q4_k", &names), [names[5]]);
        assert_eq!(gguf("a/b:FP16", &names), [names[3]]);
        assert_eq!(gguf("a/b", &names), [names[4]]);
        assert_eq!(gguf("a/b", &names[..4]), [names[3]]);
        let error = selected("a/b:Q5_K_M", &names).unwrap_err();
        assert_eq!(error.code(), Code::FileNotFound);
        assert!(error.to_string().contains("q4_k_m, q8_0"), "{error}");
        assert!(selected("a/b:K_M", &names).is_err());
        assert!(selected("a/b:Q4", &names).is_err());
    }

    #[test]
    fn quantisations_in_other_places() {
        assert_eq!(
            gguf("a/b:q4_0", &["ggml_model_q4_0.gguf", "x.Q4_K.gguf"]),
            ["ggml_model_q4_0.gguf"]
        );
        assert_eq!(
            gguf("a/b:F16", &["BF16/m.gguf", "F16/m.gguf"]),
            ["F16/m.gguf"]
        );
        assert_eq!(
            gguf("a/b:UD-Q4_K_XL", &["m-UD-Q4_K_XL.gguf", "m-Q4_K_M.gguf"]),
            ["m-UD-Q4_K_XL.gguf"]
        );
        assert_eq!(gguf("a/b", &["only.GGUF"]), ["only.GGUF"]);
        // With safetensors there as well, a quantisation asks for GGUF.
        let both = ["config.json", "model.safetensors", "m-Q8_0.gguf"];
        assert_eq!(gguf("a/b:Q8_0", &both), ["m-Q8_0.gguf"]);
        assert_eq!(
            selected("a/b", &both).unwrap().weights,
            WeightFiles::Single(SINGLE.into())
        );
    }

    #[test]
    fn split_gguf() {
        let names = [
            "Q8_0/m-Q8_0-00001-of-00002.gguf",
            "Q8_0/m-Q8_0-00002-of-00002.gguf",
            "m-Q5_K_M-00001-of-00002.gguf",
            "m-Q2_K.gguf",
        ];
        assert_eq!(gguf("a/b:q8_0", &names), names[..2]);
        assert_eq!(gguf("a/b", &names), names[..2]);
        let error = selected("a/b:Q5_K_M", &names).unwrap_err();
        assert!(error.to_string().contains("all 2 parts"), "{error}");
        let error = selected("a/b", &names[2..]).unwrap_err();
        assert_eq!(error.code(), Code::InvalidArgument);
        assert!(error.to_string().contains("Q2_K, Q5_K_M"), "{error}");
    }
}
