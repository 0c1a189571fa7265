//! Making commits: one transaction in which everything is checked, and then visible.

use super::{Commit, Database, Entry, Object, Repo, begin, check_quota, hold, number, usable};
use crate::dev::{clock, names, refusal::Refusal};
use axum::http::StatusCode;
use protocol::Digest;
use rusqlite::{Connection, params};
use std::collections::BTreeMap;

/// One line of a commit.
#[derive(Clone, Debug)]
pub(in crate::dev) enum Change {
    /// A file whose bytes came with the commit.
    Put { path: String, object: Object },
    /// A file whose bytes were uploaded before, or are elsewhere on the hub.
    /// A size is checked where one is said.
    Link { path: String, sha256: String, size_bytes: Option<u64> },
    /// A file of another revision, or under another name.
    Copy { from: String, revision: Option<String>, path: String },
    /// A file that goes.
    DeleteFile { path: String },
    /// A folder that goes with all that is in it.
    DeleteFolder { path: String },
}

/// What a commit says of itself.
#[derive(Clone, Debug, Default)]
pub(in crate::dev) struct NewCommit {
    pub(in crate::dev) title: String,
    pub(in crate::dev) message: String,
    pub(in crate::dev) author: String,
    /// What the branch must be at, where the author cares.
    pub(in crate::dev) parent: Option<String>,
    pub(in crate::dev) changes: Vec<Change>,
}

/// What a commit must keep to.
#[derive(Clone, Debug)]
pub(in crate::dev) struct Rules {
    pub(in crate::dev) files_max: usize,
    pub(in crate::dev) bytes_max: u64,
    /// Owners whose objects may be used.
    pub(in crate::dev) owners: Vec<String>,
}

impl Database {
    /// Puts a commit onto a branch.
    pub(in crate::dev) fn commit(
        &self,
        repo: &Repo,
        branch: &str,
        new: &NewCommit,
        rules: &Rules,
    ) -> Result<Commit, Refusal> {
        let mut connection = self.lock();
        let transaction = begin(&mut connection)?;
        let branch = branch.strip_prefix("refs/heads/").unwrap_or(branch);
        let parent = super::read::reference(&transaction, repo, "heads", branch)?;
        let parent = parent.ok_or_else(|| Refusal::no_revision(branch))?;
        if new.parent.as_ref().is_some_and(|expected| *expected != parent.id) {
            return Err(Refusal::new(
                StatusCode::PRECONDITION_FAILED,
                "A commit has happened since. Please refresh and try again.",
            ));
        }
        let mut tree = super::read::tree(&transaction, &parent)?;
        for change in &new.changes {
            apply(&transaction, repo, &mut tree, change, rules)?;
        }
        check_tree(&tree, rules)?;
        let id = id_of(repo, Some(&parent), new, &tree);
        let commit = match super::read::by_id(&transaction, repo, &id)? {
            // The same commit on another branch.
            Some(known) => known,
            None => {
                let commit = insert(&transaction, repo, Some(&parent), new, id)?;
                write_tree(&transaction, repo, &commit, &tree)?;
                check_quota(&transaction, &repo.owner, rules.bytes_max)?;
                commit
            }
        };
        transaction.execute(
            "UPDATE refs SET at = ? WHERE repo = ? AND kind = 'heads' AND name = ?",
            params![commit.seq, repo.id, branch],
        )?;
        transaction.commit()?;
        Ok(commit)
    }
}

type Tree = BTreeMap<String, Entry>;

fn apply(
    connection: &Connection,
    repo: &Repo,
    tree: &mut Tree,
    change: &Change,
    rules: &Rules,
) -> Result<(), Refusal> {
    match change {
        Change::Put { path, object } => put(tree, path, object, false),
        Change::Link { path, sha256, size_bytes } => {
            let object = usable(connection, repo, sha256, &rules.owners)?;
            let missing = || {
                let path = names::shown(path);
                Refusal::bad(format!("the bytes of `{path}` were not uploaded"))
            };
            let object = object.ok_or_else(missing)?;
            if size_bytes.is_some_and(|size_bytes| size_bytes != object.size_bytes) {
                return Err(missing());
            }
            put(tree, path, &object, true)
        }
        Change::Copy { from, revision, path } => {
            let source = match revision {
                None => tree.get(from).cloned(),
                Some(revision) => {
                    let commit = super::read::resolve(connection, repo, revision)?;
                    super::read::tree(connection, &commit)?.remove(from)
                }
            };
            let source = source.ok_or_else(|| Refusal::no_entry(from))?;
            put(tree, path, &source.object, source.is_large)
        }
        Change::DeleteFile { path } => match tree.remove(path) {
            Some(_) => Ok(()),
            None => Err(Refusal::no_entry(path)),
        },
        Change::DeleteFolder { path } => {
            let folder = format!("{}/", path.trim_end_matches('/'));
            let n = tree.len();
            tree.retain(|path, _| !path.starts_with(&folder));
            if tree.len() < n { Ok(()) } else { Err(Refusal::no_entry(path)) }
        }
    }
}

