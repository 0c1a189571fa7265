//! Reading repos, revisions and lists of them.

use super::{Database, Object, Repo, begin, repo_of, size};
use crate::dev::{names, names::Kind, refusal::Refusal};
use rusqlite::{Connection, OptionalExtension as _, params};
use std::collections::BTreeMap;

/// Most branches and tags of a repo.
const REFS_MAX: i64 = 1_000;

/// One commit.
#[derive(Clone, Debug)]
pub(in crate::dev) struct Commit {
    /// Its number among all commits of the hub.
    pub(in crate::dev) seq: i64,
    /// What the world calls it.
    pub(in crate::dev) id: String,
    pub(in crate::dev) title: String,
    pub(in crate::dev) message: String,
    pub(in crate::dev) author: String,
    pub(in crate::dev) time: i64,
}

/// A file of a revision.
#[derive(Clone, Debug)]
pub(in crate::dev) struct Entry {
    pub(in crate::dev) path: String,
    pub(in crate::dev) object: Object,
    /// Whether clients see it as a large file.
    pub(in crate::dev) is_large: bool,
    /// Number of the commit that brought these bytes here.
    pub(in crate::dev) changed: i64,
}

/// A page of a list of repos.
#[derive(Clone, Debug, Default)]
pub(in crate::dev) struct Page<'a> {
    pub(in crate::dev) owner: Option<&'a str>,
    pub(in crate::dev) search: Option<&'a str>,
    /// Owners whose private repos are shown.
    pub(in crate::dev) seen_by: &'a [String],
    /// The last repo of the page before.
    pub(in crate::dev) after: i64,
    pub(in crate::dev) limit: usize,
}

const COMMIT: &str = "SELECT seq, id, title, message, author, time FROM commits";

fn commit_of(row: &rusqlite::Row<'_>) -> rusqlite::Result<Commit> {
    Ok(Commit {
        seq: row.get(0)?,
        id: row.get(1)?,
        title: row.get(2)?,
        message: row.get(3)?,
        author: row.get(4)?,
        time: row.get(5)?,
    })
}

fn entry_of(row: &rusqlite::Row<'_>) -> rusqlite::Result<Entry> {
    let object = Object { sha256: row.get(1)?, git: row.get(2)?, size_bytes: size(row.get(3)?) };
    Ok(Entry { path: row.get(0)?, object, is_large: row.get(4)?, changed: row.get(5)? })
}

/// Where a branch or tag is.
pub(super) fn reference(
    connection: &Connection,
    repo: &Repo,
    kind: &str,
    name: &str,
) -> Result<Option<Commit>, Refusal> {
    let mut query = connection.prepare_cached(
        "SELECT seq, id, title, message, author, time FROM commits
         WHERE seq = (SELECT at FROM refs WHERE repo = ? AND kind = ? AND name = ?)",
    )?;
    Ok(query.query_row(params![repo.id, kind, name], commit_of).optional()?)
}

/// The commit of this name.
pub(super) fn by_id(
    connection: &Connection,
    repo: &Repo,
    id: &str,
) -> rusqlite::Result<Option<Commit>> {
    let mut query = connection.prepare_cached(&format!("{COMMIT} WHERE repo = ? AND id = ?"))?;
    query.query_row(params![repo.id, id], commit_of).optional()
}

/// The commit that a branch, a tag or a name of 40 digits means.
pub(super) fn resolve(
    connection: &Connection,
    repo: &Repo,
    revision: &str,
) -> Result<Commit, Refusal> {
    if revision.len() == 40 {
        let found = by_id(connection, repo, revision)?;
        return found.ok_or_else(|| Refusal::no_revision(revision));
    }
    let branch = revision.strip_prefix("refs/heads/");
    let tag = revision.strip_prefix("refs/tags/");
    for (kind, name) in [("heads", branch), ("tags", tag), ("heads", Some(revision))]
        .into_iter()
        .chain([("tags", Some(revision))])
    {
        if let Some(name) = name
            && let Some(commit) = reference(connection, repo, kind, name)?
        {
            return Ok(commit);
        }
    }
    Err(Refusal::no_revision(revision))
}

/// The files of a commit by path.
pub(super) fn tree(
    connection: &Connection,
    commit: &Commit,
) -> rusqlite::Result<BTreeMap<String, Entry>> {
    let mut query = connection.prepare_cached(
        "SELECT path, sha256, git, size, large, changed FROM entries WHERE at = ? ORDER BY path",
    )?;
    let rows = query.query_map([commit.seq], entry_of)?;
    rows.map(|row| row.map(|entry| (entry.path.clone(), entry))).collect()
}

impl Database {
    pub(in crate::dev) fn resolve(&self, repo: &Repo, revision: &str) -> Result<Commit, Refusal> {
        resolve(&self.lock(), repo, revision)
    }

    pub(in crate::dev) fn tree(&self, commit: &Commit) -> Result<BTreeMap<String, Entry>, Refusal> {
        Ok(tree(&self.lock(), commit)?)
    }

    /// One file of a commit.
    pub(in crate::dev) fn tree_entry(
        &self,
        commit: &Commit,
        path: &str,
    ) -> Result<Option<Entry>, Refusal> {
        let connection = self.lock();
        let mut query = connection.prepare_cached(
            "SELECT path, sha256, git, size, large, changed FROM entries WHERE at = ? AND path = ?",
        )?;
        Ok(query.query_row(params![commit.seq, path], entry_of).optional()?)
    }

