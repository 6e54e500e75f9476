//! Fetching a model: from the cache if it is complete there, else from the Hub.

use std::collections::BTreeMap;
use std::fs;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use futures::stream::FuturesUnordered;

use super::blob::{Fetch, Wanted};
use super::cache::{Known, Note, Repository, read_limited};
use super::events::{Gauge, Job};
use super::id::ModelId;
use super::options::HubOptions;
use super::request::Client;
use super::select::{self, COMPANIONS, INDEX, Needed, WeightFiles};
use super::xet::Xet;
use super::{Shared, Snapshot, SnapshotFile, api, space};
use crate::error::{Error, Result};
use crate::progress::Phase;

/// Longest index of shards that is read.
const LONGEST_INDEX: u64 = 64 << 20;

/// What the cache has of a model.
enum Cached {
    /// All that is needed.
    Complete(Snapshot),
    /// All that is needed as far as can be told, but nobody noted which files the commit has.
    Perhaps(Snapshot),
    /// Not all: what is missing, in words.
    Incomplete(String),
}

/// See [`Hub::fetch`](super::Hub::fetch).
pub(super) fn fetch(shared: &Shared, id: &ModelId, job: &Arc<Job>) -> Result<Snapshot> {
    match look_up(shared, id)? {
        Cached::Complete(snapshot) => Ok(snapshot),
        Cached::Perhaps(snapshot) if shared.options.offline => Ok(snapshot),
        Cached::Perhaps(snapshot) => {
            // About this very commit, so that the model does not change under its user.
            let same = id.clone().with_revision(&snapshot.commit)?;
            match download(shared, &same, job, &hurried(&shared.options)) {
                Ok(complete) => Ok(complete),
                Err(error @ (Error::Cancelled | Error::Panic(_))) => Err(error),
                Err(error) => {
                    tracing::warn!("{id} is used as it is in the cache: {error}");
                    Ok(snapshot)
                }
            }
        }
        Cached::Incomplete(missing) if shared.options.offline => {
            Err(not_cached(shared, id, missing))
        }
        Cached::Incomplete(_) => download(shared, id, job, &shared.options),
    }
}

/// Options for a question whose answer is not worth much time: a model that is there should not wait for
/// a Hub that is not.
fn hurried(options: &HubOptions) -> HubOptions {
    let soon = Duration::from_secs(5);
    HubOptions {
        retries: 0,
        connect_limit: options.connect_limit.min(soon),
        header_limit: options.header_limit.min(soon),
        ..options.clone()
    }
}

/// See [`Hub::pull`](super::Hub::pull).
pub(super) fn pull(shared: &Shared, id: &ModelId, job: &Arc<Job>) -> Result<Snapshot> {
    if shared.options.offline {
        return fetch(shared, id, job);
    }
    download(shared, id, job, &shared.options)
}

fn not_cached(shared: &Shared, id: &ModelId, missing: String) -> Error {
    Error::ModelNotCached {
        id: id.to_string(),
        cache: shared.options.cache.display().to_string(),
        missing: format!("{missing}, and offline mode is on (HF_HUB_OFFLINE)"),
    }
}

/// What the cache has of `id`. Only an id that cannot be right is an error.
fn look_up(shared: &Shared, id: &ModelId) -> Result<Cached> {
    let repository = Repository::new(&shared.options.cache, id, shared.options.symlinks);
    let revision = id.revision_or_default();
    let incomplete = |missing: String| Ok(Cached::Incomplete(missing));
    let Some(commit) = repository.commit_of(revision) else {
        return incomplete(format!("revision {revision}"));
    };
    let there = repository.files_of(&commit);
    let known = repository.recall(&commit);
    let noted = known.listing.is_some();
    let listing = match known.listing {
        Some(listing) => listing,
        None => there.keys().cloned().collect(),
    };
    let needed = match select::select(id, &listing) {
        Ok(needed) => needed,
        // The choice between several files is the user's, whoever lists them.
        Err(error @ Error::InvalidArgument { .. }) if noted => return Err(error),
        Err(Error::FileNotFound { file, .. }) => return incomplete(file),
        Err(error) => return incomplete(error.to_string()),
    };
    let mut names = needed.companions.clone();
    match &needed.weights {
        WeightFiles::Single(name) => names.push(name.clone()),
        WeightFiles::Gguf(files) => names.extend(files.iter().cloned()),
        WeightFiles::Sharded => {
            names.push(INDEX.to_owned());
            let index = read_limited(&repository.pointer(&commit, INDEX), LONGEST_INDEX);
            match index.ok().map(|index| select::shards(&index)) {
                Some(Ok(shards)) => names.extend(shards),
                _ => return incomplete(INDEX.to_owned()),
            }
        }
    }
    for name in &names {
        match (there.get(name), known.files.get(name)) {
            (None, _) => return incomplete(name.clone()),
            (Some(length), Some(Note { size, .. })) if length != size => {
                return incomplete(format!("{name} (it has {length} bytes instead of {size})"));
            }
            _ => {}
        }
    }
    let snapshot = snapshot(&repository, &commit, &needed, names, &there);
    let unclear = |name: &&str| !there.contains_key(*name) && !repository.is_absent(&commit, name);
    if !noted && COMPANIONS.iter().any(unclear) {
        return Ok(Cached::Perhaps(snapshot));
    }
    Ok(Cached::Complete(snapshot))
}

