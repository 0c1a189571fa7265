//! Every door of the hub that reads JSON, and what strangers may put there.

use crate::{
    desk::{ANN, Desk, file},
    json_suite::{INVALID, VALID, deep},
};
use hugging_face::dev::Limits;
use std::time::{Duration, Instant};

const OID: &str = "0000000000000000000000000000000000000000000000000000000000000000";

/// Longest that any answer may take.
const TIME_MAX: Duration = Duration::from_secs(5);

/// Method, address, and a body in which `@` stands for a value that is read.
const DOORS: [(&str, &str, &str); 14] = [
    ("POST", "/api/repos/create", r#"{"name":@}"#),
    ("POST", "/api/repos/create", r#"{"name":"x","private":@}"#),
    ("DELETE", "/api/repos/delete", r#"{"name":@}"#),
    ("POST", "/api/repos/move", r#"{"fromRepo":@,"toRepo":"ann/new"}"#),
    ("PUT", "/api/models/ann/tiny/settings", r#"{"private":@}"#),
    ("POST", "/api/models/ann/tiny/paths-info/main", r#"{"paths":[@]}"#),
    ("POST", "/api/models/ann/tiny/branch/new", r#"{"startingPoint":@}"#),
    ("POST", "/api/models/ann/tiny/tag/main", r#"{"tag":@}"#),
    ("POST", "/api/models/ann/tiny/preupload/main", r#"{"files":[{"path":@,"size":1}]}"#),
    ("POST", "/api/models/ann/tiny/preupload/main", r#"{"files":[{"path":"a","size":@}]}"#),
    ("POST", "/api/models/ann/tiny/commit/main", r#"{"key":"header","value":{"summary":@}}"#),
    (
        "POST",
        "/api/models/ann/tiny/commit/main",
        "{\"key\":\"header\",\"value\":{}}\n{\"key\":\"lfsFile\",\"value\":{\"path\":\"a\",\"oid\":\"\
         0000000000000000000000000000000000000000000000000000000000000000\",\"size\":@}}",
    ),
    (
        "POST",
        "/ann/tiny.git/info/lfs/objects/batch",
        r#"{"operation":"upload","objects":[{"oid":"x","size":@}]}"#,
    ),
    ("POST", "/lfs/1/OID/verify", r#"{"oid":"OID","size":@}"#),
];

/// Values that no field takes, whatever it is for.
fn wrong_values() -> Vec<Vec<u8>> {
    let texts: [&[u8]; 14] = [
        b"-1",
        b"1.5",
        b"1e400",
        b"18446744073709551616",
        b"[]",
        b"{}",
        b"[[]]",
        b"\"\\ud800\"",
        b"\"\\udc00\\ud800\"",
        b"\"\xff\"",
        b"\"\xc3\"",
        b"\"\xed\xa0\x80\"",
        b"\"nul\0inside\"",
        b",",
    ];
    let mut values: Vec<Vec<u8>> = texts.iter().map(|text| text.to_vec()).collect();
    values.push(b"9".repeat(100_000));
    values.extend(deep());
    values
}

struct Doors {
    desk: Desk,
}

impl Doors {
    fn new() -> Self {
        let limits = Limits { requests_per_window_max: u64::MAX, ..Limits::default() };
        let desk = Desk::with(limits);
        desk.create("tiny");
        desk.commit("ann/tiny", &[file("config.json", b"{}")]);
        Self { desk }
    }

    /// The status of an answer, which must come soon.
    fn status(&self, (method, path, _): (&str, &str, &str), body: &[u8]) -> u16 {
        let started = Instant::now();
        let request = self.desk.ask(method, &path.replace("OID", OID), ANN);
        let status = request.body(body.to_owned()).send().unwrap().status().as_u16();
        assert!(started.elapsed() < TIME_MAX, "{path} took {:?}", started.elapsed());
        status
    }

    /// What a stranger would have changed.
    fn state(&self) -> Vec<serde_json::Value> {
        let paths = ["", "/tiny", "/tiny/refs", "/tiny/tree/main"];
        let path = |path: &str| match path {
            "" => "/api/models".to_owned(),
            path => format!("/api/models/ann{path}"),
        };
        paths.iter().map(|it| self.desk.value(&path(it), ANN)).collect()
    }
}

/// Deeply nested texts that are JSON, or those that are none.
fn nested(are_json: bool) -> impl Iterator<Item = Vec<u8>> {
    let is_json = |text: &Vec<u8>| serde_json::from_slice::<serde::de::IgnoredAny>(text).is_ok();
    deep().into_iter().filter(move |text| is_json(text) == are_json)
}

fn shown(body: &[u8]) -> String {
    String::from_utf8_lossy(&body[..body.len().min(100)]).into_owned()
}

#[test]
fn attack_what_is_no_json_is_refused_at_every_door_and_changes_nothing() {
    let doors = Doors::new();
    let before = doors.state();
    let byte_order_mark: &[u8] = b"\xef\xbb\xbf{}";
    for door in DOORS {
        for body in INVALID.into_iter().map(<[u8]>::to_vec).chain(nested(false)) {
            assert_eq!(doors.status(door, &body), 400, "{door:?}: {}", shown(&body));
        }
        assert_eq!(doors.status(door, byte_order_mark), 400, "{door:?}");
    }
    assert_eq!(doors.state(), before);
}

#[test]
fn attack_values_that_no_field_takes_are_refused_at_every_door_and_change_nothing() {
    let doors = Doors::new();
    let before = doors.state();
    for door @ (_, path, template) in DOORS {
        let (head, tail) = template.split_once('@').unwrap();
        let head = head.replace("OID", OID);
        for value in wrong_values() {
            let body = [head.as_bytes(), &value, tail.as_bytes()].concat();
            let status = doors.status(door, &body);
            assert!((400..500).contains(&status), "{path}: {status} for {}", shown(&body));
        }
        // A key that stands twice has no meaning.
        let key = head.rsplit(['{', ',']).next().unwrap().trim_end_matches('[');
        let twice = format!("{head}\"x\",{key}\"x\"{tail}");
        let status = doors.status(door, twice.as_bytes());
        assert!((400..500).contains(&status), "{path}: {status} for {twice}");
    }
    assert_eq!(doors.state(), before);
}

#[test]
fn attack_odd_json_is_answered_or_refused_and_the_hub_goes_on() {
    let doors = Doors::new();
    for door in DOORS {
        for body in VALID.into_iter().map(<[u8]>::to_vec).chain(nested(true)) {
            let status = doors.status(door, &body);
            assert!(status < 500, "{door:?}: {status} for {}", shown(&body));
        }
    }
    assert_eq!(doors.desk.get("/api/models/ann/tiny", ANN).status(), 200);
}
