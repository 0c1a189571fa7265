//! A hub of the real one's shapes: its storage and its CDNs are other hosts, its repos are made for
//! Xet, and each answer says what its limits leave.
//!
//! The tests of the command line take this file in as well, so it knows nothing of the client.

use super::world::{Asked, Reply, TestClock, World};
use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use protocol::{Digest, Revision};
use serde_json::{Value, json};
use sha1::{Digest as _, Sha1};
use std::{
    collections::BTreeMap,
    fmt::Write as _,
    sync::{Arc, Mutex},
};

pub(super) const HUB: &str = "huggingface.co";
pub(super) const S3: &str = "hf-hub-lfs-us-east-1.s3-accelerate.amazonaws.com";
const CDNS: [&str; 2] = ["us.aws.cdn.hf.co", "us.gcp.cdn.hf.co"];
/// Who uploads.
pub(super) const TOKEN: &str = "hf_secret";
/// Bytes of a part; larger files go in parts.
pub(super) const PART_BYTES: usize = 100_000;
/// Seconds of a window in which requests are counted.
pub(super) const WINDOW: u64 = 300;
/// Seconds of the first window that are over at the start.
const BEGUN: u64 = 17;

/// How many requests of a kind there may be in a window.
#[derive(Clone, Copy)]
pub(super) struct Quotas {
    pub(super) api: u64,
    pub(super) resolvers: u64,
    pub(super) pages: u64,
}

impl Quotas {
    /// Of somebody without an account, in September 2026.
    pub(super) const ANONYMOUS: Self = Self { api: 500, resolvers: 3_000, pages: 100 };
}

/// What comes before the hub's own answer to a request, by how many such requests there were.
pub(super) type Trouble = Box<dyn Fn(&Asked) -> Option<Option<Reply>> + Send + Sync>;

/// Whether the answer to a request gets lost, after the hub has done what was asked.
pub(super) type Loss = Box<dyn Fn(&Asked) -> bool + Send + Sync>;

/// The hub, and all its hosts.
pub(super) struct RealHub {
    pub(super) world: World,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    repos: BTreeMap<String, RepoState>,
    /// Large files, by digest.
    stored: BTreeMap<String, Vec<u8>>,
    /// Parts that came, by digest and number.
    parts: BTreeMap<(String, usize), Vec<u8>>,
    /// Requests of a kind in a window, by who asked.
    counts: BTreeMap<(String, &'static str), (u64, u64)>,
    n_refused: usize,
    n_resolved: usize,
    /// What the token of [`TOKEN`] may do, as the hub tells it.
    role: Option<Value>,
}

#[derive(Default)]
struct RepoState {
    is_private: bool,
    /// The files of each revision, large ones by digest alone.
    revisions: Vec<(String, BTreeMap<String, Stored>)>,
}

#[derive(Clone)]
enum Stored {
    Small(Vec<u8>),
    Large(String),
}

impl RealHub {
    pub(super) fn start(quotas: Quotas) -> Self {
        Self::in_trouble(quotas, Box::new(|_| None))
    }

    /// A hub where `trouble` answers first; `Some(None)` of it breaks the connection.
    pub(super) fn in_trouble(quotas: Quotas, trouble: Trouble) -> Self {
        Self::start_with(quotas, trouble, Box::new(|_| false))
    }

    /// A hub that does what is asked, and whose answer to some requests never arrives.
    pub(super) fn losing(quotas: Quotas, is_lost: Loss) -> Self {
        Self::start_with(quotas, Box::new(|_| None), is_lost)
    }

    fn start_with(quotas: Quotas, trouble: Trouble, is_lost: Loss) -> Self {
        let (state, clock) = (Arc::new(Mutex::new(State::default())), TestClock::new());
        let (held, time) = (Arc::clone(&state), clock.clone());
        let world = World::start(clock, move |asked| {
            if let Some(reply) = trouble(asked) {
                return reply;
            }
            let reply = held.lock().unwrap().answer(asked, (quotas, &time));
            (!is_lost(asked)).then_some(reply)
        });
        Self { world, state }
    }

