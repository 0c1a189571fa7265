//! Commits: one JSON value a line, small files inside.

use super::{Answer, Asked, Hub, Kind, Path, RevisionPath, Shared, blocking, json, names};
use crate::dev::{
    database::{Change, Entry, NewCommit, Object, Repo, Rules},
    objects::Git,
    pace::Paced,
    patterns::{self, Patterns},
    refusal::Refusal,
};
use axum::{body::Body, extract::State};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::Deserialize;
use serde_json::json;
use std::{
    borrow::Cow,
    collections::BTreeMap,
    fs,
    sync::{Arc, atomic::Ordering},
};
use tokio::time::timeout;

/// Bytes of a line besides the file in it.
const LINE_BYTES: u64 = 64 << 10;
/// Most characters of the first line of a commit's message.
const TITLE_CHARS_MAX: usize = 1_000;
/// Characters of base64 that are decoded at a time; a multiple of four.
const CHUNK_CHARS: usize = 1 << 18;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Candidates {
    files: Vec<Candidate>,
    /// The text of the client's `.gitignore`; that of the repo counts where it sends none.
    git_ignore: Option<String>,
}

#[derive(Deserialize)]
struct Candidate {
    path: String,
    size: u64,
}

/// Tells the client how to send each file, which not to send, and what is there already.
pub(super) async fn preupload(
    State(hub): Shared,
    Path { 0: (kind, owner, name, revision) }: RevisionPath,
    asked: Asked,
    body: Body,
) -> Answer {
    let kind = Kind::of_plural(&kind)?;
    let candidates: Candidates = asked.json(&hub, body).await?;
    let found = blocking(&hub, move |hub| {
        let repo = asked.own_repo(hub, kind, &owner, &name)?;
        let commit = hub.database.resolve(&repo, &revision)?;
        let tree = hub.database.tree(&commit)?;
        let ignored = match candidates.git_ignore {
            Some(text) => Some(Patterns::ignored(&text)?),
            None => kept_text(hub, &tree, patterns::IGNORE)?
                .map(|text| Patterns::ignored(&text))
                .transpose()?,
        };
        let large = Patterns::large(kept_text(hub, &tree, patterns::ATTRIBUTES)?.as_deref())?;
        let mut files = Vec::new();
        for Candidate { path, size } in candidates.files {
            names::check_path(&path)?;
            let is_inline = size <= hub.limits.inline_bytes_max && !large.has_file(&path);
            let is_ignored = ignored.as_ref().is_some_and(|ignored| ignored.has_path(&path));
            let there = tree.get(&path).map(|entry| &entry.object);
            let oid = there.map(|object| if is_inline { &object.git } else { &object.sha256 });
            let mut file = json!({
                "path": path, "uploadMode": if is_inline { "regular" } else { "lfs" },
                "shouldIgnore": is_ignored,
            });
            if let (Some(oid), Some(file)) = (oid, file.as_object_mut()) {
                file.insert("oid".to_owned(), json!(oid));
            }
            files.push(file);
        }
        Ok(json!({ "files": files, "commitOid": commit.id }))
    })
    .await?;
    Ok(json(&found))
}

/// The text of a file of a revision that steers uploads; `None` where it has none that is read.
fn kept_text(
    hub: &Hub,
    tree: &BTreeMap<String, Entry>,
    name: &str,
) -> Result<Option<String>, Refusal> {
    let entry = tree.get(name).filter(|entry| entry.object.size_bytes <= patterns::BYTES_MAX);
    let Some(entry) = entry else { return Ok(None) };
    let bytes = fs::read(hub.objects.path(&entry.object.sha256))?;
    Ok(Some(String::from_utf8_lossy(&bytes).into_owned()))
}

/// A line of a commit.
#[derive(Deserialize)]
#[serde(tag = "key", content = "value", rename_all = "camelCase")]
enum Line<'a> {
    #[serde(rename_all = "camelCase")]
    Header {
        #[serde(default)]
        summary: String,
        description: Option<String>,
        parent_commit: Option<String>,
    },
    File {
        path: String,
        #[serde(borrow)]
        content: Cow<'a, str>,
        encoding: Option<String>,
    },
    LfsFile {
        path: String,
        algo: Option<String>,
        oid: String,
        /// Copies and moves leave it out.
        size: Option<u64>,
    },
    #[serde(rename_all = "camelCase")]
    CopyFile {
        path: String,
        src_path: String,
        src_revision: Option<String>,
    },
    DeletedFile {
        path: String,
    },
    DeletedFolder {
        path: String,
    },
}

