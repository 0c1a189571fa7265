//! All that pages are made of, in one SQLite file.
//!
//! It holds nothing that records and chain do not tell: deleted, it is made anew with the same
//! pages. One process writes it, lot by lot, each whole or not at all; pages read it meanwhile.

mod bodies;
mod common;
mod entry;
mod flaws;
mod ingest;
mod models;
mod query;
mod rounds;
mod series;
mod subnet;
mod voices;

pub use bodies::Budget;
pub(crate) use common::{Common, Recall};
pub use flaws::Extent;
pub(crate) use flaws::FalseRecord;
pub use ingest::{Checked, Last, Progress};
pub use query::{Build, Crown, Head, Holder, Known, Other, Row, Standing, State, Stretch};
pub use rounds::Wanted;
pub use series::Series;
pub use subnet::{Epoch, Pay, Root};

use rusqlite::{Connection, OpenFlags};
use std::{
    cell::Cell,
    fs::{self, File, TryLockError},
    io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

/// Name of the file.
pub const FILE: &str = "dashboard.db";
const LOCK: &str = "dashboard.lock";
/// Version of the tables: a file with other ones is made anew.
const VERSION: i64 = 8;
/// Stands there instead while an index is made from nothing: a crash may then damage it.
const UNFINISHED: i64 = -VERSION;
/// Pages that are written beside the file, 4 KiB each, before they are brought into it: while an
/// index is made from nothing, and afterwards.
const PAGES_BESIDE: [u32; 2] = [16_384, 1_000];
/// Statements that are kept prepared.
const STATEMENTS_MAX: usize = 64;
/// How long whoever reads or writes waits for another.
const PATIENCE: Duration = Duration::from_secs(10);

const TABLES: &str = "
CREATE TABLE heads (
    validator BLOB NOT NULL, competition TEXT NOT NULL, source TEXT NOT NULL,
    n_records INTEGER NOT NULL, block INTEGER NOT NULL, reign TEXT, n_bytes INTEGER NOT NULL,
    PRIMARY KEY (validator, competition)) STRICT, WITHOUT ROWID;
CREATE TABLE flaws (
    validator BLOB NOT NULL, competition TEXT NOT NULL, source TEXT NOT NULL,
    number INTEGER NOT NULL, flaw TEXT NOT NULL,
    PRIMARY KEY (validator, competition, source)) STRICT, WITHOUT ROWID;
CREATE TABLE stakes (validator BLOB PRIMARY KEY, rao INTEGER NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE records (
    id INTEGER PRIMARY KEY, validator BLOB NOT NULL, competition TEXT NOT NULL,
    number INTEGER NOT NULL, block INTEGER NOT NULL, digest BLOB NOT NULL, rules BLOB NOT NULL,
    voice BLOB NOT NULL, n_documents INTEGER NOT NULL, n_models INTEGER NOT NULL,
    uid INTEGER, hotkey BLOB, root BLOB, repo TEXT, loss REAL, error REAL,
    state INTEGER NOT NULL, is_derived INTEGER NOT NULL, gap REAL, gap_error REAL, gap_n INTEGER,
    is_paid_checked INTEGER NOT NULL, bits_of_nat REAL, optimum REAL,
    UNIQUE (validator, competition, number)) STRICT;
CREATE INDEX records_by_block ON records (validator, competition, block);
CREATE INDEX records_of_block ON records (competition, block, voice);
CREATE TABLE commons (
    id INTEGER PRIMARY KEY, n_bytes INTEGER NOT NULL, found BLOB NOT NULL,
    entries BLOB NOT NULL, packed BLOB NOT NULL) STRICT;
CREATE TABLE bodies (
    record INTEGER PRIMARY KEY, common INTEGER NOT NULL, n_bytes INTEGER NOT NULL,
    n_before INTEGER NOT NULL, averages BLOB NOT NULL, around BLOB NOT NULL) STRICT;
CREATE TABLE unsettled (
    competition TEXT NOT NULL, block INTEGER NOT NULL,
    PRIMARY KEY (competition, block)) STRICT, WITHOUT ROWID;
CREATE TABLE models (
    id INTEGER PRIMARY KEY, hotkey BLOB NOT NULL, uid INTEGER NOT NULL,
    commit_block INTEGER NOT NULL, root BLOB, repo TEXT, revision TEXT,
    architecture TEXT, n_parameters INTEGER) STRICT;
CREATE INDEX models_by_hotkey ON models (hotkey, commit_block);
CREATE INDEX models_by_root ON models (root);
CREATE TABLE seen (
    model INTEGER NOT NULL, validator BLOB NOT NULL, competition TEXT NOT NULL,
    first INTEGER NOT NULL, last INTEGER NOT NULL,
    PRIMARY KEY (model, validator, competition)) STRICT, WITHOUT ROWID;
CREATE TABLE crowns (
    record INTEGER PRIMARY KEY, uid INTEGER NOT NULL, hotkey BLOB NOT NULL, root BLOB, repo TEXT,
    loss REAL, former_uid INTEGER, former_hotkey BLOB, former_root BLOB, former_repo TEXT,
    former_loss REAL) STRICT;
CREATE TABLE roots (
    validator BLOB PRIMARY KEY, root BLOB NOT NULL, block INTEGER NOT NULL,
    genesis BLOB NOT NULL, netuid INTEGER NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE metagraphs (block INTEGER PRIMARY KEY, body TEXT NOT NULL) STRICT;
CREATE TABLE pay (
    hotkey BLOB NOT NULL, epoch INTEGER NOT NULL, rao INTEGER NOT NULL,
    incentive INTEGER NOT NULL, dividends INTEGER NOT NULL,
    PRIMARY KEY (hotkey, epoch)) STRICT, WITHOUT ROWID;
CREATE INDEX pay_by_epoch ON pay (epoch);
CREATE TABLE epochs (
    epoch INTEGER PRIMARY KEY, miners INTEGER NOT NULL, validators INTEGER NOT NULL,
    n_paid INTEGER NOT NULL) STRICT;
";

/// Why the index cannot be read or written: our own trouble.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The disk fails.
    #[error("cannot {task} `{}`", .path.display())]
    Io {
        /// What was to be done.
        task: &'static str,
        /// With which file.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
    /// The database fails.
    #[error("the index of the dashboard fails")]
    Sqlite(#[from] rusqlite::Error),
    /// Another process writes it.
    #[error("another dashboard has `{}` open", .0.display())]
    Taken(PathBuf),
    /// What stands in the index is not what was written into it.
    #[error("the index of the dashboard holds {0} that cannot be read: delete it, it is made anew")]
    Damaged(&'static str),
    /// Other pages have as much of the records unpacked as all may have at a time.
    #[error("many large pages are being made at the moment: ask again in some seconds")]
    Busy,
}

/// The index, open to read or to write.
#[derive(Debug)]
pub struct Index {
    connection: Connection,
    /// What the one that writes remembers of the tables.
    models: models::Models,
    /// Whether it is being made from nothing.
    is_unfinished: bool,
    /// What pages may unpack together; without it, any.
    budget: Option<Arc<Budget>>,
    /// How much of that is taken here.
    n_bytes_held: Cell<usize>,
    /// Held by the one that writes.
    _lock: Option<File>,
}

impl Drop for Index {
    fn drop(&mut self) {
        self.release();
        // Where that fails it is made anew the next time.
        let _ = self.finish();
    }
}

impl Index {
    /// Opens the index in `folder` to write it; one that is not there, damaged, unfinished or of
    /// another version is made anew.
    pub fn open(folder: &Path) -> Result<Self, Error> {
        fs::create_dir_all(folder).map_err(failed("make", folder))?;
        let lock = lock(&folder.join(LOCK))?;
        let path = folder.join(FILE);
        if !path.exists() {
            // What is left beside a file that was deleted belongs to no other.
            remove(folder)?;
        }
        let (connection, is_unfinished) = match prepared(&path) {
            Ok(prepared) => prepared,
            Err(_) => {
                remove(folder)?;
                prepared(&path)?
            }
        };
        let mut index = Self::of(connection);
        (index.is_unfinished, index._lock) = (is_unfinished, Some(lock));
        Ok(index)
    }

    fn of(connection: Connection) -> Self {
        let (models, n_bytes_held) = (models::Models::default(), Cell::new(0));
        Self { connection, models, is_unfinished: false, budget: None, n_bytes_held, _lock: None }
    }

    /// The index in `folder`, to read it while it is written.
    pub fn look(folder: &Path) -> Result<Self, Error> {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(folder.join(FILE), flags)?;
        connection.busy_timeout(PATIENCE)?;
        connection.set_prepared_statement_cache_capacity(STATEMENTS_MAX);
        Ok(Self::of(connection))
    }

    /// The same, which may unpack what others leave.
    pub fn within(mut self, budget: Arc<Budget>) -> Self {
        self.budget = Some(budget);
        self
    }

    /// Brings an index that was made from nothing to the disk: from there on a crash takes nothing
    /// but the newest with it. Where a page is just being made of it, the next time does.
    pub fn finish(&mut self) -> Result<(), Error> {
        if !self.is_unfinished {
            return Ok(());
        }
        let [_, pages] = PAGES_BESIDE;
        // With a page that is written now, the file is brought to the disk in any case.
        self.connection.execute_batch(&format!(
            "PRAGMA synchronous = FULL; PRAGMA wal_autocheckpoint = {pages};
             PRAGMA user_version = {UNFINISHED};"
        ))?;
        let (n_beside, n_brought): (i64, i64) =
            self.connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |row| {
                Ok((row.get(1)?, row.get(2)?))
            })?;
        if n_beside != n_brought {
            return Ok(());
        }
        self.connection.execute_batch(&format!(
            "PRAGMA user_version = {VERSION}; PRAGMA synchronous = NORMAL;"
        ))?;
        self.is_unfinished = false;
        Ok(())
    }

    /// Lets everything that `read` reads be of one moment.
    pub fn at_once<T, E: From<Error>>(
        &self,
        read: impl FnOnce(&Self) -> Result<T, E>,
    ) -> Result<T, E> {
        let moment = self.connection.unchecked_transaction().map_err(Error::from)?;
        let found = read(self)?;
        moment.commit().map_err(Error::from)?;
        Ok(found)
    }
}

/// A connection to tables of this version, and whether they are new.
fn prepared(path: &Path) -> Result<(Connection, bool), Error> {
    let connection = Connection::open(path)?;
    connection.busy_timeout(PATIENCE)?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS_MAX);
    // What a crash takes with it is read again.
    connection.execute_batch("PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL;")?;
    let found: i64 = connection.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    if found == 0 {
        // Nothing is waited for, and what a crash damages is made anew.
        let [pages, _] = PAGES_BESIDE;
        let make = format!(
            "PRAGMA synchronous = OFF; PRAGMA wal_autocheckpoint = {pages};
             BEGIN; {TABLES} PRAGMA user_version = {UNFINISHED}; COMMIT;"
        );
        connection.execute_batch(&make)?;
    } else if found != VERSION {
        return Err(Error::Damaged("tables that are unfinished or of another version"));
    }
    let checked: String = connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
    if checked == "ok" { Ok((connection, found == 0)) } else { Err(Error::Damaged("tables")) }
}

fn failed(task: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Error {
    let path = path.to_owned();
    move |source| Error::Io { task, path, source }
}

fn lock(path: &Path) -> Result<File, Error> {
    let file = File::create(path).map_err(failed("make", path))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(Error::Taken(path.to_owned())),
        Err(TryLockError::Error(source)) => Err(failed("lock", path)(source)),
    }
}

/// Removes the file with what SQLite keeps beside it.
fn remove(folder: &Path) -> Result<(), Error> {
    for end in ["", "-wal", "-shm"] {
        let path = folder.join(format!("{FILE}{end}"));
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(failed("delete", &path)(error));
            }
            _ => {}
        }
    }
    Ok(())
}

/// A number as the database keeps it.
fn int(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// A number from the database.
fn uint(number: i64) -> u64 {
    number.unsigned_abs()
}
