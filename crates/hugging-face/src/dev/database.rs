//! Everything but the bytes: repos, commits, branches and tags, and who holds which object.
//!
//! One connection, used by one request at a time; what a request changes, it changes in one
//! transaction that is on disk before the answer goes out.

mod commit;
mod read;

pub(super) use commit::{Change, NewCommit, Rules};
pub(super) use read::{Commit, Entry, Page};

use super::{
    clock,
    error::ServerError,
    names::Kind,
    objects::{Collected, Objects, Received},
    refusal::Refusal,
};
use axum::http::StatusCode;
use hub::Error;
use rusqlite::{Connection, OptionalExtension as _, Transaction, TransactionBehavior, params};
use std::{
    fs::{OpenOptions, Permissions},
    os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _},
    path::Path,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

/// Version of the tables below.
const VERSION: i64 = 3;
/// Names that a repo had before and is still found by.
const FORMER_NAMES_MAX: i64 = 100;
/// What a row of a revision counts towards what an owner may hold.
const ENTRY_BYTES: u64 = 256;

const TABLES: &str = "
CREATE TABLE repos (
    id INTEGER PRIMARY KEY AUTOINCREMENT, kind TEXT NOT NULL, owner TEXT NOT NULL,
    name TEXT NOT NULL COLLATE NOCASE, private INTEGER NOT NULL, created INTEGER NOT NULL,
    entries INTEGER NOT NULL DEFAULT 0, UNIQUE (kind, owner, name)) STRICT;
CREATE TABLE commits (
    seq INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL,
    repo INTEGER NOT NULL REFERENCES repos (id) ON DELETE CASCADE, parent INTEGER,
    title TEXT NOT NULL, message TEXT NOT NULL, author TEXT NOT NULL, time INTEGER NOT NULL,
    UNIQUE (repo, id)) STRICT;
CREATE TABLE entries (
    at INTEGER NOT NULL REFERENCES commits (seq) ON DELETE CASCADE, path TEXT NOT NULL,
    sha256 TEXT NOT NULL, git TEXT NOT NULL, size INTEGER NOT NULL, large INTEGER NOT NULL,
    changed INTEGER NOT NULL, PRIMARY KEY (at, path)) STRICT, WITHOUT ROWID;
CREATE TABLE refs (
    repo INTEGER NOT NULL REFERENCES repos (id) ON DELETE CASCADE, kind TEXT NOT NULL,
    name TEXT NOT NULL, at INTEGER NOT NULL REFERENCES commits (seq),
    PRIMARY KEY (repo, kind, name)) STRICT, WITHOUT ROWID;
CREATE TABLE objects (
    sha256 TEXT PRIMARY KEY, git TEXT NOT NULL, size INTEGER NOT NULL,
    time INTEGER NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE held (
    repo INTEGER NOT NULL REFERENCES repos (id) ON DELETE CASCADE, sha256 TEXT NOT NULL,
    size INTEGER NOT NULL, committed INTEGER NOT NULL, time INTEGER NOT NULL,
    PRIMARY KEY (repo, sha256)) STRICT, WITHOUT ROWID;
CREATE INDEX holders ON held (sha256);
";

/// What version 3 has and version 2 had not: the names that repos had before.
const FORMER_NAMES: &str = "
CREATE TABLE former_names (
    number INTEGER PRIMARY KEY AUTOINCREMENT, kind TEXT NOT NULL, owner TEXT NOT NULL,
    name TEXT NOT NULL COLLATE NOCASE,
    repo INTEGER NOT NULL REFERENCES repos (id) ON DELETE CASCADE,
    UNIQUE (kind, owner, name)) STRICT;
";

/// A repo as it is now.
#[derive(Clone, Debug)]
pub(super) struct Repo {
    pub(super) id: i64,
    pub(super) kind: Kind,
    pub(super) owner: String,
    pub(super) name: String,
    pub(super) is_private: bool,
    pub(super) created: i64,
}

impl Repo {
    /// The text `owner/name`.
    pub(super) fn full_name(&self) -> String {
        format!("{}/{}", self.owner, self.name)
    }
}

/// An object that a request may use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Object {
    pub(super) sha256: String,
    pub(super) git: String,
    pub(super) size_bytes: u64,
}

/// The database of a hub.
pub(super) struct Database {
    connection: Mutex<Connection>,
}

