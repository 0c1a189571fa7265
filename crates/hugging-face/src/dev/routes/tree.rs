//! Listing the files of a revision.

use super::{
    Answer, Asked, Hub, Kind, Pairs, Path, Refusal, RevisionPath, Shared, blocking, clock, json,
    names,
};
use crate::dev::{
    database::{Commit, Entry},
    objects::pointer,
};
use axum::{body::Body, extract::State, http::header, response::IntoResponse as _};
use protocol::Digest;
use serde::Deserialize;
use serde_json::{Value, json};
use std::{collections::BTreeMap, sync::Arc};

/// Most rows of a page.
const PAGE_MAX: usize = 1_000;
/// Most paths that one request may ask about.
const PATHS_MAX: usize = 1_000;

/// A file, or a folder with the number of its newest commit.
enum Row {
    File(Entry),
    Folder { path: String, changed: i64 },
}

impl Row {
    fn path(&self) -> &str {
        match self {
            Self::File(entry) => &entry.path,
            Self::Folder { path, .. } => path,
        }
    }

    fn changed(&self) -> i64 {
        match self {
            Self::File(entry) => entry.changed,
            Self::Folder { changed, .. } => *changed,
        }
    }

    fn value(&self, commits: Option<&BTreeMap<i64, Commit>>) -> Value {
        let mut value = match self {
            Self::File(entry) => file(entry),
            Self::Folder { path, .. } => {
                let digest = Digest::of_fields("agon hub folder", &[path.as_bytes()]);
                let oid: String = digest.hex().chars().take(40).collect();
                json!({ "type": "directory", "oid": oid, "size": 0, "path": path })
            }
        };
        let commit = commits.and_then(|commits| commits.get(&self.changed()));
        if let (Some(commit), Some(object)) = (commit, value.as_object_mut()) {
            let last = json!({
                "id": commit.id, "title": commit.title, "date": clock::date(commit.time),
            });
            object.insert("lastCommit".to_owned(), last);
        }
        value
    }
}

/// A file as lists show it; `sha256` is there for every file, beside what clients know.
fn file(entry: &Entry) -> Value {
    let object = &entry.object;
    if !entry.is_large {
        return json!({
            "type": "file", "oid": object.git, "size": object.size_bytes, "path": entry.path,
            "sha256": object.sha256,
        });
    }
    let (git, pointer_size) = pointer(&object.sha256, object.size_bytes);
    json!({
        "type": "file", "oid": git, "size": object.size_bytes, "path": entry.path,
        "sha256": object.sha256,
        "lfs": { "oid": object.sha256, "size": object.size_bytes, "pointerSize": pointer_size },
    })
}

/// The rows below `folder`, in the order of their paths.
fn rows(tree: BTreeMap<String, Entry>, folder: &str, is_recursive: bool) -> Vec<Row> {
    let prefix = if folder.is_empty() { String::new() } else { format!("{folder}/") };
    let mut rows = BTreeMap::new();
    for (path, entry) in tree {
        let Some(rest) = path.strip_prefix(&prefix) else { continue };
        let depth = if is_recursive { usize::MAX } else { 1 };
        for (at, _) in rest.match_indices('/').take(depth) {
            let folder = path.split_at(prefix.len() + at).0;
            let row = rows
                .entry(folder.to_owned())
                .or_insert_with(|| Row::Folder { path: folder.to_owned(), changed: 0 });
            if let Row::Folder { changed, .. } = row {
                *changed = entry.changed.max(*changed);
            }
        }
        if is_recursive || !rest.contains('/') {
            rows.insert(path.clone(), Row::File(entry));
        }
    }
    rows.into_values().collect()
}

pub(super) async fn top(
    State(hub): Shared,
    Path { 0: (kind, owner, name, revision) }: RevisionPath,
    asked: Asked,
) -> Answer {
    list(&hub, asked, kind, (owner, name, revision), String::new()).await
}

