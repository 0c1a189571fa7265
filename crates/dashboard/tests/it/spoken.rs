//! What the server says to strangers who speak HTTP well, badly or not at all.

use crate::scene::rules;
use dashboard::{Config, Dashboard, Error, Limits, Place, serve};
use records::{Signed, Source};
use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    path::Path,
    time::{Duration, Instant},
};
use tempfile::TempDir;

fn config(listen: &str, home: &Path) -> Config {
    Config {
        listen: listen.parse().unwrap(),
        home: home.to_owned(),
        hub: "https://hub.example/".to_owned(),
        public_url: None,
        rules: vec![rules()],
        chain: None,
        places: Vec::new(),
        limits: Limits::default(),
        pause: Duration::from_millis(100),
    }
}

/// A dashboard that has nothing to tell.
fn empty() -> (Dashboard, TempDir) {
    let home = tempfile::tempdir().unwrap();
    (serve(config("127.0.0.1:0", home.path())).unwrap(), home)
}

fn connected(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    stream
}

/// Everything that is answered to these bytes, until the server ends the connection.
fn said(address: SocketAddr, bytes: &[u8]) -> String {
    let mut stream = connected(address);
    // A server that refuses what it has read of may end before all is sent.
    let _ = stream.write_all(bytes);
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    String::from_utf8_lossy(&answer).into_owned()
}

fn get(address: SocketAddr, head: &str) -> String {
    said(address, format!("{head}\r\nhost: x\r\nconnection: close\r\n\r\n").as_bytes())
}

/// The next answer on a connection that goes on: its head and its body.
fn next(stream: &mut TcpStream) -> (String, Vec<u8>) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        head.push(byte[0]);
    }
    let head = String::from_utf8(head).unwrap();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
    let mut body = vec![0; length.map_or(0, |length| length.parse().unwrap())];
    stream.read_exact(&mut body).unwrap();
    (head, body)
}

fn status(answer: &str) -> &str {
    answer.split(' ').nth(1).unwrap_or_default()
}

#[test]
fn a_head_is_that_of_the_answer_without_its_body() {
    let (dashboard, _home) = empty();
    let address = dashboard.address();
    for path in ["/", "/network.json", "/style.css", "/none", "/metrics", "/crowns.atom"] {
        let whole = get(address, &format!("GET {path} HTTP/1.1"));
        let head = get(address, &format!("HEAD {path} HTTP/1.1"));
        let lines = |answer: &str| -> Vec<String> {
            let (head, _) = answer.split_once("\r\n\r\n").unwrap();
            let lines = head.lines().filter(|line| !line.starts_with("date: "));
            lines.map(str::to_owned).collect()
        };
        assert_eq!(lines(&head), lines(&whole), "{path}");
        assert!(head.ends_with("\r\n\r\n"), "{path}: nothing follows");
        let (told, body) = whole.split_once("\r\n\r\n").unwrap();
        assert!(told.contains(&format!("content-length: {}\r\n", body.len())), "{path}: {told}");
    }
}

#[test]
fn one_connection_serves_one_after_another_and_what_is_known_has_no_body() {
    let (dashboard, _home) = empty();
    let mut stream = connected(dashboard.address());
    let mut ask = |head: &str| {
        stream.write_all(format!("{head}\r\nhost: x\r\n\r\n").as_bytes()).unwrap();
        next(&mut stream)
    };
    let (first, body) = ask("GET /network.json HTTP/1.1");
    assert!(serde_json::from_slice::<serde_json::Value>(&body).is_ok(), "{first}");
    let tag = first.lines().find_map(|line| line.strip_prefix("etag: ")).unwrap();
    let (again, body) = ask(&format!("GET /network.json HTTP/1.1\r\nif-none-match: {tag}"));
    assert_eq!((status(&again), body.len()), ("304", 0));
    assert!(again.contains(&format!("etag: {tag}\r\n")), "{again}");
    assert!(!again.contains("content-length: 0"), "as if it were empty: {again}");
    for (path, wanted) in [("/none", "404"), ("/%ff", "400"), ("/healthz", "200")] {
        let (head, _) = ask(&format!("GET {path} HTTP/1.1"));
        assert_eq!(status(&head), wanted, "{path}: one that is wrong ends nothing");
    }
}

