//! What the Hub says: which commit a revision is, which files a commit has, and what each file is.
//!
//! The requests are those of Python's huggingface_hub. Answers may lack what other servers than the
//! Hub do not know of; what they do say must be usable and must not contradict itself.

use std::collections::BTreeSet;

use futures::StreamExt as _;
use reqwest::header::{ETAG, HeaderName};
use reqwest::{Method, StatusCode, Url};
use serde::Deserialize;

use super::cache::{check_commit, is_full_commit};
use super::id::{DEFAULT_REVISION, ModelId};
use super::names;
use super::request::{Answer, Client, Follow, Place, Request, header, quote, shown_status};
use super::select::{COMPANIONS, CONFIG, INDEX, SINGLE};
use crate::error::{Error, Result};

const ERROR_CODE: HeaderName = HeaderName::from_static("x-error-code");
const ERROR_MESSAGE: HeaderName = HeaderName::from_static("x-error-message");
const REPO_COMMIT: HeaderName = HeaderName::from_static("x-repo-commit");
const LINKED_ETAG: HeaderName = HeaderName::from_static("x-linked-etag");
const LINKED_SIZE: HeaderName = HeaderName::from_static("x-linked-size");
const XET_HASH: HeaderName = HeaderName::from_static("x-xet-hash");

/// A revision as the Hub knows it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Revision {
    /// The commit that it is.
    pub(super) commit: String,
    /// The commit's files, if the Hub lists them.
    pub(super) listing: Option<BTreeSet<String>>,
}

/// A file as the Hub knows it.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct FileInfo {
    /// The entity tag of its content.
    pub(super) tag: Option<String>,
    /// Its size.
    pub(super) size: Option<u64>,
    /// Its hash in Xet storage, if it is there.
    pub(super) xet: Option<String>,
}

/// What the Hub was asked for, to say what is missing when it answers 404.
#[derive(Clone, Copy)]
enum Asked<'a> {
    Revision(&'a str),
    File(&'a str, &'a str),
}

/// Which commit the revision of `id` is, and which files that has.
pub(super) async fn resolve(client: &Client, id: &ModelId) -> Result<Revision> {
    let revision = id.revision_or_default();
    let repository = quote(id.repository(), "/");
    let asked = Asked::Revision(revision);

    let mut paths = vec![format!(
        "api/models/{repository}/revision/{}",
        quote(revision, "")
    )];
    // Simple servers know a repository only as a whole, which is its main branch.
    if revision == DEFAULT_REVISION {
        paths.push(format!("api/models/{repository}"));
    }
    let mut listing = None;
    for path in paths {
        let (answer, document) = client.document(client.url(&path)?).await?;
        let Some(document) = document else {
            let unknown = matches!(answer.status().as_u16(), 400 | 404 | 405 | 410 | 501);
            if unknown && answer.header(&ERROR_CODE).is_none() {
                continue;
            }
            return Err(refusal(client, id, asked, &answer));
        };
        let info = parse_info(client, &answer.place.url, &document)?;
        listing = info.listing;
        if let Some(commit) = info.commit {
            let commit = checked_commit(client, id, &commit)?;
            return Ok(Revision { commit, listing });
        }
        break;
    }
    match commit_of_config(client, id).await {
        Ok(commit) => Ok(Revision { commit, listing }),
        Err(Error::ModelNotFound { .. })
            if revision != DEFAULT_REVISION && exists(client, &repository).await? =>
        {
            Err(Error::RevisionNotFound {
                id: id.repository().to_owned(),
                revision: revision.to_owned(),
            })
        }
        Err(error) => Err(error),
    }
}

/// Whether the Hub knows the repository at all.
async fn exists(client: &Client, repository: &str) -> Result<bool> {
    let url = client.url(&format!("api/models/{repository}"))?;
    let (_, document) = client.document(url).await?;
    Ok(document.is_some())
}

/// The commit that stands in the answer about the configuration, for servers without an API.
async fn commit_of_config(client: &Client, id: &ModelId) -> Result<String> {
    let revision = id.revision_or_default();
    let answer = head(client, file_url(client, id, revision, CONFIG)?).await?;
    if let Some(commit) = answer.first_header(&REPO_COMMIT) {
        return checked_commit(client, id, commit);
    }
    let status = answer.status();
    if status.is_success() || status.is_redirection() {
        if is_full_commit(revision) {
            return Ok(revision.to_ascii_lowercase());
        }
        return Err(client.unavailable(
            &answer.place.url,
            format!("does not say which commit {id} is, neither in its API nor in X-Repo-Commit"),
        ));
    }
    Err(refusal(client, id, Asked::Revision(revision), &answer))
}

