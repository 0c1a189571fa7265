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
        sha256: Digest::of(bytes),
    }
}

/// Where a file lies until it is whole.
fn part_of(dir: &tempfile::TempDir, file: &FileEntry) -> std::path::PathBuf {
    dir.path().join(format!(".{}.incomplete", file.sha256.hex()))
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
    // What is of another file, or of the user's, is none of it.
    std::fs::write(dir.path().join("file.incomplete"), "mine").unwrap();
    std::fs::write(part_of(&dir, &entry(b"other")), b"another revision").unwrap();
    std::fs::write(part_of(&dir, &file), &all[..60_000]).unwrap();
    download(&hub.client(), &file, &to).unwrap();
    assert_eq!(std::fs::read(&to).unwrap(), all);
    assert_eq!(hub.requests.lock().unwrap()[0].header("range"), Some("bytes=60000-"));
    assert!(!part_of(&dir, &file).exists() && part_of(&dir, &entry(b"other")).exists());
    assert_eq!(std::fs::read(dir.path().join("file.incomplete")).unwrap(), b"mine");
}

#[test]
fn what_lies_here_and_is_wrong_is_not_blamed_on_the_hub() {
    let all = bytes(50_000);
    let (file, served) = (entry(&all), all.clone());
    let hub = Scripted::start(move |request, _, stream| {
        let first = request.first();
        // As some hubs do it: the rest alone, and nothing says so.
        say(stream, "200 OK", &[], &served[first..]);
    });
    let dir = tempfile::tempdir().unwrap();
    for wrong in [&b"something else"[..], &[0; 50_000]] {
        std::fs::write(part_of(&dir, &file), wrong).unwrap();
        download(&hub.client(), &file, &dir.path().join("file")).unwrap();
        assert_eq!(std::fs::read(dir.path().join("file")).unwrap(), all);
        std::fs::remove_file(dir.path().join("file")).unwrap();
    }
}

#[test]
fn who_finds_another_at_a_file_waits_and_gets_the_same() {
    let all = bytes(100_000);
    let (file, served) = (entry(&all), all.clone());
    let hub = Scripted::start(move |_, _, stream| {
        std::thread::sleep(Duration::from_millis(100));
        say(stream, "200 OK", &[], &served);
    });
    let (dir, client) = (tempfile::tempdir().unwrap(), hub.client());
    let to = dir.path().join("file");
    std::thread::scope(|scope| {
        let get = || scope.spawn(|| download(&client, &file, &to));
        let results = [get(), get(), get(), get()].map(|thread| thread.join().unwrap());
        // One that comes when all is done finds the file there, which is for its caller to see.
        let is_late = |error: &Error| error.to_string().starts_with("cannot write");
        assert!(results.iter().any(Result::is_ok));
        assert!(results.iter().filter_map(|result| result.as_ref().err()).all(is_late));
    });
    assert_eq!(std::fs::read(&to).unwrap(), all);
    assert_eq!((hub.n_requests(), std::fs::read_dir(dir.path()).unwrap().count()), (1, 1));
}

#[test]
fn a_hub_that_knows_no_ranges_sends_all_again() {
    let all = bytes(50_000);
    let (file, served) = (entry(&all), all.clone());
    let hub = Scripted::start(move |_, _, stream| say(stream, "200 OK", &[], &served));
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(part_of(&dir, &file), b"something else").unwrap();
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
            say(stream, "200 OK", &["Link: </x>; rel=\"prev\""], entry("a.txt").as_bytes());
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
    // Without a page that lies elsewhere, or is gone, the list is no whole one.
    let elsewhere = Scripted::start(|_, _, stream| {
        let evil = "Link: <https://evil.example/?cursor=3>; rel=\"next\"";
        say(stream, "200 OK", &[evil], b"[]");
    });
    let gone = Scripted::start(|_, number, stream| match number {
        0 => say(stream, "200 OK", &["Link: </api/x?cursor=2>; rel=\"next\""], b"[]"),
        _ => say(stream, "404 Not Found", &[], b""),
    });
    for hub in [elsewhere, gone] {
        let found = hub.client().files(pinned);
        assert!(matches!(found, Err(Error::Unavailable(_))), "{found:?}");
    }
}