/// A size as the database keeps it.
fn number(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// A size from the database.
fn size(value: i64) -> u64 {
    value.unsigned_abs()
}

impl Database {
    pub(super) fn open(folder: &Path) -> Result<Self, ServerError> {
        let path = folder.join("hub.db");
        // Before a word is in it: it names private repos, and its log has its mode.
        close_to_others(&path).map_err(Error::io("make", &path))?;
        let connection = Connection::open(&path)?;
        connection.pragma_update(None, "journal_mode", "WAL")?;
        connection.pragma_update(None, "synchronous", "FULL")?;
        connection.pragma_update(None, "foreign_keys", true)?;
        let found: i64 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
        let make = |tables: &str| {
            let make = format!("BEGIN; {tables} PRAGMA user_version = {VERSION}; COMMIT;");
            connection.execute_batch(&make)
        };
        if found == 0 {
            make(&[TABLES, FORMER_NAMES].concat())?;
        } else if found == 2 {
            make(FORMER_NAMES)?;
        } else if found != VERSION {
            return Err(ServerError::OtherVersion { found, expected: VERSION });
        }
        Ok(Self { connection: Mutex::new(connection) })
    }

    fn lock(&self) -> MutexGuard<'_, Connection> {
        self.connection.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes a repo with a first commit that has no files.
    pub(super) fn create(&self, repo: &Repo, repos_max: u64) -> Result<Repo, Refusal> {
        let mut connection = self.lock();
        let transaction = begin(&mut connection)?;
        let there = find(&transaction, repo.kind, &repo.owner, &repo.name)?;
        if there.is_some() {
            return Err(Refusal::conflict("You already created this repo"));
        }
        let n: i64 = transaction.query_row(
            "SELECT count(*) FROM repos WHERE owner = ?",
            [&repo.owner],
            |row| row.get(0),
        )?;
        if size(n) >= repos_max {
            return Err(Refusal::forbidden(format!("an owner may have {repos_max} repos")));
        }
        transaction.execute(
            "INSERT INTO repos (kind, owner, name, private, created) VALUES (?, ?, ?, ?, ?)",
            params![repo.kind.word(), repo.owner, repo.name, repo.is_private, clock::now()],
        )?;
        let made = Repo { id: transaction.last_insert_rowid(), ..repo.clone() };
        forget_name(&transaction, made.kind, &made.owner, &made.name)?;
        let commit = commit::insert_first(&transaction, &made, &repo.owner)?;
        transaction.execute(
            "INSERT INTO refs (repo, kind, name, at) VALUES (?, 'heads', 'main', ?)",
            params![made.id, commit.seq],
        )?;
        transaction.commit()?;
        Ok(made)
    }

    /// Removes a repo; its bytes stay until garbage is collected.
    pub(super) fn delete(&self, repo: &Repo) -> Result<(), Refusal> {
        let mut connection = self.lock();
        let transaction = begin(&mut connection)?;
        transaction.execute("DELETE FROM refs WHERE repo = ?", [repo.id])?;
        transaction.execute("DELETE FROM repos WHERE id = ?", [repo.id])?;
        Ok(transaction.commit()?)
    }

    pub(super) fn set_private(&self, repo: &Repo, is_private: bool) -> Result<(), Refusal> {
        let connection = self.lock();
        let parameters = params![is_private, repo.id];
        connection.execute("UPDATE repos SET private = ? WHERE id = ?", parameters)?;
        Ok(())
    }

    /// Gives a repo another name or owner, whose repos must have room for it; by the old name it
    /// is found until another repo takes that.
    pub(super) fn rename(
        &self,
        repo: &Repo,
        (owner, name): (&str, &str),
        bytes_max: u64,
    ) -> Result<(), Refusal> {
        let mut connection = self.lock();
        let transaction = begin(&mut connection)?;
        let there = find(&transaction, repo.kind, owner, name)?;
        if there.is_some_and(|there| there.id != repo.id) {
            return Err(Refusal::conflict("a repo of that name is there already"));
        }
        let parameters = params![owner, name, repo.id];
        transaction.execute("UPDATE repos SET owner = ?, name = ? WHERE id = ?", parameters)?;
        for (owner, name) in [(owner, name), (&repo.owner, &repo.name)] {
            forget_name(&transaction, repo.kind, owner, name)?;
        }
        if find(&transaction, repo.kind, &repo.owner, &repo.name)?.is_none() {
            transaction.execute(
                "INSERT INTO former_names (kind, owner, name, repo) VALUES (?, ?, ?, ?)",
                params![repo.kind.word(), repo.owner, repo.name, repo.id],
            )?;
        }
        transaction.execute(
            "DELETE FROM former_names WHERE repo = ?1 AND number NOT IN (
                 SELECT number FROM former_names WHERE repo = ?1 ORDER BY number DESC LIMIT ?2)",
            params![repo.id, FORMER_NAMES_MAX],
        )?;
        check_quota(&transaction, owner, bytes_max)?;
        Ok(transaction.commit()?)
    }

    pub(super) fn find(
        &self,
        kind: Kind,
        owner: &str,
        name: &str,
    ) -> Result<Option<Repo>, Refusal> {
        find(&self.lock(), kind, owner, name)
    }

    /// The repo that had this name before.
    pub(super) fn moved(
        &self,
        kind: Kind,
        owner: &str,
        name: &str,
    ) -> Result<Option<Repo>, Refusal> {
        let connection = self.lock();
        let mut query = connection.prepare_cached(
            "SELECT repo FROM former_names WHERE kind = ? AND owner = ? AND name = ?",
        )?;
        let parameters = params![kind.word(), owner, name];
        let id: Option<i64> = query.query_row(parameters, |row| row.get(0)).optional()?;
        id.map_or(Ok(None), |id| by_id(&connection, id))
    }

    /// The object, if this repo has it or a repo that one may see has committed it.
    pub(super) fn usable(
        &self,
        repo: &Repo,
        sha256: &str,
        owners: &[String],
    ) -> Result<Option<Object>, Refusal> {
        usable(&self.lock(), repo, sha256, owners)
    }

    /// Takes a received file in for a repo: the bytes first, then the rows that name them.
    pub(super) fn admit(
        &self,
        objects: &Objects,
        repo: &Repo,
        object: Received,
        bytes_max: u64,
    ) -> Result<Object, Refusal> {
        let found = Object {
            sha256: object.sha256.clone(),
            git: object.git.clone(),
            size_bytes: object.size_bytes,
        };
        let mut connection = self.lock();
        let transaction = begin(&mut connection)?;
        let (now, length) = (clock::now(), number(found.size_bytes));
        // The repo may have been deleted while its file was on the way.
        let current = by_id(&transaction, repo.id)?.ok_or_else(|| Refusal::no_repo(true))?;
        transaction.execute(
            "INSERT INTO objects (sha256, git, size, time) VALUES (?, ?, ?, ?)
             ON CONFLICT DO UPDATE SET time = excluded.time",
            params![found.sha256, found.git, length, now],
        )?;
        hold(&transaction, current.id, &found, false)?;
        check_quota(&transaction, &current.owner, bytes_max)?;
        objects.place(object)?;
        transaction.commit()?;
        Ok(found)
    }

    /// Bytes that an owner's repos hold.
    pub(super) fn used_bytes(&self, owner: &str) -> Result<u64, Refusal> {
        used_bytes(&self.lock(), owner)
    }

    /// Bytes that a repo holds.
    pub(super) fn used_bytes_of(&self, repo: &Repo) -> Result<u64, Refusal> {
        let query = "SELECT coalesce(sum(size), 0) FROM held WHERE repo = ?";
        let bytes: i64 = self.lock().query_row(query, [repo.id], |row| row.get(0))?;
        Ok(size(bytes))
    }

    /// The repo with a number, whoever asks: links that we signed name repos by it.
    pub(super) fn by_number(&self, id: i64) -> Result<Option<Repo>, Refusal> {
        by_id(&self.lock(), id)
    }

    pub(super) fn collect_garbage(
        &self,
        objects: &Objects,
        grace: Duration,
    ) -> Result<Collected, ServerError> {
        let mut connection = self.lock();
        let transaction = begin(&mut connection)?;
        let old = clock::now().saturating_sub(number(grace.as_secs()));
        transaction.execute("DELETE FROM held WHERE committed = 0 AND time <= ?", [old])?;
        transaction.execute(
            "DELETE FROM objects WHERE time <= ?
             AND NOT EXISTS (SELECT 1 FROM held WHERE held.sha256 = objects.sha256)",
            [old],
        )?;
        transaction.commit()?;
        // What cannot be asked for is kept.
        let is_known = |name: &str| {
            let query = "SELECT 1 FROM objects WHERE sha256 = ?";
            let row = connection.query_row(query, [name], |_| Ok(())).optional();
            row.map_or(true, |row| row.is_some())
        };
        let swept = objects.sweep(grace, &is_known);
        swept.map_err(|source| ServerError::Disk(Error::io("sweep", Path::new("objects"))(source)))
    }
}

