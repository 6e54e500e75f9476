//! The access token.

use std::fmt;

use reqwest::header::HeaderValue;

use crate::error::{Error, Result};

/// An access token of the Hub. Neither `Debug` nor anything else shows it; it goes into one header of
/// requests to the endpoint, and nowhere else.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(String);

impl Token {
    /// A token from `text`, without white space around it.
    ///
    /// Fails with [`Error::InvalidArgument`] when nothing is left or when something in it cannot stand
    /// in a header. The message does not repeat the text.
    pub fn new(text: &str) -> Result<Token> {
        let text = text.trim();
        if text.is_empty() {
            return Err(Error::argument("token", "is empty"));
        }
        if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(Error::argument(
                "token",
                "has a character that cannot stand in an HTTP header (not shown here)",
            ));
        }
        Ok(Token(text.to_owned()))
    }

    /// The value of the `Authorization` header, marked so that HTTP libraries do not log it.
    pub(super) fn authorization(&self) -> Result<HeaderValue> {
        let mut value = HeaderValue::from_str(&format!("Bearer {}", self.0))
            .map_err(|_| Error::argument("token", "cannot stand in an HTTP header"))?;
        value.set_sensitive(true);
        Ok(value)
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Token(hidden)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn never_shown() {
        let token = Token::new(" hf_secret\n").unwrap();
        assert_eq!(format!("{token:?}"), "Token(hidden)");
        let header = token.authorization().unwrap();
        assert_eq!(header.as_bytes(), b"Bearer hf_secret");
        assert!(!format!("{header:?}").contains("secret"));
    }

    #[test]
    fn what_cannot_be_a_header_is_refused_without_being_shown() {
        for text in ["hf_se\ncret", "hf_se cret", "hf_sécret", "hf_se\0cret"] {
            let error = Token::new(text).unwrap_err();
            assert!(!error.to_string().contains("hf_se"), "{error}");
            assert_eq!(error.code(), crate::error::Code::InvalidArgument);
        }
        assert!(Token::new(" \t").is_err());
    }
}
