//! Text from tokens while they arrive.

use crate::error::Result;
use crate::tokenizer::Tokenizer;

/// Turns a stream of token ids into a stream of text that never breaks a character, and whose
/// pieces joined are the text of all tokens decoded at once.
///
/// Decoders look at neighbours (a space between words, bytes that form one character), so a token's
/// text is the difference between decoding a short window with and without it. The window starts
/// at tokens whose text is out already.
pub(crate) struct Detokenizer<'a> {
    tokenizer: &'a Tokenizer,
    ids: Vec<u32>,
    /// Start of the window.
    context: usize,
    /// Tokens before this one have their text out.
    done: usize,
    /// Length of the text of `ids[context..done]`.
    done_len: usize,
}

/// A run of byte tokens longer than this is not one character; its text is passed on as it is, so
/// that the window stays short.
const LONGEST_BYTE_RUN: usize = 64;

impl<'a> Detokenizer<'a> {
    pub(crate) fn new(tokenizer: &'a Tokenizer) -> Self {
        Self {
            tokenizer,
            ids: Vec::new(),
            context: 0,
            done: 0,
            done_len: 0,
        }
    }

    /// Takes the next token; returns the text that is now certain, which may be empty.
    pub(crate) fn push(&mut self, id: u32) -> Result<String> {
        self.ids.push(id);
        let waiting = self.ids.len() - self.done;
        if self.tokenizer.is_byte(id) && waiting <= LONGEST_BYTE_RUN {
            return Ok(String::new());
        }
        let text = self.tokenizer.decode(&self.ids[self.context..], true)?;
        // A replacement character at the end may be the beginning of a character.
        if text.ends_with(char::REPLACEMENT_CHARACTER) && waiting <= LONGEST_BYTE_RUN {
            return Ok(String::new());
        }
        self.take(text)
    }

    /// The rest, when no token follows: unfinished characters become replacement characters.
    pub(crate) fn finish(&mut self) -> Result<String> {
        if self.done == self.ids.len() {
            return Ok(String::new());
        }
        let text = self.tokenizer.decode(&self.ids[self.context..], true)?;
        self.take(text)
    }

    /// Passes on what `text`, the window decoded, has beyond the text that is out.
    fn take(&mut self, mut text: String) -> Result<String> {
        let piece = text.split_off(floor_char_boundary(&text, self.done_len));
        self.context = self.done;
        self.done = self.ids.len();
        self.done_len = self
            .tokenizer
            .decode(&self.ids[self.context..], true)?
            .len();
        // Ids before the window are not needed again.
        self.ids.drain(..self.context);
        self.done -= self.context;
        self.context = 0;
        Ok(piece)
    }
}

fn floor_char_boundary(text: &str, mut index: usize) -> usize {
    index = index.min(text.len());
    while !text.is_char_boundary(index) {
        index -= 1;
    }
    index
}