/// Makes a file that nobody else reads, or lets nobody else read the one that is there.
fn close_to_others(path: &Path) -> std::io::Result<()> {
    let file = OpenOptions::new().append(true).create(true).mode(0o600).open(path)?;
    file.set_permissions(Permissions::from_mode(0o600))
}

fn begin(connection: &mut Connection) -> rusqlite::Result<Transaction<'_>> {
    connection.transaction_with_behavior(TransactionBehavior::Immediate)
}

fn repo_of(row: &rusqlite::Row<'_>) -> rusqlite::Result<Repo> {
    let word: String = row.get(1)?;
    Ok(Repo {
        id: row.get(0)?,
        kind: if word == Kind::Model.word() { Kind::Model } else { Kind::Dataset },
        owner: row.get(2)?,
        name: row.get(3)?,
        is_private: row.get(4)?,
        created: row.get(5)?,
    })
}

fn find(
    connection: &Connection,
    kind: Kind,
    owner: &str,
    name: &str,
) -> Result<Option<Repo>, Refusal> {
    let mut query = connection.prepare_cached(
        "SELECT id, kind, owner, name, private, created FROM repos
         WHERE kind = ? AND owner = ? AND name = ?",
    )?;
    Ok(query.query_row(params![kind.word(), owner, name], repo_of).optional()?)
}

