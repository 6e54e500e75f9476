//! The file itself: its metadata and the places of its tensors.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs::File;
use std::io::BufReader;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use candle_core::quantized::GgmlDType;
use candle_core::quantized::gguf_file::{Content, Value, VersionedMagic};
use serde_json::Map;

use super::skim::{self, Listed, WithoutTensors};
use crate::architectures::gguf::{
    DENSE_OVER_VECTORS, GATE_UP_EXPERTS, GgufMetadata, LONG_FACTORS, ROPE_FACTORS, SHORT_FACTORS,
};
use crate::description::{FeedForward, Mixer, ModelDescription, stacked};
use crate::error::{Error, Result};
use crate::files::{self, ReadAt};
use crate::formats::BlockType;

/// One tensor as the file describes it.
#[derive(Debug, Clone)]
pub(crate) struct GgufTensor {
    /// Its name.
    pub name: String,
    /// Dimensions, outermost first.
    pub shape: Vec<usize>,
    /// Type of its blocks.
    pub dtype: BlockType,
    /// First byte, counted from the start of its file.
    pub offset: u64,
    /// Which of the files it lies in.
    part: usize,
}

/// What ggml calls types that are not read here.
fn unread_name(number: u32) -> &'static str {
    match number {
        4 => "Q4_2, which was given up",
        5 => "Q4_3, which was given up",
        24 => "I8",
        25 => "I16",
        26 => "I32",
        27 => "I64",
        28 => "F64",
        31..=33 => "Q4_0 in the order of a processor, which was given up",
        36..=38 => "IQ4_NL in the order of a processor, which was given up",
        40 => "NVFP4",
        _ => "unknown",
    }
}

/// The most files that one model is believed to be split into.
const MOST_PARTS: usize = 1000;

/// An opened GGUF file whose tensors all lie inside it, or several that make up one: a large model is
/// split into `NAME-00001-of-0000N.gguf` and so on, the first of which has the metadata.
pub(crate) struct GgufFile {
    parts: Vec<(PathBuf, File)>,
    magic: VersionedMagic,
    metadata: HashMap<String, Value>,
    tensors: BTreeMap<String, GgufTensor>,
}

