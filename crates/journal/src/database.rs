//! Entries and a snapshot as tables of SQLite.

use crate::{Draft, Entry, Error, Snapshot, schema};
use protocol::Block;
use rusqlite::{Connection, OpenFlags, OptionalExtension as _, config::DbConfig, params};
use std::{
    path::{Path, PathBuf},
    time::Duration,
};

/// How long a write waits for a program that reads the file in a way that keeps others out.
const PATIENCE: Duration = Duration::from_secs(10);

/// Statements that are kept prepared.
const STATEMENTS_MAX: usize = 32;

/// The tables of one journal.
#[derive(Debug)]
pub(crate) struct Database {
    pub(crate) connection: Connection,
    path: PathBuf,
}

impl Database {
    /// Opens the tables of a file, to write; makes them where there are none.
    pub(crate) fn open(path: &Path) -> Result<Self, Error> {
        let failed = Error::sqlite(path);
        let mut connection = Connection::open(path).map_err(&failed)?;
        connection.set_prepared_statement_cache_capacity(STATEMENTS_MAX);
        connection.busy_timeout(PATIENCE).map_err(&failed)?;
        // A plan does not depend on values: statements that are kept are not planned again.
        let stable = DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG;
        connection.set_db_config(stable, true).map_err(&failed)?;
        schema::bring_up_to_date(&mut connection, path)?;
        Ok(Self { connection, path: path.to_owned() })
    }

    /// The tables of a file as they stand at this moment, to read.
    pub(crate) fn look(path: &Path) -> Result<Self, Error> {
        let failed = Error::sqlite(path);
        let connection = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY);
        let connection = connection.map_err(&failed)?;
        connection.busy_timeout(PATIENCE).map_err(&failed)?;
        // Of one moment: a snapshot and the entries after it belong together.
        connection.execute_batch("BEGIN").map_err(&failed)?;
        schema::check(&connection, path)?;
        Ok(Self { connection, path: path.to_owned() })
    }

    pub(crate) fn failed(&self) -> impl Fn(rusqlite::Error) -> Error + use<> {
        Error::sqlite(&self.path)
    }

    pub(crate) fn append(&mut self, drafts: &[Draft<'_>]) -> Result<u64, Error> {
        let failed = self.failed();
        match drafts {
            // The row that was inserted last may be of losses.
            [] => {
                let last = "SELECT seq FROM sqlite_sequence WHERE name = 'entries'";
                let last = self.connection.query_row(last, [], |row| row.get(0)).optional();
                return last.map(|last| last.map_or(0, whole)).map_err(&failed);
            }
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

    pub(crate) fn after<E: From<Error>>(
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

    pub(crate) fn newest(&self, kind: &str, n_max: usize) -> Result<Vec<Entry>, Error> {
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

    pub(crate) fn n_of(&self, kind: &str, competition: &str) -> Result<u64, Error> {
        let count = "SELECT count(*) FROM entries WHERE kind = ?1 AND competition = ?2";
        let n = self.connection.query_row(count, params![kind, competition], |row| row.get(0));
        n.map(whole).map_err(self.failed())
    }

    pub(crate) fn nth_newest(
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

    pub(crate) fn snapshot(&self) -> Result<Option<Snapshot>, Error> {
        let row = self.connection.query_row("SELECT seq, body FROM snapshot", [], |row| {
            Ok(Snapshot { seq: whole(row.get(0)?), body: row.get(1)? })
        });
        row.optional().map_err(self.failed())
    }

    pub(crate) fn condense(
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

    pub(crate) fn size_bytes(&self) -> Result<u64, Error> {
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
pub(crate) fn number(value: u64) -> i64 {
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
