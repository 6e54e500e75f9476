//! Hashes of file contents: which one an entity tag promises, and computing it while bytes arrive.

use std::fs::File;
use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

use sha1::Sha1;
use sha2::{Digest as _, Sha256};
use tokio::sync::oneshot;

/// How much is read and hashed at a time. Small enough that a stop is heeded soon and that what was
/// read stays in the processor's cache, big enough that system calls do not count.
const BLOCK: usize = 256 * 1024;

/// What is promised about the content of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Promise {
    /// Its SHA-256, in lower case hexadecimal: the tag of a file in LFS or Xet storage.
    Sha256(String),
    /// Its hash as a git blob, in lower case hexadecimal: the tag of any other file.
    GitSha1(String),
    /// Nothing that could be checked.
    Nothing,
}

impl Promise {
    /// What an entity tag promises by its looks.
    pub(super) fn of_tag(tag: &str) -> Promise {
        let hexadecimal = tag.bytes().all(|byte| byte.is_ascii_hexdigit());
        match (hexadecimal, tag.len()) {
            (true, 64) => Promise::Sha256(tag.to_ascii_lowercase()),
            (true, 40) => Promise::GitSha1(tag.to_ascii_lowercase()),
            _ => Promise::Nothing,
        }
    }

    /// The promised hash, named as it is in messages.
    pub(super) fn shown(&self) -> String {
        match self {
            Promise::Sha256(hash) => format!("SHA-256 {hash}"),
            Promise::GitSha1(hash) => format!("git SHA-1 {hash}"),
            Promise::Nothing => "any content".to_owned(),
        }
    }

    /// Whether content can be checked against the promise.
    pub(super) fn can_be_checked(&self) -> bool {
        *self != Promise::Nothing
    }

    /// The promise that content with this hash would have kept.
    pub(super) fn with_hash(&self, hash: String) -> Promise {
        match self {
            Promise::GitSha1(_) => Promise::GitSha1(hash),
            _ => Promise::Sha256(hash),
        }
    }

    fn hasher(&self, size: u64) -> Hashing {
        match self {
            Promise::GitSha1(_) => {
                // Git hashes a header before the content.
                let mut hasher = Sha1::new();
                hasher.update(format!("blob {size}\0"));
                Hashing::Sha1(hasher)
            }
            _ => Hashing::Sha256(Sha256::new()),
        }
    }
}

enum Hashing {
    Sha1(Sha1),
    Sha256(Sha256),
}

impl Hashing {
    fn update(&mut self, bytes: &[u8]) {
        match self {
            Hashing::Sha1(hasher) => hasher.update(bytes),
            Hashing::Sha256(hasher) => hasher.update(bytes),
        }
    }

