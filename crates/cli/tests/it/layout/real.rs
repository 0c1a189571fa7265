//! A hub with the routes, redirects, pages and limits of Hugging Face's, on this machine. Large
//! files are no more than their shape.

use super::parquet::File;
use protocol::Digest;
use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{TcpListener, TcpStream},
    sync::{Arc, Mutex},
    time::Instant,
};

/// The revision of every repo.
pub(crate) const SHA: &str = "0123456789abcdef0123456789abcdef01234567";
/// Files and folders on one page of a list.
const PAGE: usize = 1_000;

/// Requests that are allowed in a window of time.
#[derive(Clone, Copy)]
pub(crate) struct Quotas {
    pub(crate) api: u64,
    pub(crate) resolvers: u64,
    pub(crate) window_seconds: u64,
}

impl Quotas {
    /// Of somebody without an account, in September 2026.
    pub(crate) const ANONYMOUS: Self = Self { api: 500, resolvers: 3_000, window_seconds: 300 };
}

/// What a file of a repo holds.
#[derive(Clone)]
pub(crate) enum Content {
    Small(Vec<u8>),
    Large(Arc<File>),
}

impl Content {
    fn size_bytes(&self) -> u64 {
        match self {
            Self::Small(bytes) => bytes.len() as u64,
            Self::Large(file) => file.shape.size_bytes,
        }
    }

    fn read(&self, first: u64, last: u64) -> Vec<u8> {
        match self {
            Self::Small(bytes) => bytes[first as usize..=last as usize].to_vec(),
            Self::Large(file) => file.read(first, last),
        }
    }
}

/// Files by path.
pub(crate) type Tree = BTreeMap<String, Content>;

/// Requests that were counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) api: u64,
    pub(crate) resolvers: u64,
    pub(crate) refused: u64,
}

/// The hub.
pub(crate) struct RealHub {
    pub(crate) url: String,
    shared: Arc<Shared>,
}

struct Shared {
    /// By kind and name, such as `datasets/owner/name`.
    repos: BTreeMap<String, Tree>,
    /// Repos whose files are for those who have agreed to something.
    gated: Vec<String>,
    quotas: Quotas,
    started: Instant,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    counts: Counts,
    /// Number of a window, and the requests in it, by their kind.
    windows: BTreeMap<&'static str, (u64, u64)>,
}

/// What is answered.
struct Reply {
    status: u16,
    headers: Vec<String>,
    body: Vec<u8>,
}

impl RealHub {
    pub(crate) fn start(repos: Vec<(&str, Tree)>, gated: &[&str], quotas: Quotas) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let shared = Arc::new(Shared {
            repos: repos.into_iter().map(|(name, tree)| (name.to_owned(), tree)).collect(),
            gated: gated.iter().map(|name| (*name).to_owned()).collect(),
            quotas,
            started: Instant::now(),
            state: Mutex::default(),
        });
        let served = Arc::clone(&shared);
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let shared = Arc::clone(&served);
                // A client that goes away is none of our business.
                std::thread::spawn(move || serve(&stream, &shared).ok());
            }
        });
        Self { url, shared }
    }

    /// What was counted since the last time that somebody asked.
    pub(crate) fn taken(&self) -> Counts {
        std::mem::take(&mut self.shared.state.lock().unwrap().counts)
    }
}

fn serve(stream: &TcpStream, shared: &Shared) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let mut reader = BufReader::new(stream);
    loop {
        let mut lines = Vec::new();
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line)? == 0 {
                return Ok(());
            }
            match line.trim_end() {
                "" => break,
                line => lines.push(line.to_owned()),
            }
        }
        let header = |name: &str| {
            lines.iter().find_map(|line| {
                let (found, value) = line.split_once(':')?;
                found.eq_ignore_ascii_case(name).then(|| value.trim().to_owned())
            })
        };
        let length = header("content-length").and_then(|length| length.parse().ok());
        let mut body = vec![0; length.unwrap_or(0)];
        reader.read_exact(&mut body)?;
        let path = lines[0].split(' ').nth(1).unwrap_or_default();
        let reply = shared.answer(path, header("range").as_deref(), &body);
        let mut text =
            format!("HTTP/1.1 {} X\r\nContent-Length: {}\r\n", reply.status, reply.body.len());
        for line in reply.headers {
            text += &format!("{line}\r\n");
        }
        let bytes = [text.as_bytes(), b"\r\n", &reply.body].concat();
        let mut writer = stream;
        writer.write_all(&bytes)?;
    }
}

fn reply(status: u16, body: impl Into<Vec<u8>>) -> Reply {
    Reply { status, headers: Vec::new(), body: body.into() }
}

fn error(status: u16, code: &str) -> Reply {
    let mut error = reply(status, json!({ "error": code }).to_string());
    error.headers.push(format!("X-Error-Code: {code}"));
    error
}