    /// Has the hub tell that the token may do this, in the words of `whoami-v2`.
    pub(super) fn set_role(&self, access_token: Value) {
        self.state.lock().unwrap().role = Some(access_token);
    }

    /// Puts a public model there, as if somebody had uploaded it; gives its revision.
    pub(super) fn put(&self, repo: &str, files: &[(&str, &[u8])]) -> Revision {
        let mut state = self.state.lock().unwrap();
        let mut tree = BTreeMap::new();
        for (path, bytes) in files {
            let stored = match path.ends_with(".safetensors") {
                true => Stored::Large(state.store(bytes.to_vec())),
                false => Stored::Small(bytes.to_vec()),
            };
            tree.insert((*path).to_owned(), stored);
        }
        let sha = revision_of(repo, 1);
        let revisions = vec![(sha.clone(), tree)];
        state.repos.insert(repo.to_owned(), RepoState { is_private: false, revisions });
        sha.parse().unwrap()
    }

    /// Requests that were refused because there were too many.
    pub(super) fn n_refused(&self) -> usize {
        self.state.lock().unwrap().n_refused
    }
}

fn revision_of(repo: &str, number: usize) -> String {
    Digest::of(format!("{repo} {number}").as_bytes()).hex()[..40].to_owned()
}

fn error(status: u16, code: &str) -> Reply {
    Reply::of(status, json!({ "error": code }).to_string()).with("x-error-code", code)
}

impl State {
    fn store(&mut self, bytes: Vec<u8>) -> String {
        let oid = Digest::of(&bytes).hex();
        self.stored.insert(oid.clone(), bytes);
        oid
    }

    fn answer(&mut self, asked: &Asked, (quotas, clock): (Quotas, &TestClock)) -> Reply {
        match &*asked.host {
            HUB => self.counted(asked, (quotas, clock)),
            S3 => self.store_part(asked),
            host if CDNS.contains(&host) => self.serve(asked),
            host => panic!("nobody is to be sent to {host}"),
        }
    }

    /// Answers within the limits, and says what is left of them.
    fn counted(&mut self, asked: &Asked, (quotas, clock): (Quotas, &TestClock)) -> Reply {
        let path = &asked.path;
        let (kind, quota) = match () {
            // Small files are handed on inside the hub: the worst case is that both count.
            () if path.contains("/resolve/") || path.starts_with("/api/resolve-cache/") => {
                ("resolvers", quotas.resolvers)
            }
            () if path.starts_with("/api/") => ("api", quotas.api),
            () => ("pages", quotas.pages),
        };
        let seconds = BEGUN + clock.passed().as_secs();
        let who = asked.header("authorization").unwrap_or_default().to_owned();
        let (window, n) = self.counts.entry((who, kind)).or_default();
        if *window != seconds / WINDOW {
            (*window, *n) = (seconds / WINDOW, 0);
        }
        let is_refused = *n >= quota;
        *n += u64::from(!is_refused);
        let left = quota - *n;
        let reply = if is_refused {
            self.n_refused += 1;
            error(429, "TooManyRequests")
        } else {
            self.route(asked)
        };
        // What whole seconds hide is the client's to mind.
        let rest = WINDOW - 1 - seconds % WINDOW;
        reply
            .with("RateLimit", format!("\"{kind}\";r={left};t={rest}"))
            .with("RateLimit-Policy", format!("\"fixed window\";\"{kind}\";q={quota};w={WINDOW}"))
    }