    /// The commits with these numbers.
    pub(in crate::dev) fn commits_by_number(
        &self,
        numbers: &[i64],
    ) -> Result<BTreeMap<i64, Commit>, Refusal> {
        let connection = self.lock();
        let mut query = connection.prepare_cached(&format!("{COMMIT} WHERE seq = ?"))?;
        let mut found = BTreeMap::new();
        for number in numbers {
            if !found.contains_key(number)
                && let Some(commit) = query.query_row([number], commit_of).optional()?
            {
                found.insert(*number, commit);
            }
        }
        Ok(found)
    }

    /// A commit and those before it, newest first, from the one with number `skip` on; and how
    /// many there are.
    pub(in crate::dev) fn history(
        &self,
        commit: &Commit,
        skip: usize,
        limit: usize,
    ) -> Result<(Vec<Commit>, usize), Refusal> {
        let connection = self.lock();
        let mut query = connection.prepare_cached(
            "WITH RECURSIVE line (seq, parent) AS (
                 SELECT seq, parent FROM commits WHERE seq = ?1
                 UNION ALL
                 SELECT commits.seq, commits.parent FROM commits JOIN line
                 ON commits.seq = line.parent)
             SELECT seq FROM line ORDER BY seq DESC",
        )?;
        let line: Vec<i64> =
            query.query_map([commit.seq], |row| row.get(0))?.collect::<Result<_, _>>()?;
        let mut query = connection.prepare_cached(&format!("{COMMIT} WHERE seq = ?"))?;
        let page = line.iter().skip(skip).take(limit);
        let commits = page.map(|seq| query.query_row([seq], commit_of));
        Ok((commits.collect::<Result<_, _>>()?, line.len()))
    }

    /// Branches or tags with what they point to.
    pub(in crate::dev) fn refs(
        &self,
        repo: &Repo,
        kind: &str,
    ) -> Result<Vec<(String, String)>, Refusal> {
        let connection = self.lock();
        let mut query = connection.prepare_cached(
            "SELECT refs.name, commits.id FROM refs JOIN commits ON commits.seq = refs.at
             WHERE refs.repo = ? AND refs.kind = ? ORDER BY refs.name",
        )?;
        let rows = query.query_map(params![repo.id, kind], |row| Ok((row.get(0)?, row.get(1)?)))?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    pub(in crate::dev) fn create_ref(
        &self,
        repo: &Repo,
        kind: &str,
        name: &str,
        revision: &str,
    ) -> Result<(), Refusal> {
        if !names::is_ref(name) {
            return Err(Refusal::bad("the name is none for a branch or tag"));
        }
        let mut connection = self.lock();
        let transaction = begin(&mut connection)?;
        if reference(&transaction, repo, kind, name)?.is_some() {
            return Err(Refusal::conflict("Reference already exists"));
        }
        let commit = resolve(&transaction, repo, revision)?;
        let count = "SELECT count(*) FROM refs WHERE repo = ?";
        let n: i64 = transaction.query_row(count, [repo.id], |row| row.get(0))?;
        if n >= REFS_MAX {
            return Err(Refusal::forbidden(format!("a repo may have {REFS_MAX} references")));
        }
        transaction.execute(
            "INSERT INTO refs (repo, kind, name, at) VALUES (?, ?, ?, ?)",
            params![repo.id, kind, name, commit.seq],
        )?;
        Ok(transaction.commit()?)
    }

    pub(in crate::dev) fn delete_ref(
        &self,
        repo: &Repo,
        kind: &str,
        name: &str,
    ) -> Result<(), Refusal> {
        if kind == "heads" && name == "main" {
            return Err(Refusal::forbidden("the branch `main` stays"));
        }
        let delete = "DELETE FROM refs WHERE repo = ? AND kind = ? AND name = ?";
        let n = self.lock().execute(delete, params![repo.id, kind, name])?;
        if n == 0 { Err(Refusal::no_revision(name)) } else { Ok(()) }
    }

    /// Repos in the order in which they were made, with the newest commit of `main`.
    pub(in crate::dev) fn list(
        &self,
        kind: Kind,
        page: &Page<'_>,
    ) -> Result<Vec<(Repo, Commit)>, Refusal> {
        let connection = self.lock();
        let mut query = connection.prepare_cached(
            "SELECT id, kind, owner, name, private, created FROM repos
             WHERE kind = ?1 AND id > ?2 AND (?3 IS NULL OR owner = ?3)
             AND (?4 IS NULL OR instr(lower(owner || '/' || name), lower(?4)) > 0) ORDER BY id",
        )?;
        let parameters = params![kind.word(), page.after, page.owner, page.search];
        let mut found = Vec::new();
        for repo in query.query_map(parameters, repo_of)? {
            let repo = repo?;
            if repo.is_private && !page.seen_by.contains(&repo.owner) {
                continue;
            }
            if let Some(commit) = reference(&connection, &repo, "heads", "main")? {
                found.push((repo, commit));
            }
            if found.len() == page.limit {
                break;
            }
        }
        Ok(found)
    }
}
