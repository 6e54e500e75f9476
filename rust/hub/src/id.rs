//! Names of models on the Hub.

use std::fmt;
use std::str::FromStr;

use super::names;
use crate::error::{Error, Result};

/// The branch that is meant when no revision is named.
pub(crate) const DEFAULT_REVISION: &str = "main";

/// Longest repository name that the Hub gives.
const MAX_REPOSITORY: usize = 96;

/// A model on the Hub: `OWNER/NAME`, optionally with a revision (`@REVISION`: a branch, a tag or a
/// commit) and, for GGUF files, a quantisation (`:Q4_K_M`).
///
/// ```
/// use candle4j_hub::ModelId;
///
/// let id: ModelId = "Qwen/Qwen2.5-0.5B-Instruct-GGUF@main:Q4_K_M".parse()?;
/// assert_eq!(id.repository(), "Qwen/Qwen2.5-0.5B-Instruct-GGUF");
/// assert_eq!(id.revision(), Some("main"));
/// assert_eq!(id.quantisation(), Some("Q4_K_M"));
/// # Ok::<(), candle4j_hub::error::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ModelId {
    repository: String,
    revision: Option<String>,
    quantisation: Option<String>,
}

impl ModelId {
    /// The model in `repository`, at its default revision. `repository` is `OWNER/NAME`, or `NAME` for
    /// one of the Hub's oldest models.
    ///
    /// Fails with [`Error::InvalidArgument`] for what cannot be a repository's name.
    pub fn new(repository: &str) -> Result<ModelId> {
        if let Some(reason) = repository_flaw(repository) {
            let shown = names::shown(repository);
            return invalid(format!("'{shown}' {reason}; expected OWNER/NAME"));
        }
        Ok(ModelId {
            repository: repository.to_owned(),
            revision: None,
            quantisation: None,
        })
    }

    /// The same model at `revision`.
    pub fn with_revision(mut self, revision: &str) -> Result<ModelId> {
        if let Err(flaw) = names::check(revision) {
            let shown = names::shown(revision);
            return invalid(format!("the revision '{shown}' {}", flaw.reason));
        }
        self.revision = Some(revision.to_owned());
        Ok(self)
    }

    /// The same model as a GGUF file with `quantisation`.
    pub fn with_quantisation(mut self, quantisation: &str) -> Result<ModelId> {
        let allowed = |c: char| c.is_ascii_alphanumeric() || "_-.".contains(c);
        if quantisation.is_empty() || !quantisation.chars().all(allowed) {
            let shown = names::shown(quantisation);
            return invalid(format!(
                "'{shown}' is no quantisation; expected one such as Q4_K_M"
            ));
        }
        self.quantisation = Some(quantisation.to_owned());
        Ok(self)
    }

    /// `OWNER/NAME`.
    pub fn repository(&self) -> &str {
        &self.repository
    }

    /// The branch, tag or commit, if one is named.
    pub fn revision(&self) -> Option<&str> {
        self.revision.as_deref()
    }

    /// The quantisation of a GGUF file, if one is named.
    pub fn quantisation(&self) -> Option<&str> {
        self.quantisation.as_deref()
    }

    /// The revision that is meant.
    pub(crate) fn revision_or_default(&self) -> &str {
        self.revision().unwrap_or(DEFAULT_REVISION)
    }

    /// The name of the repository's folder in the cache.
    pub(crate) fn folder_name(&self) -> String {
        format!("models--{}", self.repository.replace('/', "--"))
    }
}

impl FromStr for ModelId {
    type Err = Error;

    fn from_str(text: &str) -> Result<ModelId> {
        let end = text.find(['@', ':']).unwrap_or(text.len());
        let mut id = ModelId::new(&text[..end])?;
        let mut rest = &text[end..];
        while let Some(mark) = rest.chars().next() {
            // Neither a git revision nor a quantisation can have the other's mark.
            let end = rest[1..].find(['@', ':']).map_or(rest.len(), |at| at + 1);
            let value = &rest[1..end];
            rest = &rest[end..];
            let twice = match mark {
                '@' => id.revision.is_some(),
                _ => id.quantisation.is_some(),
            };
            id = match mark {
                _ if twice || value.is_empty() => {
                    let flaw = if twice {
                        "twice"
                    } else {
                        "with nothing after it"
                    };
                    let shown = names::shown(text);
                    return invalid(format!(
                        "'{shown}' has '{mark}' {flaw}; expected OWNER/NAME[@REVISION][:QUANTISATION]"
                    ));
                }
                '@' => id.with_revision(value)?,
                _ => id.with_quantisation(value)?,
            };
        }
        Ok(id)
    }
}