pub(super) async fn commit(
    State(hub): Shared,
    Path { 0: (kind, owner, name, revision) }: RevisionPath,
    asked: Asked,
    body: Body,
) -> Answer {
    let kind = Kind::of_plural(&kind)?;
    if asked.query.is_on("create_pr") {
        return Err(Refusal::bad("this hub has no pull requests: commit to a branch"));
    }
    let caller = asked.caller.clone();
    let base = asked.base.clone();
    let repo = blocking(&hub, move |hub| asked.own_repo(hub, kind, &owner, &name)).await?;
    let _place = hub.uploads.reserve(&hub, &repo.owner, 0).await?;
    // Each commit may hold a large line in memory, so only so many are read at a time.
    let permit = timeout(hub.limits.patience, hub.commit_permits.acquire()).await;
    let permit = permit.map_err(|_| Refusal::busy(5))?.map_err(|_| Refusal::broken())?;
    let mut new = read(&hub, &repo, body).await?;
    drop(permit);
    new.author.clone_from(&caller.account()?.name);
    let rules = Rules {
        files_max: hub.limits.files_max,
        bytes_max: hub.limits.bytes_per_owner_max,
        owners: caller.owners(),
    };
    let url = format!("{base}/{}{}", kind.prefix(), repo.full_name());
    let made = blocking(&hub, move |hub| {
        let made = hub.database.commit(&repo, &revision, &new, &rules)?;
        hub.counters.commits.fetch_add(1, Ordering::Relaxed);
        Ok(made)
    })
    .await?;
    Ok(json(&json!({
        "success": true, "commitOid": made.id, "commitUrl": format!("{url}/commit/{}", made.id),
        "hookOutput": "",
    })))
}

/// Reads a commit line by line; files go to disk before the next line comes.
async fn read(hub: &Arc<Hub>, repo: &Repo, body: Body) -> Result<NewCommit, Refusal> {
    let limits = &hub.limits;
    let line_max = (limits.inline_bytes_max / 3 * 4).saturating_add(LINE_BYTES);
    let line_max = usize::try_from(line_max).unwrap_or(usize::MAX);
    let mut body = Paced::new(body, limits, limits.commit_bytes_max);
    let mut reader = Reader { hub, repo, new: NewCommit::default(), n_lines: 0 };
    let mut line = Vec::new();
    while let Some(bytes) = body.next().await? {
        let mut pieces = bytes.split(|byte| *byte == b'\n').peekable();
        while let Some(piece) = pieces.next() {
            if line.len().saturating_add(piece.len()) > line_max {
                return Err(Refusal::too_large(format!(
                    "a file inside a commit may have {} bytes",
                    limits.inline_bytes_max
                )));
            }
            line.extend_from_slice(piece);
            if pieces.peek().is_some() {
                reader.take(std::mem::take(&mut line)).await?;
            }
        }
    }
    reader.take(line).await?;
    if reader.n_lines == 0 {
        return Err(Refusal::bad("a commit begins with a header"));
    }
    Ok(reader.new)
}

struct Reader<'a> {
    hub: &'a Arc<Hub>,
    repo: &'a Repo,
    new: NewCommit,
    n_lines: usize,
}

impl Reader<'_> {
    async fn take(&mut self, line: Vec<u8>) -> Result<(), Refusal> {
        if line.iter().all(u8::is_ascii_whitespace) {
            return Ok(());
        }
        self.n_lines += 1;
        // Each file may be there and be deleted, and there is the header.
        if self.n_lines > self.hub.limits.files_max.saturating_mul(2).saturating_add(1) {
            return Err(Refusal::too_large("the commit has too many lines"));
        }
        let (number, repo) = (self.n_lines, self.repo.clone());
        let taken = blocking(self.hub, move |hub| {
            understand(hub, &repo, &line, number == 1).map_err(|refusal| refusal.in_line(number))
        });
        match taken.await? {
            Taken::Header(header) => self.new = header,
            Taken::Change(change) => self.new.changes.push(change),
        }
        Ok(())
    }
}