impl GgufFile {
    /// Opens a file, and those beside it that it is the first of, and reads the metadata.
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let Part {
            file,
            content,
            tensors,
        } = Part::open(path, 0)?;
        let mut whole = Self {
            parts: vec![(path.to_path_buf(), file)],
            magic: content.magic,
            metadata: content.metadata,
            tensors,
        };
        whole.open_others(path)?;
        Ok(whole)
    }

    /// Opens the other parts of a split file.
    fn open_others(&mut self, first: &Path) -> Result<()> {
        const COUNT: &str = "split.count";
        const NUMBER: &str = "split.no";
        let number = |key: &str| -> Result<Option<usize>> {
            match self.value(key) {
                None => Ok(None),
                Some(value) => json(value)
                    .as_u64()
                    .map(|n| Some(n as usize))
                    .ok_or_else(|| self.invalid(key, "expected a whole number")),
            }
        };
        let (count, index) = (number(COUNT)?.unwrap_or(0), number(NUMBER)?.unwrap_or(0));
        if count <= 1 {
            return Ok(());
        }
        if count > MOST_PARTS {
            return Err(self.invalid(COUNT, format!("expected at most {MOST_PARTS}")));
        }
        let ending = |number: usize| format!("-{number:05}-of-{count:05}.gguf");
        let name = self.name();
        let Some(stem) = name.strip_suffix(&ending(1)) else {
            return Err(self.invalid(
                NUMBER,
                if index == 0 {
                    format!(
                        "a file of {count} parts has a name that ends in {}",
                        ending(1)
                    )
                } else {
                    format!("this is part {} of {count}; give the first", index + 1)
                },
            ));
        };
        for number in 2..=count {
            let path = first.with_file_name(format!("{stem}{}", ending(number)));
            if !path.is_file() {
                return Err(Error::InvalidFile {
                    file: files::name(&path),
                    reason: format!("this part of {name} is not there"),
                });
            }
            let part = Part::open(&path, number - 1)?;
            for (tensor, found) in part.tensors {
                if self.tensors.contains_key(&tensor) {
                    return Err(Error::InvalidTensor {
                        file: files::name(&path),
                        tensor,
                        expected: "one tensor of that name".into(),
                        got: "several, in several parts".into(),
                    });
                }
                self.tensors.insert(tensor, found);
            }
            self.parts.push((path, part.file));
        }
        Ok(())
    }

    /// The file's name, for messages.
    pub(crate) fn name(&self) -> String {
        files::name(&self.parts[0].0)
    }

    /// Reads bytes of a tensor from `offset` on, counted from its first.
    pub(crate) fn read(&self, tensor: &GgufTensor, offset: u64, bytes: &mut [u8]) -> Result<()> {
        let (path, file) = &self.parts[tensor.part];
        file.read_at(path, tensor.offset + offset, bytes)
    }

    /// The version of the format.
    pub(crate) fn magic(&self) -> VersionedMagic {
        self.magic
    }

    /// Forgets the metadata.
    pub(crate) fn drop_metadata(&mut self) {
        self.metadata = HashMap::new();
    }

    /// The tensors, by name.
    pub(crate) fn tensors(&self) -> impl Iterator<Item = &GgufTensor> {
        self.tensors.values()
    }

    /// The tensor of a name that must be there.
    pub(crate) fn tensor(&self, name: &str) -> Result<&GgufTensor> {
        self.tensors.get(name).ok_or_else(|| Error::InvalidTensor {
            file: self.name(),
            tensor: name.into(),
            expected: "a tensor of that name".into(),
            got: "none".into(),
        })
    }

    /// Makes sure that the tensors of `config` are there in their shapes, and no others, since
    /// nobody would use them.
    pub(crate) fn check_tensors(&self, config: &ModelDescription) -> Result<()> {
        let experts = config
            .layers
            .iter()
            .find_map(|layer| match layer.feed_forward {
                FeedForward::Experts { num_experts, .. } => Some(num_experts),
                FeedForward::Dense(_) | FeedForward::None => None,
            });
        let mut expected =
            HashSet::from([ROPE_FACTORS, SHORT_FACTORS, LONG_FACTORS].map(str::to_owned));
        for (name, mut shape) in config.tensors() {
            let place = self.place(&name, config);
            match &place.part {
                Some(Slice::Expert { half, .. }) => {
                    if half.is_some() {
                        shape[0] *= 2;
                    }
                    shape.insert(0, experts.unwrap_or(0));
                }
                Some(Slice::Rows { of, .. }) => shape[0] = *of,
                None => {}
            }
            let tensor = self.tensor(&place.tensor)?;
            // A file may say of a vector that it is a matrix, and of a matrix with one row that it is a vector.
            let fits = match (tensor.shape.as_slice(), shape.as_slice()) {
                (own, [len]) => own.iter().product::<usize>() == *len,
                ([columns], [1, expected]) => columns == expected,
                (own, expected) => own == expected,
            };
            if !fits {
                return Err(Error::InvalidTensor {
                    file: self.name(),
                    tensor: place.tensor,
                    expected: format!("shape {shape:?}"),
                    got: format!("shape {:?}", tensor.shape),
                });
            }
            expected.insert(place.tensor);
        }
        if !config.is_causal() {
            expected.extend(DENSE_OVER_VECTORS.map(str::to_owned));
        }
        let is_further = |name: &str| {
            // Of the layers behind those of the model, which predict further tokens.
            let index = name
                .strip_prefix("blk.")
                .and_then(|rest| rest.split('.').next());
            let index = index.and_then(|index| index.parse::<usize>().ok());
            index.is_some_and(|index| index >= config.layers.len()) && self.has_further_layers()
        };
        // Some files have what layers with the keys and values of others do not read.
        let is_unread = |name: &str| {
            let layers = config.layers.iter().enumerate();
            let without = layers.filter(|(_, layer)| {
                layer
                    .attention()
                    .is_some_and(|attention| !attention.has_own_kv())
            });
            let mut parts = without.flat_map(|(index, _)| {
                let part = move |part| format!("blk.{index}.{part}.weight");
                ["attn_k", "attn_v", "attn_k_norm"].map(part)
            });
            parts.any(|part| part == name)
        };
        let is_spare = |name: &str| is_further(name) || is_unread(name);
        match self
            .tensors()
            .find(|tensor| !expected.contains(&tensor.name) && !is_spare(&tensor.name))
        {
            None => Ok(()),
            Some(tensor) => Err(Error::UnsupportedModel {
                file: self.name(),
                key: tensor.name.clone(),
                value: format!("a tensor of shape {:?}", tensor.shape),
                reason: "the model has no place for it".into(),
            }),
        }
    }

    /// Whether there are layers that predict further tokens behind those of the model.
    fn has_further_layers(&self) -> bool {
        let has = |(key, value): (&String, &Value)| {
            key.ends_with(".nextn_predict_layers") && json(value).as_u64() > Some(0)
        };
        self.metadata.iter().any(has)
    }

    /// Where the tensor of a name on the Hub is found; some files have several behind each other in one.
    pub(crate) fn place(&self, name: &str, description: &ModelDescription) -> Place {
        let place = place(name, description.has_norms_after());
        self.fused(name, description)
            .or_else(|| self.fused_expert(&place))
            .or_else(|| self.other_name(&place.tensor))
            .unwrap_or(place)
    }

    /// Half of an expert in a tensor of gates above ups, for one in a tensor of its own that is not there.
    fn fused_expert(&self, place: &Place) -> Option<Place> {
        let Some(Slice::Expert { number, .. }) = place.part else {
            return None;
        };
        if self.tensors.contains_key(&place.tensor) {
            return None;
        }
        let parts = ["ffn_gate_exps", "ffn_up_exps"];
        let half = parts.iter().position(|part| place.tensor.contains(part))?;
        let tensor = place.tensor.replace(parts[half], GATE_UP_EXPERTS);
        self.tensors.contains_key(&tensor).then_some(Place {
            tensor,
            part: Some(Slice::Expert {
                number,
                half: Some(half),
            }),
        })
    }

    /// What some families call a tensor that is not there by its usual name.
    fn other_name(&self, usual: &str) -> Option<Place> {
        if self.tensors.contains_key(usual) {
            return None;
        }
        [
            ("output_norm.", "token_embd_norm."),
            ("ffn_norm.", "post_attention_norm."),
            ("ffn_norm.weight", "ffn_norm"),
            ("ffn_gate_shexp.", "ffn_gate."),
            ("ffn_up_shexp.", "ffn_up."),
            ("ffn_down_shexp.", "ffn_down."),
        ]
        .iter()
        .filter(|(usual_part, _)| usual.contains(usual_part))
        .map(|(usual_part, own)| usual.replace(usual_part, own))
        .find(|name| self.tensors.contains_key(name))
        .map(Place::whole)
    }

    /// The rows of a larger tensor that are the tensor of a name.
    fn fused(&self, name: &str, description: &ModelDescription) -> Option<Place> {
        let (index, part) = name.strip_prefix("model.layers.")?.split_once('.')?;
        let layer = description.layers.get(index.parse::<usize>().ok()?)?;
        let (part, kind) = part.rsplit_once('.')?;
        let at = |name: &str| format!("blk.{index}.{name}.{kind}");
        let (fused, rows, of) = match (part, &layer.mixer, &layer.feed_forward) {
            (
                "self_attn.q_proj" | "self_attn.k_proj" | "self_attn.v_proj",
                Mixer::Attention(attention),
                _,
            ) => {
                let [query, key, value] = stacked(attention.qkv_sizes());
                let rows = match part {
                    "self_attn.q_proj" => query,
                    "self_attn.k_proj" => key,
                    _ => value,
                };
                ("attn_qkv", rows, attention.qkv_sizes().iter().sum())
            }
            ("mlp.gate_proj" | "mlp.up_proj", _, FeedForward::Dense(mlp))
                if mlp.is_gated && !self.tensors.contains_key(&at("ffn_gate")) =>
            {
                let size = mlp.intermediate_size;
                let [gate, up] = stacked([size, size]);
                let rows = if part == "mlp.gate_proj" { gate } else { up };
                ("ffn_up", rows, 2 * size)
            }
            (_, Mixer::DeltaNet(net), _) => {
                let projection = part.strip_prefix("linear_attn.in_proj_")?;
                let (rows, of) = net.rows_by_key_head(projection)?;
                let fused = match projection {
                    "b" | "a" => "ssm_ba",
                    _ => "ssm_in",
                };
                (fused, rows, of)
            }
            _ => return None,
        };
        let tensor = at(fused);
        self.tensors.contains_key(&tensor).then_some(Place {
            tensor,
            part: Some(Slice::Rows { rows, of }),
        })
    }

    /// A value of the metadata.
    pub(crate) fn value(&self, key: &str) -> Option<&Value> {
        self.metadata.get(key)
    }

    /// A text that may be missing.
    pub(crate) fn text(&self, key: &str) -> Result<Option<&str>> {
        match self.value(key) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(self.invalid(key, "expected a text")),
        }
    }

    /// A value as JSON.
    pub(crate) fn json(&self, key: &str) -> Option<serde_json::Value> {
        self.value(key).map(json)
    }

    /// A text that must be there.
    pub(crate) fn required_text(&self, key: &str) -> Result<&str> {
        self.text(key)?
            .ok_or_else(|| self.invalid(key, "this key is needed"))
    }

    /// A truth value that may be missing.
    pub(crate) fn flag(&self, key: &str) -> Result<Option<bool>> {
        match self.value(key) {
            None => Ok(None),
            Some(Value::Bool(flag)) => Ok(Some(*flag)),
            Some(_) => Err(self.invalid(key, "expected true or false")),
        }
    }

    /// A token id that may be missing.
    pub(crate) fn id(&self, key: &str) -> Result<Option<u32>> {
        match self.value(key) {
            None => Ok(None),
            // None, as some tools write it.
            Some(Value::I32(-1) | Value::I64(-1) | Value::U64(u64::MAX)) => Ok(None),
            Some(value) => json(value)
                .as_u64()
                .and_then(|id| u32::try_from(id).ok())
                .map(Some)
                .ok_or_else(|| self.invalid(key, "expected a token id")),
        }
    }

    /// A list of texts that must be there.
    pub(crate) fn required_texts(&self, key: &str) -> Result<Vec<&str>> {
        self.required_list(key, "texts", |value| match value {
            Value::String(text) => Some(text.as_str()),
            _ => None,
        })
    }

    /// A list of finite numbers that must be there.
    pub(crate) fn required_floats(&self, key: &str) -> Result<Vec<f32>> {
        self.required_list(key, "numbers", |value| match value {
            Value::F32(x) if x.is_finite() => Some(*x),
            _ => None,
        })
    }

    /// A list of whole numbers that must be there.
    pub(crate) fn required_numbers(&self, key: &str) -> Result<Vec<u64>> {
        self.required_list(key, "whole numbers", |value| json(value).as_u64())
    }

    fn required_list<'a, T>(
        &'a self,
        key: &str,
        what: &str,
        item: impl Fn(&'a Value) -> Option<T>,
    ) -> Result<Vec<T>> {
        match self.value(key) {
            Some(Value::Array(list)) => list.iter().map(item).collect(),
            _ => None,
        }
        .ok_or_else(|| self.invalid(key, format!("expected a list of {what}")))
    }

    /// An error about a value of the metadata.
    pub(crate) fn invalid(&self, key: &str, reason: impl Into<String>) -> Error {
        let value = match self.value(key) {
            None => "(missing)".into(),
            Some(Value::Array(list)) => format!("(a list of {})", list.len()),
            Some(value) => json(value).to_string().chars().take(200).collect(),
        };
        Error::InvalidConfig {
            file: self.name(),
            key: key.into(),
            value,
            reason: reason.into(),
        }
    }
}