#[test]
fn requests_that_come_at_once_are_answered_in_order() {
    let (dashboard, _home) = empty();
    let mut stream = connected(dashboard.address());
    let paths = ["/healthz", "/none", "/style.css", "/healthz"];
    let all: String = paths.map(|path| format!("GET {path} HTTP/1.1\r\nhost: x\r\n\r\n")).concat();
    stream.write_all(all.as_bytes()).unwrap();
    let answers = paths.map(|_| next(&mut stream));
    let statuses = answers.each_ref().map(|(head, _)| status(head));
    assert_eq!(statuses, ["200", "404", "200", "200"]);
    assert_eq!((answers[0].1.as_slice(), answers[3].1.as_slice()), (&b"ok\n"[..], &b"ok\n"[..]));
}

#[test]
fn attack_what_is_no_request_ends_its_own_connection_and_no_other() {
    let (dashboard, _home) = empty();
    let address = dashboard.address();
    let cases: [(&[u8], &str); 8] = [
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", "400"),
        (b"GET\r\n\r\n", "400"),
        (b"GET / HTTP/9.9\r\n\r\n", "400"),
        (b"GET /\x00 HTTP/1.1\r\nhost: x\r\n\r\n", "400"),
        (b"GET / HTTP/1.1\r\nhost x\r\n\r\n", "400"),
        (b"GET / HTTP/1.1\r\nhost: x\r\ncontent-length: -1\r\n\r\n", "400"),
        (b"GET /healthz HTTP/1.0\r\n\r\n", "200"),
        (b"GET http://elsewhere.example/healthz HTTP/1.1\r\nconnection: close\r\n\r\n", "200"),
    ];
    for (bytes, wanted) in cases {
        let answer = said(address, bytes);
        assert_eq!(status(&answer), wanted, "{}: {answer}", String::from_utf8_lossy(bytes));
    }
    assert_eq!(status(&get(address, "GET /healthz HTTP/1.1")), "200");
}

#[test]
fn attack_a_head_has_bounds() {
    let (dashboard, _home) = empty();
    let address = dashboard.address();
    let headers = |n: usize| -> String { (0..n).map(|n| format!("\r\nx-{n}: y")).collect() };
    assert_eq!(status(&get(address, &format!("GET /healthz HTTP/1.1{}", headers(60)))), "200");
    let many = get(address, &format!("GET /healthz HTTP/1.1{}", headers(70)));
    assert_eq!(status(&many), "431", "{many}");
    let long = "y".repeat(20 << 10);
    let large = get(address, &format!("GET /healthz HTTP/1.1\r\nx: {long}"));
    assert!(["431", ""].contains(&status(&large)), "{large}");
    let address_of = |n: usize| get(address, &format!("GET /{} HTTP/1.1", "a".repeat(n)));
    assert_eq!([status(&address_of(2_000)), status(&address_of(3_000))], ["404", "400"]);
    assert_eq!(status(&get(address, "GET /healthz HTTP/1.1")), "200");
}

#[test]
fn attack_a_body_is_read_by_nobody() {
    let (dashboard, _home) = empty();
    let address = dashboard.address();
    let began = Instant::now();
    for head in [
        "POST /c/tiny HTTP/1.1\r\nhost: x\r\ncontent-length: 1000000000000\r\n\r\n",
        "PUT / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\nffffffff\r\n",
        "POST /events HTTP/1.1\r\nhost: x\r\ncontent-length: 10\r\n\r\n",
    ] {
        let mut stream = connected(address);
        stream.write_all(head.as_bytes()).unwrap();
        let (answer, _) = next(&mut stream);
        assert_eq!(status(&answer), "405", "{answer}");
        assert!(answer.contains("allow: GET,HEAD\r\n"), "{answer}");
        assert!(answer.contains("content-security-policy: default-src 'none'"), "{answer}");
    }
    assert!(began.elapsed() < Duration::from_secs(5), "nothing is waited for");
}