/// From now on nobody had this name before.
fn forget_name(
    connection: &Connection,
    kind: Kind,
    owner: &str,
    name: &str,
) -> rusqlite::Result<()> {
    let mut delete = connection
        .prepare_cached("DELETE FROM former_names WHERE kind = ? AND owner = ? AND name = ?")?;
    delete.execute(params![kind.word(), owner, name]).map(drop)
}

fn by_id(connection: &Connection, id: i64) -> Result<Option<Repo>, Refusal> {
    let mut query = connection
        .prepare_cached("SELECT id, kind, owner, name, private, created FROM repos WHERE id = ?")?;
    Ok(query.query_row([id], repo_of).optional()?)
}

/// Who has uploaded bytes, or may read them in a commit, may use them; nobody may guess them.
fn usable(
    connection: &Connection,
    repo: &Repo,
    sha256: &str,
    owners: &[String],
) -> Result<Option<Object>, Refusal> {
    let mut holders = connection.prepare_cached(
        "SELECT repos.id, repos.owner, repos.private, held.committed, objects.git, objects.size
         FROM held JOIN repos ON repos.id = held.repo JOIN objects ON objects.sha256 = held.sha256
         WHERE held.sha256 = ?",
    )?;
    let mut rows = holders.query([sha256])?;
    while let Some(row) = rows.next()? {
        let (holder, owner): (i64, String) = (row.get(0)?, row.get(1)?);
        let (is_private, is_committed): (bool, bool) = (row.get(2)?, row.get(3)?);
        let is_own = owners.contains(&owner);
        if holder == repo.id || is_own || (is_committed && !is_private) {
            let (sha256, git) = (sha256.to_owned(), row.get(4)?);
            return Ok(Some(Object { sha256, git, size_bytes: size(row.get(5)?) }));
        }
    }
    Ok(None)
}

/// Notes that a repo has an object, and whether a commit of it does.
fn hold(
    connection: &Connection,
    repo: i64,
    object: &Object,
    is_committed: bool,
) -> rusqlite::Result<()> {
    let mut insert = connection.prepare_cached(
        "INSERT INTO held (repo, sha256, size, committed, time) VALUES (?, ?, ?, ?, ?)
         ON CONFLICT DO UPDATE SET committed = max(committed, excluded.committed),
         time = excluded.time",
    )?;
    let length = number(object.size_bytes);
    insert.execute(params![repo, object.sha256, length, is_committed, clock::now()])?;
    Ok(())
}

fn used_bytes(connection: &Connection, owner: &str) -> Result<u64, Refusal> {
    let mut query = connection.prepare_cached(
        "SELECT (SELECT coalesce(sum(size), 0) FROM held JOIN repos ON repos.id = held.repo
                 WHERE repos.owner = ?1),
                (SELECT coalesce(sum(entries), 0) FROM repos WHERE owner = ?1)",
    )?;
    let (bytes, entries): (i64, i64) =
        query.query_row([owner], |row| Ok((row.get(0)?, row.get(1)?)))?;
    Ok(size(bytes).saturating_add(size(entries).saturating_mul(ENTRY_BYTES)))
}

fn check_quota(connection: &Connection, owner: &str, bytes_max: u64) -> Result<(), Refusal> {
    let used = used_bytes(connection, owner)?;
    if used > bytes_max { Err(no_room(owner, bytes_max)) } else { Ok(()) }
}

/// The owner's repos are full.
pub(super) fn no_room(owner: &str, bytes_max: u64) -> Refusal {
    let message = format!("the repos of {owner} may hold {bytes_max} bytes, and this is more");
    Refusal::new(StatusCode::FORBIDDEN, message)
}
