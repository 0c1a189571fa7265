//! What strangers try on an open port.

use crate::desk::{ANN, Desk, file, large_line, refusal};
use hugging_face::dev::Limits;
use proptest::prelude::*;
use serde_json::{Value, json};
use std::{
    io::{Read as _, Write as _},
    time::{Duration, Instant},
};

/// Names of files that lead elsewhere, as they stand in a commit.
const ELSEWHERE: [&str; 36] = [
    "",
    ".",
    "..",
    "/",
    "/etc/passwd",
    "//etc/passwd",
    "../x",
    "../../etc/passwd",
    "a/../../x",
    "a/..",
    "a/../b",
    "./a",
    "a/./b",
    "a//b",
    "a/",
    "..\\x",
    "a\\b",
    "\\\\server\\share",
    "C:\\x",
    "C:/x",
    "c:x",
    "a\0b",
    "a\nb",
    "a\rb",
    "a\u{7f}b",
    "a\u{202e}b",
    "\u{2025}/x",
    "\u{ff0e}\u{ff0e}/x",
    "a\u{2215}b",
    "a\u{ff3c}b",
    "a/.. /x",
    "a/.../x",
    "a. ",
    ".git/hooks/pre-commit",
    "a/.GIT/config",
    ".git./config",
];

/// The same as URLs spell it, sent byte by byte.
const SPELLINGS: [&str; 30] = [
    "..",
    "../..",
    "../../../../etc/passwd",
    "/etc/passwd",
    "//etc/passwd",
    "a/../../b",
    "./a.txt",
    "a//b",
    "%2e%2e/x",
    "%2E%2E/%2E%2E/etc/passwd",
    "..%2fx",
    "..%2Fx",
    "%2e%2e%2fx",
    "%2fetc%2fpasswd",
    "..%5cx",
    "..%5Cx",
    "..\\x",
    "%5c%5cserver",
    "C:%5cx",
    "C:/x",
    "a%00b",
    "a%0ab",
    "a%0d%0ab",
    "%c0%ae%c0%ae/x",
    "%e2%80%a5/x",
    "%ef%bc%8e%ef%bc%8e/x",
    "%ff%fe",
    "a.txt%",
    ".git/config",
    "a%2f..%2f..%2fb",
];

#[test]
fn attack_file_names_that_lead_elsewhere_are_refused_in_every_spelling() {
    let desk = Desk::new();
    desk.create("tiny");
    desk.commit("ann/tiny", &[file("a.txt", b"a")]);
    let commit = |line: Value| desk.send("ann/tiny", ANN, &json!({}), &[line]).status().as_u16();
    for path in ELSEWHERE {
        assert_eq!(commit(file(path, b"x")), 400, "{path:?}");
        assert_eq!(commit(large_line(path, &"0".repeat(64), 1)), 400, "{path:?}");
    }
    assert_eq!(commit(file(&"a".repeat(513), b"x")), 400, "too long");
    assert_eq!(commit(file(&"a".repeat(512), b"x")), 200);
    let preupload = json!({ "files": [{ "path": "../x", "sample": "", "size": 1 }] });
    let answer = desk.post("/api/models/ann/tiny/preupload/main", ANN, &preupload);
    assert_eq!(answer.status(), 400);
    for spelling in SPELLINGS {
        for before in ["/ann/tiny/resolve/main/", "/api/models/ann/tiny/tree/main/"] {
            let head = format!("GET {before}{spelling} HTTP/1.1\r\nhost: x\r\n");
            let line = desk.raw(&format!("{head}connection: close\r\n\r\n"));
            assert!(
                line.starts_with("HTTP/1.1 40"),
                "{before}{spelling} was answered with `{line}`"
            );
        }
    }
    // Decoded once, not twice: this is a file whose name has a percent sign.
    assert_eq!(commit(file("%2e%2e", b"odd")), 200);
    assert_eq!(desk.get("/ann/tiny/resolve/main/%252e%252e", "").text().unwrap(), "odd");
}

#[test]
fn attack_names_of_repos_stay_in_their_alphabet() {
    let desk = Desk::new();
    for name in [
        "",
        ".",
        "..",
        "a..b",
        "a--b",
        ".a",
        "-a",
        "_a",
        "a b",
        "a\u{e9}",
        "a\n",
        "a\0",
        "a%2fb",
        "a/b/c",
        "../a",
        "/a",
        "a/",
        "x.git",
        "<script>",
        &"a".repeat(97),
    ] {
        let body = json!({ "name": name, "organization": "ann" });
        let status = desk.post("/api/repos/create", ANN, &body).status().as_u16();
        assert!(status == 400 || status == 403, "`{name}` was answered with {status}");
    }
    for owner in ["api", "datasets", "models", "lfs", "..", "ann/x", ""] {
        let body = json!({ "name": "x", "organization": owner });
        let status = desk.post("/api/repos/create", ANN, &body).status().as_u16();
        assert!(status == 400 || status == 403, "`{owner}` was answered with {status}");
    }
    assert_eq!(desk.value("/api/models", ANN), json!([]));
    let body = json!({ "name": "a".repeat(96), "organization": "ann" });
    assert_eq!(desk.post("/api/repos/create", ANN, &body).status(), 200);
    let upper = json!({ "name": "A".repeat(96), "organization": "ann" });
    let twin = desk.post("/api/repos/create", ANN, &upper);
    assert_eq!(twin.status(), 409, "names differ by more than capitals");
}

