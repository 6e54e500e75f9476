//! The forms in which models write calls of tools, found by their chat templates.

/// A form.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ToolFormat {
    /// `<tool_call>{"name": …, "arguments": {…}}</tool_call>`, once a call: Hermes, Qwen2.5, Qwen3.
    Hermes,
    /// `<tool_call><function=name><parameter=key>value</parameter></function></tool_call>`: Qwen3-Coder, Qwen3.5.
    Xml,
    /// `{"name": …, "parameters": {…}}`, maybe behind `<|python_tag|>`, several with `; ` between: Llama 3.x.
    Llama,
    /// `[TOOL_CALLS][{"name": …, "arguments": {…}}, …]`: Mistral until 2024.
    Mistral,
    /// `[TOOL_CALLS]name[ARGS]{…}`, once a call: Mistral since 2025.
    MistralNamed,
    /// The answer is `{"name": …, "arguments": {…}}`, or a list of such: for templates that know no tools, or
    /// write them in a way that is not known here. The model is told so by a system message.
    Json,
}

impl ToolFormat {
    /// The form that a template's source shows.
    pub(crate) fn of(source: &str) -> Self {
        let has = |text: &str| source.contains(text);
        if !has("tools") {
            return Self::Json;
        }
        if has("[TOOL_CALLS]") {
            return if has("[ARGS]") {
                Self::MistralNamed
            } else {
                Self::Mistral
            };
        }
        // GLM has the same tag around another form.
        if has("<tool_call>") && !has("<arg_key>") {
            return if has("<function=") {
                Self::Xml
            } else {
                Self::Hermes
            };
        }
        if has("\"parameters\"") && (has("python_tag") || has("ipython")) {
            return Self::Llama;
        }
        Self::Json
    }

    /// Whether the template itself tells the model of its tools.
    pub(super) fn is_rendered(self) -> bool {
        self != Self::Json
    }

    /// The texts that may be special tokens, which are part of a call nevertheless.
    pub(crate) fn tags(self) -> &'static [&'static str] {
        match self {
            Self::Hermes | Self::Xml => &["<tool_call>", "</tool_call>"],
            Self::Llama => &["<|python_tag|>"],
            Self::Mistral | Self::MistralNamed => &["[TOOL_CALLS]", "[CALL_ID]", "[ARGS]"],
            Self::Json => &[],
        }
    }

    /// The key of the arguments in JSON.
    pub(super) fn arguments(self) -> &'static str {
        match self {
            Self::Llama => "parameters",
            _ => "arguments",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_by_template() {
        for (source, format) in [
            ("{{ messages }}", ToolFormat::Json),
            ("{{ tools }}<tool_call>", ToolFormat::Hermes),
            ("{{ tools }}<tool_call><function=x>", ToolFormat::Xml),
            ("{{ tools }}<tool_call><arg_key>", ToolFormat::Json),
            ("{{ tools }}\"parameters\" ipython", ToolFormat::Llama),
            ("{{ tools }}[TOOL_CALLS]", ToolFormat::Mistral),
            ("{{ tools }}[TOOL_CALLS][ARGS]", ToolFormat::MistralNamed),
            ("{{ tools }}<|tool_call|>", ToolFormat::Json),
        ] {
            assert_eq!(ToolFormat::of(source), format, "{source}");
        }
    }
}