impl GgufMetadata for GgufFile {
    fn name(&self) -> String {
        self.name()
    }

    fn section(&self, prefix: &str) -> Map<String, serde_json::Value> {
        self.metadata
            .iter()
            .filter_map(|(key, value)| Some((key.strip_prefix(prefix)?.to_owned(), json(value))))
            .collect()
    }

    fn shape(&self, tensor: &str) -> Option<&[usize]> {
        self.tensors.get(tensor).map(|tensor| &tensor.shape[..])
    }

    fn floats(&self, name: &str, len: usize) -> Result<Vec<f64>> {
        let tensor = self.tensor(name)?;
        let wrong = |got: String| Error::InvalidTensor {
            file: self.name(),
            tensor: name.into(),
            expected: format!("{len} positive numbers of f32"),
            got,
        };
        if tensor.shape != [len] || tensor.dtype != BlockType::Candle(GgmlDType::F32) {
            return Err(wrong(format!(
                "shape {:?} of {}",
                tensor.shape,
                tensor.dtype.name()
            )));
        }
        let mut floats = vec![0f32; len];
        self.read(tensor, 0, bytemuck::cast_slice_mut(&mut floats))?;
        match floats.iter().find(|x| !(x.is_finite() && **x > 0.0)) {
            None => Ok(floats.into_iter().map(f64::from).collect()),
            Some(x) => Err(wrong(x.to_string())),
        }
    }
}

