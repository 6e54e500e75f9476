//! The channels of gpt-oss: what it generates is messages, each with a header that names its channel.
//!
//! `<|channel|>analysis<|message|>…<|end|><|start|>assistant<|channel|>final<|message|>…`: what it thinks goes to
//! `analysis`, what it answers to the others (OpenAI's harmony response format, 2025).

use super::split::{Split, partial};

const CHANNEL: &str = "<|channel|>";
const START: &str = "<|start|>";
const MESSAGE: &str = "<|message|>";

/// What ends a message.
const ENDS: [&str; 3] = ["<|end|>", "<|return|>", "<|call|>"];

/// The beginning of a thought, at the end of a prompt too.
pub(super) const ANALYSIS: &str = "<|channel|>analysis<|message|>";

/// What ends a thought and begins the answer.
pub(super) const TO_FINAL: &str = "<|end|><|start|>assistant<|channel|>final<|message|>";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Before the text of a message.
    Header,
    Thought,
    Answer,
    /// An answer of a model that writes no headers.
    Plain,
}

/// Splits a stream of text by channels. What may turn out to be a tag is held back.
#[derive(Debug)]
pub(super) struct ChannelSplitter {
    state: State,
    held: String,
    /// Whether a thought was told, which the next one is set apart from.
    has_thought: bool,
}

impl ChannelSplitter {
    /// A splitter for what follows a prompt that ends in the middle of a thought, or before a header.
    pub(super) fn new(is_open: bool) -> Self {
        Self {
            state: match is_open {
                true => State::Thought,
                false => State::Header,
            },
            held: String::new(),
            has_thought: false,
        }
    }

    /// Whether the answer has not begun.
    pub(super) fn is_reasoning(&self) -> bool {
        matches!(self.state, State::Header | State::Thought)
    }

    /// Whether a special token's text tells channels apart.
    pub(super) fn is_tag(text: &str) -> bool {
        [MESSAGE, CHANNEL, START, "<|constrain|>"].contains(&text) || ENDS.contains(&text)
    }

    /// Takes the next piece.
    pub(super) fn push(&mut self, piece: &str) -> Split {
        self.held.push_str(piece);
        let mut split = Split::default();
        while self.step(&mut split) {}
        split
    }

    /// One step forward; false when nothing more can be said about what is held.
    fn step(&mut self, split: &mut Split) -> bool {
        match self.state {
            State::Header => self.header(split),
            State::Thought | State::Answer => self.body(split),
            State::Plain => {
                split.text.push_str(&std::mem::take(&mut self.held));
                false
            }
        }
    }

    fn header(&mut self, split: &mut Split) -> bool {
        let begin = self.held.trim_start();
        let is_header = |tag: &str| begin.starts_with(tag) || tag.starts_with(begin);
        if !is_header(CHANNEL) && !is_header(START) {
            self.state = State::Plain;
            return true;
        }
        let Some((header, rest)) = self.held.split_once(MESSAGE) else {
            return false;
        };
        // The last one: a thought whose budget is used up may end within its header.
        let channel = header.rsplit_once(CHANNEL).map_or("", |(_, name)| name);
        self.state = match channel.trim_start().starts_with("analysis") {
            true => State::Thought,
            false => State::Answer,
        };
        if self.state == State::Thought && self.has_thought {
            split.reasoning.push('\n');
        }
        self.held = rest.to_owned();
        true
    }

    fn body(&mut self, split: &mut Split) -> bool {
        let ends = ENDS
            .iter()
            .filter_map(|end| Some((self.held.find(end)?, *end)));
        let first = ends.min();
        let certain = match first {
            Some((at, _)) => at,
            None => {
                let tails = ENDS.iter().map(|end| partial(&self.held, end));
                self.held.len() - tails.max().unwrap_or(0)
            }
        };
        let text: String = self.held.drain(..certain).collect();
        match self.state {
            State::Thought => {
                self.has_thought |= !text.is_empty();
                split.reasoning.push_str(&text);
            }
            _ => split.text.push_str(&text),
        }
        let Some((_, end)) = first else {
            return false;
        };
        self.held.drain(..end.len());
        self.state = State::Header;
        true
    }

    /// What is still held back when the stream ends.
    pub(super) fn finish(&mut self) -> Split {
        let held = std::mem::take(&mut self.held);
        let mut split = Split::default();
        match self.state {
            // Of a header that never ended, what is more than a header.
            State::Header => {
                let behind = [CHANNEL, START]
                    .iter()
                    .filter_map(|tag| held.rsplit_once(tag));
                let last = behind
                    .map(|(_, behind)| behind)
                    .min_by_key(|behind| behind.len());
                if let Some((_, text)) = last.unwrap_or("").split_once(char::is_whitespace) {
                    split.text = text.trim_start().to_owned();
                }
            }
            State::Thought => split.reasoning = held,
            State::Answer | State::Plain => split.text = held,
        }
        split
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(is_open: bool, pieces: &[&str]) -> (String, String) {
        let mut splitter = ChannelSplitter::new(is_open);
        let mut all = Split::default();
        let mut splits: Vec<Split> = pieces.iter().map(|piece| splitter.push(piece)).collect();
        splits.push(splitter.finish());
        for split in splits {
            all.reasoning += &split.reasoning;
            all.text += &split.text;
        }
        (all.reasoning, all.text)
    }

    #[test]
    fn channels_are_told_apart_wherever_the_text_is_cut() {
        for (is_open, text, reasoning, answer) in [
            (
                false,
                "<|channel|>analysis<|message|>Hm.<|end|><|start|>assistant<|channel|>final<|message|>Yes.<|return|>",
                "Hm.",
                "Yes.",
            ),
            (false, "<|channel|>final<|message|>a < b<|", "", "a < b<|"),
            (
                false,
                "<|channel|>analysis<|message|>a<|end|><|start|>assistant<|channel|>analysis<|message|>b",
                "a\nb",
                "",
            ),
            (
                false,
                "<|channel|>commentary<|message|>So.<|end|><|start|>assistant<|channel|>final<|message|>Yes",
                "",
                "So.Yes",
            ),
            (
                true,
                "Hm<|end|><|start|>assistant<|channel|>final<|message|>Yes",
                "Hm",
                "Yes",
            ),
            (false, "Plain <|words|>", "", "Plain <|words|>"),
            (false, "<|channel|>ana", "", ""),
            (false, "<|channel|>final Yes, I do", "", "Yes, I do"),
            (
                false,
                "<|channel|>analysis<|end|><|start|>assistant<|channel|>final<|message|>Yes",
                "",
                "Yes",
            ),
            (
                false,
                "<|channel|>final<|message|>A header has <|channel|> and <|start|> in it",
                "",
                "A header has <|channel|> and <|start|> in it",
            ),
            (false, "", "", ""),
        ] {
            let expected = (reasoning.to_owned(), answer.to_owned());
            assert_eq!(run(is_open, &[text]), expected, "{text}");
            for at in 0..text.len() {
                let (one, other) = text.split_at(at);
                assert_eq!(run(is_open, &[one, other]), expected, "{text} at {at}");
            }
        }
    }

    #[test]
    fn the_answer_begins_behind_the_header_of_its_message() {
        let mut splitter = ChannelSplitter::new(false);
        for piece in [ANALYSIS, "Hm.", &TO_FINAL[..TO_FINAL.len() - MESSAGE.len()]] {
            splitter.push(piece);
            assert!(splitter.is_reasoning(), "{piece}");
        }
        splitter.push(MESSAGE);
        assert!(!splitter.is_reasoning());
    }
}