impl Shared {
    fn answer(&self, path: &str, range: Option<&str>, body: &[u8]) -> Reply {
        let (path, query) = path.split_once('?').unwrap_or((path, ""));
        let (kind, quota) = match () {
            () if path.contains("/resolve/") => ("resolvers", self.quotas.resolvers),
            () if path.starts_with("/api/") => ("api", self.quotas.api),
            // Where large files lie, nobody counts.
            () => return self.route(path, query, range, body),
        };
        let window_seconds = self.quotas.window_seconds;
        let seconds = self.started.elapsed().as_secs();
        let (is_refused, left) = {
            let mut state = self.state.lock().unwrap();
            let State { counts, windows } = &mut *state;
            let (window, n) = windows.entry(kind).or_default();
            if *window != seconds / window_seconds {
                (*window, *n) = (seconds / window_seconds, 0);
            }
            let is_refused = *n >= quota;
            *n += u64::from(!is_refused);
            match kind {
                _ if is_refused => counts.refused += 1,
                "api" => counts.api += 1,
                _ => counts.resolvers += 1,
            }
            (is_refused, quota - *n)
        };
        let mut reply = match is_refused {
            true => error(429, "TooManyRequests"),
            false => self.route(path, query, range, body),
        };
        // What whole seconds hide is the client's to mind.
        let rest = window_seconds - 1 - seconds % window_seconds;
        reply.headers.push(format!("RateLimit: \"{kind}\";r={left};t={rest}"));
        let policy = format!("\"fixed window\";\"{kind}\";q={quota};w={window_seconds}");
        reply.headers.push(format!("RateLimit-Policy: {policy}"));
        reply
    }

    fn route(&self, path: &str, query: &str, range: Option<&str>, body: &[u8]) -> Reply {
        let parts: Vec<&str> = path.trim_start_matches('/').split('/').collect();
        let (kind, owner, name, rest) = match parts.as_slice() {
            ["api", kind, owner, name, rest @ ..] => (*kind, *owner, *name, rest),
            [kind @ ("datasets" | "cdn"), owner, name, rest @ ..] => (*kind, *owner, *name, rest),
            [owner, name, rest @ ..] => ("models", *owner, *name, rest),
            _ => return error(404, "NotFound"),
        };
        if kind == "cdn" {
            // `/cdn/models/OWNER/NAME/PATH`
            let (repo, file) = (format!("{owner}/{name}/{}", rest[0]), rest[1..].join("/"));
            return ranged(&self.repos[&repo][&file], range);
        }
        let repo = format!("{kind}/{owner}/{name}");
        // Strangers are not told whether it is there.
        let Some(tree) = self.repos.get(&repo) else { return error(401, "RepoNotFound") };
        match rest {
            ["revision", "main" | SHA] => {
                reply(200, json!({ "id": repo, "sha": SHA, "gated": false }).to_string())
            }
            ["tree", SHA] => self.page(path, query, tree),
            ["paths-info", SHA] => {
                let asked: Value = serde_json::from_slice(body).unwrap();
                let asked = asked["paths"].as_array().unwrap().iter();
                let found = asked.filter_map(|path| tree.get_key_value(path.as_str()?));
                let found: Vec<Value> = found.map(|(path, content)| entry(path, content)).collect();
                reply(200, Value::from(found).to_string())
            }
            ["resolve", SHA, file @ ..] => match tree.get(&file.join("/")) {
                Some(_) if self.gated.contains(&repo) => {
                    let mut refused = error(403, "GatedRepo");
                    refused.headers.push("X-Error-Message: Access is restricted.".to_owned());
                    refused
                }
                Some(_) => {
                    let mut moved = reply(302, "");
                    let place = format!("/cdn/{repo}/{}?Signature=x", file.join("/"));
                    moved.headers.push(format!("Location: {place}"));
                    moved.headers.push(format!("X-Repo-Commit: {SHA}"));
                    moved
                }
                None => error(404, "EntryNotFound"),
            },
            _ => error(404, "RevisionNotFound"),
        }
    }

    /// A page of the list of all files, folders included.
    fn page(&self, path: &str, query: &str, tree: &Tree) -> Reply {
        assert!(query.starts_with("recursive=true&expand=false"), "{query}");
        let mut folders: Vec<&str> =
            tree.keys().filter_map(|path| Some(path.rsplit_once('/')?.0)).collect();
        folders.dedup();
        let folders = folders
            .into_iter()
            .map(|path| json!({ "type": "directory", "path": path, "size": 0, "oid": SHA }));
        let files = tree.iter().map(|(path, content)| entry(path, content));
        let first = query.rsplit_once("cursor=").map_or(0, |(_, first)| first.parse().unwrap());
        let mut rest = folders.chain(files).skip(first);
        let page: Vec<Value> = rest.by_ref().take(PAGE).collect();
        let mut reply = reply(200, Value::from(page).to_string());
        if rest.next().is_some() {
            let next = format!("{path}?recursive=true&expand=false&cursor={}", first + PAGE);
            reply.headers.push(format!("Link: <{next}>; rel=\"next\""));
        }
        reply
    }
}

/// A file as lists have it, with a digest as large ones have.
fn entry(path: &str, content: &Content) -> Value {
    let oid = match content {
        Content::Small(bytes) => Digest::of(bytes),
        // Nobody reads all of it.
        Content::Large(_) => Digest::of(path.as_bytes()),
    };
    let size = content.size_bytes();
    json!({
        "type": "file", "path": path, "size": size, "oid": "0".repeat(40),
        "lfs": { "oid": oid.hex(), "size": size, "pointerSize": 134 },
        "xetHash": "0".repeat(64),
    })
}

/// A part of a file, or all of it.
fn ranged(content: &Content, range: Option<&str>) -> Reply {
    let size_bytes = content.size_bytes();
    let Some(range) = range.and_then(|range| range.strip_prefix("bytes=")) else {
        return reply(200, content.read(0, size_bytes - 1));
    };
    let (first, last) = range.split_once('-').unwrap();
    let first: u64 = first.parse().unwrap();
    let last = last.parse().map_or(size_bytes - 1, |last: u64| last.min(size_bytes - 1));
    let mut part = reply(206, content.read(first, last));
    part.headers.push(format!("Content-Range: bytes {first}-{last}/{size_bytes}"));
    part
}