fn checked_commit(client: &Client, id: &ModelId, commit: &str) -> Result<String> {
    let refuse = |reason: String| {
        Err(Error::HubUnavailable {
            endpoint: client.endpoint().to_owned(),
            reason,
        })
    };
    if let Err(reason) = check_commit(commit) {
        let commit = names::shown(commit);
        return refuse(format!("names the commit '{commit}', which {reason}"));
    }
    let asked = id.revision_or_default();
    if is_full_commit(asked) && !asked.eq_ignore_ascii_case(commit) {
        return refuse(format!("was asked for {asked} and answered for {commit}"));
    }
    Ok(commit.to_owned())
}

struct Info {
    commit: Option<String>,
    listing: Option<BTreeSet<String>>,
}

fn parse_info(client: &Client, url: &Url, document: &[u8]) -> Result<Info> {
    #[derive(Deserialize)]
    struct Model {
        sha: Option<String>,
        siblings: Option<Vec<Sibling>>,
    }
    #[derive(Deserialize)]
    struct Sibling {
        rfilename: String,
    }
    let model: Model = serde_json::from_slice(document).map_err(|error| {
        client.unavailable(
            url,
            format!("answered something that is no description of a model: {error}"),
        )
    })?;
    let Some(siblings) = model.siblings else {
        return Ok(Info {
            commit: model.sha,
            listing: None,
        });
    };
    let mut listing = BTreeSet::new();
    for Sibling { rfilename: name } in siblings {
        match names::check(&name) {
            Ok(()) => {
                listing.insert(name);
            }
            // Nobody gives a file such a name by accident, so nothing of this is to be believed.
            Err(flaw) if flaw.escapes() => {
                return Err(client.unavailable(
                    url,
                    format!(
                        "lists the file '{}', which {}",
                        names::shown(&name),
                        flaw.reason()
                    ),
                ));
            }
            // Some platform cannot store it. If it is needed, it will be missed.
            Err(flaw) => tracing::debug!("{} {}", names::shown(&name), flaw.reason()),
        }
    }
    Ok(Info {
        commit: model.sha,
        listing: Some(listing),
    })
}

