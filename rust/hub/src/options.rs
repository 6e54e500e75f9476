//! What a [`Hub`](super::Hub) can be told, and the environment variables that say it.

use std::env;
use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use reqwest::Url;

use super::token::Token;
use crate::error::{Error, Result};

/// How a [`Hub`](super::Hub) reaches the Hub and where it keeps what it fetched. [`from_env`]
/// reads the environment, [`new`] does not; every field can be set afterwards.
///
/// [`from_env`]: HubOptions::from_env
/// [`new`]: HubOptions::new
#[derive(Debug, Clone)]
pub struct HubOptions {
    /// The Hub's address, `https://huggingface.co` by default. A path is allowed, a user name, a query
    /// or a fragment are not.
    pub endpoint: String,
    /// The cache folder, with one folder a model, laid out as Python's huggingface_hub does it, so that
    /// each finds what the other stored.
    pub cache: PathBuf,
    /// The access token. It is sent to the endpoint's own scheme, host and port and nowhere else.
    pub token: Option<Token>,
    /// Makes no request at all.
    pub offline: bool,
    /// How many files are fetched at once.
    pub concurrency: usize,
    /// How long a connection may take to be made, name resolution and TLS included.
    pub connect_limit: Duration,
    /// How long the headers of an answer may take.
    pub header_limit: Duration,
    /// How long a file may stand still. After half of it the request is made anew, once.
    pub idle_limit: Duration,
    /// How many times in a row something is tried again without any progress.
    pub retries: u32,
    /// The pause before the first retry. It doubles with each one, up to eight seconds.
    pub backoff: Duration,
    /// The longest pause that a server may ask for with `Retry-After`.
    pub longest_wait: Duration,
    /// Whether snapshots hold symbolic links to blobs. Where that is off or impossible they hold hard
    /// links, or else copies.
    pub symlinks: bool,
    /// A word added to the `User-Agent` header.
    pub user_agent: Option<String>,
}

impl HubOptions {
    /// The defaults, with this cache folder and without a token.
    pub fn new(cache: impl Into<PathBuf>) -> HubOptions {
        HubOptions {
            endpoint: "https://huggingface.co".to_owned(),
            cache: cache.into(),
            token: None,
            offline: false,
            concurrency: 8,
            connect_limit: Duration::from_secs(10),
            header_limit: Duration::from_secs(30),
            idle_limit: Duration::from_secs(30),
            retries: 5,
            backoff: Duration::from_millis(500),
            longest_wait: Duration::from_secs(120),
            symlinks: true,
            user_agent: None,
        }
    }

    /// What the environment says, with the meaning that Python's huggingface_hub gives these
    /// variables. A truth value is one of `1`, `ON`, `YES` and `TRUE` in any case.
    ///
    /// | variable | field |
    /// |---|---|
    /// | `HF_ENDPOINT` | `endpoint` |
    /// | `HF_HUB_CACHE`, else `HUGGINGFACE_HUB_CACHE`, else `$HF_HOME/hub` | `cache` |
    /// | `HF_HOME`, else `$XDG_CACHE_HOME/huggingface`, else `~/.cache/huggingface` | folder of the above and of the token file |
    /// | `HF_TOKEN`, else `HUGGING_FACE_HUB_TOKEN`, else the file `HF_TOKEN_PATH`, else `$HF_HOME/token` | `token` |
    /// | `HF_HUB_DISABLE_IMPLICIT_TOKEN` (truth value) | no `token` from any of these |
    /// | `HF_HUB_OFFLINE`, else `TRANSFORMERS_OFFLINE` (truth value) | `offline` |
    /// | `MAX_CONCURRENT_DOWNLOADS` (1 to 256) | `concurrency` |
    /// | `HF_HUB_ETAG_TIMEOUT` (seconds) | `header_limit` |
    /// | `HF_HUB_DOWNLOAD_TIMEOUT` (seconds) | `idle_limit` |
    /// | `HF_HUB_DISABLE_SYMLINKS` (truth value) | `symlinks` |
    /// | `HF_HUB_USER_AGENT_ORIGIN` | `user_agent` |
    ///
    /// `HTTP_PROXY`, `HTTPS_PROXY`, `ALL_PROXY` and `NO_PROXY`, in upper or lower case, are heeded by
    /// every [`Hub`](super::Hub), however its options were made.
    ///
    /// Fails with [`Error::InvalidArgument`] for a number or a token that is none, and where no
    /// variable and no home folder says where the cache is.
    pub fn from_env() -> Result<HubOptions> {
        Self::from_variables(&|name| env::var_os(name), env::home_dir())
    }

