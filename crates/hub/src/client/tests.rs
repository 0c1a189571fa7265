//! The client against hubs that lie, stall and break off, each a script behind a socket.

use super::*;
use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{TcpListener, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

mod json;
#[path = "../../../../testdata/json_suite.rs"]
mod json_suite;
mod ranges;

/// One request that arrived.
#[derive(Clone, Debug, Default)]
struct Request {
    line: String,
    headers: Vec<String>,
}

impl Request {
    fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find_map(|line| {
            let (found, value) = line.split_once(':')?;
            found.eq_ignore_ascii_case(name).then_some(value.trim())
        })
    }

    /// First byte that is asked for.
    fn first(&self) -> usize {
        let range = self.header("range").and_then(|range| range.strip_prefix("bytes="));
        range.and_then(|range| range.split_once('-')?.0.parse().ok()).unwrap_or(0)
    }
}

/// A hub that answers by a script.
struct Scripted {
    endpoint: String,
    requests: Arc<Mutex<Vec<Request>>>,
}

impl Scripted {
    /// `answer` gets a request, its number from zero, and the connection, which ends with it.
    fn start(answer: impl Fn(&Request, usize, &mut TcpStream) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let requests = Arc::new(Mutex::new(Vec::new()));
        let (seen, answer, count) = (requests.clone(), Arc::new(answer), AtomicUsize::new(0));
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (mut stream, number) = (stream.unwrap(), count.fetch_add(1, Ordering::SeqCst));
                let (seen, answer) = (Arc::clone(&seen), Arc::clone(&answer));
                std::thread::spawn(move || {
                    let request = read_request(&stream);
                    seen.lock().unwrap().push(request.clone());
                    answer(&request, number, &mut stream);
                });
            }
        });
        Self { endpoint, requests }
    }

    fn client(&self) -> HubClient {
        HubClient::new(&ClientOptions {
            token: Some("hf_secret".to_owned()),
            patience: Patience {
                n_tries: 3,
                wait: Duration::from_millis(5),
                silence: Duration::from_millis(500),
                bytes_per_second_min: 64 << 10,
            },
            redirect_hosts: vec!["localhost".to_owned()],
            ..ClientOptions::new(&self.endpoint)
        })
        .unwrap()
    }

    fn n_requests(&self) -> usize {
        self.requests.lock().unwrap().len()
    }
}

fn read_request(stream: &TcpStream) -> Request {
    let mut lines = BufReader::new(stream.try_clone().unwrap()).lines().map_while(Result::ok);
    let line = lines.next().unwrap_or_default();
    Request { line, headers: lines.take_while(|line| !line.is_empty()).collect() }
}

/// Writes an answer; a client that has gone is none of our business.
fn say(stream: &mut TcpStream, status: &str, headers: &[&str], body: &[u8]) {
    let mut head = format!("HTTP/1.1 {status}\r\nConnection: close\r\n");
    for header in headers {
        head += &format!("{header}\r\n");
    }
    if !headers.iter().any(|header| {
        header.starts_with("Content-Length") || header.starts_with("Transfer-Encoding")
    }) {
        head += &format!("Content-Length: {}\r\n", body.len());
    }
    let _ = stream.write_all(format!("{head}\r\n").as_bytes());
    let _ = stream.write_all(body);
    let _ = stream.flush();
}

fn bytes(n: usize) -> Vec<u8> {
    (0..n).map(|i| (i * 7 % 251) as u8).collect()
}

fn entry(bytes: &[u8]) -> FileEntry {
    FileEntry {
        path: "model.safetensors".to_owned(),
        size_bytes: bytes.len() as u64,
        sha256: Digest(Sha256::digest(bytes).into()),
    }
}

fn repo() -> Repo {
    "alice/model".parse().unwrap()
}

fn revision() -> Revision {
    "0123456789012345678901234567890123456789".parse().unwrap()
}

fn download(client: &HubClient, file: &FileEntry, to: &Path) -> Result<(), Error> {
    let (repo, revision) = (repo(), revision());
    let pinned = Pinned { kind: RepoKind::Model, repo: &repo, revision: &revision };
    client.download(pinned, file, to, &|_| true)
}

