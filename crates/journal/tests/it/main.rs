//! The journal on a disk: what is there after a crash, and what keeps others out.

mod crash;
mod foreign;
mod losses;
mod memory;
mod past;
mod processes;

use journal::{Draft, Entry, Error, Journal, Losses, Measured, Snapshot};
use protocol::{Block, Digest, Loss, SequenceLoss};
use std::fs;

pub(crate) fn draft<'a>(kind: &'a str, body: &'a str) -> Draft<'a> {
    Draft { block: Block(7), kind, competition: "tiny", subject: "ada", body }
}

pub(crate) fn bodies(journal: &Journal, after: u64) -> Vec<String> {
    let mut bodies = Vec::new();
    let read = journal.after(after, |entry| -> Result<(), Error> {
        bodies.push(entry.body);
        Ok(())
    });
    read.unwrap();
    bodies
}

pub(crate) fn loss(nats: f64) -> SequenceLoss {
    SequenceLoss { n_tokens: 3, cross_entropy: Loss::new(nats).unwrap() }
}

#[test]
fn entries_are_there_again_in_their_order() {
    let folder = tempfile::tempdir().unwrap();
    let mut journal = Journal::open(folder.path()).unwrap();
    assert_eq!(journal.append(&[draft("a", "1"), draft("b", "2")]).unwrap(), 2);
    assert_eq!(journal.append(&[draft("a", "3")]).unwrap(), 3);
    drop(journal);
    let journal = Journal::open(folder.path()).unwrap();
    assert_eq!(bodies(&journal, 0), ["1", "2", "3"]);
    assert_eq!(bodies(&journal, 2), ["3"]);
    let newest = journal.newest("a", 1).unwrap();
    assert_eq!((newest.len(), newest[0].seq, newest[0].body.as_str()), (1, 3, "3"));
    assert_eq!((newest[0].block, newest[0].subject.as_str()), (Block(7), "ada"));
}

#[test]
fn a_snapshot_takes_the_place_of_entries_but_for_those_worth_reading() {
    let folder = tempfile::tempdir().unwrap();
    let mut journal = Journal::open(folder.path()).unwrap();
    for i in 0..6 {
        let kind = if i % 2 == 0 { "decided" } else { "begun" };
        journal.append(&[draft(kind, &i.to_string())]).unwrap();
    }
    let snapshot = Snapshot { seq: 5, body: "state".to_owned() };
    journal.condense(&snapshot, &["decided"], 2).unwrap();
    assert_eq!(journal.snapshot().unwrap(), Some(snapshot));
    assert_eq!(bodies(&journal, 0), ["2", "4", "5"], "two decisions, and what came after");
    // A place is never given twice, even of entries that are gone.
    assert_eq!(journal.append(&[draft("begun", "6")]).unwrap(), 7);
}

#[test]
fn losses_are_kept_to_the_bit_by_model_engine_and_sequence() {
    let folder = tempfile::tempdir().unwrap();
    let mut journal = Journal::open(folder.path()).unwrap();
    let (model, other) = (Digest([1; 32]), Digest([2; 32]));
    let of = |model, engine| Measured { model, engine };
    let odd = 0.1 + 0.2;
    let learnt = [(Digest([8; 32]), loss(odd)), (Digest([9; 32]), loss(5e-324))];
    journal.learn(of(model, "one"), Block(20), &learnt).unwrap();
    journal.learn(of(model, "two"), Block(30), &learnt[..1]).unwrap();
    drop(journal);
    let mut journal = Journal::open(folder.path()).unwrap();
    assert_eq!(journal.losses(of(model, "one")).unwrap(), Losses::from_iter(learnt));
    assert_eq!(journal.losses(of(model, "two")).unwrap().len(), 1);
    assert!(journal.losses(of(other, "one")).unwrap().is_empty());
    assert!(journal.has_losses_of(Block(20)).unwrap());
    journal.forget_losses(Block(30)).unwrap();
    assert!(!journal.has_losses_of(Block(20)).unwrap());
    assert_eq!(journal.losses(of(model, "two")).unwrap().len(), 1);
}

