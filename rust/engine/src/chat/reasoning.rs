//! What a model thinks before it answers, told from the answer.
//!
//! Thinking models put their thoughts between two tags at the beginning of what they generate; which tags,
//! their chat template shows. Some templates open the thought themselves, at the end of the prompt. As
//! transformers' templates do when they read an answer back, newlines around a thought belong to neither part.

use minijinja::machinery::Token;
use minijinja::syntax::SyntaxConfig;

use super::channels::{self, ChannelSplitter};
use super::split::{Split, partial};

/// The tags around thoughts that are known, as templates have them.
const TAGS: [(&str, &str); 6] = [
    ("<think>", "</think>"),
    ("<thinking>", "</thinking>"),
    ("<seed:think>", "</seed:think>"),
    ("[THINK]", "[/THINK]"),
    ("<|START_THINKING|>", "<|END_THINKING|>"),
    ("<|channel>thought", "<channel|>"),
];

/// The variables by which templates are told whether to think.
const SWITCHES: [&str; 2] = ["enable_thinking", "thinking"];

/// The two tags around thoughts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ReasoningTags {
    pub(crate) start: &'static str,
    pub(crate) end: &'static str,
}

/// The thoughts of gpt-oss are messages of a channel.
const CHANNELS: ReasoningTags = ReasoningTags {
    start: channels::ANALYSIS,
    end: channels::TO_FINAL,
};

impl ReasoningTags {
    /// The tags that a template's source has.
    pub(super) fn of(source: &str) -> Option<Self> {
        if source.contains(CHANNELS.start) {
            return Some(CHANNELS);
        }
        let (start, end) = TAGS.into_iter().find(|(_, end)| source.contains(end))?;
        Some(Self { start, end })
    }

    /// Whether a prompt ends in the middle of a thought, which what is generated goes on with.
    pub(crate) fn is_open(self, prompt: &str) -> bool {
        prompt.trim_end().ends_with(self.start)
    }

    /// The special token that a thought begins with, where its tag is one: the tag, or what of it stands before a word.
    pub(crate) fn first_token(self) -> &'static str {
        match self.start.find('>') {
            Some(at) => &self.start[..=at],
            None => self.start,
        }
    }

    /// What ends a thought that has become too long.
    pub(crate) fn ending(self) -> String {
        match self == CHANNELS {
            true => self.end.to_owned(),
            false => format!("\n{}\n\n", self.end),
        }
    }
}

/// The variable of a template's source that switches thinking.
pub(super) fn switch(source: &str) -> Option<&'static str> {
    let tokens = minijinja::machinery::tokenize(source, false, SyntaxConfig::default());
    let names: Vec<&str> = tokens
        .map_while(Result::ok)
        .filter_map(|(token, _)| match token {
            Token::Ident(name) => Some(name),
            _ => None,
        })
        .collect();
    SWITCHES.into_iter().find(|switch| names.contains(switch))
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Nothing but white space came, or the beginning of a tag.
    Begin,
    /// Nothing of the thought but newlines came.
    ReasoningBegins,
    Reasoning,
    /// Nothing behind the thought but newlines came.
    AnswerBegins,
    Answer,
}

/// Splits a stream of text. What may turn out to be a tag, or newlines before one, is held back.
#[derive(Debug)]
pub(crate) struct ReasoningSplitter {
    tags: Option<ReasoningTags>,
    state: State,
    held: String,
    /// Splits instead, where thoughts are messages of a channel.
    channels: Option<ChannelSplitter>,
}

impl ReasoningSplitter {
    /// A splitter for what follows a prompt that ends in the middle of a thought, or not. Without tags, all is
    /// answer.
    pub(crate) fn new(tags: Option<ReasoningTags>, is_open: bool) -> Self {
        let state = match (tags, is_open) {
            (None, _) => State::Answer,
            (Some(_), true) => State::ReasoningBegins,
            (Some(_), false) => State::Begin,
        };
        Self {
            tags,
            state,
            held: String::new(),
            channels: (tags == Some(CHANNELS)).then(|| ChannelSplitter::new(is_open)),
        }
    }