/// What becomes of downloading `expected` from a hub with this script, and what it asked.
fn outcome(
    expected: &FileEntry,
    answer: impl Fn(&Request, usize, &mut TcpStream) + Send + Sync + 'static,
) -> (Result<Vec<u8>, Error>, Scripted) {
    let hub = Scripted::start(answer);
    let dir = tempfile::tempdir().unwrap();
    let to = dir.path().join("file");
    let started = Instant::now();
    let downloaded = download(&hub.client(), expected, &to);
    assert!(started.elapsed() < Duration::from_secs(5), "it took {:?}", started.elapsed());
    if downloaded.is_err() {
        assert!(!to.exists(), "a file that is not whole has its name");
    }
    (downloaded.map(|()| std::fs::read(&to).unwrap()), hub)
}

#[test]
fn a_download_goes_on_where_the_connection_broke() {
    let all = bytes(3_000_000);
    let file = entry(&all);
    let (expected, served) = (all.clone(), all);
    let (got, hub) = outcome(&file, move |request, number, stream| {
        let first = request.first();
        let rest = &served[first..];
        let part = &rest[..rest.len().min(700_000)];
        let length = format!("Content-Length: {}", rest.len());
        let range = format!("Content-Range: bytes {first}-{}/{}", served.len() - 1, served.len());
        match number {
            0 => say(stream, "200 OK", &[&length], part),
            _ => say(stream, "206 Partial Content", &[&length, &range], part),
        }
    });
    assert_eq!(got.unwrap(), expected);
    assert_eq!(hub.n_requests(), 5);
}

#[test]
fn what_an_earlier_run_got_is_not_asked_for_again() {
    let all = bytes(100_000);
    let (file, served) = (entry(&all), all.clone());
    let hub = Scripted::start(move |request, _, stream| {
        let first = request.first();
        let range = format!("Content-Range: bytes {first}-{}/{}", served.len() - 1, served.len());
        say(stream, "206 Partial Content", &[&range], &served[first..]);
    });
    let dir = tempfile::tempdir().unwrap();
    let to = dir.path().join("file");
    std::fs::write(dir.path().join("file.incomplete"), &all[..60_000]).unwrap();
    download(&hub.client(), &file, &to).unwrap();
    assert_eq!(std::fs::read(&to).unwrap(), all);
    assert_eq!(hub.requests.lock().unwrap()[0].header("range"), Some("bytes=60000-"));
    assert!(!dir.path().join("file.incomplete").exists());
}

#[test]
fn a_hub_that_knows_no_ranges_sends_all_again() {
    let all = bytes(50_000);
    let (file, served) = (entry(&all), all.clone());
    let hub = Scripted::start(move |_, _, stream| say(stream, "200 OK", &[], &served));
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("file.incomplete"), b"something else").unwrap();
    download(&hub.client(), &file, &dir.path().join("file")).unwrap();
    assert_eq!(std::fs::read(dir.path().join("file")).unwrap(), all);
}

#[test]
fn attack_other_bytes_than_listed_are_thrown_away() {
    let file = entry(&bytes(1000));
    let (got, _) = outcome(&file, |_, _, stream| {
        let mut other = bytes(1000);
        other[999] ^= 1;
        say(stream, "200 OK", &[], &other);
    });
    assert!(matches!(got, Err(Error::Damaged { .. })), "{got:?}");
}

#[test]
fn attack_a_file_larger_than_listed_is_cut_off() {
    let file = entry(&bytes(1000));
    let (got, _) = outcome(&file, |_, _, stream| say(stream, "200 OK", &[], &bytes(1 << 20)));
    assert!(matches!(got, Err(Error::TooLarge { .. })), "{got:?}");
    // Without a length, chunk after chunk and no end.
    let (got, _) = outcome(&file, |_, _, stream| {
        say(stream, "200 OK", &["Transfer-Encoding: chunked"], b"");
        let chunk = [b"1000\r\n".to_vec(), bytes(4096), b"\r\n".to_vec()].concat();
        while stream.write_all(&chunk).is_ok() {}
    });
    assert!(matches!(got, Err(Error::TooLarge { .. })), "{got:?}");
}

#[test]
fn attack_a_length_that_lies_is_no_whole_file() {
    let file = entry(&bytes(1000));
    let (got, hub) = outcome(&file, |request, _, stream| {
        let first = request.first();
        say(stream, "200 OK", &["Content-Length: 1000"], &bytes(1000)[first..first.max(1)]);
    });
    assert!(matches!(got, Err(Error::Unavailable(_))), "{got:?}");
    assert!(hub.n_requests() <= 4, "{} requests", hub.n_requests());
}

#[test]
fn attack_compressed_bytes_are_not_unpacked() {
    let file = entry(&bytes(1000));
    let (got, hub) = outcome(&file, |_, _, stream| {
        say(stream, "200 OK", &["Content-Encoding: gzip"], &bytes(1000));
    });
    assert!(matches!(got, Err(Error::Damaged { .. })), "{got:?}");
    assert_eq!(hub.requests.lock().unwrap()[0].header("accept-encoding"), Some("identity"));
}