#[test]
fn attack_slow_heads_bodies_and_readers_are_let_go() {
    let limits = Limits {
        head_patience: Duration::from_millis(300),
        patience: Duration::from_millis(300),
        bytes_per_second_min: 1_000_000,
        inline_bytes_max: 32 << 20,
        ..Limits::default()
    };
    let desk = Desk::with(limits);
    desk.create("tiny");
    desk.commit("ann/tiny", &[file("model.safetensors", &vec![0; 30_000_000])]);
    let started = Instant::now();
    let (path, token) = ("/api/models/ann/tiny/commit/main", ANN);
    let head = format!("POST {path} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {token}\r\n");
    let sized = format!("{head}content-length: 5000\r\n\r\n{{\"key\"");
    let chunked = format!("{head}transfer-encoding: chunked\r\n\r\n6\r\n{{\"key\"\r\n");
    let endings: Vec<_> = ["", "GET / HT", "GET / HTTP/1.1\r\nhost: x\r\n", &sized, &chunked]
        .map(|request| {
            let mut stream = desk.connect();
            stream.write_all(request.as_bytes()).unwrap();
            let mut answer = Vec::new();
            let _ = stream.read_to_end(&mut answer);
            String::from_utf8(answer).unwrap()
        })
        .into();
    for answer in &endings[3..] {
        assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");
    }
    // Whoever asks and does not read fills what the system buffers, and no more.
    let mut lazy = desk.connect();
    let request = "GET /ann/tiny/resolve/main/model.safetensors HTTP/1.1\r\nhost: x\r\n\r\n";
    lazy.write_all(request.as_bytes()).unwrap();
    while desk.hub.stats().sent_bytes == 0 {
        std::thread::yield_now();
    }
    // The hub ends the connection by itself: nobody reads until it has.
    let mut one = [0; 1];
    lazy.read_exact(&mut one).unwrap();
    let mut ended = false;
    while !ended && started.elapsed() < Duration::from_secs(15) {
        let mut probe = desk.connect();
        probe
            .write_all(b"GET /api/stats HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
            .unwrap();
        let mut answer = Vec::new();
        let _ = probe.read_to_end(&mut answer);
        ended = lazy.take_error().unwrap().is_some() || lazy.write(b"x").is_err();
    }
    assert!(ended, "a reader that does not read was kept");
    assert!(started.elapsed() < Duration::from_secs(15), "{:?}", started.elapsed());
    assert_eq!(desk.get("/api/models/ann/tiny", "").status(), 200, "others are served");
}

#[test]
fn attack_oversized_heads_and_bodies_are_cut_off() {
    let desk = Desk::with(Limits { body_bytes_max: 10_000, ..Limits::default() });
    desk.create("tiny");
    let long = "a".repeat(1 << 20);
    for request in [
        format!("GET /{long} HTTP/1.1\r\nhost: x\r\n\r\n"),
        format!("GET / HTTP/1.1\r\nhost: x\r\nx-long: {long}\r\n\r\n"),
        format!("GET / HTTP/1.1\r\nhost: x\r\n{}\r\n", "x-many: 1\r\n".repeat(10_000)),
    ] {
        let line = desk.raw(&request);
        let is_refused = ["HTTP/1.1 414", "HTTP/1.1 431", "HTTP/1.1 400"]
            .iter()
            .any(|start| line.starts_with(start));
        // Or hung up on while still sending.
        assert!(is_refused || line.is_empty(), "{line}");
    }
    let body = json!({ "name": "x", "padding": "a".repeat(20_000) });
    assert_eq!(refusal(desk.post("/api/repos/create", ANN, &body)).0, 413);
    let deep = format!("{{\"name\": {}", "[".repeat(9_000));
    let request = desk.ask("POST", "/api/repos/create", ANN).body(deep);
    assert_eq!(request.send().unwrap().status(), 400);
    let batch =
        json!({ "operation": "upload", "objects": vec![json!({ "oid": "", "size": 0 }); 1_001] });
    let answer = desk.post("/ann/tiny.git/info/lfs/objects/batch", ANN, &batch);
    assert_eq!(answer.status(), 413);
    let many = "x=1&".repeat(3_000);
    assert_eq!(desk.get(&format!("/api/models?{many}"), "").status(), 400);
}

#[test]
fn attack_bodies_of_strangers_are_smaller_than_those_of_users() {
    let desk = Desk::new();
    desk.create("tiny");
    desk.commit("ann/tiny", &[file("a.txt", &[0; 10])]);
    let paths: Vec<String> = (0..100).map(|i| format!("{i}{}", "a".repeat(4_000))).collect();
    let body = json!({ "paths": paths, "expand": false });
    let path = "/api/models/ann/tiny/paths-info/main";
    assert_eq!(refusal(desk.post(path, "", &body)).0, 413);
    assert_eq!(desk.post(path, ANN, &body).status(), 200);
    let few = json!({ "paths": &paths[..50], "expand": false });
    assert_eq!(desk.post(path, "", &few).status(), 200);
}

#[test]
fn attack_a_thousand_ranges_in_one_header_are_one_refusal() {
    let desk = Desk::new();
    desk.create("tiny");
    desk.commit("ann/tiny", &[file("a.txt", &[0; 100_000])]);
    let ranges: Vec<String> = (0..1_000).map(|i| format!("{}-{}", i * 2, i * 2)).collect();
    let request = desk.ask("GET", "/ann/tiny/resolve/main/a.txt", "");
    let response = request.header("range", format!("bytes={}", ranges.join(","))).send().unwrap();
    assert_eq!(refusal(response).0, 416);
    assert_eq!(desk.hub.stats().sent_bytes, 0);
}

#[test]
fn attack_connections_of_one_address_have_an_end() {
    let desk = Desk::with(Limits { connections_per_address_max: 4, ..Limits::default() });
    desk.create("tiny");
    let mut kept: Vec<_> = (0..8).map(|_| desk.connect()).collect();
    // The hub hangs up on those that are too many; the desk's own connection may be one of four.
    let hung_up = kept.iter_mut().filter_map(|stream| {
        stream.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
        stream.read(&mut [0; 1]).ok()
    });
    assert!(hung_up.count() >= 4);
    drop(kept);
}

#[test]
fn attack_connections_that_ask_for_nothing_make_room_for_others() {
    let desk = Desk::with(Limits { connections_max: 8, ..Limits::default() });
    desk.create("tiny");
    let slow = |_| {
        let mut stream = desk.connect();
        stream.write_all(b"GET / HTTP/1.1\r\nhost: x\r\nx: ").unwrap();
        stream
    };
    let mut kept: Vec<_> = (0..20).map(slow).collect();
    // An answer takes its place with it, and gives it back at its end.
    for _ in 0..10 {
        let mut stream = desk.connect();
        stream.write_all(b"GET /api/models HTTP/1.1\r\nhost: x\r\n\r\n").unwrap();
        let mut answer = [0; 15];
        stream.read_exact(&mut answer).unwrap();
        assert_eq!(&answer, b"HTTP/1.1 200 OK");
        kept.push(stream);
    }
    let first = &mut kept[0];
    first.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    let is_hung_up_on = match first.read(&mut [0; 1]) {
        Ok(n) => n == 0,
        Err(error) => error.kind() == std::io::ErrorKind::ConnectionReset,
    };
    assert!(is_hung_up_on, "whoever waited longest had to go");
}

#[test]
fn attack_a_host_header_never_reaches_a_link() {
    let desk = Desk::new();
    desk.create("tiny");
    desk.create("other");
    for host in ["evil>; rel=\"x\"", "a b", "x/../y", ""] {
        let request = desk.ask("GET", "/api/models?limit=1", "").header("host", host);
        let answer = request.send().unwrap();
        let link = answer.headers()["link"].to_str().unwrap();
        assert!(link.starts_with(&format!("<{}/api/models?", desk.hub.url())), "{link}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn attack_no_commit_of_noise_is_taken_or_breaks_anything(
        lines in prop::collection::vec(any::<Vec<u8>>(), 0..8),
        header in any::<bool>(),
    ) {
        static DESK: std::sync::LazyLock<Desk> = std::sync::LazyLock::new(|| {
            let desk = Desk::new();
            desk.create("tiny");
            desk
        });
        let mut body = lines.join(&b'\n');
        if header {
            let start = b"{\"key\":\"header\",\"value\":{}}\n{\"key\":\"file\",\"value\":".to_vec();
            body = [start, body].concat();
        }
        let request = DESK.ask("POST", "/api/models/ann/tiny/commit/main", ANN).body(body);
        let status = request.send().unwrap().status().as_u16();
        prop_assert!(status == 400, "{status}");
    }
}
