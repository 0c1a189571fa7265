//! What a service must not forget: entries in order, and measured losses.
//!
//! One SQLite file in the folder of a service. What belongs together is appended in one
//! transaction, and is on disk before anybody is told of it: after a crash, of the power as well,
//! all of it is there or nothing. State is what follows from the entries ([`Past`]); a snapshot
//! only saves time. Other programs may read the file while the service runs.
//!
//! ```text
//! journal.db      the tables; beside it SQLite keeps `-wal` and `-shm`
//! journal.lock    held by the one process that writes; a dead process holds nothing
//! ```

pub mod error;
mod losses;
pub mod past;
mod schema;

pub use error::Error;
pub use losses::Measured;
pub use past::Past;

use protocol::Block;
use rusqlite::{Connection, OpenFlags, OptionalExtension as _, config::DbConfig, params};
use std::{
    fs::{self, File, TryLockError},
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

/// Name of the file with the tables.
pub const FILE: &str = "journal.db";
const LOCK: &str = "journal.lock";
/// How often it is tried to take it.
const LOCK_TRIES: u32 = 5;
/// Time between two tries.
const LOCK_PAUSE: Duration = Duration::from_millis(20);

/// How long a write waits for a program that reads the file in a way that keeps others out.
const PATIENCE: Duration = Duration::from_secs(10);

/// Statements that are kept prepared.
const STATEMENTS_MAX: usize = 32;

/// Something that happened, to be appended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Draft<'a> {
    /// Block at which it happened.
    pub block: Block,
    /// What kind of thing, such as `decided`.
    pub kind: &'a str,
    /// Name of the competition; empty where it belongs to none.
    pub competition: &'a str,
    /// Of whom or what, such as a hotkey; empty where it is of none.
    pub subject: &'a str,
    /// The thing itself, as JSON.
    pub body: &'a str,
}

/// An entry as it was appended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its place: ascending, without meaning of its own.
    pub seq: u64,
    /// Block at which it happened.
    pub block: Block,
    /// What kind of thing.
    pub kind: String,
    /// Name of the competition, or empty.
    pub competition: String,
    /// Of whom or what, or empty.
    pub subject: String,
    /// The thing itself.
    pub body: String,
}

/// A state that stands for all entries up to one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// The last entry that is in it.
    pub seq: u64,
    /// The state, as JSON.
    pub body: String,
}

/// The journal of one service, open for one process.
#[derive(Debug)]
pub struct Journal {
    connection: Connection,
    path: PathBuf,
    /// Held for as long as the journal is open.
    _lock: Option<File>,
}

impl Journal {
    /// Opens the journal in `folder`, which is made if it is not there.
    ///
    /// A journal that another process has open, one of a later version, and one that is damaged
    /// are errors, and never a fresh start.
    pub fn open(folder: &Path) -> Result<Self, Error> {
        fs::create_dir_all(folder).map_err(Error::io(folder))?;
        // Before the tables are touched: whoever has no lock must not even bring them up to date.
        let lock = lock(folder)?;
        let path = folder.join(FILE);
        let connection = Connection::open(&path).map_err(Error::sqlite(&path))?;
        Self::prepare(connection, path, Some(lock))
    }

    /// The journal in `folder` as it stands, to read it while its service may be at work; `None` if
    /// there is none. What is read stays that of this moment, and nothing can be written.
    pub fn look(folder: &Path) -> Result<Option<Self>, Error> {
        let path = folder.join(FILE);
        if !path.is_file() {
            return Ok(None);
        }
        let failed = Error::sqlite(&path);
        let connection = Connection::open_with_flags(&path, OpenFlags::SQLITE_OPEN_READ_ONLY);
        let connection = connection.map_err(&failed)?;
        connection.busy_timeout(PATIENCE).map_err(&failed)?;
        // Of one moment: a snapshot and the entries after it belong together.
        connection.execute_batch("BEGIN").map_err(&failed)?;
        schema::check(&connection, &path)?;
        Ok(Some(Self { connection, path, _lock: None }))
    }