#[test]
fn attack_a_list_that_comes_slowly_ends_with_its_one_deadline() {
    // Each page in time, and each byte of a page: it is all of them that take too long.
    let pages: fn(&Request, usize, &mut TcpStream) = |_, number, stream| {
        std::thread::sleep(Duration::from_millis(300));
        let next = format!("Link: </api/x?cursor={number}>; rel=\"next\"");
        say(stream, "200 OK", &[&next], b"[]");
    };
    let bytes: fn(&Request, usize, &mut TcpStream) = |_, _, stream| {
        say(stream, "200 OK", &["Content-Length: 100000"], b"[");
        while stream.write_all(b" ").is_ok() {
            std::thread::sleep(Duration::from_millis(50));
        }
    };
    let busy: fn(&Request, usize, &mut TcpStream) =
        |_, _, stream| say(stream, "429 Too Many Requests", &["Retry-After: 200"], b"");
    let config: fn(&Request, usize, &mut TcpStream) = |request, _, stream| {
        let small = |i: usize| {
            let oid = "0".repeat(40);
            format!(
                "{{\"type\":\"file\",\"path\":\"{i}.safetensors\",\"size\":9,\"oid\":\"{oid}\"}}"
            )
        };
        let files: Vec<String> = (0..100).map(small).collect();
        if request.line.contains("/tree/") {
            return say(stream, "200 OK", &[], format!("[{}]", files.join(",")).as_bytes());
        }
        say(stream, "200 OK", &["Content-Length: 9"], b"");
        while stream.write_all(b"x").is_ok() {
            std::thread::sleep(Duration::from_millis(300));
        }
    };
    for (i, script) in [pages, bytes, busy, config].into_iter().enumerate() {
        let (hub, started) = (Scripted::start(script), Instant::now());
        let found = hub.client().list(&repo(), &revision());
        assert!(
            matches!(found, Err(Error::Unavailable(_) | Error::Damaged { .. })),
            "{i}: {found:?}"
        );
        // Ten times the patience of the tests.
        assert!(started.elapsed() < Duration::from_secs(7), "{i}: {:?}", started.elapsed());
    }
}

#[test]
fn attack_short_long_and_other_answers_are_never_the_file() {
    let all = bytes(200);
    let oid = "ed67bd7a7e8d6fc0d5b0f1a1b7c4a0bd2f8e4f10";
    let listed = Listed {
        path: "config.json".to_owned(),
        size_bytes: 200,
        sha256: None,
        git: listed::git_hash(oid),
    };
    let (repo, revision) = (repo(), revision());
    let pinned = Pinned { kind: RepoKind::Model, repo: &repo, revision: &revision };
    let mut other = all.clone();
    other[7] ^= 1;
    let page = [&b"<html>"[..], &[b' '; 194]].concat();
    for body in [all[..100].to_vec(), Vec::new(), [&all[..], b"x"].concat(), other, page] {
        let hub = Scripted::start(move |_, _, stream| say(stream, "200 OK", &[], &body));
        let read = hub.client().read(pinned, &listed);
        let is_trouble = |error: &Error| error.is_transient();
        assert!(read.as_ref().is_err_and(is_trouble), "{read:?}");
    }
    let (served, dir) = (all.clone(), tempfile::tempdir().unwrap());
    std::fs::write(dir.path().join("file"), &all).unwrap();
    let git = listed::git_hash_of(&dir.path().join("file"), 200).ok();
    let hub = Scripted::start(move |_, _, stream| say(stream, "200 OK", &[], &served));
    assert_eq!(hub.client().read(pinned, &Listed { git, ..listed.clone() }).unwrap(), all);
    // A list that proves nothing, and a file that is no small one.
    assert!(hub.client().read(pinned, &Listed { git: None, ..listed.clone() }).is_err());
    let large = Listed { size_bytes: 1 << 30, ..listed };
    assert!(matches!(hub.client().read(pinned, &large), Err(Error::TooLarge { .. })));
}