    fn from_variables(
        get: &dyn Fn(&str) -> Option<OsString>,
        user: Option<PathBuf>,
    ) -> Result<HubOptions> {
        // An empty variable counts as none: no folder, address or token can be empty.
        let text = |name: &str| {
            let value = get(name).and_then(|value| value.into_string().ok());
            value.filter(|value| !value.trim().is_empty())
        };
        let folder = |name: &str| {
            let value = get(name).filter(|value| !value.is_empty())?;
            Some(expand(Path::new(&value), get, user.as_deref()))
        };
        let truth = |name: &str| {
            let value = text(name).map(|value| value.to_lowercase());
            value.is_some_and(|value| ["1", "on", "yes", "true"].contains(&&*value))
        };

        let user_cache = || Some(user.as_deref()?.join(".cache"));
        let home = folder("HF_HOME").or_else(|| {
            let caches = folder("XDG_CACHE_HOME").or_else(user_cache)?;
            Some(caches.join("huggingface"))
        });
        let in_home = |name: &str| Some(home.as_ref()?.join(name));
        let cache = folder("HF_HUB_CACHE")
            .or_else(|| folder("HUGGINGFACE_HUB_CACHE"))
            .or_else(|| in_home("hub"));
        let mut options = HubOptions::new(cache.ok_or_else(|| {
            let reason = "there is no home folder to keep models in; set HF_HOME or HF_HUB_CACHE";
            Error::argument("cache", reason)
        })?);
        if let Some(endpoint) = text("HF_ENDPOINT") {
            options.endpoint = endpoint;
        }
        if !truth("HF_HUB_DISABLE_IMPLICIT_TOKEN") {
            options.token = match text("HF_TOKEN").or_else(|| text("HUGGING_FACE_HUB_TOKEN")) {
                Some(token) => Some(Token::new(&token)?),
                None => match folder("HF_TOKEN_PATH").or_else(|| in_home("token")) {
                    Some(path) => read_token(&path)?,
                    None => None,
                },
            };
        }
        // As Python reads them: the second counts only where the first says nothing at all.
        options.offline = match text("HF_HUB_OFFLINE") {
            Some(_) => truth("HF_HUB_OFFLINE"),
            None => truth("TRANSFORMERS_OFFLINE"),
        };
        let number = |name: &str, most: u64| match text(name).map(|value| value.trim().parse()) {
            None => Ok(None),
            Some(Ok(number)) if (1..=most).contains(&number) => Ok(Some(number)),
            Some(_) => Err(Error::argument(
                name,
                format!("is no whole number from 1 to {most}"),
            )),
        };
        if let Some(number) = number("MAX_CONCURRENT_DOWNLOADS", 256)? {
            options.concurrency = usize::try_from(number).unwrap_or(options.concurrency);
        }
        if let Some(seconds) = number("HF_HUB_ETAG_TIMEOUT", 86_400)? {
            options.header_limit = Duration::from_secs(seconds);
        }
        if let Some(seconds) = number("HF_HUB_DOWNLOAD_TIMEOUT", 86_400)? {
            options.idle_limit = Duration::from_secs(seconds);
        }
        options.symlinks = !truth("HF_HUB_DISABLE_SYMLINKS");
        options.user_agent = text("HF_HUB_USER_AGENT_ORIGIN");
        Ok(options)
    }

