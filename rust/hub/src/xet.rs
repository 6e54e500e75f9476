//! Files in Xet storage, fetched with the Hub's own library for it, `hf-xet`.
//!
//! hf-hub fetches them with the same library, but finds out whether a file is in Xet storage by a
//! request that follows redirects, after which the header that says so is gone. Here that is known
//! from the file's own HEAD. The access to the storage is asked for with our own request, so that the
//! token goes to the endpoint only; the library is given nothing but what the Hub answered.
//!
//! What comes is written and hashed like anything else, and whatever fails is left to plain HTTP,
//! which goes on where this ended.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use reqwest::Url;
use reqwest::header::HeaderName;
use serde::Deserialize;
use tokio::sync::Mutex;
use tokio::time::timeout;
use xet::xet_session::{
    XetConfig, XetDownloadStreamGroup, XetFileInfo, XetSession, XetSessionBuilder,
};

use super::id::ModelId;
use super::request::{Client, quote};
use super::transfer::Transfer;
use crate::error::{Error, Result};

const STORAGE_URL: HeaderName = HeaderName::from_static("x-xet-cas-url");
const STORAGE_TOKEN: HeaderName = HeaderName::from_static("x-xet-access-token");
const STORAGE_EXPIRY: HeaderName = HeaderName::from_static("x-xet-token-expiration");

/// The library's buffers, all files together. Its own choice is a part of the machine's memory.
const BUFFERS: &str = "32mb";

/// Access that holds for less than this is not used any more.
const ENDING: Duration = Duration::from_secs(60);

/// Access to Xet storage for the files of one commit, asked for when the first file needs it.
pub(super) struct Xet<'a> {
    client: &'a Client,
    id: &'a ModelId,
    commit: &'a str,
    access: Mutex<Access>,
}

enum Access {
    Unknown,
    Refused,
    Open(Arc<Storage>),
}

/// A storage that can be read from.
struct Storage {
    group: XetDownloadStreamGroup,
    /// When that is over, in seconds since 1970.
    expiry: u64,
    // The group works in the session's threads.
    _session: XetSession,
}

impl<'a> Xet<'a> {
    pub(super) fn new(client: &'a Client, id: &'a ModelId, commit: &'a str) -> Xet<'a> {
        Xet {
            client,
            id,
            commit,
            access: Mutex::new(Access::Unknown),
        }
    }

    /// Fetches what lacks of a file, as far as it goes. An error is one of writing; everything else is
    /// told to the log.
    pub(super) async fn fetch(&self, transfer: &Transfer<'_>, hash: &str, size: u64) -> Result<()> {
        while transfer.len() < size {
            let Some(storage) = self.storage().await else {
                return Ok(());
            };
            let before = transfer.len();
            let info = XetFileInfo::new(hash.to_owned(), size);
            let failure = self.stream(&storage, info, size, transfer).await?;
            // A long download outlives its access. What brought nothing is not tried again.
            if let Some(reason) = failure
                && transfer.len() == before
            {
                tracing::info!("Xet storage failed, plain HTTP goes on: {reason}");
                return Ok(());
            }
        }
        Ok(())
    }

    /// Takes the bytes that lack up to `end`. Returns why it ended early, if it did.
    async fn stream(
        &self,
        storage: &Storage,
        info: XetFileInfo,
        end: u64,
        transfer: &Transfer<'_>,
    ) -> Result<Option<String>> {
        let limit = self.client.options().idle_limit;
        let failed = |reason: &str| Ok(Some(reason.to_owned()));
        let asked = storage
            .group
            .download_stream(info, Some(transfer.len()..end));
        let mut stream = match timeout(limit, asked).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => return failed(&error.to_string()),
            Err(_) => return failed("no answer"),
        };
        loop {
            match timeout(limit, stream.next()).await {
                Ok(Ok(Some(bytes))) if bytes.len() as u64 <= end - transfer.len() => {
                    transfer.write(&bytes)?;
                }
                Ok(Ok(Some(_))) => return failed("more bytes than asked for"),
                Ok(Ok(None)) if transfer.len() == end => return Ok(None),
                Ok(Ok(None)) => return failed("fewer bytes than asked for"),
                Ok(Err(error)) => return failed(&error.to_string()),
                Err(_) => return failed("silence"),
            }
        }
    }

