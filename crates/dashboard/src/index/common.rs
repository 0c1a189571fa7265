//! What validators of a round have in common: read, looked at, packed and stored once.
//!
//! Who measured the same publishes the same bytes about the models. Signature, link and all that
//! stands around the models are each record's own, and are looked at in each.

use super::{
    Error, bodies,
    ingest::losses,
    voices::{self, Voice},
};
use crate::figures::Estimate;
use protocol::{
    AccountId, Block, Record, Uid,
    record::{Judged, Measured, Models, Round},
};
use records::Signed;
use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

/// Bytes that are remembered.
const REMEMBERED_BYTES_MAX: usize = 64 << 20;
/// Most bytes of what was measured in a record that is remembered.
const PART_BYTES_MAX: usize = 8 << 20;
/// How much of them is remembered: as they are, read, and packed.
const N_COPIES: usize = 3;
/// Bytes of a document that is remembered, besides its id.
const DOCUMENT_BYTES: usize = 80;

/// How many were made: each has a number of its own.
static N_MADE: AtomicU64 = AtomicU64::new(0);

/// What records of a round have in common.
#[derive(Debug)]
pub(crate) struct Common {
    pub(super) number: u64,
    /// A record without its models, and without what may be one validator's alone.
    frame: Record,
    /// What was measured, as it was published.
    part: Vec<u8>,
    /// The same as it was read, by the first that wants it; `None` where it cannot be read.
    measured: OnceLock<Option<Measured>>,
    /// Whether somebody makes what is made of it.
    is_claimed: AtomicBool,
    /// What is made of it; `None` where it cannot be packed.
    made: OnceLock<Option<Made>>,
    /// Whether its verdict was derived, by rules by which it follows from the round alone.
    is_derived: AtomicBool,
}

/// What is made of the models of a record.
#[derive(Debug)]
pub(super) struct Made {
    pub(super) n_bytes: usize,
    pub(super) packed: Vec<u8>,
    pub(super) voice: Voice,
    pub(super) voices: Vec<u8>,
    pub(super) gap: Option<Estimate>,
}

impl Made {
    fn of(frame: &Record, part: &[u8], models: &[Judged]) -> Result<Self, Error> {
        let batches = &frame.round.batches;
        Ok(Self {
            n_bytes: part.len(),
            packed: bodies::packed(part)?,
            voice: voices::of_record(batches, models),
            voices: voices::packed(batches, models),
            gap: gap(frame.champion, models),
        })
    }
}

/// By how much the loss of the best of the others is higher than the champion's, on the documents
/// that both were measured on.
fn gap(champion: Option<Uid>, models: &[Judged]) -> Option<Estimate> {
    let champion = models.iter().find(|judged| Some(judged.model.uid) == champion)?;
    let own = losses(&champion.model);
    let loss = |judged: &&Judged| {
        Estimate::of_losses(losses(&judged.model)).map_or(f64::INFINITY, |estimate| estimate.mean)
    };
    let rivals = models.iter().filter(|judged| judged.model.uid != champion.model.uid);
    let second = rivals.min_by(|a, b| loss(a).total_cmp(&loss(b)))?;
    Estimate::of_gains(losses(&second.model), own)
}

/// A record without its models, and without what may be one validator's alone: who it is, what it
/// measured with, and what its records before say.
fn frame(record: &Record) -> Record {
    let (number, previous, engine) = (0, None, String::new());
    let validator = AccountId([0; 32]);
    let round = Round { validator, number, previous, engine, ..record.round.clone() };
    let Record { format, champion, crown, .. } = *record;
    let (models, skipped, averages) = (Models::default(), Vec::new(), Vec::new());
    Record { format, round, models, skipped, averages, champion, crown }
}

impl Common {
    fn new(frame: Record, part: Vec<u8>) -> Self {
        Self {
            number: N_MADE.fetch_add(1, Ordering::Relaxed),
            frame,
            part,
            measured: OnceLock::new(),
            is_claimed: AtomicBool::new(false),
            made: OnceLock::new(),
            is_derived: AtomicBool::new(false),
        }
    }

    /// What no other record is known to have in common with this one.
    pub(super) fn alone(signed: &Signed) -> Self {
        let common = Self::new(frame(&signed.record), Vec::new());
        let made = Made::of(&common.frame, signed.measured(), &signed.record.models);
        Self { made: OnceLock::from(made.ok()), ..common }
    }

    fn is_of(&self, frame: &Record, part: &[u8]) -> bool {
        self.frame.round.block == frame.round.block && self.part == part && self.frame == *frame
    }

