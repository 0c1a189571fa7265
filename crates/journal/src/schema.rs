//! The tables, and how those of an earlier version become them.

use crate::Error;
use crate::losses;
use rusqlite::{Connection, Transaction, TransactionBehavior};
use std::{cmp::Ordering, path::Path};

/// From one version to the next.
type Step = fn(&Transaction<'_>) -> rusqlite::Result<()>;

/// One step for each version, in order; a step that was released never changes.
const STEPS: [Step; 2] = [|tables| tables.execute_batch(FIRST), losses::pack];

const FIRST: &str = "
CREATE TABLE entries (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    block INTEGER NOT NULL,
    kind TEXT NOT NULL,
    competition TEXT NOT NULL,
    subject TEXT NOT NULL,
    body TEXT NOT NULL
) STRICT;
CREATE INDEX entries_by_kind ON entries (kind, seq);
CREATE TABLE losses (
    model BLOB NOT NULL,
    engine TEXT NOT NULL,
    sequence BLOB NOT NULL,
    nats REAL NOT NULL,
    n_tokens INTEGER NOT NULL,
    block INTEGER NOT NULL,
    PRIMARY KEY (model, engine, sequence)
) STRICT, WITHOUT ROWID;
CREATE INDEX losses_by_block ON losses (block);
CREATE TABLE snapshot (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    seq INTEGER NOT NULL,
    body TEXT NOT NULL
) STRICT;
";

/// Makes the tables, or changes those of an earlier version, whole or not at all.
pub(crate) fn bring_up_to_date(connection: &mut Connection, path: &Path) -> Result<(), Error> {
    let failed = Error::sqlite(path);
    // What is committed is on disk before the commit returns, and readers never wait.
    let mode = "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON;";
    connection.execute_batch(mode).map_err(&failed)?;
    let checked: String =
        connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0)).map_err(&failed)?;
    if checked != "ok" {
        return Err(Error::Damaged { path: path.to_owned(), detail: checked });
    }
    let transaction =
        connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(&failed)?;
    let found: u32 =
        transaction.query_row("PRAGMA user_version", [], |row| row.get(0)).map_err(&failed)?;
    let known = STEPS.len() as u32;
    if found > known {
        return Err(Error::Newer { path: path.to_owned(), found, known });
    }
    for step in STEPS.iter().skip(found as usize) {
        step(&transaction).map_err(&failed)?;
    }
    transaction.execute_batch(&format!("PRAGMA user_version = {known}")).map_err(&failed)?;
    transaction.commit().map_err(&failed)
}

/// Whether tables are of the version that is known here, without touching them.
pub(crate) fn check(connection: &Connection, path: &Path) -> Result<(), Error> {
    let found = connection.query_row("PRAGMA user_version", [], |row| row.get(0));
    let found: u32 = found.map_err(Error::sqlite(path))?;
    let known = STEPS.len() as u32;
    let path = path.to_owned();
    match found.cmp(&known) {
        Ordering::Equal => Ok(()),
        Ordering::Less => Err(Error::Older { path, found, known }),
        Ordering::Greater => Err(Error::Newer { path, found, known }),
    }
}