#[test]
fn attack_a_config_cut_on_its_way_is_trouble_of_the_hub_and_no_list() {
    let config = br#"{"model_type":"llama"}"#;
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("c"), config).unwrap();
    let git = listed::git_hash_of(&dir.path().join("c"), config.len() as u64).unwrap();
    let (oid, length) = (hex::encode(git), config.len());
    let list = format!(
        "[{{\"type\":\"file\",\"path\":\"config.json\",\"size\":{length},\"oid\":\"{oid}\"}}]"
    );
    let hub = Scripted::start(move |request, number, stream| {
        match request.line.contains("/tree/") {
            true => say(stream, "200 OK", &[], list.as_bytes()),
            // Whole the second time.
            false if number < 2 => say(stream, "200 OK", &[], &config[..10]),
            false => say(stream, "200 OK", &[], config),
        }
    });
    let client = hub.client();
    let cut = client.list(&repo(), &revision()).unwrap_err();
    assert!(matches!(cut, Error::Damaged { .. }) && cut.is_transient(), "{cut}");
    let listed = client.list(&repo(), &revision()).unwrap().unwrap();
    assert_eq!(listed[0].sha256, Digest::of(config));
}

#[test]
fn a_gated_repo_is_there_and_not_for_everybody() {
    let file = entry(&bytes(10));
    for status in ["401 Unauthorized", "403 Forbidden", "404 Not Found"] {
        let (got, _) = outcome(&file, move |_, _, stream| {
            let headers = ["X-Error-Code: GatedRepo", "X-Error-Message: agree to its terms"];
            say(stream, status, &headers, b"");
        });
        let error = got.unwrap_err();
        assert!(error.to_string().contains("agree to its terms"), "{status}: {error}");
        assert!(!matches!(error, Error::NoFile { .. }), "{status}: {error}");
    }
}

#[test]
fn what_needs_a_token_is_not_asked_for_without_one() {
    let hub = Scripted::start(|_, _, stream| say(stream, "404 Not Found", &[], b""));
    let nobody = HubClient::new(&ClientOptions::new(&hub.endpoint)).unwrap();
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("a.txt"), "a").unwrap();
    let answers = [
        nobody.user().map(drop),
        nobody.create(RepoKind::Model, &repo(), true),
        nobody.set_private(RepoKind::Model, &repo(), true),
        nobody.publish(&repo(), dir.path()).map(drop),
    ];
    for answer in answers {
        assert!(matches!(answer, Err(Error::NoToken { .. })), "{answer:?}");
    }
    assert_eq!(hub.n_requests(), 0);
}

#[test]
fn attack_a_token_is_never_sent_where_others_can_read_it() {
    let options = |endpoint: &str| ClientOptions {
        token: Some("hf_secret".to_owned()),
        ..ClientOptions::new(endpoint)
    };
    let has_token = |endpoint| HubClient::new(&options(endpoint)).unwrap().has_token();
    assert!(has_token("http://127.0.0.1:9950") && has_token("https://hub.example"));
    assert!(!has_token("http://hub.example") && !has_token("http://10.0.0.1:9950"));
}

#[test]
fn a_hub_elsewhere_is_asked_through_the_proxy_and_one_here_is_not() {
    let proxy = Scripted::start(|_, _, stream| say(stream, "200 OK", &[], b"{\"sha\":\"zz\"}"));
    let ask = |endpoint: &str, except: Option<&str>| {
        let before = proxy.n_requests();
        let proxies = Proxies {
            http: Some(proxy.endpoint.clone()),
            https: None,
            except: except.map(str::to_owned),
        };
        let patience =
            Patience { n_tries: 1, silence: Duration::from_millis(500), ..Patience::default() };
        let options = ClientOptions { proxies, patience, ..ClientOptions::new(endpoint) };
        let _ = HubClient::new(&options).unwrap().latest(&repo());
        proxy.n_requests() - before
    };
    assert_eq!(ask("http://hub.invalid", None), 1);
    assert_eq!(ask("http://hub.invalid", Some("hub.invalid")), 0);
    assert_eq!(ask("http://127.0.0.1:1", None), 0);
    assert_eq!(ask("http://localhost:1", None), 0);
    let line = proxy.requests.lock().unwrap()[0].line.clone();
    assert!(line.starts_with("GET http://hub.invalid/api/models/"), "{line}");
}