    /// Checks all fields. Returns the endpoint as a URL.
    pub(crate) fn check(&self) -> Result<Url> {
        for (name, limit) in [
            ("connect_limit", self.connect_limit),
            ("header_limit", self.header_limit),
            ("idle_limit", self.idle_limit),
        ] {
            if limit.is_zero() {
                return Err(Error::argument(name, "is zero; expected a time to wait"));
            }
        }
        if !(1..=256).contains(&self.concurrency) {
            let reason = format!("is {}; expected 1 to 256", self.concurrency);
            return Err(Error::argument("concurrency", reason));
        }
        if self.cache.as_os_str().is_empty() {
            return Err(Error::argument("cache", "is empty; expected a folder"));
        }
        // The address may hold a password by mistake, so it is not repeated when it is refused.
        let refuse = |reason: &str| Err(Error::argument("endpoint", reason));
        match Url::parse(self.endpoint.trim().trim_end_matches('/')) {
            Err(_) => refuse("is no URL; expected one such as https://huggingface.co"),
            Ok(url) if !matches!(url.scheme(), "http" | "https") || !url.has_host() => {
                refuse("is neither an http nor an https URL")
            }
            Ok(url) if !url.username().is_empty() || url.password().is_some() => {
                refuse("has a user name or password; use a token instead")
            }
            Ok(url) if url.query().is_some() || url.fragment().is_some() => {
                refuse("has a query or a fragment")
            }
            Ok(url) => Ok(url),
        }
    }
}