    fn route(&mut self, asked: &Asked) -> Reply {
        let is_ours = asked.header("authorization") == Some(&format!("Bearer {TOKEN}"));
        let path = asked.path.split('?').next().unwrap();
        let parts: Vec<&str> = path.trim_start_matches('/').split('/').collect();
        match (asked.method.as_str(), parts.as_slice()) {
            ("GET", ["api", "whoami-v2"]) if is_ours => {
                let mut user = json!({ "type": "user", "name": "ann" });
                if let Some(role) = &self.role {
                    user["auth"] = json!({ "type": "access_token", "accessToken": role });
                }
                Reply::json(&user)
            }
            ("POST", ["api", "repos", "create"]) if is_ours => self.create(&asked.json()),
            ("POST", ["api", "complete_multipart"]) => self.complete(&asked.json()),
            (_, ["api", "models", owner, name, rest @ ..]) => {
                let repo = format!("{owner}/{name}");
                match self.repos.get(&repo) {
                    Some(found) if !found.is_private || is_ours => self.api(asked, &repo, rest),
                    // Strangers are not told whether it is there.
                    _ if !is_ours => error(401, "RepoNotFound"),
                    _ => error(404, "RepoNotFound"),
                }
            }
            ("GET", ["api", "resolve-cache", "models", owner, name, sha, file]) => {
                match self.stored_at(&format!("{owner}/{name}"), sha, file) {
                    Some(Stored::Small(bytes)) => Reply::of(200, bytes),
                    _ => error(404, "EntryNotFound"),
                }
            }
            ("GET", [owner, name, "resolve", sha, file]) => {
                self.resolve(&format!("{owner}/{name}"), sha, file)
            }
            ("POST", [_, _, "info", "lfs", "objects", "batch"]) if is_ours => {
                self.batch(&asked.json())
            }
            ("POST", [_, _, "info", "lfs", "objects", "verify"]) if is_ours => {
                let object: Value = asked.json();
                let stored = self.stored.get(object["oid"].as_str().unwrap());
                match stored.map(Vec::len) {
                    Some(size) if object["size"] == size => Reply::json(&json!({})),
                    _ => error(404, "EntryNotFound"),
                }
            }
            (method, _) => panic!("the hub knows no {method} {path}"),
        }
    }

    fn create(&mut self, asked: &Value) -> Reply {
        let repo = format!(
            "{}/{}",
            asked["organization"].as_str().unwrap(),
            asked["name"].as_str().unwrap()
        );
        if self.repos.contains_key(&repo) {
            return error(409, "Conflict");
        }
        // A new repo has a first commit.
        let attributes = Stored::Small(b"*.safetensors filter=lfs\n".to_vec());
        let tree = BTreeMap::from([(".gitattributes".to_owned(), attributes)]);
        let revisions = vec![(revision_of(&repo, 0), tree)];
        let is_private = asked["private"] == true;
        self.repos.insert(repo.clone(), RepoState { is_private, revisions });
        Reply::json(&json!({ "url": format!("https://{HUB}/{repo}"), "name": repo }))
    }

    fn api(&mut self, asked: &Asked, repo: &str, rest: &[&str]) -> Reply {
        let found = self.repos.get_mut(repo).unwrap();
        let (head, tree) = found.revisions.last().unwrap();
        match rest {
            [] => Reply::json(&json!({ "id": repo, "private": found.is_private, "sha": head })),
            ["settings"] => {
                found.is_private = asked.json::<Value>()["private"] == true;
                Reply::json(&json!({ "private": found.is_private }))
            }
            ["revision", name] if *name == "main" || name == head => {
                Reply::json(&json!({ "id": repo, "sha": head, "xetEnabled": true }))
            }
            ["tree", sha] if sha == head => {
                let entries: Vec<Value> =
                    tree.iter().map(|(path, stored)| entry(path, stored, &self.stored)).collect();
                Reply::json(&entries.into())
            }
            ["preupload", "main"] => Reply::json(&preupload(&asked.json())),
            ["commit", "main"] => self.commit(asked, repo),
            _ => error(404, "RevisionNotFound"),
        }
    }