impl fmt::Display for ModelId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.repository)?;
        if let Some(revision) = &self.revision {
            write!(formatter, "@{revision}")?;
        }
        if let Some(quantisation) = &self.quantisation {
            write!(formatter, ":{quantisation}")?;
        }
        Ok(())
    }
}

/// What the Hub's rules for repository names have against one. `--` is refused because the cache's
/// folder names use it between owner and name.
fn repository_flaw(repository: &str) -> Option<&'static str> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || "-_./".contains(c);
    let mut parts = repository.split('/');
    if repository.is_empty() {
        Some("is empty")
    } else if let Err(flaw) = names::check(repository) {
        Some(flaw.reason)
    } else if repository.matches('/').count() > 1 {
        Some("has more than one '/'")
    } else if !repository.chars().all(allowed) {
        Some("has a character other than letters, digits, '-', '_' and '.'")
    } else if repository.contains("--") || repository.contains("..") {
        Some("has '--' or '..'")
    } else if parts.any(|part| part.starts_with(['-', '.']) || part.ends_with(['-', '.'])) {
        Some("has a part that starts or ends with '-' or '.'")
    } else if repository.ends_with(".git") {
        Some("ends with '.git'")
    } else if repository.len() > MAX_REPOSITORY {
        Some("is longer than 96 characters")
    } else {
        None
    }
}

fn invalid<T>(reason: String) -> Result<T> {
    Err(Error::argument("model", reason))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parsed_and_shown_again() {
        for (text, repository, revision, quantisation) in [
            ("Qwen/Qwen3-0.6B", "Qwen/Qwen3-0.6B", None, None),
            ("gpt2", "gpt2", None, None),
            ("a/b@main", "a/b", Some("main"), None),
            ("a/b@refs/pr/1", "a/b", Some("refs/pr/1"), None),
            ("a/b:q8_0", "a/b", None, Some("q8_0")),
            ("a/b@v1.0:Q4_K_M", "a/b", Some("v1.0"), Some("Q4_K_M")),
        ] {
            let id: ModelId = text.parse().unwrap();
            assert_eq!(id.repository(), repository);
            assert_eq!(id.revision(), revision);
            assert_eq!(id.quantisation(), quantisation);
            assert_eq!(id.to_string(), text);
        }
        let id: ModelId = "a/b:Q4_K_M@v1.0".parse().unwrap();
        assert_eq!(id.to_string(), "a/b@v1.0:Q4_K_M");
    }

    #[test]
    fn refused_with_a_reason() {
        for (text, reason) in [
            ("", "empty"),
            ("a/b/c", "more than one"),
            ("/a", "absolute"),
            ("a/", "empty part"),
            ("../b", "'..'"),
            ("a/..", "'..'"),
            ("a\\b", "backslash"),
            ("C:x/b", "no quantisation"),
            ("a b/c", "character"),
            ("a--b/c", "'--'"),
            ("a/b.git", "'.git'"),
            ("-a/b", "starts or ends"),
            ("a/b@", "nothing after"),
            ("a/b:", "nothing after"),
            ("a/b@x@y", "twice"),
            ("a/b:x:y", "twice"),
            ("a/b@../x", "'..'"),
            ("a/b@/etc", "absolute"),
            ("a/b@x\\y", "backslash"),
            ("a/b:Q4/x", "no quantisation"),
        ] {
            let error = text.parse::<ModelId>().unwrap_err();
            assert!(error.to_string().contains(reason), "{text}: {error}");
            assert_eq!(error.code(), crate::error::Code::InvalidArgument);
        }
        assert!(ModelId::new(&format!("a/{}", "b".repeat(100))).is_err());
    }
}
