//! `agon hub` as a process: what it prints, what it keeps, killed and started again.

mod elsewhere;
mod far;
mod folders;
mod owner;
mod snipe;
pub(crate) mod submit;
mod tokens;
pub(crate) mod watch;

use crate::tree;
use serde_json::{Value, json};
use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::TcpStream,
    os::unix::fs::PermissionsExt as _,
    path::Path,
    process::{Child, Command, Stdio},
};

/// A hub in a process of its own; killed when it is dropped.
pub(crate) struct Hub {
    child: Child,
    pub(crate) address: String,
    pub(crate) token: String,
}

impl Hub {
    /// Starts a hub and waits until it listens.
    pub(crate) fn start(dir: &Path) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_agon"))
            .args(["hub", "--json", "--listen", "127.0.0.1:0", "--dir"])
            .arg(dir)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let listening: Value = serde_json::from_str(&line).unwrap();
        let address = listening["url"].as_str().unwrap().strip_prefix("http://").unwrap();
        let token = listening["environment"]["HF_TOKEN"].as_str().unwrap();
        Self { child, address: address.to_owned(), token: token.to_owned() }
    }

    /// Sends the head of a request, and as many bytes of its body as there are.
    fn begin(&self, line: &str, length: usize, body: &str) -> TcpStream {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        let Self { address, token, .. } = self;
        let head = format!(
            "{line} HTTP/1.1\r\nhost: {address}\r\nauthorization: Bearer {token}\r\n\
             connection: close\r\ncontent-length: {length}\r\n\r\n{body}"
        );
        stream.write_all(head.as_bytes()).unwrap();
        stream
    }

    /// Status and body of the answer to a request.
    pub(crate) fn ask(&self, line: &str, body: &str) -> (String, String) {
        let mut answer = String::new();
        self.begin(line, body.len(), body).read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        (head.split(' ').nth(1).unwrap().to_owned(), body.to_owned())
    }
}

/// Status and body of the answer to a request of whoever has this token, or none.
pub(crate) fn ask_as(
    address: &str,
    token: Option<&str>,
    line: &str,
    body: &str,
) -> (String, String) {
    let who = token.map_or(String::new(), |token| format!("authorization: Bearer {token}\r\n"));
    let length = body.len();
    let request = format!(
        "{line} HTTP/1.1\r\nhost: {address}\r\n{who}connection: close\r\n\
         content-length: {length}\r\n\r\n{body}"
    );
    let mut stream = TcpStream::connect(address).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.split(' ').nth(1).unwrap().to_owned(), body.to_owned())
}