fn read_token(path: &Path) -> Result<Option<Token>> {
    match std::fs::read_to_string(path) {
        Ok(text) if text.trim().is_empty() => Ok(None),
        Ok(text) => Token::new(&text).map(Some).map_err(|error| {
            Error::argument("token", format!("in the file {}: {error}", path.display()))
        }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        // A token that cannot be read is no reason to refuse a public model.
        Err(error) => {
            tracing::warn!("the token file {} is not used: {error}", path.display());
            Ok(None)
        }
    }
}

/// Replaces a leading `~` and any `$NAME` or `${NAME}`, as Python's `expanduser` and `expandvars` do.
/// Unknown variables stay as they are.
fn expand(path: &Path, get: &dyn Fn(&str) -> Option<OsString>, user: Option<&Path>) -> PathBuf {
    let Some(text) = path.to_str() else {
        return path.to_owned();
    };
    let home = || user.and_then(Path::to_str);
    let variable = |name: &str| get(name).and_then(|value| value.into_string().ok());
    let expanded = shellexpand::full_with_context_no_errors(text, home, variable);
    PathBuf::from(&*expanded)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Code;

    fn from(variables: &[(&str, &str)]) -> Result<HubOptions> {
        let get = |name: &str| {
            variables
                .iter()
                .find(|(key, _)| *key == name)
                .map(|(_, value)| OsString::from(value))
        };
        HubOptions::from_variables(&get, Some(PathBuf::from("/home/ada")))
    }

    #[test]
    fn defaults() {
        let options = from(&[]).unwrap();
        assert_eq!(options.endpoint, "https://huggingface.co");
        assert_eq!(options.cache, Path::new("/home/ada/.cache/huggingface/hub"));
        assert!(options.token.is_none() && !options.offline && options.symlinks);
        assert_eq!(options.concurrency, 8);
    }

    #[test]
    fn where_the_cache_is() {
        let cache = |variables: &[(&str, &str)]| from(variables).unwrap().cache;
        assert_eq!(cache(&[("HF_HOME", "/h")]), Path::new("/h/hub"));
        assert_eq!(
            cache(&[("XDG_CACHE_HOME", "/x")]),
            Path::new("/x/huggingface/hub")
        );
        assert_eq!(
            cache(&[("HF_HUB_CACHE", "/c"), ("HF_HOME", "/h")]),
            Path::new("/c")
        );
        assert_eq!(
            cache(&[("HUGGINGFACE_HUB_CACHE", "/old"), ("HF_HOME", "/h")]),
            Path::new("/old")
        );
        assert_eq!(
            cache(&[("HF_HOME", "~/models")]),
            Path::new("/home/ada/models/hub")
        );
        assert_eq!(
            cache(&[("HF_HUB_CACHE", "$A/${B}/$C"), ("A", "/a"), ("B", "b")]),
            Path::new("/a/b/$C")
        );
        assert_eq!(cache(&[("HF_HOME", "")]), from(&[]).unwrap().cache);
    }

    #[test]
    fn where_the_token_is() {
        let folder = tempfile::tempdir().unwrap();
        let home = folder.path().to_str().unwrap();
        std::fs::write(folder.path().join("token"), "hf_file\n").unwrap();
        let other = folder.path().join("other");
        std::fs::write(&other, "hf_other").unwrap();
        let other = other.to_str().unwrap();
        let token = |variables: &[(&str, &str)]| from(variables).unwrap().token;
        let some = |text: &str| Some(Token::new(text).unwrap());

        assert_eq!(token(&[("HF_HOME", home)]), some("hf_file"));
        assert_eq!(
            token(&[("HF_HOME", home), ("HF_TOKEN", "hf_env")]),
            some("hf_env")
        );
        assert_eq!(
            token(&[("HF_HOME", home), ("HUGGING_FACE_HUB_TOKEN", "hf_old")]),
            some("hf_old")
        );
        assert_eq!(
            token(&[("HF_HOME", home), ("HF_TOKEN_PATH", other)]),
            some("hf_other")
        );
        assert_eq!(
            token(&[("HF_HOME", home), ("HF_TOKEN", " ")]),
            some("hf_file")
        );
        assert_eq!(
            token(&[
                ("HF_TOKEN", "hf_env"),
                ("HF_HUB_DISABLE_IMPLICIT_TOKEN", "1")
            ]),
            None
        );
        let error = from(&[("HF_TOKEN", "hf_bad\u{7f}token")]).unwrap_err();
        assert_eq!(error.code(), Code::InvalidArgument);
        assert!(!error.to_string().contains("hf_bad"));
    }

    #[test]
    fn truth_values() {
        for (value, truth) in [("1", true), ("on", true), ("Yes", true), ("TRUE", true)]
            .into_iter()
            .chain([("0", false), ("off", false), ("2", false), ("", false)])
        {
            let options = from(&[("HF_HUB_OFFLINE", value)]).unwrap();
            assert_eq!(options.offline, truth, "{value}");
        }
        let offline = |variables: &[(&str, &str)]| from(variables).unwrap().offline;
        assert!(offline(&[("TRANSFORMERS_OFFLINE", "1")]));
        assert!(!offline(&[
            ("HF_HUB_OFFLINE", "0"),
            ("TRANSFORMERS_OFFLINE", "1")
        ]));
        assert!(
            !from(&[("HF_HUB_DISABLE_SYMLINKS", "true")])
                .unwrap()
                .symlinks
        );
    }

    #[test]
    fn numbers() {
        let options = from(&[
            ("MAX_CONCURRENT_DOWNLOADS", "3"),
            ("HF_HUB_ETAG_TIMEOUT", "7"),
            ("HF_HUB_DOWNLOAD_TIMEOUT", "9"),
        ])
        .unwrap();
        assert_eq!(options.concurrency, 3);
        assert_eq!(options.header_limit, Duration::from_secs(7));
        assert_eq!(options.idle_limit, Duration::from_secs(9));
        for value in ["0", "-1", "x", "1000000"] {
            let error = from(&[("MAX_CONCURRENT_DOWNLOADS", value)]).unwrap_err();
            assert!(error.to_string().contains("MAX_CONCURRENT_DOWNLOADS"));
        }
    }

    #[test]
    fn endpoints() {
        let check = |endpoint: &str| {
            let mut options = HubOptions::new("/c");
            options.endpoint = endpoint.to_owned();
            options.check()
        };
        assert_eq!(
            check("https://hub.example/mirror/").unwrap().as_str(),
            "https://hub.example/mirror"
        );
        assert!(check("http://127.0.0.1:8080").is_ok());
        for endpoint in [
            "",
            "huggingface.co",
            "ftp://hub.example",
            "file:///etc",
            "https://ada:secret@hub.example",
            "https://hub.example/?token=secret",
        ] {
            let error = check(endpoint).unwrap_err();
            assert_eq!(error.code(), Code::InvalidArgument);
            assert!(!error.to_string().contains("secret"));
        }
    }
}