    /// A storage that can be read from for some time, unless access was refused.
    async fn storage(&self) -> Option<Arc<Storage>> {
        let mut access = self.access.lock().await;
        match &*access {
            Access::Refused => return None,
            Access::Open(storage) if holds(storage.expiry) => return Some(Arc::clone(storage)),
            _ => {}
        }
        let opened = timeout(self.client.options().header_limit, self.open()).await;
        let reason = match opened {
            Ok(Ok(storage)) => {
                let storage = Arc::new(storage);
                *access = Access::Open(Arc::clone(&storage));
                return Some(storage);
            }
            Ok(Err(error)) => error.to_string(),
            Err(_) => "no answer".to_owned(),
        };
        tracing::info!("files in Xet storage are fetched by plain HTTP: {reason}");
        *access = Access::Refused;
        None
    }

    async fn open(&self) -> Result<Storage> {
        let path = format!(
            "api/models/{}/xet-read-token/{}",
            quote(self.id.repository(), "/"),
            quote(self.commit, "")
        );
        let grant = self.grant(self.client.url(&path)?).await?;

        let mut config = XetConfig::new();
        // What is fetched is nobody's business but the Hub's.
        config.telemetry.enabled = false;
        let buffers = &mut config.reconstruction;
        buffers.download_buffer_size = BUFFERS.into();
        buffers.download_buffer_perfile_size = BUFFERS.into();
        buffers.download_buffer_limit = BUFFERS.into();
        buffers.min_prefetch_buffer = BUFFERS.into();
        let failed = |error: &dyn std::fmt::Display| Error::HubUnavailable {
            endpoint: self.client.endpoint().to_owned(),
            reason: error.to_string(),
        };
        let session = XetSessionBuilder::new_with_config(config)
            .with_cache_dir(&self.client.options().xet_cache)
            .build()
            .map_err(|error| failed(&error))?;
        let group = session
            .new_download_stream_group()
            .map_err(|error| failed(&error))?
            .with_endpoint(grant.url)
            .with_token_info(grant.token, grant.expiry)
            .build()
            .await
            .map_err(|error| failed(&error))?;
        Ok(Storage {
            group,
            expiry: grant.expiry,
            _session: session,
        })
    }

    /// Asks the Hub for access, which it grants in headers or in a document.
    async fn grant(&self, url: Url) -> Result<Grant> {
        let (answer, document) = self.client.document(url).await?;
        let refuse = |reason: &str| self.client.unavailable(&answer.place.url, reason);
        let document = document.ok_or_else(|| refuse("gives no access to Xet storage"))?;
        let in_headers = || {
            Some(Grant {
                url: answer.header(&STORAGE_URL)?.to_owned(),
                token: answer.header(&STORAGE_TOKEN)?.to_owned(),
                expiry: answer.header(&STORAGE_EXPIRY)?.trim().parse().ok()?,
            })
        };
        let grant = in_headers()
            .or_else(|| serde_json::from_slice(&document).ok())
            .ok_or_else(|| refuse("grants access to Xet storage in an unknown form"))?;
        // The library also knows addresses that are folders of this machine.
        let usable = Url::parse(&grant.url).is_ok_and(|storage| {
            storage.scheme() == "https" || storage.scheme() == url_scheme_allowed(&answer.place.url)
        });
        if !usable {
            return Err(refuse("names a Xet storage that is no https address"));
        }
        if !holds(grant.expiry) {
            return Err(refuse("grants access to Xet storage that is already over"));
        }
        Ok(grant)
    }
}

/// Where the storage is, and what opens it.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Grant {
    #[serde(rename = "casUrl")]
    url: String,
    #[serde(rename = "accessToken")]
    token: String,
    #[serde(rename = "exp")]
    expiry: u64,
}

/// A Hub that is itself reached without TLS may have its storage so as well.
fn url_scheme_allowed(hub: &Url) -> &'static str {
    if hub.scheme() == "http" {
        "http"
    } else {
        "https"
    }
}

/// Whether access that ends then, in seconds since 1970, still holds for some time.
fn holds(expiry: u64) -> bool {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    Duration::from_secs(expiry) > now.unwrap_or_default() + ENDING
}