impl Drop for Hub {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_hub_that_is_killed_in_an_upload_serves_what_was_committed_and_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let hub = Hub::start(dir.path());
    let token = hub.token.clone();
    assert_eq!(hub.ask("POST /api/repos/create", r#"{"name": "tiny"}"#).0, "200");
    let file = json!({ "key": "file", "value": { "path": "a.txt", "content": "b25l" } });
    let header = json!({ "key": "header", "value": { "summary": "one" } });
    let commit = format!("{header}\n{file}\n");
    assert_eq!(hub.ask("POST /api/models/agon/tiny/commit/main", &commit).0, "200");
    // Half an upload, and half a commit whose first file is on disk already.
    let oid = "0".repeat(64);
    let batch = json!({ "operation": "upload", "objects": [{ "oid": oid, "size": 4_000_000 }] });
    let batch = batch.to_string();
    let (_, offer) = hub.ask("POST /agon/tiny.git/info/lfs/objects/batch", &batch);
    let offer: Value = serde_json::from_str(&offer).unwrap();
    let href = offer["objects"][0]["actions"]["upload"]["href"].as_str().unwrap();
    let path = href.split_once(&hub.address).unwrap().1.to_owned();
    let half = "x".repeat(2_000_000);
    let upload = hub.begin(&format!("PUT {path}"), 4_000_000, &half);
    let second = commit.replace("b25l", "dHdv");
    let begun = hub.begin("POST /api/models/agon/tiny/commit/main", 1_000_000, &second);
    // Until both are seen on disk.
    let n_files = |part: &str| std::fs::read_dir(dir.path().join(part)).unwrap().count();
    while n_files("incoming") < 1 || n_files("objects") < 2 {
        std::thread::yield_now();
    }
    drop(hub);
    drop((upload, begun));

    let hub = Hub::start(dir.path());
    assert_eq!(hub.token, token, "the token is kept");
    assert_eq!(n_files("incoming"), 0);
    assert_eq!(hub.ask("GET /agon/tiny/resolve/main/a.txt", ""), ("200".into(), "one".into()));
    let (_, history) = hub.ask("GET /api/models/agon/tiny/commits/main", "");
    assert_eq!(serde_json::from_str::<Value>(&history).unwrap().as_array().unwrap().len(), 2);
    assert_eq!(hub.ask("POST /api/models/agon/tiny/commit/main", &second).0, "200");
    assert_eq!(hub.ask("GET /agon/tiny/resolve/main/a.txt", "").1, "two");
}

#[test]
fn the_users_of_a_new_hub_are_one_whose_token_nobody_else_can_read() {
    let dir = tempfile::tempdir().unwrap();
    let hub = Hub::start(dir.path());
    let users = dir.path().join("users.json");
    assert_eq!(std::fs::metadata(&users).unwrap().permissions().mode() & 0o777, 0o600);
    let users: Value = serde_json::from_str(&std::fs::read_to_string(users).unwrap()).unwrap();
    assert_eq!((&users[0]["token"], &users[0]["role"]), (&json!(hub.token), &json!("write")));
    assert!(hub.token.starts_with("hf_") && hub.token.len() == 43);
    let second = Command::new(env!("CARGO_BIN_EXE_agon"))
        .args(["hub", "--listen", "127.0.0.1:0", "--dir"])
        .arg(dir.path())
        .output()
        .unwrap();
    let told = String::from_utf8(second.stderr).unwrap();
    assert_eq!(second.status.code(), Some(2));
    assert!(told.contains("hint: stop the hub"), "{told}");
}

#[test]
fn a_dataset_is_pinned_on_the_hub_as_it_is_in_its_folder() {
    let dir = tempfile::tempdir().unwrap();
    let hub = Hub::start(&dir.path().join("hub"));
    let run = |args: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_agon"));
        command.env("HF_ENDPOINT", format!("http://{}", hub.address)).env("HF_TOKEN", &hub.token);
        let output = command.args(args).output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
    };
    let folder = dir.path().join("repo");
    std::fs::create_dir_all(folder.join("data")).unwrap();
    let small = tree::root().join("testdata/fineweb/small.parquet");
    for path in ["data/b.parquet", "data/a.parquet", "README.md"] {
        std::fs::copy(&small, folder.join(path)).unwrap();
    }
    let folder = folder.to_str().unwrap();
    let (code, revision, _) = run(&["upload", folder, "agon/texts", "--dataset", "--json"]);
    let revision: Value = serde_json::from_str(&revision).unwrap();
    let revision = revision["revision"].as_str().unwrap();
    assert_eq!(code, 0);

    let pin = ["data", "pin", "--repo", "agon/texts"];
    let there = run(&pin);
    assert_eq!((there.0, there.2.as_str()), (0, ""));
    let here = run(&["data", "pin", folder, "--repo", "agon/texts", "--revision", revision]);
    assert_eq!(there, here);
    assert!(there.1.contains(revision) && there.1.contains("data/b.parquet"), "{}", there.1);

    let (code, _, told) = run(&[&pin[..], &["--revision", "none"]].concat());
    assert!(code == 2 && told.contains("no revision `none`") && told.contains("hint: "), "{told}");
    let (code, _, told) = run(&["data", "pin", folder, "--repo", "agon/texts"]);
    assert!(code == 2 && told.contains("--revision"), "{told}");
    let (code, _, told) = run(&["data", "pin", "--dataset", "fineweb"]);
    assert!(code == 2 && told.contains("`HuggingFaceFW/fineweb`"), "{told}");
}
