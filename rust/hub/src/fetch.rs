//! Fetching a model: from the cache if it is complete there, else from the Hub.

use std::collections::BTreeMap;
use std::fs;
use std::sync::Arc;
use std::time::Duration;

use futures::{StreamExt as _, TryStreamExt as _, stream};

use super::blob::{Fetch, Wanted};
use super::cache::{Note, Notes, Repository, read_limited};
use super::hash::BlobHash;
use super::http::Client;
use super::id::ModelId;
use super::job::{Gauge, Job};
use super::options::HubOptions;
use super::select::{self, COMPANIONS, INDEX, Needed, WeightFiles};
use super::{Shared, Snapshot, SnapshotFile, api};
use crate::error::{Error, Result};
use crate::progress::Phase;

/// Longest index of shards that is read.
const MAX_INDEX: u64 = 64 << 20;

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
pub(crate) fn fetch(shared: &Shared, id: &ModelId, job: &Arc<Job>) -> Result<Snapshot> {
    let options = &shared.options;
    match look_up(options, id)? {
        Cached::Complete(snapshot) => Ok(snapshot),
        Cached::Perhaps(snapshot) if options.offline => Ok(snapshot),
        Cached::Perhaps(snapshot) => {
            // About this very commit, so that the model does not change under its user. A model that
            // is there does not wait long for a Hub that is not.
            let same = id.clone().with_revision(&snapshot.commit)?;
            let soon = Duration::from_secs(5);
            let hurried = HubOptions {
                retries: 0,
                connect_limit: options.connect_limit.min(soon),
                header_limit: options.header_limit.min(soon),
                idle_limit: options.idle_limit.min(soon),
                ..options.clone()
            };
            match download(shared, &same, job, &hurried) {
                Err(error) if !matches!(error, Error::Cancelled | Error::Panic(_)) => {
                    tracing::warn!("{id} is used as it is in the cache: {error}");
                    Ok(snapshot)
                }
                result => result,
            }
        }
        Cached::Incomplete(missing) if options.offline => {
            let missing = format!("{missing}, and offline mode is on (HF_HUB_OFFLINE)");
            Err(not_cached(options, id, missing))
        }
        Cached::Incomplete(_) => download(shared, id, job, options),
    }
}

/// See [`Hub::pull`](super::Hub::pull).
pub(crate) fn pull(shared: &Shared, id: &ModelId, job: &Arc<Job>) -> Result<Snapshot> {
    match shared.options.offline {
        true => fetch(shared, id, job),
        false => download(shared, id, job, &shared.options),
    }
}

/// The error for a model, or a part of it, that the cache does not have.
pub(crate) fn not_cached(options: &HubOptions, id: &ModelId, missing: String) -> Error {
    Error::ModelNotCached {
        id: id.to_string(),
        cache: options.cache.display().to_string(),
        missing,
    }
}

/// What the cache has of `id`. Only an id that cannot be right is an error.
fn look_up(options: &HubOptions, id: &ModelId) -> Result<Cached> {
    let repository = Repository::new(&options.cache, id, options.symlinks);
    let revision = id.revision_or_default();
    let Some(commit) = repository.commit_of(revision) else {
        return Ok(Cached::Incomplete(format!("revision {revision}")));
    };
    let mut sizes = BTreeMap::new();
    for (name, size) in repository.files_of(&commit) {
        size.map(|size| sizes.insert(name, size));
    }
    let notes = repository.recall(&commit);
    let listing = match &notes {
        Some(notes) => notes.listing.clone(),
        None => sizes.keys().cloned().collect(),
    };
    let needed = match select::select(id, &listing) {
        Ok(needed) => needed,
        // The choice between several files is the user's, whoever lists them.
        Err(error @ Error::InvalidArgument { .. }) if notes.is_some() => return Err(error),
        Err(Error::FileNotFound { file, .. }) => return Ok(Cached::Incomplete(file)),
        Err(error) => return Ok(Cached::Incomplete(error.to_string())),
    };
    let mut names = needed.names();
    if needed.weights == WeightFiles::Sharded {
        match read_shards(&repository, &commit) {
            Ok(shards) => names.extend(shards),
            Err(_) => return Ok(Cached::Incomplete(INDEX.to_owned())),
        }
    }
    for name in &names {
        let noted = notes.as_ref().and_then(|notes| notes.files.get(name));
        match (sizes.get(name), noted) {
            (None, _) => return Ok(Cached::Incomplete(name.clone())),
            (Some(length), Some(Note { size, .. })) if length != size => {
                let missing = format!("{name} (it has {length} bytes instead of {size})");
                return Ok(Cached::Incomplete(missing));
            }
            _ => {}
        }
    }
    let unclear = |name: &&str| !sizes.contains_key(*name) && !repository.is_absent(&commit, name);
    let snapshot = snapshot(&repository, &commit, &needed, names, &sizes);
    match notes.is_none() && COMPANIONS.iter().any(unclear) {
        true => Ok(Cached::Perhaps(snapshot)),
        false => Ok(Cached::Complete(snapshot)),
    }
}