fn snapshot(
    repository: &Repository,
    commit: &str,
    needed: &Needed,
    mut names: Vec<String>,
    sizes: &BTreeMap<String, u64>,
) -> Snapshot {
    names.sort();
    names.dedup();
    let gguf = match &needed.weights {
        WeightFiles::Gguf(files) => files.first().map(|file| repository.pointer(commit, file)),
        _ => None,
    };
    Snapshot {
        folder: repository.snapshot(commit),
        commit: commit.to_owned(),
        files: names
            .into_iter()
            .map(|name| SnapshotFile {
                size: sizes.get(&name).copied().unwrap_or(0),
                name,
            })
            .collect(),
        gguf,
    }
}

/// Fetches what is missing of `id`, on a runtime of its own.
fn download(
    shared: &Shared,
    id: &ModelId,
    job: &Arc<Job>,
    options: &HubOptions,
) -> Result<Snapshot> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Error::io("candle4j-hub (runtime)", &error))?;
    let result = runtime.block_on(async {
        tokio::select! {
            biased;
            () = job.stopped() => Err(Error::Cancelled),
            result = download_with(shared, id, job, options) => result,
        }
    });
    // Name resolution and the like may hang in threads of the runtime.
    runtime.shutdown_background();
    result
}

async fn download_with(
    shared: &Shared,
    id: &ModelId,
    job: &Arc<Job>,
    options: &HubOptions,
) -> Result<Snapshot> {
    let client = Client::new(options, &shared.endpoint)?;
    let revision = api::resolve(&client, id).await?;
    let commit = revision.commit;
    let listed = revision.listing.is_some();
    let mut listing = match revision.listing {
        Some(listing) => listing,
        None => api::probe(&client, id, &commit).await?,
    };
    listing.retain(|name| select::matters(name));
    let needed = select::select(id, &listing)?;

    let repository = Repository::new(&options.cache, id, options.symlinks);
    let fetch = Fetch {
        client: &client,
        id,
        commit: &commit,
        repository: &repository,
        xet: Xet::new(&client, id, &commit),
        job,
    };

    let mut names = needed.companions.clone();
    let mut wanted = Vec::new();
    match &needed.weights {
        WeightFiles::Single(name) => names.push(name.clone()),
        WeightFiles::Gguf(files) => names.extend(files.iter().cloned()),
        WeightFiles::Sharded => {
            // Which shards there are stands in the index, so that comes before everything else.
            wanted = describe(&fetch, vec![INDEX.to_owned()]).await?;
            fetch_all(&fetch, &wanted, &[Gauge::unseen()]).await?;
            let path = repository.pointer(&commit, INDEX);
            let index = read_limited(&path, LONGEST_INDEX);
            let index = index.map_err(|error| Error::io(&path, &error))?;
            names.extend(select::shards(&index)?);
        }
    }
    refuse_collisions(&client, &names)?;

    wanted.extend(describe(&fetch, names).await?);
    let gauges = job.plan(
        Phase::Download,
        wanted
            .iter()
            .map(|wanted| (wanted.name().to_owned(), wanted.info.size)),
    );
    let sizes = fetch_all(&fetch, &wanted, &gauges).await?;

    let mut files = BTreeMap::new();
    for wanted in &wanted {
        for name in &wanted.names {
            let note = Note {
                size: sizes.get(name).copied().unwrap_or(0),
                tag: wanted.info.tag.clone(),
            };
            files.insert(name.clone(), note);
        }
    }
    let names = files.keys().cloned().collect();
    let absent = COMPANIONS.iter().filter(|name| !listing.contains(**name));
    let absent: Vec<&str> = absent.copied().collect();
    let known = Known {
        files,
        listing: listed.then_some(listing),
    };
    remember(&repository, &commit, &known, &absent);
    // The reference comes last: once it is there, everything behind it is.
    repository.set_commit_of(id.revision_or_default(), &commit)?;
    Ok(snapshot(&repository, &commit, &needed, names, &sizes))
}