    fn finish(self) -> String {
        match self {
            Hashing::Sha1(hasher) => hex(&hasher.finalize()),
            Hashing::Sha256(hasher) => hex(&hasher.finalize()),
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// The SHA-256 of `text`, in hexadecimal.
pub(super) fn sha256_of(text: &str) -> String {
    hex(&Sha256::digest(text))
}

/// Hashes all of `file` in the way that `promise` asks for. `heed` is told how far it is, and may end
/// it by an error.
pub(super) fn hash_file<E: From<io::Error>>(
    file: &File,
    promise: &Promise,
    mut heed: impl FnMut(u64) -> Result<(), E>,
) -> Result<String, E> {
    let size = file.metadata()?.len();
    let mut hasher = promise.hasher(size);
    let mut block = vec![0; BLOCK];
    let mut at = 0;
    loop {
        heed(at)?;
        let read = read_at(file, &mut block, at)?;
        if read == 0 {
            return Ok(hasher.finish());
        }
        hasher.update(&block[..read]);
        at += read as u64;
    }
}

/// Hashes a file from its start while its bytes still arrive, on a thread of its own.
///
/// It reads what was written back from the page cache instead of taking the bytes as they come. So
/// what is hashed is what lies on disk, parts that were there before are covered, and parts may arrive
/// in any order. It is no slower: the copy is small and hashed while it is hot in the processor's
/// cache, which bytes that another processor received are not.
pub(super) struct Follower {
    shared: Arc<Shared>,
    result: oneshot::Receiver<io::Result<String>>,
}

#[derive(Default)]
struct Shared {
    order: Mutex<Order>,
    changed: Condvar,
}

/// What the thread is to do.
#[derive(Default)]
struct Order {
    /// Up to here the file is written without gaps.
    written: u64,
    /// The file's size, once it is known for sure.
    size: Option<u64>,
    /// All of the file is there.
    complete: bool,
    /// Nobody waits for the hash any more.
    abandoned: bool,
}

impl Follower {
    /// Starts to hash `file`. `size` may come later.
    pub(super) fn start(
        file: Arc<File>,
        promise: Promise,
        size: Option<u64>,
    ) -> io::Result<Follower> {
        let shared = Arc::new(Shared::default());
        shared.order().size = size;
        let (sender, result) = oneshot::channel();
        let theirs = Arc::clone(&shared);
        thread::Builder::new()
            .name("candle4j-hash".to_owned())
            .spawn(move || {
                if let Some(hash) = theirs.hash(&file, &promise).transpose() {
                    // The file must be closed before the hash is known, since it is renamed then.
                    drop(file);
                    let _ = sender.send(hash);
                }
            })?;
        Ok(Follower { shared, result })
    }

    /// The file is written without gaps up to `written`.
    pub(super) fn written(&self, written: u64) {
        let mut order = self.shared.order();
        // Waking the thread for every packet would cost more than hashing.
        let due = written / BLOCK as u64 > order.written / BLOCK as u64;
        order.written = written;
        if due {
            self.shared.changed.notify_one();
        }
    }

    /// The hash of the whole file, which is `size` long and all there.
    pub(super) async fn finish(mut self, size: u64) -> io::Result<String> {
        {
            let mut order = self.shared.order();
            order.written = size;
            order.size = Some(size);
            order.complete = true;
            self.shared.changed.notify_one();
        }
        (&mut self.result)
            .await
            .unwrap_or_else(|_| Err(io::Error::other("the hashing thread is gone")))
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        self.shared.order().abandoned = true;
        self.shared.changed.notify_one();
    }
}

impl Shared {
    fn order(&self) -> MutexGuard<'_, Order> {
        // An order is valid at any moment, whatever panicked while it was held.
        self.order.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until there is something to hash after `at`: up to where, and whether that is the end.
    /// Nothing when the work is abandoned.
    fn next(&self, at: u64) -> Option<(u64, bool)> {
        let mut order = self.order();
        loop {
            if order.abandoned {
                return None;
            }
            let ready = order.written - order.written % BLOCK as u64;
            if order.complete || order.size.is_some() && ready > at {
                return Some((order.written, order.complete));
            }
            order = self
                .changed
                .wait(order)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn hash(&self, file: &File, promise: &Promise) -> io::Result<Option<String>> {
        let mut hasher = None;
        let mut block = vec![0; BLOCK];
        let mut at = 0;
        loop {
            let Some((limit, complete)) = self.next(at) else {
                return Ok(None);
            };
            let hasher =
                hasher.get_or_insert_with(|| promise.hasher(self.order().size.unwrap_or(limit)));
            while at < limit {
                if self.order().abandoned {
                    return Ok(None);
                }
                let wanted = usize::try_from(limit - at).map_or(BLOCK, |rest| rest.min(BLOCK));
                let read = read_at(file, &mut block[..wanted], at)?;
                if read == 0 {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
                hasher.update(&block[..read]);
                at += read as u64;
            }
            if complete {
                break;
            }
        }
        Ok(hasher.map(Hashing::finish))
    }
}

/// Reads at a position without moving the file's own, which other threads may share.
fn read_at(file: &File, block: &mut [u8], at: u64) -> io::Result<usize> {
    loop {
        #[cfg(unix)]
        let read = std::os::unix::fs::FileExt::read_at(file, block, at);
        #[cfg(windows)]
        let read = std::os::windows::fs::FileExt::seek_read(file, block, at);
        match read {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    const TEXT: &[u8] = b"hello\n";
    const TEXT_SHA256: &str = "5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03";
    const TEXT_GIT: &str = "ce013625030ba8dba906f756967f9e9ca394464a";

    #[test]
    fn tags_that_are_hashes() {
        assert_eq!(
            Promise::of_tag(&TEXT_SHA256.to_uppercase()),
            Promise::Sha256(TEXT_SHA256.to_owned())
        );
        assert_eq!(
            Promise::of_tag(TEXT_GIT),
            Promise::GitSha1(TEXT_GIT.to_owned())
        );
        for tag in ["", "abc", "5f3e-1a2b", &"g".repeat(40), &"a".repeat(65)] {
            assert_eq!(Promise::of_tag(tag), Promise::Nothing);
        }
    }

    #[test]
    fn whole_files() {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(TEXT).unwrap();
        let hash =
            |tag: &str| hash_file::<io::Error>(&file, &Promise::of_tag(tag), |_| Ok(())).unwrap();
        assert_eq!(hash(TEXT_SHA256), TEXT_SHA256);
        assert_eq!(hash(TEXT_GIT), TEXT_GIT);
    }

    #[test]
    fn followed_while_it_is_written() {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap();
        let content: Vec<u8> = (0..3_000_000_u32).map(|n| ((n * 31) >> 3) as u8).collect();
        for size in [None, Some(content.len() as u64)] {
            for promise in [
                Promise::Sha256(String::new()),
                Promise::GitSha1(String::new()),
            ] {
                let mut file = tempfile::tempfile().unwrap();
                let follower =
                    Follower::start(Arc::new(file.try_clone().unwrap()), promise.clone(), size)
                        .unwrap();
                let mut at = 0;
                for part in content.chunks(77_777) {
                    file.write_all(part).unwrap();
                    at += part.len() as u64;
                    follower.written(at);
                }
                let hash = runtime.block_on(follower.finish(at)).unwrap();
                let whole = hash_file::<io::Error>(&file, &promise, |_| Ok(())).unwrap();
                assert_eq!(hash, whole);
            }
        }
    }

    #[test]
    fn a_file_that_lost_its_end_is_an_error() {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap();
        let file = Arc::new(tempfile::tempfile().unwrap());
        let follower = Follower::start(file, Promise::Nothing, Some(10)).unwrap();
        assert!(runtime.block_on(follower.finish(10)).is_err());
    }
}
