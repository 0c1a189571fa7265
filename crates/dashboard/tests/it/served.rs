//! The server: headers, news, and its end.

use crate::scene::{Judge, player, rules};
use dashboard::{Config, Dashboard, Limits, serve};
use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    path::Path,
    time::Duration,
};

fn served(judge: &Judge, home: &Path) -> Dashboard {
    serve(Config {
        listen: "127.0.0.1:0".parse().unwrap(),
        home: home.to_owned(),
        hub: "https://hub.example/".to_owned(),
        public_url: Some("https://agon.example/pages/".to_owned()),
        rules: vec![rules()],
        chain: None,
        places: vec![judge.place()],
        limits: Limits::default(),
        pause: Duration::from_millis(10),
    })
    .unwrap()
}

/// A connection on which something was asked.
fn asked(address: SocketAddr, head: &str) -> TcpStream {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let request = format!("{head}\r\nhost: test\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    stream
}

fn bytes(address: SocketAddr, head: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    asked(address, head).read_to_end(&mut bytes).unwrap();
    bytes
}

fn answer(address: SocketAddr, head: &str) -> String {
    String::from_utf8_lossy(&bytes(address, head)).into_owned()
}

/// Reads until a text has come.
fn read_until(stream: &mut TcpStream, wanted: &str) -> String {
    let mut text = String::new();
    while !text.contains(wanted) {
        let mut buffer = [0; 4_096];
        let n = stream.read(&mut buffer).unwrap();
        assert!(n > 0, "{text}");
        text += &String::from_utf8_lossy(&buffer[..n]);
    }
    text
}

#[test]
fn rounds_are_told_as_they_come_and_pages_have_a_strict_policy() {
    let mut judge = Judge::new(1);
    let home = tempfile::tempdir().unwrap();
    let dashboard = served(&judge, home.path());
    let address = dashboard.address();
    assert_eq!(dashboard.url(), format!("http://{address}"));
    let mut listening = asked(address, "GET /events HTTP/1.1");
    read_until(&mut listening, "retry: 5000");
    judge.judge(&[player(1, 0.0)]);
    let told = read_until(&mut listening, "\"number\":1");
    assert!(told.contains("event: round\ndata: {\"competition\":\"tiny\""), "{told}");

    let page = answer(address, "GET /c/tiny HTTP/1.1");
    assert!(page.starts_with("HTTP/1.1 200 OK\r\n"), "{page}");
    let (head, body) = page.split_once("\r\n\r\n").unwrap();
    assert!(head.contains("content-security-policy: default-src 'none'; style-src 'self';"));
    assert!(!head.contains("unsafe-inline") && head.contains("x-content-type-options: nosniff"));
    assert!(body.contains("miner1/model"));
    let picture = "content=\"https://agon.example/pages/c/tiny/chart.svg\"";
    assert!(body.contains(picture), "no {picture} in {body}");
    let packed = bytes(address, "GET /c/tiny HTTP/1.1\r\naccept-encoding: gzip");
    assert!(packed.len() < page.len() / 2);
    assert!(String::from_utf8_lossy(&packed).contains("content-encoding: gzip"));
    let json = answer(address, "GET / HTTP/1.1\r\naccept: application/json");
    assert!(json.contains("content-type: application/json"), "{json}");
    for (path, kind) in [
        ("/style.css", "text/css"),
        ("/live.js", "text/javascript"),
        ("/icon.svg", "image/svg+xml"),
        ("/healthz", "text/plain"),
    ] {
        let file = answer(address, &format!("GET {path} HTTP/1.1"));
        assert!(file.contains("200 OK") && file.contains(kind), "{file}");
    }
    assert!(answer(address, "GET /none HTTP/1.1").starts_with("HTTP/1.1 404"));
    assert!(answer(address, "POST / HTTP/1.1").starts_with("HTTP/1.1 405"));
    assert!(answer(address, "GET /%ff HTTP/1.1").starts_with("HTTP/1.1 400"));
    drop(dashboard);
    assert!(TcpStream::connect(address).is_err(), "nobody listens any more");
    // The home is free again.
    drop(served(&judge, home.path()));
}

#[test]
fn an_answer_is_sent_once_to_who_keeps_it_and_is_another_after_a_round() {
    let mut judge = Judge::new(1);
    judge.judge(&[player(1, 0.0)]);
    let home = tempfile::tempdir().unwrap();
    let dashboard = served(&judge, home.path());
    let address = dashboard.address();
    let mut listening = asked(address, "GET /events HTTP/1.1");
    read_until(&mut listening, "retry: 5000");
    while !answer(address, "GET /c/tiny/round/1.json HTTP/1.1").starts_with("HTTP/1.1 200") {}
    let tag = |answer: &str| {
        let line = answer.lines().find_map(|line| line.strip_prefix("etag: "));
        line.expect("a tag").to_owned()
    };
    let first = answer(address, "GET /c/tiny.json HTTP/1.1");
    assert!(first.contains("access-control-allow-origin: *"), "{first}");
    let known = format!("GET /c/tiny.json HTTP/1.1\r\nif-none-match: {}", tag(&first));
    assert!(answer(address, &known).starts_with("HTTP/1.1 304"));
    let page = answer(address, "GET /c/tiny HTTP/1.1");
    assert!(!page.contains("access-control-allow-origin"), "pages are for people");
    judge.judge(&[player(1, 0.0), player(2, 0.1)]);
    read_until(&mut listening, "\"number\":2");
    let second = answer(address, &known);
    assert!(second.starts_with("HTTP/1.1 200"), "{second}");
    assert_ne!(tag(&second), tag(&first));
}