/// Enters a file; unchanged bytes keep the commit that brought them.
fn put(tree: &mut Tree, path: &str, object: &Object, is_large: bool) -> Result<(), Refusal> {
    names::check_path(path)?;
    let is_large = is_large || is_weights(path);
    let same = |entry: &&Entry| entry.object == *object && entry.is_large == is_large;
    let changed = tree.get(path).filter(same).map_or(0, |entry| entry.changed);
    let entry = Entry { path: path.to_owned(), object: object.clone(), is_large, changed };
    tree.insert(path.to_owned(), entry);
    Ok(())
}

/// Files that readers check by their SHA-256, however they were uploaded.
fn is_weights(path: &str) -> bool {
    let ending = path.rsplit_once('.').map_or("", |(_, ending)| ending).to_ascii_lowercase();
    ["safetensors", "bin", "pt", "pth", "gguf", "h5", "onnx", "msgpack"].contains(&ending.as_str())
}

/// Refuses too many files, and names that are a file and a folder at once.
fn check_tree(tree: &Tree, rules: &Rules) -> Result<(), Refusal> {
    if tree.len() > rules.files_max {
        let (n, max) = (tree.len(), rules.files_max);
        let message = format!("a revision may have {max} files, and this one has {n}");
        return Err(Refusal::too_large(message));
    }
    for path in tree.keys() {
        let folders = path.match_indices('/').map(|(at, _)| path.split_at(at).0);
        if let Some(folder) = folders.into_iter().find(|folder| tree.contains_key(*folder)) {
            let folder = names::shown(folder);
            return Err(Refusal::bad(format!("`{folder}` is a file and a folder")));
        }
    }
    Ok(())
}

/// Writes the row of the commit with which a repo begins.
pub(super) fn insert_first(
    connection: &Connection,
    repo: &Repo,
    author: &str,
) -> rusqlite::Result<Commit> {
    let (title, author) = ("initial commit".to_owned(), author.to_owned());
    let first = NewCommit { title, author, ..NewCommit::default() };
    insert(connection, repo, None, &first, id_of(repo, None, &first, &Tree::new()))
}

/// The name of a commit: what it holds and where it stands, and nothing of when it was made, so
/// that the same uploads have the same revisions on any hub.
fn id_of(repo: &Repo, parent: Option<&Commit>, new: &NewCommit, tree: &Tree) -> String {
    let mut files = Vec::new();
    for Entry { path, object, is_large, .. } in tree.values() {
        let line = format!("{}:{path} {} {is_large}\n", path.len(), object.sha256);
        files.extend_from_slice(line.as_bytes());
    }
    let name = repo.full_name();
    let fields = [
        repo.kind.word(),
        &name,
        parent.map_or("", |parent| parent.id.as_str()),
        &new.title,
        &new.message,
        &new.author,
    ];
    let [kind, name, parent, title, message, author] = fields.map(str::as_bytes);
    let fields = [kind, name, parent, title, message, author, &files];
    Digest::of_fields("agon hub commit", &fields).hex().chars().take(40).collect()
}

/// Writes the row of a commit.
fn insert(
    connection: &Connection,
    repo: &Repo,
    parent: Option<&Commit>,
    new: &NewCommit,
    id: String,
) -> rusqlite::Result<Commit> {
    let now = clock::now();
    connection.execute(
        "INSERT INTO commits (id, repo, parent, title, message, author, time)
         VALUES (?, ?, ?, ?, ?, ?, ?)",
        params![
            id,
            repo.id,
            parent.map(|parent| parent.seq),
            new.title,
            new.message,
            new.author,
            now
        ],
    )?;
    Ok(Commit {
        seq: connection.last_insert_rowid(),
        id,
        title: new.title.clone(),
        message: new.message.clone(),
        author: new.author.clone(),
        time: now,
    })
}

fn write_tree(
    connection: &Connection,
    repo: &Repo,
    commit: &Commit,
    tree: &Tree,
) -> rusqlite::Result<()> {
    let mut insert = connection.prepare_cached(
        "INSERT INTO entries (at, path, sha256, git, size, large, changed)
         VALUES (?, ?, ?, ?, ?, ?, ?)",
    )?;
    for entry in tree.values() {
        let changed = if entry.changed == 0 { commit.seq } else { entry.changed };
        let Object { sha256, git, size_bytes } = &entry.object;
        let length = number(*size_bytes);
        let large = entry.is_large;
        insert.execute(params![commit.seq, entry.path, sha256, git, length, large, changed])?;
        if changed == commit.seq {
            hold(connection, repo.id, &entry.object, true)?;
        }
    }
    let n_entries = number(tree.len() as u64);
    let count = "UPDATE repos SET entries = entries + ? WHERE id = ?";
    connection.execute(count, params![n_entries, repo.id])?;
    Ok(())
}
