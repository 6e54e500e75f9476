//! Together with Python's huggingface_hub on one cache.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;

use crate::children;
use crate::server::{Act, Server, git_sha1, sha256};
use crate::support::{Cache, ID, WEIGHTS, assert_complete, cache, model};

/// A Python that has huggingface_hub, made when it is first needed.
fn python() -> &'static Path {
    static PYTHON: OnceLock<PathBuf> = OnceLock::new();
    PYTHON.get_or_init(|| {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("huggingface_hub");
        let python = if cfg!(windows) {
            folder.join("Scripts").join("python.exe")
        } else {
            folder.join("bin").join("python")
        };
        if !imports(&python) {
            // What an earlier run may have left half done is made anew.
            let _ = fs::remove_dir_all(&folder);
            run(
                Command::new("python3").args(["-m", "venv"]).arg(&folder),
                "python3 with its venv module",
            );
            run(
                Command::new(&python).args(["-m", "pip", "install", "--quiet", "huggingface_hub"]),
                "pip and the package huggingface_hub from PyPI",
            );
        }
        assert!(
            imports(&python),
            "huggingface_hub was installed and cannot be imported"
        );
        python
    })
}

fn imports(python: &Path) -> bool {
    let import = Command::new(python)
        .args(["-c", "import huggingface_hub"])
        .stderr(Stdio::null())
        .status();
    import.is_ok_and(|status| status.success())
}

fn run(command: &mut Command, needed: &str) {
    let output = command
        .output()
        .unwrap_or_else(|error| panic!("this test needs {needed}: {error}"));
    assert!(
        output.status.success(),
        "this test needs {needed}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
}

/// Starts Python on a program that has the hub's address and the cache in its environment.
fn start(program: &str, server: &Server, cache: &Cache) -> Child {
    Command::new(python())
        .args(["-c", program])
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("HF_ENDPOINT", server.url())
        .env("HF_HUB_CACHE", &cache.options.cache)
        .env("HF_HUB_DISABLE_XET", "1")
        .env("HF_HUB_DISABLE_TELEMETRY", "1")
        .env("HF_HUB_DISABLE_PROGRESS_BARS", "1")
        .env("HF_HUB_DISABLE_UPDATE_CHECK", "1")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

/// Fetches each file that is needed, as libraries do that know which they need.
const FETCH_FILES: &str = "
from huggingface_hub import hf_hub_download
for name in ['config.json', 'generation_config.json', 'model.safetensors', 'tokenizer.json',
             'tokenizer_config.json']:
    print(hf_hub_download('ada/tiny', name))
";

const FETCH_OFFLINE: &str = "
import os
os.environ['HF_HUB_OFFLINE'] = '1'
from huggingface_hub import snapshot_download, scan_cache_dir, try_to_load_from_cache
from huggingface_hub import _CACHED_NO_EXIST
folder = snapshot_download('ada/tiny')
print('folder', folder, sorted(os.listdir(folder)))
assert try_to_load_from_cache('ada/tiny', 'chat_template.jinja') is _CACHED_NO_EXIST
info = scan_cache_dir()
assert not info.warnings, info.warnings
assert not info.incomplete_files, info.incomplete_files
(repo,) = info.repos
(revision,) = repo.revisions
print('size', repo.size_on_disk, 'refs', sorted(revision.refs), 'files', revision.nb_files)
";

fn assert_right(cache: &Cache) {
    // A process of Python that is killed may leave files that it tries the file system with.
    for name in cache
        .blobs()
        .into_iter()
        .filter(|name| !name.starts_with("tmp_"))
    {
        let content = fs::read(cache.path("blobs").join(&name)).unwrap();
        let hash = match name.len() {
            64 => sha256(&content),
            _ => git_sha1(&content),
        };
        assert_eq!(hash, name);
    }
}

#[test]
fn row_27_four_processes_and_python_at_once() {
    let model = model(8 << 20);
    let server = Server::scripted(&model, |asked| {
        asked.is("GET", WEIGHTS).then_some(Act::Slowly(256 << 10))
    });
    let cache = cache(&server);
    python();
    let mut others = vec![start(FETCH_FILES, &server, &cache)];
    others.extend((0..4).map(|_| children::fetch(&server, &cache)));
    for other in others {
        children::finish(other);
    }
    assert_right(&cache);
    assert_eq!(cache.unfinished(), [""; 0]);
    // They waited for each other.
    assert_eq!(server.count("GET", WEIGHTS), 1);
    server.forget();
    assert_complete(&cache.fetch().unwrap(), &model);
    children::finish(children::fetch(&server, &cache));
    assert_eq!(server.asked().len(), 0);
    children::finish(start(FETCH_FILES, &server, &cache));
    assert_eq!(server.sent(), 0);
}

#[test]
fn python_finds_what_we_stored() {
    let model = model(100_000);
    let server = Server::start(&model);
    let cache = cache(&server);
    cache.fetch().unwrap();
    server.forget();
    let text = children::finish(start(FETCH_OFFLINE, &server, &cache));
    assert!(text.contains(&model.commit), "{text}");
    assert!(text.contains("refs ['main'] files 5"), "{text}");
    assert_eq!(server.asked().len(), 0);
    let text = children::finish(start(FETCH_FILES, &server, &cache));
    assert!(text.contains(&model.commit));
    assert_eq!(server.sent(), 0);
}

#[test]
fn we_find_what_python_stored() {
    let model = model(100_000);
    let server = Server::start(&model);
    let cache = cache(&server);
    children::finish(start(FETCH_FILES, &server, &cache));
    server.forget();
    assert_complete(&cache.fetch().unwrap(), &model);
    assert_eq!(server.sent(), 0);
    let models = cache.hub().list().unwrap();
    assert_eq!(models[0].id.to_string(), ID);
    assert_eq!(models[0].revisions[0].refs, ["main"]);
    assert!(
        cache
            .hub()
            .verify(&models[0].id, &mut crate::support::silent)
            .unwrap()
            .is_intact()
    );
}

#[test]
fn neither_stumbles_over_the_other_ones_partial_files() {
    let model = model(3_000_000);
    // Ours first: cut, and left to Python.
    let server = Server::scripted(&model, |asked| {
        (asked.is("GET", WEIGHTS) && asked.count == 1).then_some(Act::Cut(2_000_000))
    });
    let mut first = cache(&server);
    first.options.retries = 0;
    first.fetch().unwrap_err();
    assert!(!first.unfinished().is_empty());
    children::finish(start(FETCH_FILES, &server, &first));
    assert_right(&first);
    assert_complete(&first.fetch().unwrap(), &model);
    // What was left of ours goes with the model.
    first.hub().remove(&crate::support::id(ID)).unwrap();
    assert!(!first.path("").exists());

    // A killed Python leaves a file of its own, which nobody takes for anything.
    let server = Server::scripted(&model, |asked| {
        (asked.is("GET", WEIGHTS) && asked.count == 1).then_some(Act::StallAfter(2_000_000))
    });
    let second = cache(&server);
    let mut python = start(FETCH_FILES, &server, &second);
    while second.unfinished().is_empty() {
        assert!(python.try_wait().unwrap().is_none());
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    python.kill().unwrap();
    python.wait().unwrap();
    assert_complete(&second.fetch().unwrap(), &model);
    assert_right(&second);
}
