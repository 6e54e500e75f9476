//! `sentence_bert_config.json`: how the transformer reads texts.

use serde_json::{Map, Value};

use super::keys::refuse_others;
use crate::architectures::config_file::ConfigFile;
use crate::error::Result;

/// The class of sentence-transformers that a folder was saved by, or is to be loaded as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ModelType {
    /// A model for embeddings.
    SentenceTransformer,
    /// A reranker.
    CrossEncoder,
}

/// What a transformer's own settings say.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct TransformerSettings {
    /// The most tokens of a text.
    pub(crate) max_seq_length: Option<usize>,
    /// Whether texts are written small.
    pub(crate) lower_case: bool,
    /// How texts become messages of a chat, where the files say that they do.
    pub(crate) messages: Option<MessageSettings>,
}

/// How texts become messages of a chat.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct MessageSettings {
    /// Whether a message's content is a list of parts, and not a text; what the template asks for when nothing is said.
    pub(crate) structured: Option<bool>,
    /// What the template is given beside the messages.
    pub(crate) variables: Map<String, Value>,
}

/// Reads the transformer's own settings, and refuses those that would change the numbers in ways that are not computed.
pub(super) fn read(
    config: &ConfigFile,
    keys: &Map<String, Value>,
    wanted: ModelType,
) -> Result<TransformerSettings> {
    let mut settings = TransformerSettings {
        max_seq_length: config.count("max_seq_length")?,
        lower_case: config.flag("do_lower_case")?.unwrap_or(false),
        messages: None,
    };
    let tasks: &[&str] = match wanted {
        ModelType::SentenceTransformer => &["feature-extraction"],
        ModelType::CrossEncoder => &["sequence-classification", "text-generation"],
    };
    if let Some(task) = config.text("transformer_task")?
        && !tasks.contains(&task)
    {
        return Err(config.unsupported(
            "transformer_task",
            format!("expected {}", tasks.join(" or ")),
        ));
    }
    let outputs: &[&str] = match wanted {
        ModelType::SentenceTransformer => &["token_embeddings"],
        ModelType::CrossEncoder => &["scores", "causal_logits"],
    };
    if let Some(output) = config.text("module_output_name")?
        && !outputs.contains(&output)
    {
        return Err(config.unsupported(
            "module_output_name",
            format!("expected {}", outputs.join(" or ")),
        ));
    }
    let variables = template_variables(config)?;
    if let Some(modalities) = config.object("modality_config")? {
        settings.messages = messages(&modalities, variables, wanted)?;
    }
    for name in ["model_args", "model_kwargs"] {
        arguments(config, name, |key, value| match key {
            "attn_implementation" => true,
            "dtype" | "torch_dtype" => value == "float32" || value == "auto",
            _ => false,
        })?;
    }
    for name in ["config_args", "config_kwargs"] {
        arguments(config, name, |_, _| false)?;
    }
    for name in ["tokenizer_args", "processor_kwargs"] {
        arguments(config, name, |key, _| key == "model_max_length")?;
        if let Some(own) = config.object(name)?
            && let Some(length) = own.count("model_max_length")?
        {
            settings.max_seq_length = Some(length);
        }
    }
    // How padding is left out, which changes no numbers.
    refuse_others(config, keys, &["unpad_inputs"])?;
    Ok(settings)
}

/// Refuses what a transformer is to be loaded with, but for what changes nothing.
fn arguments(config: &ConfigFile, name: &str, is_inert: fn(&str, &Value) -> bool) -> Result<()> {
    let Some(keys) = config.value(name) else {
        return Ok(());
    };
    let keys = keys
        .as_object()
        .ok_or_else(|| config.invalid(name, "expected an object"))?;
    for (key, value) in keys {
        if key != "trust_remote_code" && !value.is_null() && !is_inert(key, value) {
            return Err(config.unsupported(name, format!("what {key} asks for is not computed")));
        }
    }
    Ok(())
}

/// What chat templates are given, of the settings of what comes before the model.
fn template_variables(config: &ConfigFile) -> Result<Map<String, Value>> {
    let mut variables = Map::new();
    let Some(processing) = config.value("processing_kwargs") else {
        return Ok(variables);
    };
    let processing = processing
        .as_object()
        .ok_or_else(|| config.invalid("processing_kwargs", "expected an object"))?;
    for (group, keys) in processing {
        let Value::Object(keys) = keys else {
            return Err(config.invalid("processing_kwargs", "expected objects inside"));
        };
        for (key, value) in keys {
            const OTHERS: [&str; 11] = [
                "messages",
                "conversation",
                "tokenize",
                "return_dict",
                "padding",
                "truncation",
                "max_length",
                "return_tensors",
                "restore_suffix",
                "chat_template",
                "continue_final_message",
            ];
            if group != "chat_template" || OTHERS.contains(&key.as_str()) {
                return Err(config.unsupported(
                    "processing_kwargs",
                    format!("what {group}.{key} asks for is not computed"),
                ));
            }
            if key == "add_generation_prompt" && !value.is_boolean() {
                return Err(config.invalid(
                    "processing_kwargs",
                    "expected true or false for add_generation_prompt",
                ));
            }
            variables.insert(key.clone(), value.clone());
        }
    }
    Ok(variables)
}

/// How texts become messages, by what a transformer is said to take.
fn messages(
    modalities: &ConfigFile,
    variables: Map<String, Value>,
    wanted: ModelType,
) -> Result<Option<MessageSettings>> {
    let outputs: &[&str] = match wanted {
        ModelType::SentenceTransformer => &["last_hidden_state"],
        ModelType::CrossEncoder => &["logits"],
    };
    let check = |entry: &ConfigFile| -> Result<()> {
        for (key, expected) in [
            ("method", &["forward"][..]),
            ("method_output_name", outputs),
        ] {
            let value = entry.text(key)?.unwrap_or_default();
            if !expected.contains(&value) {
                return Err(entry.unsupported(key, format!("expected {}", expected.join(" or "))));
            }
        }
        Ok(())
    };
    let text = modalities.object("text")?;
    let message = modalities.object("message")?;
    if let Some(entry) = &text {
        check(entry)?;
    }
    let Some(entry) = message else {
        return match text {
            Some(_) => Ok(None),
            None => Err(modalities.unsupported("text", "expected a model that takes texts")),
        };
    };
    check(&entry)?;
    let structured = match entry.text("format")? {
        None | Some("auto") => None,
        Some("structured") => Some(true),
        Some("flat") => Some(false),
        Some(_) => return Err(entry.invalid("format", "expected structured or flat")),
    };
    Ok(Some(MessageSettings {
        structured,
        variables,
    }))
}