enum Taken {
    Header(NewCommit),
    Change(Change),
}

fn understand(hub: &Hub, repo: &Repo, line: &[u8], is_first: bool) -> Result<Taken, Refusal> {
    let wrong = |error: serde_json::Error| {
        Refusal::bad(format!("it is not understood: {}", names::shown(&error.to_string())))
    };
    let line: Line<'_> = serde_json::from_slice(line).map_err(wrong)?;
    if matches!(line, Line::Header { .. }) != is_first {
        return Err(Refusal::bad("a commit begins with its only header"));
    }
    let change = match line {
        Line::Header { summary, description, parent_commit } => {
            let (title, message) = (summary, description.unwrap_or_default());
            if title.chars().count() > TITLE_CHARS_MAX || message.len() as u64 > LINE_BYTES {
                return Err(Refusal::too_large("the message of the commit is too long"));
            }
            let parent = parent_commit.filter(|parent| !parent.is_empty());
            let header = NewCommit { title, message, parent, ..NewCommit::default() };
            return Ok(Taken::Header(header));
        }
        Line::File { path, content, encoding } => {
            names::check_path(&path)?;
            let is_base64 = encoding.as_deref().is_none_or(|name| name == "base64");
            if !is_base64 {
                let path = names::shown(&path);
                return Err(Refusal::bad(format!("`{path}`: files inside a commit are in base64")));
            }
            let object = keep(hub, repo, &content).map_err(|refusal| refusal.about(&path))?;
            Change::Put { object, path }
        }
        Line::LfsFile { path, algo, oid, size } => {
            names::check_path(&path)?;
            if algo.is_some_and(|algo| algo != "sha256") || !is_sha256(&oid) {
                let path = names::shown(&path);
                return Err(Refusal::bad(format!("`{path}`: files are named by their SHA-256")));
            }
            Change::Link { path, sha256: oid, size_bytes: size }
        }
        Line::CopyFile { path, src_path, src_revision } => {
            names::check_path(&path)?;
            Change::Copy { from: src_path, revision: src_revision, path }
        }
        Line::DeletedFile { path } => Change::DeleteFile { path },
        Line::DeletedFolder { path } => Change::DeleteFolder { path },
    };
    Ok(Taken::Change(change))
}

/// Whether a text is the name of an object.
pub(super) fn is_sha256(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|c| c.is_ascii_digit() || (b'a'..=b'f').contains(&c))
}

/// Puts a file that came inside a commit on disk.
fn keep(hub: &Hub, repo: &Repo, content: &str) -> Result<Object, Refusal> {
    let wrong = || Refusal::bad("a file inside the commit is no base64");
    let padding = content.bytes().rev().take(2).take_while(|byte| *byte == b'=').count();
    let size_bytes = (content.len() / 4 * 3).checked_sub(padding).ok_or_else(wrong)?;
    let size_bytes = size_bytes as u64;
    if size_bytes > hub.limits.inline_bytes_max {
        let max = hub.limits.inline_bytes_max;
        return Err(Refusal::too_large(format!("a file inside a commit may have {max} bytes")));
    }
    hub.check_room(size_bytes)?;
    let mut incoming = hub.objects.receive(size_bytes, Git::Blob)?;
    for chunk in content.as_bytes().chunks(CHUNK_CHARS) {
        let bytes = STANDARD.decode(chunk).map_err(|_| wrong())?;
        incoming.write(&bytes).map_err(|error| match error.kind() {
            std::io::ErrorKind::InvalidData => wrong(),
            _ => error.into(),
        })?;
    }
    let received = incoming.finish().map_err(|error| match error.kind() {
        std::io::ErrorKind::UnexpectedEof => wrong(),
        _ => error.into(),
    })?;
    hub.counters.received_bytes.fetch_add(size_bytes, Ordering::Relaxed);
    hub.database.admit(&hub.objects, repo, received, hub.limits.bytes_per_owner_max)
}
