//! State as what follows from the entries of a journal, and nothing else.

use crate::{Draft, Error, Journal, Snapshot};
use protocol::Block;
use serde::{Serialize, de::DeserializeOwned};
use std::mem;

/// Entries after which the state is written down whole, so that a start reads no more than these.
const SNAPSHOT_ENTRIES: u64 = 256;

/// One kind of thing that can happen at a service.
pub trait Happened: Serialize + DeserializeOwned {
    /// Kinds whose newest entries stay in the journal when the state has them, and how many of
    /// each.
    const KEPT: (&'static [&'static str], usize);

    /// What kind of thing it is.
    fn kind(&self) -> &'static str;

    /// Name of the competition that it belongs to; empty where it belongs to none.
    fn competition(&self) -> &str {
        ""
    }

    /// Of whom or what it is, such as a hotkey; empty where it is of none.
    fn subject(&self) -> String {
        String::new()
    }
}

/// What follows from entries.
pub trait Follows: Default + Serialize + DeserializeOwned {
    /// What can happen.
    type Entry: Happened;

    /// Takes in what happened.
    ///
    /// # Errors
    ///
    /// An entry that does not follow or cannot be understood, in words; the state is as before.
    fn apply(&mut self, entry: &Self::Entry) -> Result<(), String>;
}

/// What a service knows of the past, and where it is kept.
#[derive(Debug)]
pub struct Past<S> {
    journal: Journal,
    state: S,
    /// Place of the last entry in the state.
    seq: u64,
    /// Place of the last entry in the snapshot.
    snapshot: u64,
    /// Whether the state has an entry that could not be written.
    is_ahead: bool,
    /// Room for the JSON of what is written: entries have records in them, and each would grow room
    /// of its own.
    room: Vec<u8>,
}

impl<S: Follows> Past<S> {
    /// Goes on from what stands in the journal.
    pub fn open(journal: Journal) -> Result<Self, Error> {
        let (state, seq) = match journal.snapshot()? {
            Some(Snapshot { seq, body }) => {
                let state = serde_json::from_str(&body);
                (state.map_err(|error| journal.unreadable("its snapshot", error))?, seq)
            }
            None => (S::default(), 0),
        };
        let (is_ahead, room) = (false, Vec::new());
        let mut past = Self { journal, state, seq, snapshot: seq, is_ahead, room };
        // The snapshot says how far it goes; what is in it must not be applied twice.
        let mut seq = past.seq;
        let (journal, state) = (&past.journal, &mut past.state);
        journal.after(past.seq, |entry| {
            seq = entry.seq;
            let happened: S::Entry = journal.read(&entry)?;
            state.apply(&happened).map_err(|error| journal.unreadable(&name(seq), error))
        })?;
        past.seq = seq;
        Ok(past)
    }

    /// What is known.
    pub fn state(&self) -> &S {
        &self.state
    }

    /// Whether nothing has happened yet.
    pub fn is_empty(&self) -> bool {
        self.seq == 0
    }

    /// The journal, for what is kept beside the state.
    pub fn journal(&self) -> &Journal {
        &self.journal
    }

    /// The same, to write what is kept beside the state.
    pub fn journal_mut(&mut self) -> &mut Journal {
        &mut self.journal
    }

    /// Gives the journal back.
    pub fn into_journal(self) -> Journal {
        self.journal
    }

    /// Takes in what happened at a block; when this returns it is on disk.
    ///
    /// # Errors
    ///
    /// An entry that does not follow, of which nothing is kept; or a disk that cannot be written:
    /// from then on nothing more is taken in, since nobody may act on what a crash would undo.
    pub fn learn(&mut self, entry: &S::Entry, block: Block) -> Result<(), Error> {
        if self.is_ahead {
            return Err(Error::Ahead(self.journal.path().to_owned()));
        }
        let body = written(&self.journal, mem::take(&mut self.room), entry)?;
        // First: what cannot be understood must not reach the disk, where it would be read for
        // ever.
        let applied = self.state.apply(entry);
        applied.map_err(|error| self.journal.unreadable(entry.kind(), error))?;
        self.is_ahead = true;
        let subject = entry.subject();
        let (kind, competition) = (entry.kind(), entry.competition());
        let draft = Draft { block, kind, competition, subject: &subject, body: &body };
        self.seq = self.journal.append(&[draft])?;
        self.is_ahead = false;
        self.room = body.into_bytes();
        // The entries stay until the snapshot stands for them, both in one transaction.
        if self.seq >= self.snapshot + SNAPSHOT_ENTRIES {
            let body = written(&self.journal, Vec::new(), &self.state)?;
            let snapshot = Snapshot { seq: self.seq, body };
            let (kinds, n_kept) = S::Entry::KEPT;
            self.journal.condense(&snapshot, kinds, n_kept)?;
            self.snapshot = self.seq;
        }
        Ok(())
    }

    /// The newest entries of a kind that is kept, the oldest first, at most `n_max` of them.
    pub fn newest(&self, kind: &str, n_max: usize) -> Result<Vec<S::Entry>, Error> {
        let entries = self.journal.newest(kind, n_max)?;
        entries.iter().rev().map(|entry| self.journal.read(entry)).collect()
    }

    /// The entry of a kind that is kept, of a competition, that so many newer ones follow.
    pub fn nth_newest(
        &self,
        kind: &str,
        competition: &str,
        n_newer: u64,
    ) -> Result<Option<S::Entry>, Error> {
        let entry = self.journal.nth_newest(kind, competition, n_newer)?;
        entry.map(|entry| self.journal.read(&entry)).transpose()
    }
}

/// The JSON of a value, written into `room` instead of what is there.
fn written(journal: &Journal, mut room: Vec<u8>, value: &impl Serialize) -> Result<String, Error> {
    room.clear();
    serde_json::to_writer(&mut room, value).map_err(|error| journal.unreadable("JSON", error))?;
    String::from_utf8(room).map_err(|error| journal.unreadable("JSON", error))
}

fn name(seq: u64) -> String {
    format!("entry {seq}")
}

impl Journal {
    fn read<E: Happened>(&self, entry: &crate::Entry) -> Result<E, Error> {
        let read = serde_json::from_str(&entry.body);
        read.map_err(|error| self.unreadable(&name(entry.seq), error))
    }

    fn unreadable(&self, what: &str, detail: impl std::fmt::Display) -> Error {
        let (path, what) = (self.path().to_owned(), what.to_owned());
        Error::Foreign { path, what, detail: detail.to_string() }
    }
}