/// Which of the well-known files a commit has, for servers that list none.
pub(super) async fn probe(client: &Client, id: &ModelId, commit: &str) -> Result<BTreeSet<String>> {
    let names = COMPANIONS.iter().chain([&SINGLE, &INDEX]);
    let mut found = futures::stream::iter(names)
        .map(|name| async move { (name, file(client, id, commit, name).await) })
        .buffer_unordered(client.options().concurrency);
    let mut listing = BTreeSet::new();
    while let Some((name, info)) = found.next().await {
        match info {
            Ok(_) => {
                listing.insert((*name).to_owned());
            }
            Err(Error::FileNotFound { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(listing)
}

/// What the Hub says about a file of a commit.
pub(super) async fn file(
    client: &Client,
    id: &ModelId,
    commit: &str,
    name: &str,
) -> Result<FileInfo> {
    let answer = head(client, file_url(client, id, commit, name)?).await?;
    let status = answer.status();
    if !status.is_success() && !status.is_redirection() {
        return Err(refusal(client, id, Asked::File(commit, name), &answer));
    }
    if let Some(other) = answer.first_header(&REPO_COMMIT)
        && !other.eq_ignore_ascii_case(commit)
    {
        let other = names::shown(other);
        return Err(client.unavailable(
            &answer.place.url,
            format!("was asked for {name} of commit {commit} and answered for {other}"),
        ));
    }

    let mut tag = answer.first_header(&LINKED_ETAG).or_else(|| {
        let own = answer.header(&ETAG);
        own.or_else(|| answer.first_header(&ETAG))
    });
    let mut size = parsed_size(&answer, &LINKED_SIZE);
    let redirect = client.redirect(&answer)?;
    if redirect.is_none() {
        size = size.or_else(|| total_length(&answer));
    }
    // The file lies elsewhere, and the Hub did not say enough about it: perhaps that server does.
    let elsewhere = match redirect {
        Some(place) if tag.is_none() || size.is_none() => look_elsewhere(client, place).await,
        _ => None,
    };
    if let Some(elsewhere) = &elsewhere {
        // It may be a Hub itself, which redirects in its turn.
        let linked = elsewhere.first_header(&LINKED_ETAG);
        tag = tag.or(linked).or_else(|| elsewhere.header(&ETAG));
        size = size
            .or_else(|| parsed_size(elsewhere, &LINKED_SIZE))
            .or_else(|| total_length(elsewhere));
    }
    let tag = match tag {
        Some(tag) => checked_tag(client, &answer.place.url, tag)?,
        None => None,
    };
    let xet = answer.first_header(&XET_HASH);
    Ok(FileInfo {
        tag,
        size,
        xet: xet.filter(|hash| is_xet_hash(hash)).map(str::to_owned),
    })
}

/// The URL at which a file of a revision is asked for.
pub(super) fn file_url(client: &Client, id: &ModelId, revision: &str, name: &str) -> Result<Url> {
    client.url(&format!(
        "{}/resolve/{}/{}",
        quote(id.repository(), "/"),
        quote(revision, ""),
        quote(name, "/")
    ))
}

/// Asks about a file by HEAD, or for its first byte where a server knows no HEAD.
async fn head(client: &Client, url: Url) -> Result<Answer> {
    let mut request = Request::head(url);
    let answer = client.ask(&request).await?;
    if !matches!(
        answer.status(),
        StatusCode::METHOD_NOT_ALLOWED | StatusCode::NOT_IMPLEMENTED
    ) {
        return Ok(answer);
    }
    request.method = Method::GET;
    request.range = Some((0, Some(0)));
    client.ask(&request).await
}

/// Asks another server about a file. That it does not answer is no failure: what is missing is found
/// out when the file is fetched.
async fn look_elsewhere(client: &Client, place: Place) -> Option<Answer> {
    let request = Request {
        place,
        follow: Follow::Everywhere,
        ..Request::head(client.url("").ok()?)
    };
    let answer = client
        .attempt(&request, client.options().header_limit)
        .await
        .ok()?;
    answer.status().is_success().then_some(answer)
}

/// The length of the whole file, of which the answer may have only a range.
fn total_length(answer: &Answer) -> Option<u64> {
    if answer.status() == StatusCode::PARTIAL_CONTENT {
        let range = answer.header(&reqwest::header::CONTENT_RANGE)?;
        return range.rsplit('/').next()?.trim().parse().ok();
    }
    answer.length()
}

fn parsed_size(answer: &Answer, name: &HeaderName) -> Option<u64> {
    answer.first_header(name)?.trim().parse().ok()
}

/// An entity tag without quotes and the mark of a weak one, as it can be a file's name.
fn checked_tag(client: &Client, url: &Url, tag: &str) -> Result<Option<String>> {
    let bare = tag.trim();
    let bare = bare.strip_prefix("W/").unwrap_or(bare).trim_matches('"');
    if bare.is_empty() {
        return Ok(None);
    }
    match names::check_part(bare) {
        Ok(()) => Ok(Some(bare.to_owned())),
        Err(flaw) => Err(client.unavailable(
            url,
            format!(
                "sent the entity tag '{}', which {}",
                names::shown(bare),
                flaw.reason()
            ),
        )),
    }
}

fn is_xet_hash(hash: &str) -> bool {
    hash.len() == 64 && hash.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// The error for an answer that refuses a file.
pub(super) fn file_refusal(
    client: &Client,
    id: &ModelId,
    commit: &str,
    name: &str,
    answer: &Answer,
) -> Error {
    refusal(client, id, Asked::File(commit, name), answer)
}

/// The error for an answer that is a refusal, by the code that the Hub sends with it or else by its
/// status. Texts that the server sends are not repeated, apart from one that says why a token is not
/// enough: they could repeat what they were sent.
fn refusal(client: &Client, id: &ModelId, asked: Asked<'_>, answer: &Answer) -> Error {
    let status = answer.status();
    let repository = id.repository().to_owned();
    let headers = answer.response.headers();
    let code = header(headers, &ERROR_CODE);
    // A storage server knows nothing of models; a Hub behind a mirror does, and says so.
    if answer.place.left_endpoint && code.is_none() {
        return client.unavailable(
            &answer.place.url,
            format!("answered {}", shown_status(status)),
        );
    }
    let gated = || Error::GatedModel {
        id: repository.clone(),
        url: format!("{}/{repository}", client.endpoint()),
    };
    let no_model = || Error::ModelNotFound {
        id: repository.clone(),
        endpoint: client.endpoint().to_owned(),
    };
    let no_revision = |revision: &str| Error::RevisionNotFound {
        id: repository.clone(),
        revision: revision.to_owned(),
    };
    match code {
        Some("GatedRepo") => return gated(),
        Some("RepoNotFound") => return no_model(),
        Some("RevisionNotFound") => {
            return match asked {
                Asked::Revision(revision) | Asked::File(revision, _) => no_revision(revision),
            };
        }
        Some("EntryNotFound") => {
            if let Asked::File(_, name) = asked {
                return Error::FileNotFound {
                    id: repository,
                    file: name.to_owned(),
                };
            }
        }
        _ => {}
    }
    let says = |word: &str| {
        header(headers, &ERROR_MESSAGE)
            .is_some_and(|message| message.to_ascii_lowercase().contains(word))
    };
    let unauthorized = |reason: &str| Error::Unauthorized {
        id: repository.clone(),
        reason: reason.to_owned(),
    };
    match (status.as_u16(), asked) {
        (401 | 403, _) if says("gated") || says("restricted") => gated(),
        (401, _) if client.has_token() => {
            unauthorized("the token was refused; check HF_TOKEN or log in again")
        }
        (401, _) => unauthorized("a token is needed; set HF_TOKEN"),
        (403, _) if client.has_token() => unauthorized("the token does not give access to it"),
        (403, _) => unauthorized("access is forbidden; a token may help, set HF_TOKEN"),
        (404 | 410, Asked::Revision(_)) => no_model(),
        (404 | 410, Asked::File(_, name)) => Error::FileNotFound {
            id: repository,
            file: name.to_owned(),
        },
        _ => client.unavailable(
            &answer.place.url,
            format!("answered {}", shown_status(status)),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Code;
    use crate::options::HubOptions;

    fn client() -> Client {
        let options = HubOptions::new("/c");
        Client::new(&options, &options.check().unwrap()).unwrap()
    }

    #[test]
    fn tags() {
        let client = client();
        let url = client.url("x").unwrap();
        let tag = |tag: &str| checked_tag(&client, &url, tag);
        for (text, bare) in [
            ("\"abc\"", "abc"),
            ("W/\"abc\"", "abc"),
            ("abc", "abc"),
            (" \"a-5\" ", "a-5"),
        ] {
            assert_eq!(tag(text).unwrap().as_deref(), Some(bare));
        }
        assert_eq!(tag("\"\"").unwrap(), None);
        for text in [
            "\"../../x\"",
            "\"/etc/passwd\"",
            "\"a\\b\"",
            "\"C:x\"",
            "\"..\"",
            "\"a/b\"",
            "\"CON\"",
            &"x".repeat(500),
        ] {
            let error = tag(text).unwrap_err();
            assert_eq!(error.code(), Code::HubUnavailable, "{text}");
        }
    }

    #[test]
    fn descriptions_of_models() {
        let client = client();
        let url = client.url("x").unwrap();
        let parse = |text: &str| parse_info(&client, &url, text.as_bytes());
        let info = parse(
            r#"{"id": "a/b", "sha": "c0ffee", "private": false,
                "siblings": [{"rfilename": "config.json", "size": 3}, {"rfilename": "what?.md"},
                    {"rfilename": "config.json"}]}"#,
        )
        .unwrap();
        assert_eq!(info.commit.as_deref(), Some("c0ffee"));
        let listing: Vec<String> = info.listing.unwrap().into_iter().collect();
        assert_eq!(listing, ["config.json"]);
        assert!(parse("{}").unwrap().listing.is_none());
        for text in [
            r#"<html>"#,
            r#"[]"#,
            r#"{"sha": 5}"#,
            r#"{"siblings": {}}"#,
            r#"{"siblings": [{}]}"#,
            r#"{"siblings": [{"rfilename": "../x"}]}"#,
            r#"{"siblings": [{"rfilename": "C:x"}]}"#,
        ] {
            let error = parse(text).err().unwrap();
            assert_eq!(error.code(), Code::HubUnavailable, "{text}");
        }
    }
}