fn read_shards(repository: &Repository, commit: &str) -> Result<Vec<String>> {
    let path = repository.pointer(commit, INDEX);
    let index = read_limited(&path, MAX_INDEX).map_err(|error| Error::io(&path, &error))?;
    select::shards(&index)
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
    let file = |name: String| SnapshotFile {
        size: sizes.get(&name).copied().unwrap_or(0),
        name,
    };
    Snapshot {
        folder: repository.snapshot(commit),
        commit: commit.to_owned(),
        files: names.into_iter().map(file).collect(),
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
    let api::Revision { commit, files } = api::resolve(&client, id).await?;
    let listing = files.into_iter().filter(|name| select::matters(name));
    let listing = listing.collect();
    let needed = select::select(id, &listing)?;
    let repository = Repository::new(&options.cache, id, options.symlinks);
    let fetch = Fetch {
        client: &client,
        id,
        commit: &commit,
        repository: &repository,
        notes: &repository.recall(&commit).unwrap_or_default(),
        job,
    };

    let mut names = needed.names();
    if needed.weights == WeightFiles::Sharded {
        // Which shards there are stands in the index, so that comes before everything else.
        let index = describe(&fetch, vec![INDEX.to_owned()]).await?;
        fetch_all(&fetch, &index, &[Gauge::unseen()]).await?;
        names.extend(read_shards(&repository, &commit)?);
    }
    refuse_collisions(&client, &names)?;
    let wanted = describe(&fetch, names.clone()).await?;
    let sized = |wanted: &Wanted| (wanted.name().to_owned(), wanted.size);
    let gauges = job.plan(Phase::Download, wanted.iter().map(sized));
    fetch_all(&fetch, &wanted, &gauges).await?;
    // Another process may have removed the model meanwhile.
    if !wanted.iter().all(|wanted| in_place(&fetch, wanted)) {
        return Err(Error::Io {
            path: repository.snapshot(&commit).display().to_string(),
            reason: "was changed by another process while it was fetched; try again".to_owned(),
        });
    }

    let note = |wanted: &Wanted| Note {
        size: wanted.size,
        tag: wanted.hash.name().to_owned(),
    };
    let notes = wanted.iter().flat_map(|wanted| {
        let names = wanted.names.iter();
        names.map(move |name| (name.clone(), note(wanted)))
    });
    let files: BTreeMap<String, Note> = notes.collect();
    let sizes = files.iter().map(|(name, note)| (name.clone(), note.size));
    let sizes: BTreeMap<String, u64> = sizes.collect();
    let absent = COMPANIONS
        .iter()
        .copied()
        .filter(|name| !sizes.contains_key(*name));
    let absent: Vec<&str> = absent.collect();
    repository.remember(&commit, &Notes { files, listing }, &absent);
    // The reference comes last: once it is there, everything behind it is.
    repository.set_commit_of(id.revision_or_default(), &commit)?;
    Ok(snapshot(&repository, &commit, &needed, names, &sizes))
}

/// Whether all names of a content lead to a file of its size.
fn in_place(fetch: &Fetch<'_>, wanted: &Wanted) -> bool {
    wanted.names.iter().all(|name| {
        let file = fs::metadata(fetch.repository.pointer(fetch.commit, name));
        file.is_ok_and(|file| file.is_file() && file.len() == wanted.size)
    })
}

/// Asks the Hub about files, and joins those of the same content.
async fn describe(fetch: &Fetch<'_>, names: Vec<String>) -> Result<Vec<Wanted>> {
    let answers = stream::iter(names).map(|name| async move {
        let file = api::file(fetch.client, fetch.id, fetch.commit, &name).await?;
        Ok::<(String, (BlobHash, u64)), Error>((name, file))
    });
    let mut answers = answers.buffered(fetch.client.options().concurrency);
    let mut wanted: Vec<Wanted> = Vec::new();
    while let Some((name, (hash, size))) = answers.try_next().await? {
        match wanted.iter_mut().find(|wanted| wanted.hash == hash) {
            Some(same) if same.size == size => same.names.push(name),
            Some(same) => {
                return Err(Error::HubUnavailable {
                    endpoint: fetch.client.endpoint().to_owned(),
                    reason: format!("gives {} and {name} one hash but two sizes", same.name()),
                });
            }
            None => wanted.push(Wanted {
                names: vec![name],
                hash,
                size,
            }),
        }
    }
    Ok(wanted)
}

/// Fetches the contents that are not in the snapshot yet, several at once.
async fn fetch_all(fetch: &Fetch<'_>, wanted: &[Wanted], gauges: &[Gauge]) -> Result<()> {
    let all = wanted.iter().zip(gauges);
    let (there, missing): (Vec<_>, Vec<_>) = all.partition(|(wanted, _)| fetch.is_there(wanted));
    there.iter().for_each(|(_, gauge)| gauge.done());
    if missing.is_empty() {
        return Ok(());
    }
    fetch.repository.prepare()?;
    let lacking = |sum: u64, (wanted, _): &(&Wanted, _)| sum.saturating_add(fetch.lacking(wanted));
    let needed = missing.iter().fold(0, lacking);
    let options = fetch.client.options();
    match fs4::available_space(&options.cache) {
        Ok(available) if available < needed => {
            return Err(Error::DiskFull {
                path: options.cache.display().to_string(),
                needed,
                available,
            });
        }
        // Where the system does not tell, the disk does.
        _ => {}
    }
    let runs = missing
        .into_iter()
        .map(|(wanted, gauge)| fetch.run(wanted, gauge));
    stream::iter(runs)
        .buffer_unordered(options.concurrency)
        .try_collect()
        .await
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