/// One file of those that a model may be split into.
struct Part {
    file: File,
    content: Content,
    tensors: BTreeMap<String, GgufTensor>,
}

impl Part {
    fn open(path: &Path, part: usize) -> Result<Self> {
        let file = File::open(path).map_err(|e| Error::io(path, &e))?;
        let size = file.metadata().map_err(|e| Error::io(path, &e))?.len();
        let invalid = |reason: String| Error::InvalidFile {
            file: files::name(path),
            reason,
        };
        if let Some(other) = files::other_kind(path, &file, files::GGUF)? {
            return Err(invalid(format!("is {other} and no GGUF file")));
        }
        let mut reader = BufReader::with_capacity(1 << 20, &file);
        let (listed, list_end) = skim::list(&mut reader).map_err(&invalid)?;
        // Candle divides by an alignment that the file chooses.
        let mut without = WithoutTensors::new(&mut reader).map_err(|e| Error::io(path, &e))?;
        let read = catch_unwind(AssertUnwindSafe(|| Content::read(&mut without)));
        let content = match read {
            Ok(Ok(content)) => content,
            Ok(Err(error)) => {
                return Err(invalid(format!(
                    "not a readable GGUF file: {}",
                    first_line(&error.to_string())
                )));
            }
            Err(_) => return Err(invalid("not a readable GGUF file".into())),
        };
        let alignment = content.metadata.get("general.alignment").map(json);
        let alignment = alignment.and_then(|n| n.as_u64()).unwrap_or(32).max(1);
        let data = list_end
            .checked_next_multiple_of(alignment)
            .unwrap_or(u64::MAX);
        let mut tensors = BTreeMap::new();
        for Listed {
            name,
            shape,
            kind,
            offset: place,
        } in listed
        {
            let dtype = BlockType::of_gguf(kind).ok_or_else(|| Error::UnsupportedModel {
                file: files::name(path),
                key: name.clone(),
                value: format!("a tensor of type {kind} ({})", unread_name(kind)),
                reason: "numbers of this type cannot be read".into(),
            })?;
            let outside = |got: String| Error::InvalidTensor {
                file: files::name(path),
                tensor: name.clone(),
                expected: format!("whole rows of {} inside the file", dtype.name()),
                got,
            };
            if !place.is_multiple_of(alignment) {
                return Err(outside(format!(
                    "a place of {place}, which is no multiple of the alignment {alignment}"
                )));
            }
            let row = shape.last().copied().unwrap_or(1);
            let elements = shape.iter().try_fold(1u64, |n, d| n.checked_mul(*d as u64));
            let bytes = elements
                .filter(|_| row.is_multiple_of(dtype.block_size()))
                .map(|n| n / dtype.block_size() as u64)
                .and_then(|blocks| blocks.checked_mul(dtype.type_size() as u64))
                .ok_or_else(|| outside(format!("shape {shape:?}")))?;
            let offset = data.checked_add(place);
            let end = offset.and_then(|offset| offset.checked_add(bytes));
            match (offset, end) {
                (Some(offset), Some(end)) if end <= size => {
                    let tensor = GgufTensor {
                        name: name.clone(),
                        shape,
                        dtype,
                        offset,
                        part,
                    };
                    if tensors.insert(name.clone(), tensor).is_some() {
                        return Err(invalid(format!("the tensor {name} is listed twice")));
                    }
                }
                _ => {
                    return Err(outside(format!(
                        "{bytes} bytes at {place}, and the file has {size}; it was cut short"
                    )));
                }
            }
        }
        Ok(Self {
            file,
            content,
            tensors,
        })
    }
}

