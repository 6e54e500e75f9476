//! How the matrices of a folder were quantized, as `quantization_config` says it.

use serde_json::{Map, Value, json};

use crate::error::{Error, Result};

const KEY: &str = "quantization_config";

/// Rows and columns that have a scale together, of floating point numbers, where no key says it.
const BLOCK: [usize; 2] = [128, 128];

/// What is read.
const METHODS: &str = "awq, gptq, fp8, compressed-tensors and mxfp4";

/// A way to quantize that is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::formats::folder) enum Method {
    /// Experts of gpt-oss; seen of the tensors.
    Mxfp4,
    Awq(Groups),
    Gptq {
        bits: u32,
        /// Whether zero points are stored as they are; else they are one less.
        has_zeros: bool,
        groups: Groups,
    },
    /// Floating point numbers of 8 bits, rows and columns of a scale.
    Fp8([usize; 2]),
    CompressedTensors {
        /// Rows and columns of a scale of floating point numbers.
        block: [usize; 2],
        /// Bits of whole numbers, where all have as many.
        bits: Option<u32>,
        /// Whether whole numbers have zero points that are stored.
        has_zeros: bool,
        groups: Groups,
    },
}

/// What is said of the groups of columns that have a scale together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::formats::folder) struct Groups {
    pub(in crate::formats::folder) size: GroupSize,
    /// Whether a tensor says the group of each column.
    pub(in crate::formats::folder) is_told: bool,
}

/// How many columns a group has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::formats::folder) enum GroupSize {
    /// As many as the number of scales says.
    Unknown,
    All,
    Columns(usize),
}

/// Takes the key out of a configuration where it is understood; `None` where nothing is quantized.
///
/// # Errors
/// [`Error::UnsupportedModel`] for methods, or variants of them, that are not read.
pub(in crate::formats::folder) fn take(config: &mut Map<String, Value>) -> Result<Option<Method>> {
    let Some(found) = config.get(KEY) else {
        return Ok(None);
    };
    // Left there, as keys are that say nothing.
    if found.is_null() || *found == json!({}) {
        return Ok(None);
    }
    let method = match found["quant_method"].as_str() {
        Some("mxfp4") => Method::Mxfp4,
        Some("awq") => awq(found)?,
        Some("gptq") => gptq(found)?,
        Some("fp8") => fp8(found)?,
        Some("compressed-tensors") => compressed_tensors(found)?,
        other => {
            let reason = format!(
                "of quantized folders, those by {METHODS} are read; a folder in 16 bits or a GGUF file of the model would be"
            );
            return Err(Error::UnsupportedModel {
                file: "config.json".into(),
                key: KEY.into(),
                value: other.map_or_else(|| found.to_string(), str::to_owned),
                reason,
            });
        }
    };
    config.remove(KEY);
    Ok(Some(method))
}

fn refused(found: &Value, key: &str, expected: &str) -> Error {
    Error::UnsupportedModel {
        file: "config.json".into(),
        key: format!("{KEY}.{key}"),
        value: found[key].to_string(),
        reason: expected.into(),
    }
}

/// A key that says something, other than these values.
fn expect(found: &Value, key: &str, known: &[Value], expected: &str) -> Result<()> {
    match found[key].is_null() || known.contains(&found[key]) {
        true => Ok(()),
        false => Err(refused(found, key, expected)),
    }
}

/// Every matrix is quantized in the same way, or not at all.
fn expect_no_exceptions(found: &Value, key: &str) -> Result<()> {
    let none = [json!({}), json!([]), json!(false)];
    expect(found, key, &none, "matrices that differ from others")
}

/// The size of groups, which is -1 where all columns are one.
fn group_size(found: &Value, key: &str) -> Result<GroupSize> {
    match (&found[key], found[key].as_i64()) {
        (Value::Null, _) => Ok(GroupSize::Unknown),
        (_, Some(-1)) => Ok(GroupSize::All),
        (_, Some(size)) if (1..=1 << 24).contains(&size) => Ok(GroupSize::Columns(size as usize)),
        _ => Err(refused(
            found,
            key,
            "expected a number of columns, or -1 for all",
        )),
    }
}

fn awq(found: &Value) -> Result<Method> {
    for key in ["bits", "w_bit"] {
        expect(found, key, &[json!(4)], "4 bits are read")?;
    }
    let versions = [json!("gemm"), json!("GEMM")];
    for key in ["version", "format"] {
        expect(found, key, &versions, "the order of gemm is read")?;
    }
    let other = [json!("autoawq")];
    expect(found, "backend", &other, "the order of gemm is read")?;
    let key = match found["group_size"].is_null() {
        true => "q_group_size",
        false => "group_size",
    };
    Ok(Method::Awq(Groups {
        size: group_size(found, key)?,
        is_told: false,
    }))
}