#[test]
fn attack_who_says_nothing_or_little_keeps_nobody_waiting() {
    let (dashboard, _home) = empty();
    let address = dashboard.address();
    let silent: Vec<TcpStream> = (0..40)
        .map(|n| {
            let mut stream = connected(address);
            stream.write_all(&b"GET / HTTP/1.1\r\nhost: x\r\n"[..n % 25]).unwrap();
            stream
        })
        .collect();
    let began = Instant::now();
    assert_eq!(status(&get(address, "GET /healthz HTTP/1.1")), "200");
    assert!(began.elapsed() < Duration::from_secs(5));
    drop(dashboard);
    let mut first = silent.into_iter().next().unwrap();
    let mut end = Vec::new();
    // Ended or reset, as the system has it.
    let _ = first.read_to_end(&mut end);
    assert!(end.is_empty(), "the end of the server is that of who says nothing");
}

#[test]
fn whoever_listens_hears_the_end() {
    let (dashboard, _home) = empty();
    let mut listening = connected(dashboard.address());
    listening.write_all(b"GET /events HTTP/1.1\r\nhost: x\r\n\r\n").unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"retry: 5000\n\n\r\n") {
        let mut byte = [0];
        listening.read_exact(&mut byte).unwrap();
        head.push(byte[0]);
    }
    let head = String::from_utf8(head).unwrap();
    for told in ["content-type: text/event-stream", "cache-control: no-store", "nosniff"] {
        assert!(head.contains(told), "no {told} in {head}");
    }
    let began = Instant::now();
    drop(dashboard);
    let _ = listening.read_to_end(&mut Vec::new());
    assert!(began.elapsed() < Duration::from_secs(5), "a page reconnects at once");
}

#[test]
fn two_dashboards_share_neither_a_home_nor_an_address() {
    let (dashboard, home) = empty();
    let taken = serve(config("127.0.0.1:0", home.path())).err().expect("the home is taken");
    assert!(matches!(taken, Error::Index(_)), "{taken}");
    assert!(taken.to_string().contains("another dashboard has"), "{taken}");
    let other = tempfile::tempdir().unwrap();
    let address = dashboard.address().to_string();
    let taken = serve(config(&address, other.path())).err().expect("the address is taken");
    assert!(matches!(&taken, Error::Listen { address: of, .. } if of.to_string() == address));
    assert_eq!(taken.to_string(), format!("cannot listen on `{address}`"));
    drop(dashboard);
    let again = serve(config(&address, other.path())).expect("both are free again");
    assert_eq!(again.url(), format!("http://{address}"));
}

#[test]
fn a_dashboard_on_every_address_names_one_that_a_browser_can_open() {
    let home = tempfile::tempdir().unwrap();
    let dashboard = serve(config("0.0.0.0:0", home.path())).unwrap();
    let port = dashboard.address().port();
    assert_ne!(port, 0);
    assert_eq!(dashboard.url(), format!("http://127.0.0.1:{port}"));
    let reached = dashboard.url().strip_prefix("http://").unwrap().parse().unwrap();
    assert_eq!(status(&get(reached, "GET /healthz HTTP/1.1")), "200");
}

/// A place whose index is none.
struct Torn;

impl Source for Torn {
    fn index(&self) -> Result<Option<records::Index>, records::Error> {
        Signed::from_json(b"{\"<b>\"").map(|_| None)
    }

    fn record(&self, _: &str, _: u64) -> Result<Option<Vec<u8>>, records::Error> {
        panic!("nothing is read of a place without an index")
    }
}

#[test]
fn a_place_that_is_none_is_told_of_on_pages_that_come_all_the_same() {
    let home = tempfile::tempdir().unwrap();
    let place = Place { name: "<torn>".to_owned(), source: Box::new(Torn) };
    let config = Config { places: vec![place], ..config("127.0.0.1:0", home.path()) };
    let dashboard = serve(config).unwrap();
    let began = Instant::now();
    let page = loop {
        let page = get(dashboard.address(), "GET / HTTP/1.1");
        assert_eq!(status(&page), "200");
        if page.contains("Not up to date: ") || began.elapsed() > Duration::from_secs(10) {
            break page;
        }
    };
    assert!(page.contains("Not up to date: &lt;torn&gt;: "), "{page}");
    let metrics = get(dashboard.address(), "GET /metrics HTTP/1.1");
    assert!(metrics.contains("\nagon_dashboard_troubles 1\n"), "{metrics}");
}