    fn stored_at(&self, repo: &str, sha: &str, file: &str) -> Option<Stored> {
        let revisions = &self.repos.get(repo)?.revisions;
        revisions.iter().find(|(found, _)| found == sha)?.1.get(file).cloned()
    }

    /// Small files are handed on inside the hub, large ones to one of its CDNs.
    fn resolve(&mut self, repo: &str, sha: &str, file: &str) -> Reply {
        self.n_resolved += 1;
        let cdn = CDNS[self.n_resolved % 2];
        match self.stored_at(repo, sha, file) {
            None => error(404, "EntryNotFound"),
            Some(Stored::Small(_)) => {
                Reply::to(307, &format!("/api/resolve-cache/models/{repo}/{sha}/{file}?%2Fa=b"))
            }
            Some(Stored::Large(oid)) => {
                let link =
                    format!("https://{cdn}/xet-bridge-us/{repo}/{oid}?Expires=1&Signature=x");
                Reply::to(302, &link)
                    .with("x-repo-commit", sha)
                    .with("x-linked-etag", format!("\"{oid}\""))
                    .with("x-xet-hash", "0".repeat(64))
            }
        }
    }

    /// Bytes of a file from a CDN.
    fn serve(&self, asked: &Asked) -> Reply {
        let path = asked.path.split('?').next().unwrap();
        let Some(bytes) = self.stored.get(path.rsplit('/').next().unwrap()) else {
            return Reply::of(404, "");
        };
        let Some(range) = asked.header("range").and_then(|range| range.strip_prefix("bytes="))
        else {
            return Reply::of(200, bytes.clone());
        };
        let (first, last) = range.split_once('-').unwrap();
        let first: usize = first.parse().unwrap();
        let last = last.parse().map_or(bytes.len() - 1, |last: usize| last.min(bytes.len() - 1));
        let range = format!("bytes {first}-{last}/{}", bytes.len());
        Reply::of(206, &bytes[first..=last]).with("content-range", range)
    }

    fn batch(&self, asked: &Value) -> Reply {
        assert_eq!(asked["transfers"], json!(["basic", "multipart"]));
        let objects: Vec<Value> = asked["objects"]
            .as_array()
            .unwrap()
            .iter()
            .map(|object| {
                let (oid, size) =
                    (object["oid"].as_str().unwrap(), object["size"].as_u64().unwrap());
                let mut answer = json!({ "oid": oid, "size": size, "authenticated": true });
                if self.stored.contains_key(oid) {
                    return answer;
                }
                let signed = "X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Signature=x";
                let link = format!("https://{S3}/repos/ab/cd/{oid}?{signed}");
                let verify =
                    json!({ "href": format!("https://{HUB}/ann/m.git/info/lfs/objects/verify") });
                let upload = if size as usize <= PART_BYTES {
                    json!({ "href": link, "header": { "x-amz-storage-class": "INTELLIGENT" } })
                } else {
                    let mut header = json!({ "chunk_size": PART_BYTES.to_string() });
                    for number in 1..=(size as usize).div_ceil(PART_BYTES) {
                        let part = format!("{link}&partNumber={number}&uploadId=u");
                        header[format!("{number:05}")] = part.into();
                    }
                    let complete =
                        format!("https://{HUB}/api/complete_multipart?uploadId=u&oid={oid}");
                    json!({ "href": complete, "header": header })
                };
                answer["actions"] = json!({ "upload": upload, "verify": verify });
                answer
            })
            .collect();
        Reply::json(&json!({ "transfer": "basic", "objects": objects }))
    }

