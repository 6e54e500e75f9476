//! What the Hub says: which commit a revision is, which files a commit has, and the hash and size of
//! each. The requests are those of Python's huggingface_hub.

use std::collections::BTreeSet;

use reqwest::header::{ETAG, HeaderName};
use reqwest::{Method, StatusCode, Url};
use serde::Deserialize;

use super::cache::{check_commit, is_full_commit};
use super::hash::BlobHash;
use super::http::{Answer, Client, LINKED_ETAG};
use super::id::{DEFAULT_REVISION, ModelId};
use super::names;
use crate::error::{Error, Result};

const ERROR_CODE: HeaderName = HeaderName::from_static("x-error-code");
const ERROR_MESSAGE: HeaderName = HeaderName::from_static("x-error-message");
const REPO_COMMIT: HeaderName = HeaderName::from_static("x-repo-commit");
const LINKED_SIZE: HeaderName = HeaderName::from_static("x-linked-size");

/// A revision as the Hub knows it.
pub(crate) struct Revision {
    /// The commit that it is.
    pub(crate) commit: String,
    /// The commit's files.
    pub(crate) files: BTreeSet<String>,
}

/// What a request is about, to say what is missing when the Hub answers 404.
#[derive(Clone, Copy)]
pub(crate) enum Subject<'a> {
    Revision,
    /// A file of a commit.
    File(&'a str, &'a str),
}

/// Which commit the revision of `id` is, and which files that has.
pub(crate) async fn resolve(client: &Client, id: &ModelId) -> Result<Revision> {
    #[derive(Deserialize)]
    struct Model {
        sha: String,
        siblings: Vec<Sibling>,
    }
    #[derive(Deserialize)]
    struct Sibling {
        rfilename: String,
    }
    let asked = id.revision_or_default();
    let repository = || {
        ["api", "models"]
            .into_iter()
            .chain(id.repository().split('/'))
    };
    let url = client.url(repository().chain(["revision", asked]));
    let (answer, document) = client.document(&url).await?;
    let Some(document) = document else {
        let error = refusal(client, id, Subject::Revision, &answer);
        // A 404 without a code is about the revision when the Hub knows the repository.
        return match error {
            Error::ModelNotFound { .. }
                if asked != DEFAULT_REVISION
                    && client
                        .document(&client.url(repository()))
                        .await?
                        .1
                        .is_some() =>
            {
                Err(no_revision(id, asked))
            }
            error => Err(error),
        };
    };
    let refuse = |reason: String| client.unavailable(&url, reason);
    let model: Model = serde_json::from_slice(&document)
        .map_err(|error| refuse(format!("sent no description of a model: {error}")))?;
    if let Err(reason) = check_commit(&model.sha) {
        let shown = names::shown(&model.sha);
        return Err(refuse(format!(
            "names the commit '{shown}', which {reason}"
        )));
    }
    if is_full_commit(asked) && !asked.eq_ignore_ascii_case(&model.sha) {
        return Err(refuse(format!(
            "was asked for {asked} and sent {}",
            model.sha
        )));
    }
    let mut files = BTreeSet::new();
    for Sibling { rfilename: name } in model.siblings {
        match names::check(&name) {
            Ok(()) => {
                files.insert(name);
            }
            // Nobody gives a file such a name by accident, so nothing of this is to be believed.
            Err(flaw) if flaw.escapes => {
                let shown = names::shown(&name);
                return Err(refuse(format!(
                    "lists the file '{shown}', which {}",
                    flaw.reason
                )));
            }
            // Some platform cannot store it. If it is needed, it will be missed.
            Err(flaw) => tracing::debug!("{} {}", names::shown(&name), flaw.reason),
        }
    }
    let mut commit = model.sha;
    if is_full_commit(&commit) {
        commit.make_ascii_lowercase();
    }
    Ok(Revision { commit, files })
}

