//! The bytes that single tokens stand for, which need not be whole characters.

use super::Tokenizer;

/// What a token is, to somebody who puts texts together of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum TokenBytes {
    /// Text, or a part of a character.
    Text(Vec<u8>),
    /// A special token, with its name.
    Special(String),
}

impl Tokenizer {
    /// The bytes of all tokens, by their ids; empty for ids without a token.
    ///
    /// Vocabularies spell bytes in one of two ways: each byte as a character (GPT-2's byte-level BPE), or
    /// texts as they are, with U+2581 for a space and `<0x0A>` for a single byte (SentencePiece).
    pub(crate) fn token_bytes(&self) -> Vec<TokenBytes> {
        let mut tokens = vec![TokenBytes::Text(Vec::new()); self.vocab_size()];
        let added = self.inner.get_added_tokens_decoder();
        let is_byte_level = self
            .id_of("\u{120}")
            .is_some_and(|id| self.decode(&[id], false).is_ok_and(|text| text == " "));
        for (text, id) in self.inner.get_vocab(true) {
            let bytes = match added.get(&id) {
                Some(token) if token.special => TokenBytes::Special(text),
                Some(_) => TokenBytes::Text(text.into_bytes()),
                None if is_byte_level => TokenBytes::Text(bytes_of_characters(&text)),
                None if self.is_byte(id) => {
                    let byte = text
                        .get(3..5)
                        .and_then(|hex| u8::from_str_radix(hex, 16).ok());
                    TokenBytes::Text(byte.into_iter().collect())
                }
                None => TokenBytes::Text(text.replace('\u{2581}', " ").into_bytes()),
            };
            if tokens.len() <= id as usize {
                tokens.resize(id as usize + 1, TokenBytes::Text(Vec::new()));
            }
            tokens[id as usize] = bytes;
        }
        tokens
    }
}

/// The bytes that a token of a byte-level vocabulary is written for: printable ones stand for themselves, the
/// others in order for the characters from U+0100 on. Other characters are what they are.
fn bytes_of_characters(text: &str) -> Vec<u8> {
    let is_printable = |byte: u8| matches!(byte, b'!'..=b'~' | 0xA1..=0xAC | 0xAE..=0xFF);
    let mut bytes = Vec::with_capacity(text.len());
    for character in text.chars() {
        let number = u32::from(character);
        let byte = match u8::try_from(number) {
            Ok(byte) => Some(byte).filter(|byte| is_printable(*byte)),
            Err(_) => {
                let mut others = (0..=255_u8).filter(|byte| !is_printable(*byte));
                number
                    .checked_sub(256)
                    .and_then(|place| others.nth(place as usize))
            }
        };
        match byte {
            Some(byte) => bytes.push(byte),
            None => bytes.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn characters_stand_for_bytes() {
        assert_eq!(bytes_of_characters("\u{120}the\u{10A}"), b" the\n");
        // A character that stands for no byte.
        assert_eq!(bytes_of_characters("\u{1F98A}"), "\u{1F98A}".as_bytes());
        let all: Vec<u8> = (0..=255).collect();
        let spelled: String = all
            .iter()
            .map(|byte| {
                let found = (0..0x200_u32)
                    .filter_map(char::from_u32)
                    .find(|c| bytes_of_characters(&c.to_string()) == [*byte]);
                found.expect("a character for each byte")
            })
            .collect();
        assert_eq!(bytes_of_characters(&spelled), all);
    }
}