/// Notes what the commit has and has not, for a next time without requests.
fn remember(repository: &Repository, commit: &str, known: &Known, absent: &[&str]) {
    let earlier = repository.recall_own(commit).unwrap_or_default();
    let news = known.listing.is_some() && earlier.listing.is_none()
        || known
            .files
            .iter()
            .any(|(name, note)| earlier.files.get(name) != Some(note));
    if news {
        repository.remember(commit, known);
        repository.mark_absent(commit, absent.iter().copied());
    }
}

/// Asks the Hub about files, and joins those of the same content.
async fn describe(fetch: &Fetch<'_>, names: Vec<String>) -> Result<Vec<Wanted>> {
    let count = names.len();
    let mut answers = futures::stream::iter(names.into_iter().enumerate())
        .map(|(index, name)| async move {
            let info = api::file(fetch.client, fetch.id, fetch.commit, &name).await;
            info.map(|info| (index, name, info))
        })
        .buffer_unordered(fetch.client.options().concurrency);
    let mut infos: Vec<Option<(String, api::FileInfo)>> = vec![None; count];
    while let Some(answer) = answers.next().await {
        let (index, name, info) = answer?;
        infos[index] = Some((name, info));
    }
    let mut wanted: Vec<Wanted> = Vec::new();
    let mut by_tag: BTreeMap<String, usize> = BTreeMap::new();
    for (name, info) in infos.into_iter().flatten() {
        let known = info.tag.as_ref().and_then(|tag| by_tag.get(tag).copied());
        match known {
            Some(position) if wanted[position].info.size == info.size => {
                wanted[position].names.push(name);
            }
            Some(position) => {
                return Err(Error::HubUnavailable {
                    endpoint: fetch.client.endpoint().to_owned(),
                    reason: format!(
                        "gives {} and {name} one entity tag but two sizes",
                        wanted[position].name()
                    ),
                });
            }
            None => {
                if let Some(tag) = &info.tag {
                    by_tag.insert(tag.clone(), wanted.len());
                }
                wanted.push(Wanted {
                    names: vec![name],
                    info,
                });
            }
        }
    }
    Ok(wanted)
}

/// Fetches contents that are not in the snapshot yet, several at once. Returns the sizes of all files.
async fn fetch_all(
    fetch: &Fetch<'_>,
    wanted: &[Wanted],
    gauges: &[Gauge],
) -> Result<BTreeMap<String, u64>> {
    let mut sizes = BTreeMap::new();
    let mut note = |wanted: &Wanted, size: u64| {
        for name in &wanted.names {
            sizes.insert(name.clone(), size);
        }
    };
    let mut missing = Vec::new();
    for (wanted, gauge) in wanted.iter().zip(gauges) {
        if fetch.is_there(wanted) {
            let pointer = fetch.repository.pointer(fetch.commit, wanted.name());
            let size = fs::metadata(&pointer).map_err(|error| Error::io(&pointer, &error))?;
            gauge.done(size.len());
            note(wanted, size.len());
        } else {
            missing.push((wanted, gauge));
        }
    }
    if missing.is_empty() {
        return Ok(sizes);
    }
    fetch.repository.prepare()?;
    let lacking = missing.iter().fold(0_u64, |sum, (wanted, _)| {
        sum.saturating_add(fetch.lacking(wanted))
    });
    space::check(&fetch.client.options().cache, lacking)?;

    let mut waiting = missing.into_iter();
    let mut running = FuturesUnordered::new();
    loop {
        while running.len() < fetch.client.options().concurrency
            && let Some((wanted, gauge)) = waiting.next()
        {
            running.push(async move { (wanted, fetch.run(wanted, gauge).await) });
        }
        let Some((wanted, size)) = running.next().await else {
            return Ok(sizes);
        };
        note(wanted, size?);
    }
}

/// Refuses files whose names differ in case only: where case does not count, one would take the other's
/// place.
fn refuse_collisions(client: &Client, names: &[String]) -> Result<()> {
    let mut seen: BTreeMap<String, &String> = BTreeMap::new();
    for name in names {
        match seen.insert(name.to_lowercase(), name) {
            Some(other) if other != name => {
                return Err(Error::HubUnavailable {
                    endpoint: client.endpoint().to_owned(),
                    reason: format!("has files that differ in case only: {other} and {name}"),
                });
            }
            _ => {}
        }
    }
    Ok(())
}