fn gptq(found: &Value) -> Result<Method> {
    let bits = match found["bits"].as_u64() {
        Some(bits @ (2 | 4 | 8)) => bits as u32,
        _ => return Err(refused(found, "bits", "2, 4 and 8 bits are read")),
    };
    let formats = [json!("gptq"), json!("gptq_v2")];
    for key in ["checkpoint_format", "format"] {
        expect(found, key, &formats, "gptq and gptq_v2 are read")?;
    }
    expect_no_exceptions(found, "dynamic")?;
    // Of the two, the older one counts where both are there.
    let format = match found["checkpoint_format"].is_null() {
        true => &found["format"],
        false => &found["checkpoint_format"],
    };
    Ok(Method::Gptq {
        bits,
        has_zeros: format == "gptq_v2",
        groups: Groups {
            size: group_size(found, "group_size")?,
            is_told: found["desc_act"] == true,
        },
    })
}

fn fp8(found: &Value) -> Result<Method> {
    let formats = [json!("e4m3"), json!("e5m2"), json!("float8_e4m3fn")];
    expect(found, "fmt", &formats, "e4m3 and e5m2 are read")?;
    block(found, "weight_block_size").map(Method::Fp8)
}

/// Rows and columns of a block.
fn block(found: &Value, key: &str) -> Result<[usize; 2]> {
    let size = |value: &Value| value.as_u64().filter(|size| (1..=1 << 20).contains(size));
    match found[key].as_array().map(Vec::as_slice) {
        None if found[key].is_null() => Ok(BLOCK),
        Some([rows, columns]) => match (size(rows), size(columns)) {
            (Some(rows), Some(columns)) => Ok([rows as usize, columns as usize]),
            _ => Err(refused(found, key, "expected two sizes")),
        },
        _ => Err(refused(found, key, "expected two sizes")),
    }
}

/// The formats of compressed-tensors that are read.
const FORMATS: [&str; 6] = [
    "pack-quantized",
    "int-quantized",
    "float-quantized",
    "naive-quantized",
    "mixed-precision",
    "dense",
];

fn expect_format(found: &Value) -> Result<()> {
    let known = FORMATS.map(|format| json!(format));
    let expected = format!("{} are read", FORMATS.join(", "));
    expect(found, "format", &known, &expected)
}

fn compressed_tensors(found: &Value) -> Result<Method> {
    expect_format(found)?;
    let states = [json!("compressed"), json!("frozen")];
    let expected = "weights that are compressed are read";
    expect(found, "quantization_status", &states, expected)?;
    expect_no_exceptions(found, "transform_config")?;
    let sparse = &found["sparsity_config"];
    if !sparse.is_null() && *sparse != json!({}) && sparse["format"] != "dense" {
        let expected = "weights that are all there are read";
        return Err(refused(found, "sparsity_config", expected));
    }
    let mut block_size = BLOCK;
    let mut whole = Vec::new();
    for group in match &found["config_groups"] {
        Value::Null => Vec::new(),
        Value::Object(groups) => groups.values().collect(),
        _ => return Err(refused(found, "config_groups", "expected an object")),
    } {
        expect_format(group)?;
        let weights = &group["weights"];
        if !weights["block_structure"].is_null() {
            block_size = block(weights, "block_structure")?;
        }
        whole.extend(whole_numbers(weights)?);
    }
    // What is said of all matrices; of those that differ, the tensors tell.
    Ok(Method::CompressedTensors {
        block: block_size,
        bits: same(whole.iter().map(|numbers| numbers.bits)).flatten(),
        has_zeros: same(whole.iter().map(|numbers| numbers.has_zeros)).unwrap_or(false),
        groups: Groups {
            size: same(whole.iter().map(|numbers| numbers.groups.size))
                .unwrap_or(GroupSize::Unknown),
            is_told: same(whole.iter().map(|numbers| numbers.groups.is_told)).unwrap_or(false),
        },
    })
}

/// What compressed-tensors says of matrices of whole numbers.
struct WholeNumbers {
    bits: Option<u32>,
    has_zeros: bool,
    groups: Groups,
}

/// Reads how weights are quantized; `None` where they become no whole numbers.
fn whole_numbers(weights: &Value) -> Result<Option<WholeNumbers>> {
    let kinds = [json!("int"), json!("float")];
    expect(weights, "type", &kinds, "int and float are read")?;
    let is_float = weights["type"] == "float";
    let bits = match is_float {
        true => &[json!(8)][..],
        false => &[json!(2), json!(4), json!(8)],
    };
    let expected = "2, 4 and 8 bits are read, of floats 8";
    expect(weights, "num_bits", bits, expected)?;
    if is_float {
        let symmetric = [json!(true)];
        expect(
            weights,
            "symmetric",
            &symmetric,
            "floats have no zero points",
        )?;
    }
    if is_float || weights.is_null() {
        return Ok(None);
    }
    let order = &weights["actorder"];
    Ok(Some(WholeNumbers {
        bits: weights["num_bits"].as_u64().map(|bits| bits as u32),
        has_zeros: weights["symmetric"] == false,
        groups: Groups {
            size: group_size(weights, "group_size")?,
            is_told: *order == true || *order == "group" || *order == "dynamic",
        },
    }))
}

/// What all values are, if they are the same.
fn same<T: PartialEq>(mut values: impl Iterator<Item = T>) -> Option<T> {
    let first = values.next()?;
    values.all(|value| value == first).then_some(first)
}
