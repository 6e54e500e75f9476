//! The Hub over TLS. Children trust a certificate that is made here, through the variable by which
//! systems are told which certificates to trust.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::thread;

use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

use crate::children::{command, finish};
use crate::server::Server;
use crate::support::{Cache, assert_complete, cache, model};

/// A hub with a certificate of its own that redirects everything to another one.
struct TlsHub {
    url: String,
    certificate: PathBuf,
    /// The `Authorization` headers that came.
    tokens: Arc<Mutex<Vec<Option<String>>>>,
}

impl TlsHub {
    fn start(cache: &Cache, target: String) -> TlsHub {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let certificate = cache.folder.path().join("certificate.pem");
        std::fs::write(&certificate, made.cert.pem()).unwrap();
        let key = PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![made.cert.der().clone()], PrivateKeyDer::Pkcs8(key))
            .unwrap();
        let config = Arc::new(config);
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let tokens = Arc::new(Mutex::new(Vec::new()));
        let theirs = Arc::clone(&tokens);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (config, tokens) = (Arc::clone(&config), Arc::clone(&theirs));
                let target = target.clone();
                thread::spawn(move || -> std::io::Result<()> {
                    let connection =
                        ServerConnection::new(config).map_err(std::io::Error::other)?;
                    let mut stream = BufReader::new(StreamOwned::new(connection, stream));
                    loop {
                        let mut line = String::new();
                        stream.read_line(&mut line)?;
                        let Some(path) = line.split(' ').nth(1).map(str::to_owned) else {
                            return Ok(());
                        };
                        let mut token = None;
                        loop {
                            let mut header = String::new();
                            stream.read_line(&mut header)?;
                            let Some((name, value)) = header.trim().split_once(':') else {
                                break;
                            };
                            if name.eq_ignore_ascii_case("authorization") {
                                token = Some(value.trim().to_owned());
                            }
                        }
                        tokens.lock().unwrap().push(token);
                        write!(
                            stream.get_mut(),
                            "HTTP/1.1 307 Moved\r\nLocation: {target}{path}\r\nContent-Length: 0\r\n\r\n"
                        )?;
                    }
                });
            }
        });
        TlsHub {
            url: format!("https://localhost:{port}"),
            certificate,
            tokens,
        }
    }
}

#[test]
fn row_07_from_https_to_http_the_token_stays_behind() {
    let model = model(1000);
    let plain = Server::start(&model);
    // The same name and the same port count for nothing when the scheme is another.
    let port = plain.address.rsplit(':').next().unwrap();
    let cache = cache(&plain);
    let hub = TlsHub::start(&cache, format!("http://localhost:{port}"));
    let mut command = command("fetch", &hub.url, &cache.options.cache);
    command
        .env("HF_TOKEN", "hf_verysecret")
        .env("SSL_CERT_FILE", &hub.certificate);
    finish(command.spawn().unwrap());
    assert_complete(&cache.fetch().unwrap(), &model);
    let tokens = hub.tokens.lock().unwrap();
    assert!(tokens.len() > 5);
    assert!(
        tokens
            .iter()
            .all(|token| token.as_deref() == Some("Bearer hf_verysecret"))
    );
    assert!(plain.asked().len() > 5);
    assert!(plain.asked().iter().all(|asked| asked.token().is_none()));
}

#[test]
fn a_certificate_that_nobody_trusts() {
    let plain = Server::start(&model(1000));
    let cache = cache(&plain);
    let hub = TlsHub::start(&cache, plain.url());
    let mut command = command("fail", &hub.url, &cache.options.cache);
    command.env("HF_TOKEN", "hf_verysecret");
    let text = finish(command.spawn().unwrap());
    assert!(text.contains("HubUnavailable"), "{text}");
    assert!(text.contains("certificate"), "{text}");
    assert!(hub.tokens.lock().unwrap().is_empty());
}
