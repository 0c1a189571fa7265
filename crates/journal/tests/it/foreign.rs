//! Files and rows that this program did not write, and what it does about them.

use crate::{bodies, draft, loss};
use journal::{Error, Journal, Losses, Measured};
use protocol::{Block, Digest};
use rusqlite::{Connection, params};
use std::{fs, path::Path};

/// The file of a folder, as another program sees it.
fn other(folder: &Path) -> Connection {
    Connection::open(folder.join(journal::FILE)).unwrap()
}

fn version(connection: &Connection) -> u32 {
    connection.query_row("PRAGMA user_version", [], |row| row.get(0)).unwrap()
}

#[test]
fn an_empty_file_becomes_a_journal() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join(journal::FILE), b"").unwrap();
    let mut journal = Journal::open(folder.path()).unwrap();
    assert_eq!(journal.snapshot().unwrap(), None);
    assert_eq!(journal.append(&[draft("a", "1")]).unwrap(), 1);
    drop(journal);
    assert!(version(&other(folder.path())) > 0);
    assert_eq!(bodies(&Journal::open(folder.path()).unwrap(), 0), ["1"]);
}

#[test]
fn a_database_of_another_program_is_refused_and_stays_as_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let theirs = "CREATE TABLE losses (what TEXT); INSERT INTO losses VALUES ('theirs')";
    other(folder.path()).execute_batch(theirs).unwrap();
    for _ in 0..2 {
        let error = Journal::open(folder.path()).unwrap_err();
        assert!(matches!(&error, Error::Sqlite { .. }), "{error}");
        assert!(error.to_string().contains(journal::FILE), "{error}");
    }
    // The first of our tables was made, and is gone again.
    let other = other(folder.path());
    let names = "SELECT group_concat(name) FROM sqlite_master WHERE type = 'table'";
    let names: String = other.query_row(names, [], |row| row.get(0)).unwrap();
    let what: String = other.query_row("SELECT what FROM losses", [], |row| row.get(0)).unwrap();
    assert_eq!((names.as_str(), what.as_str(), version(&other)), ("losses", "theirs", 0));
}

#[test]
fn a_journal_of_a_later_version_is_left_to_that_version() {
    let folder = tempfile::tempdir().unwrap();
    let mut journal = Journal::open(folder.path()).unwrap();
    journal.append(&[draft("a", "1")]).unwrap();
    drop(journal);
    let other = other(folder.path());
    let known = version(&other);
    let later = format!("CREATE TABLE more (x TEXT); PRAGMA user_version = {}", known + 1);
    other.execute_batch(&later).unwrap();
    let error = Journal::open(folder.path()).unwrap_err();
    assert!(matches!(error, Error::Newer { .. }), "{error}");
    let formats = format!("has format {}, this program knows {known}", known + 1);
    assert!(error.to_string().contains(&formats), "{error}");
    let n_entries = other.query_row("SELECT count(*) FROM entries", [], |row| row.get(0));
    assert_eq!((n_entries, version(&other)), (Ok(1), known + 1));
}

#[test]
fn a_row_that_is_no_loss_is_as_if_it_were_not_there_and_is_measured_again() {
    let folder = tempfile::tempdir().unwrap();
    let mut journal = Journal::open(folder.path()).unwrap();
    let of = Measured { model: Digest([1; 32]), engine: "one" };
    let learnt = [1, 2, 3].map(|i| (Digest([i; 32]), loss(f64::from(i))));
    journal.learn(of, Block(5), &learnt).unwrap();
    let other = other(folder.path());
    let row = "SELECT losses FROM measured";
    let mut losses: Vec<u8> = other.query_row(row, [], |row| row.get(0)).unwrap();
    // The nats of the second, after its digest and all of the first.
    losses[44 + 32..][..8].copy_from_slice(&(-0.5_f64).to_le_bytes());
    // And a part of one more.
    losses.push(7);
    assert_eq!(other.execute("UPDATE measured SET losses = ?1", params![losses]).unwrap(), 1);
    let found = journal.losses(of).unwrap();
    assert_eq!(found, Losses::from_iter([learnt[0], learnt[2]]));
    journal.learn(of, Block(5), &learnt[1..2]).unwrap();
    assert_eq!(journal.losses(of).unwrap(), Losses::from_iter(learnt));
}

#[test]
fn entries_of_one_decision_are_appended_together_or_not_at_all() {
    let folder = tempfile::tempdir().unwrap();
    let mut journal = Journal::open(folder.path()).unwrap();
    let first = journal.append(&[draft("a", "1")]).unwrap();
    // A disk that fails at the second entry.
    let fails = "CREATE TRIGGER fails BEFORE INSERT ON entries WHEN NEW.kind = 'fails' \
                 BEGIN SELECT RAISE(ABORT, 'no room'); END";
    let other = other(folder.path());
    other.execute_batch(fails).unwrap();
    let error = journal.append(&[draft("a", "2"), draft("fails", "3")]).unwrap_err();
    assert!(matches!(error, Error::Sqlite { .. }), "{error}");
    assert_eq!(bodies(&journal, 0), ["1"]);
    other.execute_batch("DROP TRIGGER fails").unwrap();
    assert!(journal.append(&[draft("a", "4")]).unwrap() > first);
    assert_eq!(bodies(&journal, 0), ["1", "4"]);
}