/// Candle appends where an error was made, when the environment asks for it.
fn first_line(message: &str) -> &str {
    message.lines().next().unwrap_or_default()
}

/// Where the tensor of a name on the Hub is found.
pub(crate) struct Place {
    /// The tensor in the file.
    pub tensor: String,
    /// Which part of it, where it is not all.
    pub part: Option<Slice>,
}

/// A part of a tensor along its first dimension.
pub(crate) enum Slice {
    /// One expert, where one tensor holds those of all experts; where it holds gates above ups, the half of it.
    Expert { number: usize, half: Option<usize> },
    /// Ranges of rows, behind each other, of so many rows.
    Rows { rows: Vec<Range<usize>>, of: usize },
}

impl Place {
    /// All of a tensor.
    pub(crate) fn whole(tensor: String) -> Self {
        Self { tensor, part: None }
    }
}

/// Where the tensor of a name on the Hub is found, of a model whose blocks have norms behind them or not.
fn place(name: &str, norms_after: bool) -> Place {
    const EXPERTS: &str = ".mlp.experts.";
    let expert = name.split_once(EXPERTS).and_then(|(layer, rest)| {
        let (number, projection) = rest.split_once('.')?;
        let (projection, kind) = projection.split_once("_proj.")?;
        Some((layer, number.parse().ok()?, projection, kind))
    });
    match expert {
        None => Place::whole(gguf_name(name, norms_after)),
        Some((layer, expert, projection, kind)) => Place {
            tensor: gguf_name(
                &format!("{layer}.ffn_{projection}_exps.{kind}"),
                norms_after,
            ),
            part: Some(Slice::Expert {
                number: expert,
                half: None,
            }),
        },
    }
}

