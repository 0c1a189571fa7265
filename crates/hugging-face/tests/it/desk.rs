//! A hub on a free port with three users, and short words for what clients ask.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use hugging_face::dev::{Config, DevHub, Front, Limits, Role, User};
use reqwest::{
    Method,
    blocking::{Client, Response},
};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use std::{
    io::{ErrorKind, Read as _, Write as _},
    net::TcpStream,
    path::Path,
    time::Duration,
};
use tempfile::TempDir;

pub(crate) const ANN: &str = "hf_ann_may_write";
pub(crate) const ANN_READS: &str = "hf_ann_may_read";
pub(crate) const BOB: &str = "hf_bob_may_write";

/// A running hub in a folder that goes with it.
pub(crate) struct Desk {
    pub(crate) hub: DevHub,
    client: Client,
    folder: TempDir,
}

fn user(name: &str, token: &str, role: Role, organisations: &[&str]) -> User {
    let organisations = organisations.iter().map(|name| (*name).to_owned()).collect();
    User { name: name.to_owned(), token: token.to_owned(), role, organisations }
}

fn start(folder: &Path, limits: Limits, front: Front) -> DevHub {
    let users = vec![
        user("ann", ANN, Role::Write, &["lab"]),
        user("ann", ANN_READS, Role::Read, &[]),
        user("bob", BOB, Role::Write, &[]),
    ];
    let listen = "127.0.0.1:0".parse().unwrap();
    DevHub::start(&Config { listen, folder: folder.to_owned(), users, limits, front }).unwrap()
}

/// The name of an object of these bytes.
pub(crate) fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A line of a commit that brings a small file.
pub(crate) fn file(path: &str, bytes: &[u8]) -> Value {
    let content = STANDARD.encode(bytes);
    json!({ "key": "file", "value": { "path": path, "content": content, "encoding": "base64" } })
}

/// A line of a commit that names an uploaded file.
pub(crate) fn large_file(path: &str, bytes: &[u8]) -> Value {
    large_line(path, &sha256(bytes), bytes.len() as u64)
}

pub(crate) fn large_line(path: &str, oid: &str, size: u64) -> Value {
    let value = json!({ "path": path, "algo": "sha256", "oid": oid, "size": size });
    json!({ "key": "lfsFile", "value": value })
}

/// Bytes that no pattern repeats, from a seed.
pub(crate) fn noise(seed: u8, n: usize) -> Vec<u8> {
    let blocks = (0_u64..).flat_map(|i| Sha256::digest([&[seed][..], &i.to_le_bytes()].concat()));
    blocks.take(n).collect()
}

/// What an error looks like to clients: status, code and message.
pub(crate) fn refusal(response: Response) -> (u16, String, String) {
    let header = |name: &str| {
        let value = response.headers().get(name).map(|value| value.to_str().unwrap().to_owned());
        value.unwrap_or_default()
    };
    let (status, code, message) =
        (response.status().as_u16(), header("x-error-code"), header("x-error-message"));
    let body: Value = response.json().unwrap();
    assert_eq!(body["error"], message.as_str(), "body and header say the same");
    (status, code, message)
}

impl Desk {
    pub(crate) fn new() -> Self {
        Self::with(Limits::default())
    }

    pub(crate) fn with(limits: Limits) -> Self {
        Self::behind(limits, Front::default())
    }

