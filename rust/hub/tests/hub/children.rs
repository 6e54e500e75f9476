//! Processes of our own: this test program once more, doing what it is told in the environment.

use std::collections::HashMap;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use candle4j_hub::{Hub, HubOptions};

use crate::server::{Server, answer};
use crate::support::{Cache, ID, WEIGHTS, assert_complete, cache, id, model, options, silent};

/// What a child is to do; set for children only.
const TASK: &str = "CANDLE4J_HUB_TEST_TASK";

/// A command that runs this program as a child with `task`, and nothing of our environment that could
/// make a difference.
pub(crate) fn command(task: &str, server: &str, cache: &Path) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args(["--exact", "children::child", "--nocapture"])
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env(TASK, task)
        .env("HF_ENDPOINT", server)
        .env("HF_HUB_CACHE", cache)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

/// Starts a child that fetches the model of most tests.
pub(crate) fn fetch(server: &Server, cache: &Cache) -> Child {
    command("fetch", &server.url(), &cache.options.cache)
        .spawn()
        .unwrap()
}

/// Waits for a child and returns what it said, which must be what it says when all went well.
pub(crate) fn finish(child: Child) -> String {
    let output = child.wait_with_output().unwrap();
    let text = format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(output.status.success(), "{text}");
    text
}

/// What children do. Without a task there is nothing to do.
#[test]
fn child() {
    let Ok(task) = std::env::var(TASK) else {
        return;
    };
    let mut options = HubOptions::from_env().unwrap();
    let limits = self::options(&options.cache);
    options.backoff = limits.backoff;
    options.retries = limits.retries;
    options.header_limit = std::time::Duration::from_secs(20);
    let hub = Hub::new(options).unwrap();
    match task.as_str() {
        "fetch" => {
            let snapshot = hub.fetch(&id(ID), &mut silent).unwrap();
            println!("fetched {}", snapshot.folder.display());
        }
        "fail" => {
            let error = hub.fetch(&id(ID), &mut silent).unwrap_err();
            println!("failed with {:?}: {error}", error.code());
        }
        other => panic!("unknown task {other}"),
    }
}

#[test]
fn the_environment_is_heeded() {
    let model = model(1000);
    let server = Server::scripted(&model, |asked| {
        (asked.token() != Some("Bearer hf_private")).then(|| answer(401, &[]))?
    });
    let cache = cache(&server);
    let child = |task: &str, variables: &[(&str, &str)]| {
        let mut command = command(task, &server.url(), &cache.options.cache);
        command.envs(variables.iter().copied().collect::<HashMap<_, _>>());
        finish(command.spawn().unwrap())
    };
    let text = child("fail", &[]);
    assert!(
        text.contains("Unauthorized") && text.contains("set HF_TOKEN"),
        "{text}"
    );
    let text = child("fail", &[("HF_TOKEN", "hf_wrong")]);
    assert!(
        text.contains("was refused") && !text.contains("hf_wrong"),
        "{text}"
    );
    let text = child(
        "fail",
        &[
            ("HF_TOKEN", "hf_private"),
            ("HF_HUB_DISABLE_IMPLICIT_TOKEN", "1"),
        ],
    );
    assert!(text.contains("set HF_TOKEN"), "{text}");
    server.forget();
    for variable in ["HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"] {
        let text = child("fail", &[("HF_TOKEN", "hf_private"), (variable, "TRUE")]);
        assert!(text.contains("ModelNotCached"), "{text}");
    }
    assert_eq!(server.asked().len(), 0);
    let home = cache.folder.path().join("home");
    std::fs::create_dir_all(&home).unwrap();
    std::fs::write(home.join("token"), "hf_private\n").unwrap();
    child("fetch", &[("HF_HOME", home.to_str().unwrap())]);
    assert!(cache.path("refs/main").is_file());
}

#[test]
fn row_31_proxies_are_used() {
    let model = model(1000);
    // The proxy is a hub that answers requests for any host.
    let proxy = Server::start(&model);
    let elsewhere = "http://hub.invalid";
    for (variable, value) in [
        ("http_proxy", proxy.url()),
        ("HTTP_PROXY", proxy.url()),
        ("ALL_PROXY", proxy.url()),
    ] {
        proxy.forget();
        let cache = cache(&proxy);
        let mut command = command("fetch", elsewhere, &cache.options.cache);
        finish(command.env(variable, value).spawn().unwrap());
        let asked = proxy.asked();
        assert!(asked.len() > 5);
        assert!(
            asked
                .iter()
                .all(|asked| asked.path.starts_with("http://hub.invalid/"))
        );
        assert_complete(&cache.fetch().unwrap(), &model);
    }
}