    /// Whether a record was read from it, and nothing of what was measured was changed since.
    fn is_behind(&self, record: &Record) -> bool {
        let read = self.measured.get().and_then(Option::as_ref);
        let is_same = |read: &Measured| {
            read.models.is_shared_with(&record.models) && read.skipped == record.skipped
        };
        read.is_some_and(is_same)
    }

    /// What was measured: whoever asks while another reads it waits.
    fn measured(&self) -> Option<&Measured> {
        self.measured.get_or_init(|| Measured::read(&self.frame, &self.part)).as_ref()
    }

    /// Bytes that it takes, with what is made of it.
    fn n_bytes(&self) -> usize {
        let documents = self.frame.round.documents.iter();
        let documents: usize = documents.map(|drawn| drawn.id.len() + DOCUMENT_BYTES).sum();
        size_of::<Self>() + documents + N_COPIES * self.part.len()
    }

    /// What is made of it, now or before.
    pub(super) fn made(&self) -> Result<&Made, Error> {
        let make = || Made::of(&self.frame, &self.part, &self.measured()?.models).ok();
        self.made.get_or_init(make).as_ref().ok_or(Error::Damaged("a record"))
    }

    /// Makes what is made of it, unless somebody else does; whether it did.
    pub(super) fn make(&self) -> bool {
        let is_mine = !self.is_claimed.swap(true, Ordering::Relaxed);
        if is_mine {
            // Whoever wants it hears whether it failed.
            let _ = self.made();
        }
        is_mine
    }

    /// Whether its verdict is known to follow from the round.
    pub(crate) fn is_derived(&self) -> bool {
        self.is_derived.load(Ordering::Relaxed)
    }

    /// Notes that its verdict follows from the round, and from nothing else.
    pub(crate) fn note_derived(&self) {
        self.is_derived.store(true, Ordering::Relaxed);
    }
}

/// What records that were read last have in common: bounded, and of no weight in what is believed.
#[derive(Debug, Default)]
pub(crate) struct Recall(Mutex<Remembered>);

#[derive(Debug, Default)]
struct Remembered {
    /// That which was asked for last comes last.
    all: VecDeque<Arc<Common>>,
    n_bytes: usize,
}

impl Recall {
    fn lock(&self) -> MutexGuard<'_, Remembered> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What was measured in a record, of which `rest` is all else: a
    /// [`protocol::record::ReadMeasured`].
    pub(crate) fn read(&self, rest: &Record, part: &[u8]) -> Option<Measured> {
        if part.len() > PART_BYTES_MAX {
            return Measured::read(rest, part);
        }
        let frame = frame(rest);
        let known = self.known(&frame, part);
        let common = known.unwrap_or_else(|| self.remember(Common::new(frame, part.to_vec())));
        let measured = common.measured().cloned();
        if measured.is_none() {
            // It would only push out what others have.
            self.lock().forget(&common);
        }
        measured
    }

    /// What a record has in common with others; `None` where it is too large to be remembered.
    pub(crate) fn of(&self, signed: &Signed) -> Option<Arc<Common>> {
        let (frame, part) = (frame(&signed.record), signed.measured());
        if part.len() > PART_BYTES_MAX {
            return None;
        }
        // Most were just read from it: nothing large is compared.
        let is_it =
            |common: &Arc<Common>| common.is_behind(&signed.record) && common.frame == frame;
        let known = self.near(frame.round.block).into_iter().find(is_it);
        let known = known.or_else(|| self.known(&frame, part));
        Some(known.unwrap_or_else(|| self.remember(Common::new(frame, part.to_vec()))))
    }

    /// What is remembered of a block.
    fn near(&self, block: Block) -> Vec<Arc<Common>> {
        let is_near = |common: &&Arc<Common>| common.frame.round.block == block;
        self.lock().all.iter().filter(is_near).cloned().collect()
    }

    fn known(&self, frame: &Record, part: &[u8]) -> Option<Arc<Common>> {
        // Large parts are compared while others read theirs.
        let mut near = self.near(frame.round.block).into_iter();
        let known = near.find(|common| common.is_of(frame, part))?;
        self.lock().renew(&known);
        Some(known)
    }

    /// Remembers it, unless somebody was quicker; whatever is remembered.
    fn remember(&self, common: Common) -> Arc<Common> {
        let mut remembered = self.lock();
        let is_same = |other: &&Arc<Common>| other.is_of(&common.frame, &common.part);
        if let Some(known) = remembered.all.iter().find(is_same) {
            return Arc::clone(known);
        }
        let common = Arc::new(common);
        remembered.n_bytes += common.n_bytes();
        remembered.all.push_back(Arc::clone(&common));
        while remembered.n_bytes > REMEMBERED_BYTES_MAX {
            let Some(oldest) = remembered.all.pop_front() else { break };
            remembered.n_bytes -= oldest.n_bytes();
        }
        common
    }
}