#[test]
fn a_hub_may_lie_below_a_path() {
    let all = bytes(10);
    let (file, served) = (entry(&all), all.clone());
    let hub = Scripted::start(move |_, _, stream| say(stream, "200 OK", &[], &served));
    let endpoint = format!("{}/artifactory/api/hf/", hub.endpoint);
    let client = HubClient::new(&ClientOptions::new(&endpoint)).unwrap();
    let dir = tempfile::tempdir().unwrap();
    download(&client, &file, &dir.path().join("a")).unwrap();
    let line = hub.requests.lock().unwrap()[0].line.clone();
    assert!(line.starts_with("GET /artifactory/api/hf/alice/model/resolve/"), "{line}");
}

#[test]
fn ordinary_names_of_the_world_are_asked_for_as_they_are() {
    let all = bytes(10);
    let served = all.clone();
    let hub = Scripted::start(move |_, _, stream| say(stream, "200 OK", &[], &served));
    let (repo, revision, client) = (repo(), revision(), hub.client());
    let pinned = Pinned { kind: RepoKind::Dataset, repo: &repo, revision: &revision };
    let names = [
        ("a?b#c", "a%3Fb%23c"),
        ("lang=en/na\u{ef}ve (1).txt", "lang%3Den/na%C3%AFve%20%281%29.txt"),
        ("%2e%2e/x", "%252e%252e/x"),
    ];
    for (path, encoded) in names {
        let dir = tempfile::tempdir().unwrap();
        let file = FileEntry { path: path.to_owned(), ..entry(&all) };
        client.download(pinned, &file, &dir.path().join("a"), &|_| true).unwrap();
        let line = hub.requests.lock().unwrap().last().unwrap().line.clone();
        assert!(line.contains(&format!("/resolve/{revision}/{encoded} ")), "{line}");
    }
}

#[test]
fn what_the_hub_ignores_by_the_folders_rules_stays_here_and_is_named() {
    let hub = Scripted::start(|request, _, stream| {
        let answer: &[u8] = match &request.line {
            line if line.contains("/preupload/") => {
                br#"{"files":[
                {"path":"secret/k.txt","uploadMode":"regular","shouldIgnore":true},
                {"path":"a.txt","uploadMode":"regular","shouldIgnore":false}]}"#
            }
            line if line.contains("/commit/") => {
                br#"{"commitOid":"0123456789012345678901234567890123456789"}"#
            }
            line if line.contains("/repos/create") => b"{}",
            _ => return say(stream, "404 Not Found", &[], b""),
        };
        say(stream, "200 OK", &[], answer);
    });
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("secret")).unwrap();
    let upload = || {
        let folder = Folder::of_everything(dir.path()).unwrap();
        hub.client().upload(&Upload::new(RepoKind::Model, &repo(), &folder)).unwrap().ignored
    };
    for path in ["a.txt", "secret/k.txt"] {
        std::fs::write(dir.path().join(path), "x").unwrap();
    }
    assert!(upload().is_empty(), "nobody asked for anything to be ignored");
    // Where there is one, the hub may know more of it than we do.
    std::fs::write(dir.path().join(".gitignore"), "elsewhere/").unwrap();
    assert_eq!(upload(), ["secret/k.txt"]);
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
    for path in ["../x", "/x", "a/../b", "a//b", "a\\b", "a\0b", "", ".", "..", "a/."] {
        let (path, git) = (path.to_owned(), Some([0; 20]));
        let file = Listed { path: path.clone(), size_bytes: 10, sha256: None, git };
        let read = client.read(pinned, &file);
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