    pub(crate) fn behind(limits: Limits, front: Front) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let hub = start(folder.path(), limits, front);
        // Whoever builds a client chooses who does TLS, which no test speaks.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = Client::builder().timeout(Duration::from_secs(20)).no_proxy();
        Self { hub, client: client.build().unwrap(), folder }
    }

    /// The same folder with a hub that was started again.
    pub(crate) fn restart(self, limits: Limits) -> Self {
        let Self { hub, client, folder } = self;
        drop(hub);
        let hub = start(folder.path(), limits, Front::default());
        Self { hub, client, folder }
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn url(&self, path: &str) -> String {
        if path.starts_with("http") { path.to_owned() } else { self.hub.url() + path }
    }

    /// A request to be completed; without a token when that is empty.
    pub(crate) fn ask(
        &self,
        method: &str,
        path: &str,
        token: &str,
    ) -> reqwest::blocking::RequestBuilder {
        let method: Method = method.parse().unwrap();
        let request = self.client.request(method, self.url(path));
        if token.is_empty() { request } else { request.bearer_auth(token) }
    }

    pub(crate) fn get(&self, path: &str, token: &str) -> Response {
        self.ask("GET", path, token).send().unwrap()
    }

    pub(crate) fn value(&self, path: &str, token: &str) -> Value {
        let response = self.get(path, token);
        assert_eq!(response.status(), 200, "{path}");
        response.json().unwrap()
    }

    pub(crate) fn post(&self, path: &str, token: &str, body: &Value) -> Response {
        self.ask("POST", path, token).json(body).send().unwrap()
    }

    /// Makes a public model of ann's.
    pub(crate) fn create(&self, name: &str) {
        let made = self.post("/api/repos/create", ANN, &json!({ "name": name, "type": "model" }));
        assert_eq!(made.status(), 200);
    }

    /// Sends a commit to `main`.
    pub(crate) fn send(
        &self,
        repo: &str,
        token: &str,
        header: &Value,
        lines: &[Value],
    ) -> Response {
        let header = json!({ "key": "header", "value": header });
        let lines = [&header].into_iter().chain(lines);
        let body: String = lines.map(|line| format!("{line}\n")).collect();
        let path = format!("/api/models/{repo}/commit/main");
        let request = self.ask("POST", &path, token).header("content-type", "application/x-ndjson");
        request.body(body).send().unwrap()
    }

    /// Commits and gives the new revision.
    pub(crate) fn commit(&self, repo: &str, lines: &[Value]) -> String {
        let response = self.send(repo, ANN, &json!({ "summary": "more" }), lines);
        assert_eq!(response.status(), 200);
        let value: Value = response.json().unwrap();
        value["commitOid"].as_str().unwrap().to_owned()
    }

    /// Asks where to upload; the answer for one object.
    pub(crate) fn batch(&self, repo: &str, token: &str, oid: &str, size: u64) -> Value {
        let body = json!({
            "operation": "upload", "transfers": ["basic", "multipart"], "hash_algo": "sha256",
            "objects": [{ "oid": oid, "size": size }],
        });
        let response = self.post(&format!("/{repo}.git/info/lfs/objects/batch"), token, &body);
        assert_eq!(response.status(), 200);
        let value: Value = response.json().unwrap();
        value["objects"][0].clone()
    }

    /// The link to upload an object by.
    pub(crate) fn link(&self, repo: &str, oid: &str, size: u64) -> String {
        let object = self.batch(repo, ANN, oid, size);
        object["actions"]["upload"]["href"].as_str().unwrap_or_default().to_owned()
    }

    pub(crate) fn put(&self, url: &str, bytes: &[u8]) -> Response {
        self.ask("PUT", url, "").body(bytes.to_owned()).send().unwrap()
    }

    /// Uploads an object, whole.
    pub(crate) fn upload(&self, repo: &str, bytes: &[u8]) {
        let link = self.link(repo, &sha256(bytes), bytes.len() as u64);
        assert_eq!(self.put(&link, bytes).status(), 200);
    }

    /// A connection of our own, for what no decent client sends.
    pub(crate) fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.hub.address()).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        stream
    }

    /// The first line of the answer to a request sent byte by byte as it is.
    pub(crate) fn raw(&self, request: &str) -> String {
        let mut stream = self.connect();
        let mut answer = Vec::new();
        // The hub may hang up in the middle of what it need not read, while it comes or later.
        let hung_up = [ErrorKind::BrokenPipe, ErrorKind::ConnectionReset];
        if let Err(error) = stream.write_all(request.as_bytes()) {
            assert!(hung_up.contains(&error.kind()), "{error}");
        }
        if let Err(error) = stream.read_to_end(&mut answer) {
            assert!(hung_up.contains(&error.kind()), "{error}");
        }
        let answer = String::from_utf8_lossy(&answer);
        answer.lines().next().unwrap_or_default().to_owned()
    }

    /// Files below `objects/`, and what is incoming.
    pub(crate) fn files(&self) -> (usize, usize) {
        let shelves = std::fs::read_dir(self.folder().join("objects")).unwrap();
        let count = |path: &Path| std::fs::read_dir(path).unwrap().count();
        let objects = shelves.map(|shelf| count(&shelf.unwrap().path())).sum();
        (objects, count(&self.folder().join("incoming")))
    }
}