#[test]
fn attack_a_body_that_stalls_ends_with_patience() {
    let file = entry(&bytes(1000));
    let (got, _) = outcome(&file, |_, _, stream| {
        say(stream, "200 OK", &["Content-Length: 1000"], &bytes(10));
        // Until the client hangs up.
        let _ = stream.read(&mut [0]);
    });
    assert!(matches!(got, Err(Error::Unavailable(_))), "{got:?}");
}

#[test]
fn attack_a_body_of_a_byte_at_a_time_ends_at_the_deadline() {
    let file = entry(&bytes(1000));
    let (got, _) = outcome(&file, |_, _, stream| {
        say(stream, "200 OK", &["Content-Length: 1000"], b"");
        while stream.write_all(b"x").is_ok() {
            std::thread::sleep(Duration::from_millis(50));
        }
    });
    assert!(matches!(got, Err(Error::Unavailable(_))), "{got:?}");
}

#[test]
fn attack_redirects_to_private_and_unknown_hosts_are_refused() {
    let file = entry(&bytes(10));
    for location in [
        "http://169.254.169.254/latest/meta-data",
        "https://169.254.169.254/latest/meta-data",
        "https://evil.example/x",
        "http://127.0.0.1:1/x",
        "file:///etc/passwd",
        "//evil.example/x",
        // Known by its name, and then it turns out to be this machine.
        "https://localhost/x",
    ] {
        let header = format!("Location: {location}");
        let (got, _) =
            outcome(&file, move |_, _, stream| say(stream, "302 Found", &[&header], b""));
        let error = got.unwrap_err();
        let is_refused = match &error {
            Error::Redirect { .. } => true,
            Error::Unavailable(said) => said.contains("no public address"),
            _ => false,
        };
        assert!(is_refused, "{location}: {error}");
    }
}

#[test]
fn attack_redirects_in_a_circle_end() {
    let file = entry(&bytes(10));
    let (got, hub) =
        outcome(&file, |_, _, stream| say(stream, "302 Found", &["Location: /again"], b""));
    assert!(matches!(got, Err(Error::Unavailable(_))), "{got:?}");
    assert!(hub.n_requests() <= 18, "{} requests", hub.n_requests());
}

#[test]
fn attack_the_token_goes_to_the_hub_alone() {
    let all = bytes(10);
    let (file, served) = (entry(&all), all.clone());
    let other = Scripted::start(move |_, _, stream| say(stream, "200 OK", &[], &served));
    let options = ClientOptions {
        token: Some("hf_secret".to_owned()),
        ..ClientOptions::new(&other.endpoint)
    };
    let client = HubClient::new(&options).unwrap();
    assert!(!format!("{client:?}").contains("secret"));
    let dir = tempfile::tempdir().unwrap();
    download(&client, &file, &dir.path().join("a")).unwrap();
    let seen = other.requests.lock().unwrap()[0].header("authorization").map(str::to_owned);
    assert_eq!(seen.as_deref(), Some("Bearer hf_secret"));
    // The same machine under another port is another host.
    let hosts = address::Hosts::new(&other.endpoint, &[]).unwrap();
    assert!(!hosts.is_hub(&reqwest::Url::parse("http://127.0.0.1:1/").unwrap()));
}

#[test]
fn a_busy_hub_is_asked_again_after_the_time_it_names() {
    let all = bytes(10);
    let (file, served) = (entry(&all), all.clone());
    let started = Instant::now();
    let (got, hub) = outcome(&file, move |_, number, stream| match number {
        0 => say(stream, "429 Too Many Requests", &["Retry-After: 1"], b""),
        1 => say(stream, "503 Service Unavailable", &[], b""),
        _ => say(stream, "200 OK", &[], &served),
    });
    assert_eq!(got.unwrap(), all);
    assert_eq!(hub.n_requests(), 3);
    assert!(started.elapsed() >= Duration::from_secs(1));
}