/// What GGUF calls a tensor that is `name` on the Hub, experts left out.
fn gguf_name(name: &str, norms_after: bool) -> String {
    const PARTS: [(&str, &str); 61] = [
        ("model.embed_tokens.", "token_embd."),
        ("model.norm.", "output_norm."),
        ("model.embed_tokens_per_layer.", "per_layer_token_embd."),
        ("model.per_layer_model_projection.", "per_layer_model_proj."),
        ("model.per_layer_projection_norm.", "per_layer_proj_norm."),
        ("post_per_layer_input_norm.", "post_norm."),
        ("per_layer_input_gate.", "inp_gate."),
        ("per_layer_projection.", "proj."),
        ("layer_scalar", "layer_output_scale.weight"),
        ("lm_head.", "output."),
        ("model.layers.", "blk."),
        ("conv.in_proj.", "shortconv.in_proj."),
        ("conv.conv.", "shortconv.conv."),
        ("conv.out_proj.", "shortconv.out_proj."),
        ("linear_attn.in_proj_qkv.", "attn_qkv."),
        ("linear_attn.in_proj_z.", "attn_gate."),
        ("linear_attn.in_proj_b.", "ssm_beta."),
        ("linear_attn.in_proj_a.", "ssm_alpha."),
        ("linear_attn.conv1d.", "ssm_conv1d."),
        ("linear_attn.A_log", "ssm_a"),
        ("linear_attn.dt_bias", "ssm_dt.bias"),
        ("linear_attn.norm.", "ssm_norm."),
        ("linear_attn.out_proj.", "ssm_out."),
        ("mamba.in_proj.", "ssm_in."),
        ("mamba.conv1d.", "ssm_conv1d."),
        ("mamba.A_log", "ssm_a"),
        ("mamba.D", "ssm_d"),
        ("mamba.dt_bias", "ssm_dt.bias"),
        ("mamba.norm.", "ssm_norm."),
        ("mamba.out_proj.", "ssm_out."),
        ("self_attn.q_a_proj.", "attn_q_a."),
        ("self_attn.q_a_layernorm.", "attn_q_a_norm."),
        ("self_attn.q_b_proj.", "attn_q_b."),
        ("self_attn.kv_a_proj_with_mqa.", "attn_kv_a_mqa."),
        ("self_attn.kv_a_layernorm.", "attn_kv_a_norm."),
        ("self_attn.kv_b_proj.", "attn_kv_b."),
        ("self_attn.k_b_proj.", "attn_k_b."),
        ("self_attn.v_b_proj.", "attn_v_b."),
        ("self_attn.q_proj.", "attn_q."),
        ("self_attn.k_proj.", "attn_k."),
        ("self_attn.v_proj.", "attn_v."),
        ("self_attn.o_proj.", "attn_output."),
        ("self_attn.q_norm.", "attn_q_norm."),
        ("self_attn.sinks", "attn_sinks.weight"),
        ("self_attn.k_norm.", "attn_k_norm."),
        ("mlp.gate_proj.", "ffn_gate."),
        ("mlp.up_proj.", "ffn_up."),
        ("mlp.down_proj.", "ffn_down."),
        ("mlp.gate.e_score_correction_bias", "exp_probs_b.bias"),
        ("mlp.gate.", "ffn_gate_inp."),
        ("mlp.experts.scale", "ffn_down_exps.scale"),
        ("pre_feedforward_layernorm_2.", "pre_ffw_norm_2."),
        ("post_feedforward_layernorm_1.", "post_ffw_norm_1."),
        ("post_feedforward_layernorm_2.", "post_ffw_norm_2."),
        ("mlp.shared_expert.gate_proj.", "ffn_gate_shexp."),
        ("mlp.shared_expert.up_proj.", "ffn_up_shexp."),
        ("mlp.shared_expert.down_proj.", "ffn_down_shexp."),
        ("mlp.shared_expert_gate.", "ffn_gate_inp_shexp."),
        ("input_layernorm.", "attn_norm."),
        ("pre_feedforward_layernorm.", "ffn_norm."),
        ("post_feedforward_layernorm.", "post_ffw_norm."),
    ];
    let behind_attention = match norms_after {
        true => "post_attention_norm.",
        false => "ffn_norm.",
    };
    let other = [("post_attention_layernorm.", behind_attention)];
    let parts = PARTS.iter().chain(&other);
    parts.fold(name.to_owned(), |name, (hub, gguf)| name.replace(hub, gguf))
}

fn json(value: &Value) -> serde_json::Value {
    match value {
        Value::U8(n) => (*n).into(),
        Value::I8(n) => (*n).into(),
        Value::U16(n) => (*n).into(),
        Value::I16(n) => (*n).into(),
        Value::U32(n) => (*n).into(),
        Value::I32(n) => (*n).into(),
        Value::U64(n) => (*n).into(),
        Value::I64(n) => (*n).into(),
        Value::F32(x) => number(f64::from(*x)),
        Value::F64(x) => number(*x),
        Value::Bool(flag) => (*flag).into(),
        Value::String(text) => text.as_str().into(),
        Value::Array(list) => list.iter().map(json).collect(),
    }
}

/// JSON has no NaN and no infinity, and null would be taken for a missing key.
fn number(x: f64) -> serde_json::Value {
    serde_json::Number::from_f64(x).map_or_else(|| x.to_string().into(), Into::into)
}
