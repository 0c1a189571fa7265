//! A hub behind a proxy: what it believes of whom, and who shuts out whom.

use crate::desk::{ANN, Desk, refusal, sha256};
use hugging_face::dev::{Front, Limits};
use serde_json::{Value, json};
use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
    time::Duration,
};

/// A hub to which whoever asks from this machine is a proxy.
fn behind_a_proxy(limits: Limits) -> Desk {
    let trusted_proxies = vec!["127.0.0.1".parse().unwrap()];
    Desk::behind(limits, Front { url: None, trusted_proxies })
}

fn asked(desk: &Desk, path: &str, headers: &[(&str, &str)]) -> reqwest::blocking::Response {
    let request = desk.ask("GET", path, "");
    headers
        .iter()
        .fold(request, |request, (name, value)| request.header(*name, *value))
        .send()
        .unwrap()
}

/// Where the next page is of a list that has more than one.
fn next_page(desk: &Desk, headers: &[(&str, &str)]) -> String {
    let answer = asked(desk, "/api/models?limit=1", headers);
    let link = answer.headers()["link"].to_str().unwrap();
    link.split(['<', '>']).nth(1).unwrap().to_owned()
}

/// The link that an object is uploaded by.
fn upload_link(desk: &Desk, headers: &[(&str, &str)]) -> String {
    let body = json!({
        "operation": "upload", "objects": [{ "oid": sha256(b"new"), "size": 3 }],
    });
    let request = desk.ask("POST", "/ann/tiny.git/info/lfs/objects/batch", ANN).json(&body);
    let request =
        headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
    let answer: Value = request.send().unwrap().json().unwrap();
    answer["objects"][0]["actions"]["upload"]["href"].as_str().unwrap().to_owned()
}

#[test]
fn links_have_the_address_that_clients_use() {
    let https = [("x-forwarded-proto", "https"), ("x-forwarded-host", "hub.example")];
    let desk = behind_a_proxy(Limits::default());
    desk.create("tiny");
    desk.create("other");
    assert!(next_page(&desk, &https).starts_with("https://hub.example/api/models?"));
    assert!(upload_link(&desk, &https).starts_with("https://hub.example/lfs/"));
    assert!(upload_link(&desk, &[]).starts_with(&desk.hub.url()));

    let url = Some("https://public.example/hub".parse().unwrap());
    let named = Desk::behind(Limits::default(), Front { url, trusted_proxies: Vec::new() });
    named.create("tiny");
    named.create("other");
    assert!(next_page(&named, &[]).starts_with("https://public.example/hub/api/models?"));
    assert!(upload_link(&named, &https).starts_with("https://public.example/hub/lfs/"));
}

#[test]
fn attack_what_strangers_say_of_themselves_is_not_heard() {
    let limits = Limits { requests_per_window_max: 6, ..Limits::default() };
    let desk = Desk::with(limits.clone());
    desk.create("tiny");
    desk.create("other");
    let forged = [("x-forwarded-proto", "https"), ("x-forwarded-host", "evil.example")];
    assert!(next_page(&desk, &forged).starts_with(&desk.hub.url()));
    // Another name each time is still one who asks too often.
    let statuses: Vec<u16> = (0..8)
        .map(|i| {
            let name = format!("203.0.113.{i}");
            let forged = [("x-forwarded-for", name.as_str()), ("forwarded", "for=203.0.113.99")];
            asked(&desk, "/api/models", &forged).status().as_u16()
        })
        .collect();
    assert_eq!(statuses.last(), Some(&429), "{statuses:?}");

    // Through a proxy each client has a count of its own, and writes what it likes before that.
    let desk = behind_a_proxy(limits);
    desk.create("tiny");
    for i in 0..8 {
        let chain = format!("198.51.100.{i}, 203.0.113.7");
        let status = asked(&desk, "/api/models", &[("x-forwarded-for", &chain)]).status();
        assert_eq!(status.as_u16(), if i < 6 { 200 } else { 429 });
    }
    let other = asked(&desk, "/api/models", &[("x-forwarded-for", "203.0.113.8")]);
    assert_eq!(other.status(), 200);
}

#[test]
fn attack_slow_heads_through_a_proxy_shut_out_none_of_its_other_clients() {
    let limits =
        Limits { connections_max: 64, connections_per_address_max: 32, ..Limits::default() };
    let desk = behind_a_proxy(limits);
    desk.create("tiny");
    // A head has no end, so it says of nobody whose it is.
    let slow = |_| {
        let mut stream = desk.connect();
        stream
            .write_all(b"GET / HTTP/1.1\r\nhost: x\r\nx-forwarded-for: 203.0.113.7\r\nx: ")
            .unwrap();
        stream
    };
    let mut kept = Vec::new();
    for _ in 0..6 {
        kept.extend((0..64).map(slow));
        let mut honest = desk.connect();
        let head = "GET /api/models HTTP/1.1\r\nhost: x\r\nx-forwarded-for: 203.0.113.8\r\n\r\n";
        honest.write_all(head.as_bytes()).unwrap();
        let mut answer = [0; 15];
        honest.read_exact(&mut answer).unwrap();
        assert_eq!(&answer, b"HTTP/1.1 200 OK");
    }
}

#[test]
fn attack_a_client_of_a_proxy_has_only_so_many_requests_under_way() {
    let limits = Limits {
        connections_per_address_max: 4,
        patience: Duration::from_secs(20),
        ..Limits::default()
    };
    let desk = behind_a_proxy(limits);
    desk.create("tiny");
    let body_of = |client: &str| -> TcpStream {
        let mut stream = desk.connect();
        let head = format!(
            "POST /api/validate-yaml HTTP/1.1\r\nhost: x\r\nx-forwarded-for: {client}\r\n\
             content-length: 5\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).unwrap();
        stream
    };
    let _held: Vec<TcpStream> = (0..4).map(|_| body_of("203.0.113.7")).collect();
    // They are taken up one after the other, so the fifth may come before one of them.
    let refused = loop {
        let answer = asked(&desk, "/api/models", &[("x-forwarded-for", "203.0.113.7")]);
        if answer.status() != 200 {
            break refusal(answer);
        }
    };
    assert_eq!(refused.0, 429);
    let other = asked(&desk, "/api/models", &[("x-forwarded-for", "203.0.113.8")]);
    assert_eq!(other.status(), 200);
}