    /// Takes a file or a part of one, as S3 does: nobody needs to say who he is.
    fn store_part(&mut self, asked: &Asked) -> Reply {
        assert_eq!(asked.method, "PUT");
        let (path, query) = asked.path.split_once('?').unwrap();
        let oid = path.rsplit('/').next().unwrap().to_owned();
        let number = query.split('&').find_map(|field| field.strip_prefix("partNumber="));
        match number {
            Some(number) => {
                self.parts.insert((oid, number.parse().unwrap()), asked.body.clone());
            }
            None => {
                assert_eq!(asked.header("x-amz-storage-class"), Some("INTELLIGENT"));
                assert_eq!(self.store(asked.body.clone()), oid);
            }
        }
        Reply::of(200, "").with("etag", etag(&asked.body))
    }

    fn complete(&mut self, asked: &Value) -> Reply {
        let oid = asked["oid"].as_str().unwrap();
        let mut whole = Vec::new();
        for (number, part) in (1..).zip(asked["parts"].as_array().unwrap()) {
            // What was put together is no upload any more.
            let Some(bytes) = self.parts.remove(&(oid.to_owned(), number)) else {
                return error(404, "NoSuchUpload");
            };
            let told = (&part["partNumber"], &part["etag"]);
            assert_eq!(told, (&json!(number), &json!(etag(&bytes))));
            whole.extend(bytes);
        }
        assert_eq!(self.store(whole), oid);
        Reply::json(&json!({ "success": true }))
    }

    fn commit(&mut self, asked: &Asked, repo: &str) -> Reply {
        let found = self.repos.get_mut(repo).unwrap();
        let (head, mut tree) = found.revisions.last().unwrap().clone();
        for line in asked.body.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            let line: Value = serde_json::from_slice(line).unwrap();
            let value = &line["value"];
            let path = || value["path"].as_str().unwrap().to_owned();
            match line["key"].as_str().unwrap() {
                "header" if value["parentCommit"] != *head => return error(412, "Precondition"),
                "header" => {}
                "file" => {
                    let content = BASE64.decode(value["content"].as_str().unwrap()).unwrap();
                    tree.insert(path(), Stored::Small(content));
                }
                "lfsFile" => {
                    let oid = value["oid"].as_str().unwrap().to_owned();
                    assert!(self.stored.contains_key(&oid), "a commit of what is not there");
                    tree.insert(path(), Stored::Large(oid));
                }
                key => panic!("nobody is to send {key}"),
            }
        }
        let sha = revision_of(repo, found.revisions.len());
        found.revisions.push((sha.clone(), tree));
        Reply::json(&json!({ "success": true, "commitOid": sha, "hookOutput": "" }))
    }
}

fn etag(bytes: &[u8]) -> String {
    format!("\"{}\"", &Digest::of(bytes).hex()[..32])
}

fn entry(path: &str, stored: &Stored, large: &BTreeMap<String, Vec<u8>>) -> Value {
    match stored {
        Stored::Small(bytes) => {
            let git = Sha1::new().chain_update(format!("blob {}\0", bytes.len()));
            let git =
                git.chain_update(bytes).finalize().iter().fold(String::new(), |mut hex, b| {
                    write!(hex, "{b:02x}").unwrap();
                    hex
                });
            json!({ "type": "file", "path": path, "size": bytes.len(), "oid": git })
        }
        Stored::Large(oid) => {
            let size = large[oid].len();
            json!({
                "type": "file", "path": path, "size": size, "oid": "0".repeat(40),
                "lfs": { "oid": oid, "size": size, "pointerSize": 134 },
                "xetHash": "0".repeat(64),
            })
        }
    }
}

/// Which files are large; empty ones never are, whatever a client makes of it.
fn preupload(asked: &Value) -> Value {
    let files = asked["files"].as_array().unwrap().iter().map(|file| {
        let is_large = file["path"].as_str().unwrap().ends_with(".safetensors");
        let mode = if is_large { "lfs" } else { "regular" };
        json!({ "path": file["path"], "uploadMode": mode, "shouldIgnore": false, "oid": null })
    });
    json!({ "files": files.collect::<Vec<_>>(), "commitOid": "0".repeat(40) })
}