impl Remembered {
    fn remove(&mut self, known: &Arc<Common>) -> Option<Arc<Common>> {
        let at = self.all.iter().position(|common| Arc::ptr_eq(common, known))?;
        self.all.remove(at)
    }

    /// Lets what was asked for be forgotten last.
    fn renew(&mut self, known: &Arc<Common>) {
        let known = self.remove(known);
        self.all.extend(known);
    }

    fn forget(&mut self, known: &Arc<Common>) {
        if let Some(common) = self.remove(known) {
            self.n_bytes -= common.n_bytes();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Something measured at a block, of a mebibyte.
    fn common(block: u64) -> Common {
        let json = include_bytes!("../../../../testdata/scoring/record.json").trim_ascii_end();
        let mut frame = frame(&Record::from_json(json).unwrap());
        frame.round.block = Block(block);
        Common::new(frame, vec![0; 1 << 20])
    }

    #[test]
    fn what_is_remembered_is_bounded_and_what_is_asked_for_stays() {
        let recall = Recall::default();
        let known = |block: u64| {
            let Common { frame, part, .. } = common(block);
            recall.known(&frame, &part)
        };
        let first = recall.remember(common(0));
        for block in 1..=100 {
            recall.remember(common(block));
            assert!(Arc::ptr_eq(&known(0).unwrap(), &first), "at {block}");
            assert!(recall.lock().n_bytes <= REMEMBERED_BYTES_MAX);
        }
        assert!(known(1).is_none() && known(100).is_some());
        let again = recall.remember(common(100));
        assert!(Arc::ptr_eq(&known(100).unwrap(), &again), "each is there once");
        let all = recall.lock().all.len();
        assert!((15..=REMEMBERED_BYTES_MAX >> 20).contains(&all), "{all}");
    }

    #[test]
    fn what_many_have_in_common_is_read_once_and_found_again() {
        let json = include_bytes!("../../../../testdata/scoring/record.json").trim_ascii_end();
        let key = keys::Keypair::from_seed(protocol::Seed::of_number(1));
        let bytes = Signed::sign(Record::from_json(json).unwrap(), &key).published();
        let recall = Recall::default();
        let read = || Signed::from_parts(&bytes, &|rest, part| recall.read(rest, part)).unwrap();
        // Whoever comes while another reads it waits for that one.
        let all: Vec<Signed> = std::thread::scope(|scope| {
            let readers: Vec<_> = (0..4).map(|_| scope.spawn(read)).collect();
            readers.into_iter().map(|reader| reader.join().unwrap()).collect()
        });
        let common = recall.of(&all[0]).unwrap();
        for signed in &all {
            assert_eq!(signed.published(), bytes);
            assert!(signed.record.models.is_shared_with(&all[0].record.models), "read again");
            assert!(Arc::ptr_eq(&recall.of(signed).unwrap(), &common));
        }
        // What was changed since is not taken for what was read.
        let mut changed = all[0].clone();
        changed.record.models.pop().unwrap();
        assert!(!common.is_behind(&changed.record));
        assert_eq!(recall.lock().all.len(), 1);
    }

    #[test]
    fn attack_what_cannot_be_read_is_refused_each_time() {
        let json = include_bytes!("../../../../testdata/scoring/record.json").trim_ascii_end();
        let record = Record::from_json(json).unwrap();
        let recall = Recall::default();
        for _ in 0..2 {
            assert_eq!(recall.read(&record, br#""models":[ ]"#), None);
            assert!(recall.lock().all.is_empty() && recall.lock().n_bytes == 0);
        }
        assert!(recall.read(&record, br#""models":[]"#).is_some());
    }

    #[test]
    fn what_other_rounds_or_bytes_have_is_not_in_common() {
        let recall = Recall::default();
        let Common { frame, part, .. } = common(7);
        recall.remember(common(7));
        assert!(recall.known(&frame, &part).is_some());
        assert!(recall.known(&frame, &part[1..]).is_none());
        let mut other = frame.clone();
        other.champion = None;
        assert!(frame.champion.is_some() && recall.known(&other, &part).is_none());
        let mut other = frame;
        other.round.batches.0[0] ^= 1;
        assert!(recall.known(&other, &part).is_none());
    }
}
