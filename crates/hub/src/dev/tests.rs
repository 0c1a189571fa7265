//! What happens to the hub while bytes are on their way in.

use super::*;
use crate::disk::full;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
};

const TOKEN: &str = "hf_ann_may_write";

/// Sends the head of a request and the first bytes of its body.
fn begin(hub: &DevHub, line: &str, length: usize, body: &[u8]) -> TcpStream {
    let mut stream = TcpStream::connect(hub.address()).unwrap();
    let head = format!(
        "{line} HTTP/1.1\r\nhost: {}\r\nauthorization: Bearer {TOKEN}\r\n\
         content-type: application/json\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n",
        hub.address()
    );
    stream.write_all(head.as_bytes()).unwrap();
    stream.write_all(body).unwrap();
    stream
}

/// Status and body of an answer.
fn end(mut stream: TcpStream) -> (String, String) {
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.split(' ').nth(1).unwrap().to_owned(), body.to_owned())
}

fn ask(hub: &DevHub, line: &str, body: &Value) -> String {
    let body = body.to_string();
    let (status, answer) = end(begin(hub, line, body.len(), body.as_bytes()));
    assert_eq!(status, "200", "{answer}");
    answer
}

#[test]
fn attack_a_disk_that_fills_while_bytes_come_takes_no_more_of_them() {
    let dir = tempfile::tempdir().unwrap();
    let (name, token) = ("ann".to_owned(), TOKEN.to_owned());
    let config = Config {
        listen: "127.0.0.1:0".parse().unwrap(),
        folder: dir.path().to_owned(),
        users: vec![User { name, token, role: Role::Write, organisations: Vec::new() }],
        limits: Limits::default(),
    };
    let hub = DevHub::start(&config).unwrap();
    ask(&hub, "POST /api/repos/create", &json!({ "name": "tiny", "type": "model" }));
    // Twice as many as are written at a time, so that all of them have come when they are refused.
    let bytes = vec![7; 2 << 20];
    let oid = hex::encode(Sha256::digest(&bytes));
    let object = json!({ "oid": oid, "size": bytes.len() });
    let batch = json!({ "operation": "upload", "objects": [object] });
    let offer = ask(&hub, "POST /ann/tiny.git/info/lfs/objects/batch", &batch);
    let offer: Value = serde_json::from_str(&offer).unwrap();
    let href = offer["objects"][0]["actions"]["upload"]["href"].as_str().unwrap();
    let put = format!("PUT {}", href.strip_prefix(&hub.url()).unwrap());

    let (first, rest) = bytes.split_at(5 << 18);
    let mut upload = begin(&hub, &put, bytes.len(), first);
    while hub.stats().received_bytes == 0 {
        std::thread::yield_now();
    }
    full::insert(dir.path());
    upload.write_all(rest).unwrap();
    let (status, answer) = end(upload);
    assert!(status == "507" && answer.contains("no more room"), "{status}: {answer}");
    assert_eq!(std::fs::read_dir(dir.path().join("incoming")).unwrap().count(), 0);
    full::remove(dir.path());
    assert_eq!(end(begin(&hub, &put, bytes.len(), &bytes)).0, "200");
}