/// The hash and the size of a file of a commit, by a HEAD request, or else by a request for its first
/// byte, where a server knows no HEAD or does not tell the size. An answer without a hash is refused:
/// nothing is fetched that could not be checked.
pub(crate) async fn file(
    client: &Client,
    id: &ModelId,
    commit: &str,
    name: &str,
) -> Result<(BlobHash, u64)> {
    let url = file_url(client, id, commit, name);
    let limit = client.options().header_limit;
    let mut hash = None;
    for (method, range) in [(Method::HEAD, None), (Method::GET, Some((0, 0)))] {
        let ask = async || client.attempt(method.clone(), &url, range, limit).await;
        let answer = client.retry(&url, ask).await?;
        match (answer.status().as_u16(), &hash) {
            (405 | 501, None) if method == Method::HEAD => continue,
            // An empty file has no first byte.
            (416, Some(hash)) => return Ok((BlobHash::clone(hash), 0)),
            (400.., _) => return Err(refusal(client, id, Subject::File(commit, name), &answer)),
            _ => {}
        }
        let refuse = |reason: String| Err(client.unavailable(answer.response.url(), reason));
        if let Some(other) = answer.header(&REPO_COMMIT)
            && !other.eq_ignore_ascii_case(commit)
        {
            let other = names::shown(other);
            return refuse(format!("was asked for {name} of {commit} and sent {other}"));
        }
        let tag = answer.header(&LINKED_ETAG).or_else(|| answer.header(&ETAG));
        let bare = tag.map(|tag| tag.trim().trim_start_matches("W/").trim_matches('"'));
        hash = hash.or_else(|| BlobHash::of_tag(bare?));
        let Some(hash) = &hash else {
            let shown = names::shown(bare.unwrap_or_default());
            return refuse(format!("tags {name} with '{shown}', expected a hash of it"));
        };
        let linked = answer.header(&LINKED_SIZE);
        let total = answer.content_range().and_then(|(_, _, total)| total);
        let length = answer
            .length()
            .filter(|_| answer.status() == StatusCode::OK);
        let size = linked.and_then(|size| size.trim().parse().ok());
        if let Some(size) = size.or(total).or(length) {
            return Ok((hash.clone(), size));
        }
    }
    let reason = format!("does not say the size of {name} (X-Linked-Size, Content-Length)");
    Err(client.unavailable(&url, reason))
}

/// The URL of a file of a revision.
pub(crate) fn file_url(client: &Client, id: &ModelId, revision: &str, name: &str) -> Url {
    let repository = id.repository().split('/');
    client.url(
        repository
            .chain(["resolve", revision])
            .chain(name.split('/')),
    )
}

fn no_revision(id: &ModelId, revision: &str) -> Error {
    Error::RevisionNotFound {
        id: id.repository().to_owned(),
        revision: revision.to_owned(),
    }
}

/// The error for an answer that is a refusal, by the code that the Hub sends with it or else by its
/// status. The server's own words are not repeated: they could repeat what it was sent.
pub(crate) fn refusal(
    client: &Client,
    id: &ModelId,
    subject: Subject<'_>,
    answer: &Answer,
) -> Error {
    let repository = || id.repository().to_owned();
    let code = answer.header(&ERROR_CODE);
    // A storage server knows nothing of models; a Hub behind a mirror does, and says so.
    if answer.left_endpoint && code.is_none() {
        return client.unexpected(answer);
    }
    let gated = || Error::GatedModel {
        id: repository(),
        url: format!("{}/{}", client.endpoint(), id.repository()),
    };
    let no_model = || Error::ModelNotFound {
        id: repository(),
        endpoint: client.endpoint().to_owned(),
    };
    let no_file = |name: &str| Error::FileNotFound {
        id: repository(),
        file: name.to_owned(),
    };
    let unauthorized = |reason: &str| Error::Unauthorized {
        id: repository(),
        reason: reason.to_owned(),
    };
    let message = answer.header(&ERROR_MESSAGE).unwrap_or_default();
    let message = message.to_ascii_lowercase();
    let says_gated = message.contains("gated") || message.contains("restricted");
    match (answer.status().as_u16(), code, subject) {
        (_, Some("GatedRepo"), _) => gated(),
        (_, Some("RepoNotFound"), _) => no_model(),
        (_, Some("RevisionNotFound"), Subject::Revision) => {
            no_revision(id, id.revision_or_default())
        }
        (_, Some("RevisionNotFound"), Subject::File(commit, _)) => no_revision(id, commit),
        (_, Some("EntryNotFound"), Subject::File(_, name)) => no_file(name),
        (401 | 403, _, _) if says_gated => gated(),
        (401, _, _) if client.has_token() => {
            unauthorized("the token was refused; check HF_TOKEN or log in again")
        }
        (401, _, _) => unauthorized("a token is needed; set HF_TOKEN"),
        (403, _, _) if client.has_token() => unauthorized("the token does not give access to it"),
        (403, _, _) => unauthorized("access is forbidden; a token may help, set HF_TOKEN"),
        (404 | 410, _, Subject::Revision) => no_model(),
        (404 | 410, _, Subject::File(_, name)) => no_file(name),
        _ => client.unexpected(answer),
    }
}