#[test]
fn what_is_not_allowed_is_not_asked_again() {
    let file = entry(&bytes(10));
    let cases = [
        ("403 Forbidden", "Denied"),
        ("416 Range Not Satisfiable", "Refused"),
        ("404 Not Found", "NoFile"),
    ];
    for (status, kind) in cases {
        let (got, hub) = outcome(&file, move |_, _, stream| {
            say(stream, status, &[], br#"{"error":"no \u001b[31m\u202e entry"}"#);
        });
        let error = got.unwrap_err();
        assert!(format!("{error:?}").starts_with(kind), "{status}: {error:?}");
        assert!(!error.to_string().contains(['\u{1b}', '\u{202e}']), "{error:?}");
        assert!(!error.is_transient() && hub.n_requests() == 1, "{status}: {error}");
    }
}

#[test]
fn pages_are_followed_and_only_the_hubs_own() {
    let hub = Scripted::start(|request, _, stream| {
        let next = "Link: </api/models/alice/model/tree/x?cursor=2>; rel=\"next\"";
        let entry = |path: &str| {
            format!(
                "[{{\"type\":\"file\",\"path\":\"{path}\",\"size\":1,\"oid\":\"x\"}},{{\"type\":\"directory\",\"path\":\"d\"}}]"
            )
        };
        if request.line.contains("cursor=2") {
            let evil = "Link: <https://evil.example/?cursor=3>; rel=\"next\"";
            say(stream, "200 OK", &[evil], entry("a.txt").as_bytes());
        } else {
            say(stream, "200 OK", &[next], entry("b.txt").as_bytes());
        }
    });
    let (repo, revision) = (repo(), revision());
    let pinned = Pinned { kind: RepoKind::Model, repo: &repo, revision: &revision };
    let files = hub.client().files(pinned).unwrap().unwrap();
    let paths: Vec<_> = files.iter().map(|file| file.path.as_str()).collect();
    assert_eq!(paths, ["a.txt", "b.txt"]);
    assert_eq!(hub.n_requests(), 2);
}

#[test]
fn attack_lists_without_end_and_nonsense_are_trouble_of_the_hub() {
    let circle: fn(&Request, usize, &mut TcpStream) = |_, number, stream| {
        let next = format!("Link: </api/x?cursor={number}>; rel=\"next\"");
        say(stream, "200 OK", &[&next], b"[]");
    };
    let nonsense: fn(&Request, usize, &mut TcpStream) =
        |_, _, stream| say(stream, "200 OK", &[], b"[{\"type\":");
    let nested: fn(&Request, usize, &mut TcpStream) =
        |_, _, stream| say(stream, "200 OK", &[], &b"[".repeat(1 << 20));
    let endless: fn(&Request, usize, &mut TcpStream) = |_, _, stream| {
        say(stream, "200 OK", &["Content-Length: 99999999999"], b"[");
        while stream.write_all(&[b' '; 1 << 16]).is_ok() {}
    };
    let digest: fn(&Request, usize, &mut TcpStream) = |_, _, stream| {
        let body = br#"[{"type":"file","path":"a","size":1,"lfs":{"oid":"zz"}}]"#;
        say(stream, "200 OK", &[], body);
    };
    for script in [circle, nonsense, nested, endless, digest] {
        let hub = Scripted::start(script);
        let found = hub.client().list(&repo(), &revision());
        assert!(matches!(found, Err(Error::Unavailable(_))), "{found:?}");
    }
}

#[test]
fn attack_paths_that_leave_their_place_are_never_asked_for() {
    let hub = Scripted::start(|_, _, stream| say(stream, "200 OK", &[], b"x"));
    let client = hub.client();
    let (repo, revision) = (repo(), revision());
    let pinned = Pinned { kind: RepoKind::Model, repo: &repo, revision: &revision };
    for path in [
        "../x", "/x", "a/../b", "a//b", "a\\b", "a\0b", "", ".", "..", "a/.", "%2e%2e/x", "a?b",
        "a#b",
    ] {
        let read = client.read(pinned, path, 10);
        assert!(matches!(read, Err(Error::NoFile { .. })), "{path}: {read:?}");
    }
    assert_eq!(hub.n_requests(), 0);
}

#[test]
fn attack_a_list_of_many_small_shards_is_not_fetched_to_be_hashed() {
    let hub = Scripted::start(|request, _, stream| {
        assert!(request.line.contains("/tree/"), "{} was asked for", request.line);
        let shard = |i: usize| {
            let path = format!("model-{i:05}-of-00100.safetensors");
            format!("{{\"type\":\"file\",\"path\":\"{path}\",\"size\":1000000,\"oid\":\"x\"}}")
        };
        let shards: Vec<_> = (1..=100).map(shard).collect();
        say(stream, "200 OK", &[], format!("[{}]", shards.join(",")).as_bytes());
    });
    let listed = hub.client().list(&repo(), &revision()).unwrap().unwrap();
    assert_eq!((listed.len(), hub.n_requests()), (100, 1));
}