    /// The tags, if there are any.
    pub(crate) fn tags(&self) -> Option<ReasoningTags> {
        self.tags
    }

    /// Whether what comes next is part of a thought, as far as is known.
    pub(crate) fn is_reasoning(&self) -> bool {
        match &self.channels {
            Some(channels) => channels.is_reasoning(),
            None => {
                matches!(self.state, State::ReasoningBegins | State::Reasoning)
                    || self.is_at_second_word()
            }
        }
    }

    /// Whether the first token of a tag of more than one came.
    fn is_at_second_word(&self) -> bool {
        self.state == State::Begin
            && self.tags.is_some_and(|tags| {
                let first = tags.first_token();
                first != tags.start && self.held.trim_start().starts_with(first)
            })
    }

    /// Takes the text of a special token that [is a tag](Self::is_tag). Out of its place, it is no text.
    pub(crate) fn push_tag(&mut self, text: &str) -> Split {
        let split = self.push(text);
        match self.channels {
            Some(_) => split,
            None => Split {
                text: String::new(),
                ..split
            },
        }
    }

    /// Whether a special token's text is a tag, which the text of an answer would not have.
    pub(crate) fn is_tag(&self, text: &str) -> bool {
        match (&self.channels, self.tags) {
            (Some(_), _) => ChannelSplitter::is_tag(text),
            // A tag may be a special token and a word behind it.
            (None, Some(tags)) => tags.start.starts_with(text) || text == tags.end,
            (None, None) => false,
        }
    }

    /// Takes the next piece.
    pub(crate) fn push(&mut self, piece: &str) -> Split {
        if let Some(channels) = &mut self.channels {
            return channels.push(piece);
        }
        let mut split = Split::default();
        self.held.push_str(piece);
        while let Some(tags) = self.tags
            && self.step(tags, &mut split)
        {}
        if self.tags.is_none() {
            split.text.push_str(&std::mem::take(&mut self.held));
        }
        split
    }

    /// One step forward; false when nothing more can be said about what is held.
    fn step(&mut self, tags: ReasoningTags, split: &mut Split) -> bool {
        match self.state {
            State::Begin => {
                let begin = self.held.trim_start();
                if let Some(rest) = begin.strip_prefix(tags.start) {
                    self.held = rest.to_owned();
                    self.state = State::ReasoningBegins;
                } else if tags.start.starts_with(begin) {
                    return false;
                } else {
                    self.state = State::Answer;
                }
                true
            }
            State::ReasoningBegins | State::AnswerBegins => {
                self.held = self.held.trim_start_matches('\n').to_owned();
                if self.held.is_empty() {
                    return false;
                }
                self.state = match self.state {
                    State::ReasoningBegins => State::Reasoning,
                    _ => State::Answer,
                };
                true
            }
            State::Reasoning => {
                if let Some(at) = self.held.find(tags.end) {
                    let thought = self.held[..at].trim_end_matches('\n');
                    split.reasoning.push_str(thought);
                    self.held.drain(..at + tags.end.len());
                    self.state = State::AnswerBegins;
                    return true;
                }
                let tail = partial(&self.held, tags.end);
                let certain = self.held[..self.held.len() - tail].trim_end_matches('\n');
                let certain = certain.len();
                split.reasoning.push_str(&self.held[..certain]);
                self.held.drain(..certain);
                false
            }
            State::Answer => {
                split.text.push_str(&std::mem::take(&mut self.held));
                false
            }
        }
    }

