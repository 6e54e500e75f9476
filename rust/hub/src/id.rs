//! Names of models on the Hub.

use std::fmt;
use std::str::FromStr;

use super::names;
use crate::error::{Error, Result};

/// The branch that is meant when no revision is named.
pub(super) const DEFAULT_REVISION: &str = "main";

/// Longest repository name that the Hub gives.
const LONGEST_REPOSITORY: usize = 96;

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
    pub fn new(repository: &str) -> Result<ModelId> {
        check_repository(repository)?;
        Ok(ModelId {
            repository: repository.to_owned(),
            revision: None,
            quantisation: None,
        })
    }

    /// The same model at `revision`.
    pub fn with_revision(mut self, revision: &str) -> Result<ModelId> {
        names::check(revision).map_err(|flaw| {
            invalid(format!(
                "the revision '{}' {}",
                names::shown(revision),
                flaw.reason()
            ))
        })?;
        self.revision = Some(revision.to_owned());
        Ok(self)
    }

    /// The same model as a GGUF file with `quantisation`.
    pub fn with_quantisation(mut self, quantisation: &str) -> Result<ModelId> {
        let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
        if quantisation.is_empty() || !quantisation.chars().all(allowed) {
            return Err(invalid(format!(
                "'{}' is no quantisation; expected one such as Q4_K_M",
                names::shown(quantisation)
            )));
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
    pub(super) fn revision_or_default(&self) -> &str {
        self.revision.as_deref().unwrap_or(DEFAULT_REVISION)
    }

    /// The name of the repository's folder in the cache.
    pub(super) fn folder_name(&self) -> String {
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
            let part = &rest[1..];
            // Neither a git revision nor a quantisation can have the other's mark.
            let end = part.find(['@', ':']).unwrap_or(part.len());
            let (value, after) = part.split_at(end);
            let taken = if mark == '@' {
                id.revision.is_some()
            } else {
                id.quantisation.is_some()
            };
            if value.is_empty() || taken {
                return Err(invalid(format!(
                    "'{}' has '{mark}' {}; expected OWNER/NAME[@REVISION][:QUANTISATION]",
                    names::shown(text),
                    if taken {
                        "twice"
                    } else {
                        "with nothing after it"
                    }
                )));
            }
            id = if mark == '@' {
                id.with_revision(value)?
            } else {
                id.with_quantisation(value)?
            };
            rest = after;
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

/// The Hub's rules for repository names. `--` is refused because the cache's folder names use it
/// between owner and name.
fn check_repository(repository: &str) -> Result<()> {
    let refuse = |reason: &str| {
        Err(invalid(format!(
            "'{}' {reason}; expected OWNER/NAME",
            names::shown(repository)
        )))
    };
    if repository.is_empty() {
        return Err(invalid("is empty; expected OWNER/NAME".to_owned()));
    }
    if let Err(flaw) = names::check(repository) {
        return refuse(flaw.reason());
    }
    let parts: Vec<&str> = repository.split('/').collect();
    if parts.len() > 2 {
        return refuse("has more than one '/'");
    }
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if !repository.chars().all(|c| allowed(c) || c == '/') {
        return refuse("has a character other than letters, digits, '-', '_' and '.'");
    }
    if repository.contains("--") || repository.contains("..") {
        return refuse("has '--' or '..'");
    }
    if parts
        .iter()
        .any(|part| part.starts_with(['-', '.']) || part.ends_with(['-', '.']))
    {
        return refuse("has a part that starts or ends with '-' or '.'");
    }
    if repository.ends_with(".git") {
        return refuse("ends with '.git'");
    }
    if repository.len() > LONGEST_REPOSITORY {
        return refuse("is longer than 96 characters");
    }
    Ok(())
}

fn invalid(reason: String) -> Error {
    Error::argument("model", reason)
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