#[test]
fn only_one_process_has_a_journal_open_and_others_may_read_it() {
    let folder = tempfile::tempdir().unwrap();
    assert!(!Journal::is_open(folder.path()));
    let mut journal = Journal::open(folder.path()).unwrap();
    assert!(Journal::is_open(folder.path()));
    journal.append(&[draft("a", "1")]).unwrap();
    let second = Journal::open(folder.path()).unwrap_err();
    assert!(matches!(&second, Error::InUse(path) if path == folder.path()), "{second}");
    let reader = rusqlite::Connection::open(folder.path().join(journal::FILE)).unwrap();
    let count = || reader.query_row("SELECT count(*) FROM entries", [], |row| row.get(0));
    assert_eq!(count(), Ok(1));
    journal.append(&[draft("a", "2")]).unwrap();
    assert_eq!(count(), Ok(2), "while it is written");
    drop(journal);
    assert!(!Journal::is_open(folder.path()), "though the lock's file stays");
    Journal::open(folder.path()).unwrap();
}

#[test]
fn a_journal_that_is_damaged_or_of_a_later_version_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let mut journal = Journal::open(folder.path()).unwrap();
    journal.append(&[draft("a", &"long ".repeat(10_000))]).unwrap();
    drop(journal);
    let path = folder.path().join(journal::FILE);
    let whole = fs::read(&path).unwrap();
    let later = rusqlite::Connection::open(&path).unwrap();
    later.execute_batch("PRAGMA user_version = 99").unwrap();
    drop(later);
    let error = Journal::open(folder.path()).unwrap_err();
    assert!(matches!(error, Error::Newer { found: 99, .. }), "{error}");
    let mut damaged = whole.clone();
    damaged[4_096..8_192].fill(0x5a);
    for bytes in [&damaged[..], &whole[..whole.len() / 2], b"no database at all, but some text"] {
        fs::write(&path, bytes).unwrap();
        let error = Journal::open(folder.path()).unwrap_err();
        assert!(matches!(error, Error::Damaged { .. }), "{error}");
    }
}

#[test]
fn any_text_is_kept_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let texts =
        ["", "a\0b", "'); DROP TABLE entries; --", "\u{feff}\u{10ffff}\r\n", "{\"a\":[null]}"];
    let mut journal = Journal::open(folder.path()).unwrap();
    for text in texts {
        let draft = Draft {
            block: Block(1 << 40),
            kind: text,
            competition: text,
            subject: text,
            body: text,
        };
        journal.append(&[draft]).unwrap();
    }
    drop(journal);
    let journal = Journal::open(folder.path()).unwrap();
    for (seq, text) in (1..).zip(texts) {
        let found = journal.newest(text, 2).unwrap();
        let [kind, competition, subject, body] = [text; 4].map(str::to_owned);
        let entry = Entry { seq, block: Block(1 << 40), kind, competition, subject, body };
        assert_eq!(found, [entry]);
    }
}

#[test]
fn condensing_keeps_only_kinds_of_exactly_the_names_that_are_kept() {
    let folder = tempfile::tempdir().unwrap();
    let mut journal = Journal::open(folder.path()).unwrap();
    for kind in ["decided", "decide", "decided-not", "begun", "de"] {
        journal.append(&[draft(kind, kind)]).unwrap();
    }
    let snapshot = |seq: u64| Snapshot { seq, body: format!("up to {seq}") };
    journal.condense(&snapshot(4), &["decided", "begun"], 1).unwrap();
    assert_eq!(bodies(&journal, 0), ["decided", "begun", "de"]);
    // Nothing is kept of a kind of which none are wanted, and one snapshot takes another's place.
    journal.condense(&snapshot(5), &["decided"], 0).unwrap();
    assert!(bodies(&journal, 0).is_empty());
    assert_eq!(journal.snapshot().unwrap(), Some(snapshot(5)));
}

#[test]
fn entries_of_a_competition_are_counted_and_found_from_the_newest_on() {
    let folder = tempfile::tempdir().unwrap();
    let mut journal = Journal::open(folder.path()).unwrap();
    for (i, competition) in ["a", "b", "a", "a"].into_iter().enumerate() {
        let body = i.to_string();
        journal.append(&[Draft { competition, ..draft("decided", &body) }]).unwrap();
    }
    journal.append(&[Draft { competition: "a", ..draft("begun", "x") }]).unwrap();
    assert_eq!(journal.n_of("decided", "a").unwrap(), 3);
    assert_eq!(journal.n_of("decided", "c").unwrap(), 0);
    let nth = |competition, n| {
        journal.nth_newest("decided", competition, n).unwrap().map(|entry| entry.body)
    };
    assert_eq!(nth("a", 0).as_deref(), Some("3"));
    assert_eq!(nth("a", 2).as_deref(), Some("0"));
    assert_eq!(nth("b", 0).as_deref(), Some("1"));
    assert_eq!((nth("a", 3), nth("c", 0)), (None, None));
}