#[test]
fn row_31_no_proxy_and_proxies_that_are_not_there() {
    let model = model(1000);
    let server = Server::start(&model);
    let first = cache(&server);
    let nowhere = "http://127.0.0.1:9";
    for exception in ["127.0.0.1", "*", "127.0.0.0/8"] {
        let first = cache(&server);
        let mut direct = command("fetch", &server.url(), &first.options.cache);
        direct.env("HTTP_PROXY", nowhere).env("NO_PROXY", exception);
        finish(direct.spawn().unwrap());
        assert_complete(&first.fetch().unwrap(), &model);
    }
    let mut lost = command("fail", &server.url(), &first.options.cache);
    lost.env("HTTP_PROXY", "http://ada:proxysecret@127.0.0.1:9");
    let text = finish(lost.spawn().unwrap());
    assert!(text.contains("HubUnavailable"), "{text}");
    assert!(!text.contains("proxysecret"), "{text}");
}

/// Runs a child that may not write where we may, also when we are root.
#[cfg(unix)]
fn run_as_nobody(mut command: Command) -> String {
    use std::os::unix::fs::MetadataExt as _;
    use std::os::unix::process::CommandExt as _;
    if std::fs::metadata("/proc/self").is_ok_and(|process| process.uid() == 0) {
        command.uid(65534).gid(65534);
    }
    finish(command.spawn().unwrap())
}

#[cfg(unix)]
#[test]
fn row_31_a_cache_that_cannot_be_written() {
    use std::os::unix::fs::PermissionsExt as _;
    let allow = |path: &Path, mode: u32| {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    };
    // Where children may come at all, and this program as well.
    let folder = tempfile::Builder::new()
        .prefix("candle4j-hub-")
        .tempdir()
        .unwrap();
    allow(folder.path(), 0o755);
    let program = folder.path().join("program");
    std::fs::copy(std::env::current_exe().unwrap(), &program).unwrap();
    allow(&program, 0o755);
    let child = |task: &str, server: &Server, cache: &Path| {
        let mut command = Command::new(&program);
        command
            .args(["--exact", "children::child", "--nocapture"])
            .current_dir(folder.path())
            .env_clear()
            .env(TASK, task)
            .env("HF_ENDPOINT", server.url())
            .env("HF_HUB_CACHE", cache)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        run_as_nobody(command)
    };

    let model = model(1000);
    let server = Server::start(&model);
    let full = folder.path().join("full");
    let mut options = options(&full);
    options.endpoint = server.url();
    Hub::new(options)
        .unwrap()
        .fetch(&id(ID), &mut silent)
        .unwrap();
    let empty = folder.path().join("empty");
    std::fs::create_dir(&empty).unwrap();
    let mut folders = vec![full.clone(), empty.clone()];
    let mut all = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).unwrap().flatten() {
            if entry.file_type().unwrap().is_dir() {
                folders.push(entry.path());
            }
        }
        allow(&folder, 0o555);
        all.push(folder);
    }
    server.forget();

    // What is complete can be read, without a request.
    let text = child("fetch", &server, &full);
    assert!(text.contains("fetched"), "{text}");
    assert_eq!(server.asked().len(), 0);
    // What is not is an error that names the folder, and the cache stays as it was.
    let text = child("fail", &server, &empty);
    assert!(
        text.contains("Io") && text.contains(empty.to_str().unwrap()),
        "{text}"
    );
    assert!(text.contains("cannot be written"), "{text}");
    assert_eq!(server.count("GET", WEIGHTS), 0);
    for folder in all {
        allow(&folder, 0o755);
    }
    assert_eq!(crate::support::names(&empty), [""; 0]);
}

/// A disk of eight megabytes. Making one needs a user namespace, which not every system allows.
#[cfg(target_os = "linux")]
#[test]
#[ignore = "needs unprivileged user namespaces"]
fn row_31_a_disk_that_gets_full() {
    let model = model(7 << 20);
    let server = Server::scripted(&model, |asked| {
        let weights = asked.is("GET", WEIGHTS);
        weights.then_some(crate::server::Act::Slowly(64 << 10))
    });
    let folder = tempfile::tempdir().unwrap();
    let mut command = Command::new("unshare");
    let script = format!(
        "mount -t tmpfs -o size=8m none '{0}' && ( \
           until ls '{0}'/hub/models--ada--tiny/blobs/*.incomplete >&2; do sleep 0.02; done; \
           dd if=/dev/zero of='{0}/other' bs=64k count=200 \
         ) 2>/dev/null & \
         sleep 0.2; '{1}' --exact children::child --nocapture; \
         ls -l '{0}/hub/models--ada--tiny/blobs' '{0}/hub/models--ada--tiny'",
        folder.path().display(),
        std::env::current_exe().unwrap().display(),
    );
    command
        .args(["--user", "--map-root-user", "--mount", "sh", "-c", &script])
        .env(TASK, "fail")
        .env("HF_ENDPOINT", server.url())
        .env("HF_HUB_CACHE", folder.path().join("hub"))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let text = finish(command.spawn().unwrap());
    assert!(text.contains("DiskFull"), "{text}");
    assert!(
        text.contains(".incomplete") && !text.contains("refs"),
        "{text}"
    );
    assert!(
        !text.contains(&format!("{} \n", model.file(WEIGHTS).tag())),
        "{text}"
    );
}