    /// What is still held back when the stream ends.
    pub(crate) fn finish(&mut self) -> Split {
        if let Some(channels) = &mut self.channels {
            return channels.finish();
        }
        let held = std::mem::take(&mut self.held);
        let mut split = Split::default();
        match self.state {
            State::Reasoning => split.reasoning = held.trim_end_matches('\n').to_owned(),
            State::ReasoningBegins | State::AnswerBegins => {}
            State::Begin | State::Answer => split.text = held,
        }
        split
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const THINK: Option<ReasoningTags> = Some(ReasoningTags {
        start: "<think>",
        end: "</think>",
    });

    fn run(is_open: bool, pieces: &[&str]) -> (String, String) {
        let mut splitter = ReasoningSplitter::new(THINK, is_open);
        let mut all = Split::default();
        for split in pieces
            .iter()
            .map(|piece| splitter.push(piece))
            .collect::<Vec<_>>()
            .into_iter()
            .chain([splitter.finish()])
        {
            all.reasoning += &split.reasoning;
            all.text += &split.text;
        }
        (all.reasoning, all.text)
    }

    #[test]
    fn split_in_the_same_way_wherever_the_text_is_cut() {
        for (is_open, text, reasoning, answer) in [
            (
                false,
                "<think>\nHm.\n\nSo.\n</think>\n\nYes.\n",
                "Hm.\n\nSo.",
                "Yes.\n",
            ),
            (false, "\n <think>a</think>b", "a", "b"),
            (false, "<think>\n\n</think>\n\nb", "", "b"),
            (
                false,
                "No thought </think> at all",
                "",
                "No thought </think> at all",
            ),
            (false, "  two spaces", "", "  two spaces"),
            (false, "<thin air", "", "<thin air"),
            (false, "<th", "", "<th"),
            (false, "", "", ""),
            (false, "<think>never ends\n</thi", "never ends\n</thi", ""),
            (false, "<think>a\n</thing>\n</think>b", "a\n</thing>", "b"),
            (true, "\nHm 🦊.\n</think>\nYes", "Hm 🦊.", "Yes"),
            (true, "a<think>b</think>c</think>", "a<think>b", "c</think>"),
            (true, "cut\n\n", "cut", ""),
        ] {
            let expected = (reasoning.to_owned(), answer.to_owned());
            assert_eq!(run(is_open, &[text]), expected, "{text}");
            for (at, _) in text.char_indices() {
                let (one, other) = text.split_at(at);
                assert_eq!(run(is_open, &[one, other]), expected, "{text} at {at}");
            }
            let single: Vec<String> = text.chars().map(String::from).collect();
            let single: Vec<&str> = single.iter().map(String::as_str).collect();
            assert_eq!(run(is_open, &single), expected, "{text} in characters");
        }
    }

    #[test]
    fn a_tag_of_a_token_and_a_word_begins_a_thought_with_the_token() {
        let tags = ReasoningTags::of("{{ '<|channel>thought\n<channel|>' }}").unwrap();
        assert_eq!(tags.first_token(), "<|channel>");
        let mut splitter = ReasoningSplitter::new(Some(tags), false);
        assert!(splitter.is_tag("<|channel>"));
        assert_eq!(splitter.push_tag("<|channel>"), Split::default());
        assert!(splitter.is_reasoning());
        assert_eq!(splitter.push("thought\nHm.").reasoning, "Hm.");
        splitter.push_tag("<channel|>");
        assert!(!splitter.is_reasoning());
        // Out of its place it is no text.
        assert_eq!(splitter.push("Yes").text, "Yes");
        assert_eq!(splitter.push_tag("<channel|>"), Split::default());
    }

    #[test]
    fn templates_show_tags_and_switches() {
        let qwen = "{% if enable_thinking is defined %}{{ '</think>' }}{% endif %}";
        assert_eq!(ReasoningTags::of(qwen), THINK);
        assert_eq!(switch(qwen), Some("enable_thinking"));
        assert_eq!(switch("{{ message.content }} enable_thinking"), None);
        assert_eq!(ReasoningTags::of("{{ messages }}"), None);
        let gpt_oss = "{{ '<|start|>assistant<|channel|>analysis<|message|>' }}";
        assert_eq!(ReasoningTags::of(gpt_oss), Some(CHANNELS));
        assert!(THINK.unwrap().is_open("<|assistant|><think>\n"));
        assert!(!THINK.unwrap().is_open("<think>\n\n</think>\n\n"));
    }
}