    /// A journal that is gone with this value.
    pub fn memory() -> Result<Self, Error> {
        let path = PathBuf::from(":memory:");
        let connection = Connection::open_in_memory().map_err(Error::sqlite(&path))?;
        // Records are large, and memory has no blocks: few pages are less work than many.
        let pages = "PRAGMA page_size = 65536";
        connection.execute_batch(pages).map_err(Error::sqlite(&path))?;
        let memory = Self::prepare(connection, path, None)?;
        // A transaction that fails is the end of it: nothing is kept to undo one.
        let mode = "PRAGMA journal_mode = OFF";
        memory.connection.execute_batch(mode).map_err(memory.failed())?;
        Ok(memory)
    }

    /// Whether a process has the journal in `folder` open to write.
    pub fn is_open(folder: &Path) -> bool {
        // Shared: two who ask do not see each other.
        File::open(folder.join(LOCK))
            .is_ok_and(|file| matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock)))
    }

    fn prepare(
        mut connection: Connection,
        path: PathBuf,
        lock: Option<File>,
    ) -> Result<Self, Error> {
        connection.set_prepared_statement_cache_capacity(STATEMENTS_MAX);
        connection.busy_timeout(PATIENCE).map_err(Error::sqlite(&path))?;
        // A plan does not depend on values: statements that are kept are not planned again.
        let stable = DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG;
        connection.set_db_config(stable, true).map_err(Error::sqlite(&path))?;
        schema::bring_up_to_date(&mut connection, &path)?;
        Ok(Self { connection, path, _lock: lock })
    }

    /// The file with the tables.
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn failed(&self) -> impl Fn(rusqlite::Error) -> Error + use<> {
        Error::sqlite(&self.path)
    }

    /// Appends entries, all or none of them, and gives the place of the last.
    ///
    /// When this returns they are on disk.
    pub fn append(&mut self, drafts: &[Draft<'_>]) -> Result<u64, Error> {
        let failed = self.failed();
        match drafts {
            // A statement by itself is a transaction, and nearly all entries come alone.
            [draft] => insert(&self.connection, draft).map_err(&failed)?,
            _ => {
                let transaction = self.connection.transaction().map_err(&failed)?;
                for draft in drafts {
                    insert(&transaction, draft).map_err(&failed)?;
                }
                transaction.commit().map_err(&failed)?;
            }
        }
        Ok(self.connection.last_insert_rowid().cast_unsigned())
    }

    /// Shows `each` the entries after the one at `seq`, in order; all of them after 0.
    pub fn after<E: From<Error>>(
        &self,
        seq: u64,
        mut each: impl FnMut(Entry) -> Result<(), E>,
    ) -> Result<(), E> {
        let failed = self.failed();
        let mut select = self
            .connection
            .prepare_cached(
                "SELECT seq, block, kind, competition, subject, body FROM entries \
                 WHERE seq > ?1 ORDER BY seq",
            )
            .map_err(&failed)?;
        let mut rows = select.query([number(seq)]).map_err(&failed)?;
        while let Some(row) = rows.next().map_err(&failed)? {
            each(entry(row).map_err(&failed)?)?;
        }
        Ok(())
    }

    /// The newest entries of a kind, the newest first, at most `n_max` of them.
    pub fn newest(&self, kind: &str, n_max: usize) -> Result<Vec<Entry>, Error> {
        let failed = self.failed();
        let mut select = self
            .connection
            .prepare_cached(
                "SELECT seq, block, kind, competition, subject, body FROM entries \
                 WHERE kind = ?1 ORDER BY seq DESC LIMIT ?2",
            )
            .map_err(&failed)?;
        let rows = select.query_map(params![kind, number(n_max as u64)], entry).map_err(&failed)?;
        rows.collect::<Result<_, _>>().map_err(&failed)
    }

    /// How many entries of a kind a competition has.
    pub fn n_of(&self, kind: &str, competition: &str) -> Result<u64, Error> {
        let count = "SELECT count(*) FROM entries WHERE kind = ?1 AND competition = ?2";
        let n = self.connection.query_row(count, params![kind, competition], |row| row.get(0));
        n.map(whole).map_err(self.failed())
    }

    /// The entry of a kind of a competition that so many newer ones follow.
    pub fn nth_newest(
        &self,
        kind: &str,
        competition: &str,
        n_newer: u64,
    ) -> Result<Option<Entry>, Error> {
        let failed = self.failed();
        let mut select = self
            .connection
            .prepare_cached(
                "SELECT seq, block, kind, competition, subject, body FROM entries \
                 WHERE kind = ?1 AND competition = ?2 ORDER BY seq DESC LIMIT 1 OFFSET ?3",
            )
            .map_err(&failed)?;
        let found = select.query_row(params![kind, competition, number(n_newer)], entry);
        found.optional().map_err(&failed)
    }

    /// The snapshot that was taken last.
    pub fn snapshot(&self) -> Result<Option<Snapshot>, Error> {
        let row = self.connection.query_row("SELECT seq, body FROM snapshot", [], |row| {
            Ok(Snapshot { seq: whole(row.get(0)?), body: row.get(1)? })
        });
        row.optional().map_err(self.failed())
    }

    /// Takes the place of the snapshot before it.
    ///
    /// Entries that are in it go, but for the newest `n_kept` of each of the kinds `kept`, which
    /// are worth reading for themselves.
    pub fn condense(
        &mut self,
        snapshot: &Snapshot,
        kept: &[&str],
        n_kept: usize,
    ) -> Result<(), Error> {
        let failed = self.failed();
        let transaction = self.connection.transaction().map_err(&failed)?;
        transaction
            .execute(
                "INSERT OR REPLACE INTO snapshot (one, seq, body) VALUES (1, ?1, ?2)",
                params![number(snapshot.seq), snapshot.body],
            )
            .map_err(&failed)?;
        let kinds = kept.join(" ");
        transaction
            .execute(
                "DELETE FROM entries WHERE seq <= ?1 AND instr(' ' || ?2 || ' ', ' ' || kind || ' ') = 0",
                params![number(snapshot.seq), kinds],
            )
            .map_err(&failed)?;
        for kind in kept {
            transaction
                .execute(
                    "DELETE FROM entries WHERE seq <= ?1 AND kind = ?2 AND seq NOT IN \
                     (SELECT seq FROM entries WHERE kind = ?2 ORDER BY seq DESC LIMIT ?3)",
                    params![number(snapshot.seq), kind, number(n_kept as u64)],
                )
                .map_err(&failed)?;
        }
        transaction.commit().map_err(&failed)
    }

    /// Bytes that the tables take.
    pub fn size_bytes(&self) -> Result<u64, Error> {
        let sizes = "SELECT page_count * page_size FROM pragma_page_count, pragma_page_size";
        let size = self.connection.query_row(sizes, [], |row| row.get(0));
        size.map(whole).map_err(self.failed())
    }
}

