//! What happens to the hub while bytes are on their way in.

use super::disk::full;
use super::*;
use crate::{ClientOptions, HubClient, client::RepoKind};
use reqwest::blocking::Client;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
};

const TOKEN: &str = "hf_ann_may_write";

#[test]
fn attack_a_disk_that_fills_while_bytes_come_takes_no_more_of_them() {
    let dir = tempfile::tempdir().unwrap();
    let (name, token) = ("ann".to_owned(), TOKEN.to_owned());
    let config = Config {
        listen: "127.0.0.1:0".parse().unwrap(),
        folder: dir.path().to_owned(),
        users: vec![User { name, token, role: Role::Write, organisations: Vec::new() }],
        limits: Limits::default(),
        front: Front::default(),
    };
    let hub = DevHub::start(&config).unwrap();
    let options = ClientOptions::new(&hub.url());
    let client =
        HubClient::new(&ClientOptions { token: Some(TOKEN.to_owned()), ..options }).unwrap();
    client.create(RepoKind::Model, &"ann/tiny".parse().unwrap(), false).unwrap();
    let web = Client::builder().no_proxy().build().unwrap();
    // Twice as many as are written at a time, so that all of them have come when they are refused.
    let bytes = vec![7; 2 << 20];
    let oid = hex::encode(Sha256::digest(&bytes));
    let object = json!({ "oid": oid, "size": bytes.len() });
    let batch = json!({ "operation": "upload", "objects": [object] });
    let asked = web.post(hub.url() + "/ann/tiny.git/info/lfs/objects/batch").bearer_auth(TOKEN);
    let offer: Value = asked.json(&batch).send().unwrap().json().unwrap();
    let href = offer["objects"][0]["actions"]["upload"]["href"].as_str().unwrap();

    let (first, rest) = bytes.split_at(5 << 18);
    let mut upload = TcpStream::connect(hub.address()).unwrap();
    let path = href.strip_prefix(&hub.url()).unwrap();
    let head = format!("PUT {path} HTTP/1.1\r\nhost: hub\r\nconnection: close\r\n");
    let length = format!("content-length: {}\r\n\r\n", bytes.len());
    upload.write_all(&[head.as_bytes(), length.as_bytes(), first].concat()).unwrap();
    while hub.stats().received_bytes == 0 {
        std::thread::yield_now();
    }
    full::insert(dir.path());
    upload.write_all(rest).unwrap();
    let mut answer = String::new();
    upload.read_to_string(&mut answer).unwrap();
    let is_refused = answer.starts_with("HTTP/1.1 507 ") && answer.contains("no more room");
    assert!(is_refused, "{answer}");
    assert_eq!(std::fs::read_dir(dir.path().join("incoming")).unwrap().count(), 0);
    full::remove(dir.path());
    assert_eq!(web.put(href).body(bytes).send().unwrap().status(), 200);
}
