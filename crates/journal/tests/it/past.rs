//! State as what follows from entries, whenever its process ends.

use journal::{
    Error, Journal, Past,
    past::{Follows, Happened},
};
use protocol::{Block, Seed, seed::uniform_below};
use serde::{Deserialize, Serialize};
use std::path::Path;

/// What happens to an account.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Entry {
    Paid { amount: u64 },
    Drawn { amount: u64 },
    Noted(String),
}

impl Happened for Entry {
    const KEPT: (&'static [&'static str], usize) = (&["noted"], 3);

    fn kind(&self) -> &'static str {
        match self {
            Self::Paid { .. } => "paid",
            Self::Drawn { .. } => "drawn",
            Self::Noted(_) => "noted",
        }
    }
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Account {
    balance: u64,
    n_entries: u64,
}

impl Follows for Account {
    type Entry = Entry;

    fn apply(&mut self, entry: &Entry) -> Result<(), String> {
        match entry {
            Entry::Paid { amount } => self.balance += amount,
            Entry::Drawn { amount } => {
                self.balance = self.balance.checked_sub(*amount).ok_or("more than there is")?;
            }
            Entry::Noted(_) => {}
        }
        self.n_entries += 1;
        Ok(())
    }
}

fn open(folder: &Path) -> Past<Account> {
    Past::open(Journal::open(folder).unwrap()).unwrap()
}

/// The `i`-th thing that happens.
fn entry(i: u64) -> Entry {
    match i % 4 {
        0 | 1 => Entry::Paid { amount: 3 * i },
        2 => Entry::Drawn { amount: i },
        _ => Entry::Noted(i.to_string()),
    }
}

#[test]
fn the_state_is_the_same_whenever_its_process_ends() {
    let mut whole = Account::default();
    let folder = tempfile::tempdir().unwrap();
    let mut past = open(folder.path());
    assert!(past.is_empty());
    // Past several snapshots, with an end after almost every entry.
    for i in 0..700 {
        whole.apply(&entry(i)).unwrap();
        past.learn(&entry(i), Block(i)).unwrap();
        if i % 3 != 0 {
            drop(past);
            past = open(folder.path());
        }
        assert_eq!(past.state(), &whole, "after {i}");
    }
    assert!(!past.is_empty());
    let size_bytes = past.journal().size_bytes().unwrap();
    assert!(size_bytes < 200_000, "entries go with the snapshot: {size_bytes}");
}

#[test]
fn entries_worth_reading_stay_beyond_the_snapshot_the_oldest_first() {
    let folder = tempfile::tempdir().unwrap();
    let mut past = open(folder.path());
    for i in 0..600 {
        past.learn(&entry(i), Block(i)).unwrap();
    }
    let newest = past.newest("noted", 2).unwrap();
    assert_eq!(newest, [Entry::Noted("595".to_owned()), Entry::Noted("599".to_owned())]);
    // Three of those in the snapshot, and all since: the snapshot was taken after 512 entries.
    assert_eq!(past.newest("noted", 1_000).unwrap().len(), 3 + (599 - 511) / 4);
}

#[test]
fn what_this_program_does_not_understand_is_said_and_nothing_follows_from_it() {
    let folder = tempfile::tempdir().unwrap();
    let mut past = open(folder.path());
    past.learn(&Entry::Paid { amount: 5 }, Block(1)).unwrap();
    let error = past.learn(&Entry::Drawn { amount: 6 }, Block(2)).unwrap_err();
    assert!(error.to_string().contains("more than there is"), "{error}");
    assert_eq!(past.state().balance, 5);
    // It is not on disk either: whoever comes next is not stopped by it.
    drop(past);
    let mut past = open(folder.path());
    assert_eq!(past.state().balance, 5);
    past.learn(&Entry::Drawn { amount: 5 }, Block(3)).unwrap();
    drop(past);

    let folder = tempfile::tempdir().unwrap();
    let mut journal = Journal::open(folder.path()).unwrap();
    journal.append(&[crate::draft("stolen", "{\"stolen\":{\"amount\":5}}")]).unwrap();
    drop(journal);
    let error = Past::<Account>::open(Journal::open(folder.path()).unwrap()).unwrap_err();
    assert!(matches!(error, Error::Foreign { .. }), "{error}");
    assert!(error.to_string().contains("another version"), "{error}");
    let snapshot = journal::Snapshot { seq: 1, body: "[]".to_owned() };
    let mut journal = Journal::open(folder.path()).unwrap();
    journal.condense(&snapshot, &[], 0).unwrap();
    drop(journal);
    let error = Past::<Account>::open(Journal::open(folder.path()).unwrap()).unwrap_err();
    assert!(error.to_string().contains("its snapshot"), "{error}");
}

#[test]
fn a_disk_that_fails_ends_what_can_be_learnt_and_loses_nothing_before_it() {
    let folder = tempfile::tempdir().unwrap();
    let mut past = open(folder.path());
    past.learn(&Entry::Paid { amount: 5 }, Block(1)).unwrap();
    // Somebody takes the table away: no entry can be written any more.
    let other = rusqlite::Connection::open(folder.path().join(journal::FILE)).unwrap();
    other.execute_batch("ALTER TABLE entries RENAME TO gone").unwrap();
    past.learn(&Entry::Paid { amount: 6 }, Block(2)).unwrap_err();
    other.execute_batch("ALTER TABLE gone RENAME TO entries").unwrap();
    let error = past.learn(&Entry::Paid { amount: 7 }, Block(3)).unwrap_err();
    assert!(matches!(error, Error::Ahead(_)), "{error}");
    drop((past, other));
    assert_eq!(open(folder.path()).state(), &Account { balance: 5, n_entries: 1 });
}

#[test]
fn any_sequence_of_entries_gives_one_state_whenever_it_is_opened_again() {
    for seed in 0..20 {
        let mut stream = Seed::of_number(seed).stream();
        let mut below = |bound: u64| uniform_below(&mut stream, bound);
        let mut past = Past::<Account>::open(Journal::memory()).unwrap();
        let (mut expected, mut notes) = (Account::default(), Vec::new());
        for step in 0..700 {
            // More is drawn than there is, now and then: that is refused, and leaves no trace.
            let entry = match below(4) {
                0 => Entry::Paid { amount: below(100) },
                1 | 2 => Entry::Drawn { amount: below(60) },
                _ => Entry::Noted(step.to_string()),
            };
            let is_refused = expected.apply(&entry).is_err();
            let learnt = past.learn(&entry, Block(step));
            assert_eq!(learnt.is_err(), is_refused, "seed {seed}, step {step}: {learnt:?}");
            if matches!(entry, Entry::Noted(_)) {
                notes.push(entry);
            }
            if below(20) == 0 {
                past = Past::open(past.into_journal()).unwrap();
            }
            assert_eq!(past.state(), &expected, "seed {seed}, step {step}");
        }
        let (newest, last) = (past.newest("noted", 3).unwrap(), &notes[notes.len() - 3..]);
        assert_eq!(newest, last, "seed {seed}");
        assert!(expected.n_entries > 300 && expected.n_entries < 700, "seed {seed}: {expected:?}");
    }
}