fn insert(connection: &Connection, draft: &Draft<'_>) -> rusqlite::Result<()> {
    let Draft { block, kind, competition, subject, body } = draft;
    let mut insert = connection.prepare_cached(
        "INSERT INTO entries (block, kind, competition, subject, body) VALUES (?1, ?2, ?3, ?4, ?5)",
    )?;
    insert.execute(params![number(block.0), kind, competition, subject, body]).map(drop)
}

/// SQLite's integers have a sign; a block or a place that large is never reached.
fn number(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

fn whole(number: i64) -> u64 {
    number.cast_unsigned()
}

fn entry(row: &rusqlite::Row<'_>) -> rusqlite::Result<Entry> {
    Ok(Entry {
        seq: whole(row.get(0)?),
        block: Block(whole(row.get(1)?)),
        kind: row.get(2)?,
        competition: row.get(3)?,
        subject: row.get(4)?,
        body: row.get(5)?,
    })
}

/// The lock of a folder; the system lets go of it when its process ends, however that ends.
fn lock(folder: &Path) -> Result<File, Error> {
    let path = folder.join(LOCK);
    let lock = File::create(&path).map_err(Error::io(&path))?;
    for _ in 0..LOCK_TRIES {
        match lock.try_lock() {
            Ok(()) => return Ok(lock),
            // Who only asks whether it is held has it for a moment.
            Err(TryLockError::WouldBlock) => thread::sleep(LOCK_PAUSE),
            Err(TryLockError::Error(cause)) => return Err(Error::io(&path)(cause)),
        }
    }
    Err(Error::InUse(folder.to_owned()))
}
