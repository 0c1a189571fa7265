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
use world::Request;

mod clients;
mod downloads;
mod json;
#[path = "../../../../testdata/json_suite.rs"]
mod json_suite;
mod limits;
mod lists;
mod ranges;
mod real;
mod uploads;
mod world;

impl Request {
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
        self.client_until(|| true)
    }

    /// A client that is asked at each piece of a file whether it goes on.
    fn client_until(&self, on_piece: fn() -> bool) -> HubClient {
        HubClient::new(&ClientOptions {
            on_piece,
            token: Some("hf_secret".to_owned()),
            patience: Patience {
                n_tries: 3,
                wait: Duration::from_millis(5),
                silence: Duration::from_millis(500),
                bytes_per_second_min: 64 << 10,
                wait_max: Duration::from_secs(1),
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
fn a_proxy_that_does_not_answer_is_named_without_its_password() {
    // Nothing listens there any more.
    let gone = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let ask = |endpoint: &str, except: Option<&str>| {
        let proxy = Some(format!("http://ann:secret@{gone}"));
        let except = except.map(str::to_owned);
        let proxies = Proxies { http: proxy.clone(), https: proxy, except };
        let patience =
            Patience { n_tries: 1, silence: Duration::from_millis(500), ..Patience::default() };
        let options = ClientOptions { proxies, patience, ..ClientOptions::new(endpoint) };
        HubClient::new(&options).unwrap().latest(&repo()).unwrap_err().to_string()
    };
    for endpoint in ["http://hub.invalid", "https://hub.invalid"] {
        let error = ask(endpoint, None);
        assert!(error.ends_with(&format!("; the way there is the proxy `…@{gone}`")), "{error}");
        assert!(error.contains(endpoint) && !error.contains("secret"), "{error}");
        let error = ask(endpoint, Some("hub.invalid"));
        assert!(!error.contains("proxy"), "{error}");
    }
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