pub(super) async fn below(
    State(hub): Shared,
    Path { 0: (kind, owner, name, revision, path) }: Path<(String, String, String, String, String)>,
    asked: Asked,
) -> Answer {
    let path = path.trim_end_matches('/').to_owned();
    names::check_path(&path)?;
    list(&hub, asked, kind, (owner, name, revision), path).await
}

async fn list(
    hub: &Arc<Hub>,
    asked: Asked,
    kind: String,
    (owner, name, revision): (String, String, String),
    folder: String,
) -> Answer {
    let kind = Kind::of_plural(&kind)?;
    let limit = asked.query.limit(PAGE_MAX)?;
    let (values, next) = blocking(hub, move |hub| {
        let repo = asked.repo(hub, kind, &owner, &name)?;
        let commit = hub.database.resolve(&repo, &revision)?;
        let all = rows(hub.database.tree(&commit)?, &folder, asked.query.is_on("recursive"));
        if all.is_empty() && !folder.is_empty() {
            return Err(Refusal::no_entry(&folder));
        }
        let after = asked.query.get("cursor").unwrap_or_default();
        let mut page: Vec<Row> = all.into_iter().filter(|row| row.path() > after).collect();
        let has_more = page.len() > limit;
        page.truncate(limit);
        let next = page.last().filter(|_| has_more).map(|row| asked.next_page(row.path()));
        Ok((values(hub, &page, asked.query.is_on("expand"))?, next))
    })
    .await?;
    let answer = json(&values);
    Ok(match next {
        Some(next) => ([next], answer).into_response(),
        None => answer,
    })
}

fn values(hub: &Hub, rows: &[Row], is_expanded: bool) -> Result<Value, Refusal> {
    let commits = if is_expanded {
        let numbers: Vec<i64> = rows.iter().map(Row::changed).collect();
        Some(hub.database.commits_by_number(&numbers)?)
    } else {
        None
    };
    Ok(Value::Array(rows.iter().map(|row| row.value(commits.as_ref())).collect()))
}

#[derive(Deserialize)]
struct Paths {
    #[serde(default)]
    paths: Vec<String>,
    #[serde(default)]
    expand: bool,
}

/// The body is JSON, or a form as Python's client sends it.
fn asked_paths(is_form: bool, bytes: &[u8]) -> Result<Paths, Refusal> {
    let wrong = || Refusal::bad("the body names no paths");
    let asked = if is_form {
        let pairs = Pairs::parse(str::from_utf8(bytes).map_err(|_| wrong())?)?;
        let paths = pairs.all("paths").map(str::to_owned).collect();
        Paths { paths, expand: pairs.is_on("expand") }
    } else {
        serde_json::from_slice(bytes).map_err(|_| wrong())?
    };
    if asked.paths.len() > PATHS_MAX {
        return Err(Refusal::too_large(format!("at most {PATHS_MAX} paths in a request")));
    }
    Ok(asked)
}

pub(super) async fn paths_info(
    State(hub): Shared,
    Path { 0: (kind, owner, name, revision) }: RevisionPath,
    asked: Asked,
    body: Body,
) -> Answer {
    let kind = Kind::of_plural(&kind)?;
    let bytes = asked.small_body(&hub, body).await?;
    let media = asked.headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let is_form = media.is_some_and(|media| media.starts_with("application/x-www-form"));
    let Paths { paths, expand } = asked_paths(is_form, &bytes)?;
    let found = blocking(&hub, move |hub| {
        let repo = asked.repo(hub, kind, &owner, &name)?;
        let commit = hub.database.resolve(&repo, &revision)?;
        let all = rows(hub.database.tree(&commit)?, "", true);
        let is_asked =
            |row: &Row| paths.iter().any(|path| path.trim_end_matches('/') == row.path());
        let found: Vec<Row> = all.into_iter().filter(is_asked).collect();
        values(hub, &found, expand)
    })
    .await?;
    Ok(json(&found))
}
