//! Entries, a snapshot and losses that are gone with their process: the same answers as those of
//! the tables of a file, to the entry.

use crate::{Draft, Entry, Losses, Measured, Snapshot};
use protocol::{Block, Digest, SequenceLoss};
use std::collections::BTreeMap;

/// What stands in a journal that has no file.
#[derive(Debug, Default)]
pub(crate) struct Memory {
    /// By place.
    entries: BTreeMap<u64, Entry>,
    /// Place of the last entry that was appended, whether it is still there or not.
    last: u64,
    snapshot: Option<Snapshot>,
    /// Losses by model, in the order in which they were learnt.
    losses: BTreeMap<Digest, Vec<Learnt>>,
}

/// Losses of one model that were learnt together.
#[derive(Debug)]
struct Learnt {
    engine: String,
    block: Block,
    losses: Vec<(Digest, SequenceLoss)>,
}

impl Memory {
    pub(crate) fn append(&mut self, drafts: &[Draft<'_>]) -> u64 {
        for Draft { block, kind, competition, subject, body } in drafts {
            self.last += 1;
            let entry = Entry {
                seq: self.last,
                block: *block,
                kind: (*kind).to_owned(),
                competition: (*competition).to_owned(),
                subject: (*subject).to_owned(),
                body: (*body).to_owned(),
            };
            self.entries.insert(self.last, entry);
        }
        self.last
    }

    pub(crate) fn after<E>(
        &self,
        seq: u64,
        each: impl FnMut(Entry) -> Result<(), E>,
    ) -> Result<(), E> {
        self.entries.range(seq + 1..).map(|(_, entry)| entry.clone()).try_for_each(each)
    }

    /// The entries of a kind, the newest first.
    fn of_kind(&self, kind: &str) -> impl Iterator<Item = &Entry> {
        self.entries.values().rev().filter(move |entry| entry.kind == kind)
    }

    /// Those of them that belong to a competition.
    fn of(&self, kind: &str, competition: &str) -> impl Iterator<Item = &Entry> {
        self.of_kind(kind).filter(move |entry| entry.competition == competition)
    }

    pub(crate) fn newest(&self, kind: &str, n_max: usize) -> Vec<Entry> {
        self.of_kind(kind).take(n_max).cloned().collect()
    }

    pub(crate) fn n_of(&self, kind: &str, competition: &str) -> u64 {
        self.of(kind, competition).count() as u64
    }

    pub(crate) fn nth_newest(&self, kind: &str, competition: &str, n_newer: u64) -> Option<Entry> {
        let n_newer = usize::try_from(n_newer).ok()?;
        self.of(kind, competition).nth(n_newer).cloned()
    }

    pub(crate) fn snapshot(&self) -> Option<Snapshot> {
        self.snapshot.clone()
    }

    pub(crate) fn condense(&mut self, snapshot: &Snapshot, kept: &[&str], n_kept: usize) {
        // The oldest entry of each kind that is kept, where there are more than are kept.
        let from = |kind: &&str| {
            let oldest = self.of_kind(kind).take(n_kept).last().map(|entry| entry.seq);
            ((*kind).to_owned(), oldest.unwrap_or(u64::MAX))
        };
        let from: BTreeMap<String, u64> = kept.iter().map(from).collect();
        self.entries.retain(|seq, entry| {
            *seq > snapshot.seq || from.get(&entry.kind).is_some_and(|from| seq >= from)
        });
        self.snapshot = Some(snapshot.clone());
    }

    pub(crate) fn size_bytes(&self) -> u64 {
        let of_entry = |entry: &Entry| {
            let Entry { kind, competition, subject, body, .. } = entry;
            kind.len() + competition.len() + subject.len() + body.len()
        };
        let of_losses = |learnt: &Learnt| size_of_val(learnt.losses.as_slice());
        let entries: usize = self.entries.values().map(of_entry).sum();
        let losses: usize = self.losses.values().flatten().map(of_losses).sum();
        let snapshot = self.snapshot.as_ref().map_or(0, |snapshot| snapshot.body.len());
        (entries + losses + snapshot) as u64
    }

    pub(crate) fn learn(
        &mut self,
        Measured { model, engine }: Measured<'_>,
        block: Block,
        losses: &[(Digest, SequenceLoss)],
    ) {
        if losses.is_empty() {
            return;
        }
        let (engine, losses) = (engine.to_owned(), losses.to_vec());
        self.losses.entry(model).or_default().push(Learnt { engine, block, losses });
    }

    pub(crate) fn losses(&self, Measured { model, engine }: Measured<'_>) -> Losses {
        let learnt = self.losses.get(&model).into_iter().flatten();
        let own = learnt.filter(|learnt| learnt.engine == engine);
        let mut losses = Losses::default();
        // The newest last: it stands for those of the same sequence before it.
        for learnt in own {
            losses.extend(learnt.losses.iter().copied());
        }
        losses
    }

    pub(crate) fn has_losses_of(&self, block: Block) -> bool {
        self.losses.values().flatten().any(|learnt| learnt.block == block)
    }

    pub(crate) fn forget_losses(&mut self, block: Block) {
        self.losses.retain(|_, learnt| {
            learnt.retain(|learnt| learnt.block >= block);
            !learnt.is_empty()
        });
    }
}
