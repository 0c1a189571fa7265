//! Records and chain into the index, on a thread of its own.
//!
//! Nothing is believed: each record has to be signed, to follow the one before it, to be of the
//! chain that is read, and to say what the rules make of its losses. The first of a validator that
//! is not ends what is believed of it in that competition, and is tried again: what was a fault of
//! a copy heals.

use crate::{
    clock::Clock,
    index::{self, Checked, Index, Progress},
};
use chain::Chain;
use protocol::{
    Block, BlockHash, Competition, Digest, NetUid,
    record::{Finding, Judged, verify_chain, verify_duels},
};
use records::{Broken, Links, Records, Signed, Source};
use std::{
    collections::BTreeMap,
    num::NonZero,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

/// Most records that are taken in at once.
const LOT_MAX: usize = 32;
/// Losses after which no more records come into a lot: they are held in memory.
const LOT_LOSSES_MAX: usize = 200_000;
/// Most places that are read at a time: each holds a lot in memory.
const WORKERS_MAX: usize = 8;
/// Blocks before the newest whose hashes are asked for: older ones many nodes have no more.
const HASHES_MAX: u64 = 256;
/// Most bytes of what is told of a trouble.
const TROUBLE_LETTERS_MAX: usize = 300;

/// Where signed records of a validator lie.
pub struct Place {
    /// What people call it: a folder, or a repo.
    pub name: String,
    /// What lies there.
    pub source: Box<dyn Source + Send>,
}

/// Rules of competitions by their digests.
#[derive(Clone, Debug, Default)]
pub struct Rules(BTreeMap<Digest, Competition>);

impl Rules {
    /// Those of these versions of competitions.
    pub fn new(versions: Vec<Competition>) -> Self {
        Self(versions.into_iter().map(|rules| (rules.digest(), rules)).collect())
    }

    /// The rules of a digest, if they are known.
    pub fn of(&self, digest: Digest) -> Option<&Competition> {
        self.0.get(&digest)
    }

    /// All of a name, oldest first.
    pub fn versions<'a>(&'a self, name: &'a str) -> Vec<&'a Competition> {
        let mut found: Vec<_> = self.0.values().filter(|rules| rules.name == name).collect();
        found.sort_by_key(|rules| rules.from_block);
        found
    }
}

/// What does not work at the moment, by where; pages say it.
#[derive(Debug, Default)]
pub struct Troubles(Mutex<BTreeMap<String, String>>);

impl Troubles {
    fn note(&self, place: &str, trouble: Option<String>) {
        match trouble {
            Some(trouble) => {
                let shown = protocol::text::shown(&trouble, TROUBLE_LETTERS_MAX);
                held(&self.0).insert(place.to_owned(), shown);
            }
            None => {
                held(&self.0).remove(place);
            }
        }
    }

    /// Notes what is wrong with the index, or that nothing is.
    pub fn of_index(&self, trouble: Option<String>) {
        self.note("index", trouble);
    }

    /// All of them, in order of where.
    pub fn all(&self) -> Vec<(String, String)> {
        held(&self.0).iter().map(|(place, what)| (place.clone(), what.clone())).collect()
    }
}

/// A round that is new in the index.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct News {
    /// Competition of the round.
    pub competition: String,
    /// Number of the record.
    pub number: u64,
    /// Block that seeded it.
    pub block: u64,
    /// Who judged.
    pub validator: String,
}

/// Whether to end early.
pub type Stop<'a> = &'a (dyn Fn() -> bool + Sync);
/// Hears of each round.
pub type Tell<'a> = &'a (dyn Fn(News) + Sync);

/// Whatever reads records and chain.
pub struct Reader {
    index: Mutex<Index>,
    rules: Arc<Rules>,
    chain: Option<Arc<dyn Chain>>,
    netuid: NetUid,
    places: Vec<Mutex<Place>>,
    troubles: Arc<Troubles>,
    clock: Arc<Clock>,
    genesis: Option<BlockHash>,
}

impl Reader {
    /// Reads into `index`, by `rules`; without a chain, records of any are taken.
    pub fn new(index: Index, rules: Arc<Rules>, places: Vec<Place>) -> Self {
        let (troubles, clock) = (Arc::default(), Arc::default());
        let netuid = NetUid::default();
        let (index, places) = (Mutex::new(index), places.into_iter().map(Mutex::new).collect());
        Self { index, rules, chain: None, netuid, places, troubles, clock, genesis: None }
    }

    /// The same beside a subnet of a chain.
    pub fn beside(self, chain: Arc<dyn Chain>, netuid: NetUid) -> Self {
        Self { chain: Some(chain), netuid, ..self }
    }

    /// What does not work at the moment.
    pub fn troubles(&self) -> Arc<Troubles> {
        Arc::clone(&self.troubles)
    }

    /// When blocks were.
    pub fn clock(&self) -> Arc<Clock> {
        Arc::clone(&self.clock)
    }

    /// Reads whatever is new, several places at a time, of each a lot at a time; `tell` hears of
    /// each round. Ends early once `stop` says so. An error is one of the index: all else is a
    /// trouble that passes.
    pub fn read(&mut self, stop: Stop<'_>, tell: Tell<'_>) -> Result<(), index::Error> {
        let trouble = match self.read_chain() {
            Ok(()) => None,
            Err(Trouble::Chain(error)) => Some(error.to_string()),
            Err(Trouble::Index(error)) => return Err(error),
        };
        self.troubles.note("chain", trouble);
        let (reader, next) = (&*self, AtomicUsize::new(0));
        let work = || -> Result<(), index::Error> {
            while let Some(place) = reader.places.get(next.fetch_add(1, Ordering::Relaxed)) {
                if stop() {
                    break;
                }
                reader.read_place(&held(place), stop, tell)?;
            }
            Ok(())
        };
        let n_cores = thread::available_parallelism().map_or(1, NonZero::get);
        let n_workers = n_cores.min(WORKERS_MAX).min(reader.places.len());
        if n_workers <= 1 {
            return work();
        }
        thread::scope(|scope| {
            let workers: Vec<_> = (0..n_workers).map(|_| scope.spawn(&work)).collect();
            let ends = workers.into_iter().map(|worker| match worker.join() {
                Ok(end) => end,
                Err(panic) => std::panic::resume_unwind(panic),
            });
            ends.collect()
        })
    }

    /// Reads what is new in one place.
    fn read_place(
        &self,
        place: &Place,
        stop: Stop<'_>,
        tell: Tell<'_>,
    ) -> Result<(), index::Error> {
        let index = match place.source.index() {
            Ok(Some(index)) => index,
            Ok(None) => {
                let trouble = "no records are there yet".to_owned();
                self.troubles.note(&place.name, Some(trouble));
                return Ok(());
            }
            Err(error) => {
                self.troubles.note(&place.name, Some(error.to_string()));
                return Ok(());
            }
        };
        self.troubles.note(&place.name, None);
        for competition in index.competitions.keys() {
            self.read_competition((place, &index), competition, stop, tell)?;
        }
        Ok(())
    }

    /// Notes the head of the chain, and the subnet as it is once an epoch.
    fn read_chain(&mut self) -> Result<(), Trouble> {
        let Some(chain) = self.chain.clone() else { return Ok(()) };
        self.clock.see(chain.head()?.block);
        if self.genesis.is_none() {
            self.genesis = chain.block_hash(Block(0))?;
        }
        let metagraph = chain.metagraph(self.netuid)?;
        // Between two epochs only the weights change; they are looked at every so many blocks.
        let every = (metagraph.tempo / 4).clamp(1, 100);
        let mut index = held(&self.index);
        let noted = index.newest_metagraph()?;
        if noted.is_none_or(|noted| metagraph.block.since(noted) >= every) {
            index.note_metagraph(&metagraph)?;
        }
        Ok(())
    }

    /// Reads what is new of a competition of one place.
    fn read_competition(
        &self,
        (place, known): (&Place, &records::Index),
        competition: &str,
        stop: Stop<'_>,
        tell: Tell<'_>,
    ) -> Result<(), index::Error> {
        let (name, validator) = (place.name.as_str(), known.validator);
        let mut progress = held(&self.index).progress(validator, competition)?;
        loop {
            let (lot, flaw) = self.next_lot((place, known), competition, &mut progress);
            held(&self.index).take_in(&lot, &progress.reign, name)?;
            for checked in &lot {
                tell(News::of(checked));
            }
            let number = progress.n_records().saturating_add(1);
            match flaw {
                Some(Flaw::False(what)) => {
                    let shown = protocol::text::shown(&what, TROUBLE_LETTERS_MAX);
                    let flaw = (number, shown.as_str());
                    return held(&self.index).note_flaw(validator, competition, flaw, name);
                }
                Some(Flaw::Trouble(what)) => {
                    self.troubles.note(name, Some(what));
                    return Ok(());
                }
                Some(Flaw::Index(error)) => return Err(error),
                None if lot.is_empty() => {
                    return held(&self.index).note_no_flaw(validator, competition, name);
                }
                None if stop() => return Ok(()),
                None => {}
            }
        }
    }

    /// The next records that are true, and what is wrong with the one after them.
    fn next_lot(
        &self,
        (place, known): (&Place, &records::Index),
        competition: &str,
        progress: &mut Progress,
    ) -> (Vec<Checked>, Option<Flaw>) {
        let (mut lot, mut n_losses) = (Vec::new(), 0);
        let source: &dyn Source = &*place.source;
        let from = progress.n_records().saturating_add(1);
        for read in Records::new(source, known, competition, from..=u64::MAX).take(LOT_MAX) {
            let signed = match read {
                Ok(signed) => signed,
                Err(error @ (records::Error::Io { .. } | records::Error::Missing(_))) => {
                    return (lot, Some(Flaw::Trouble(error.to_string())));
                }
                Err(error) => return (lot, Some(Flaw::False(error.to_string()))),
            };
            // Those of a lot follow each other: so they were read. The first must follow what was
            // taken in before it.
            let first = lot.is_empty().then(|| follows(progress.last.as_ref(), &signed));
            if let Some(Err(broken)) = first {
                return (lot, Some(Flaw::False(broken.to_string())));
            }
            let checked = self
                .check(&signed, progress)
                .and_then(|is_derived| Checked::new(signed, is_derived).map_err(Flaw::Index));
            match checked {
                Err(flaw) => return (lot, Some(flaw)),
                Ok(checked) => {
                    progress.reign.follow(&checked.signed.record);
                    progress.last = Some(checked.signed.clone());
                    n_losses += losses_in(&checked.signed);
                    lot.push(checked);
                }
            }
            if n_losses > LOT_LOSSES_MAX {
                break;
            }
        }
        (lot, None)
    }

    /// Whether a record is of this chain and follows from its rules; false where those are not
    /// known.
    fn check(&self, signed: &Signed, progress: &Progress) -> Result<bool, Flaw> {
        let (record, round) = (&signed.record, &signed.record.round);
        if self.genesis.is_some_and(|genesis| genesis != round.genesis) {
            return Err(Flaw::False("it is of another chain".to_owned()));
        }
        if self.chain.is_some() && round.netuid != self.netuid {
            let netuid = round.netuid;
            return Err(Flaw::False(format!("it is of another subnet: {netuid}")));
        }
        self.check_seed(round.block, round.block_hash)?;
        let Some(rules) = self.rules.of(round.competition_digest) else { return Ok(false) };
        let last = progress.last.as_ref().map(|last| &last.record);
        verify_duels(record, rules, &progress.reign)
            .and_then(|()| verify_chain(record, last, rules))
            .map_err(|mismatch| Flaw::False(mismatch.to_string()))?;
        Ok(true)
    }

    /// Whether the chain has this hash at this block, as far as it still tells.
    fn check_seed(&self, block: Block, hash: BlockHash) -> Result<(), Flaw> {
        let (Some(chain), Some(head)) = (&self.chain, self.clock.head()) else { return Ok(()) };
        if head.since(block) >= HASHES_MAX {
            return Ok(());
        }
        match chain.block_hash(block) {
            Ok(Some(found)) if found != hash => {
                Err(Flaw::False(format!("the chain has another hash at block {block}")))
            }
            Ok(None) => Err(Flaw::Trouble(format!("the chain has no block {block} yet"))),
            Ok(_) => Ok(()),
            Err(error) => Err(Flaw::Trouble(error.to_string())),
        }
    }
}

/// What a lock holds: a thread that panicked with it tells so itself.
fn held<T>(lock: &Mutex<T>) -> MutexGuard<'_, T> {
    lock.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Whether a record follows the last that was taken in; the first of all begins the links.
fn follows(last: Option<&Signed>, signed: &Signed) -> Result<(), Broken> {
    let mut links = Links::default();
    if let Some(last) = last {
        links.take(last)?;
    }
    links.take(signed)
}

/// How many losses a record holds.
fn losses_in(signed: &Signed) -> usize {
    let of = |judged: &Judged| match &judged.model.finding {
        Finding::Evaluated(losses) => losses.len(),
        Finding::Disqualified(_) => 0,
    };
    signed.record.models.iter().map(of).sum()
}

impl News {
    fn of(checked: &Checked) -> Self {
        let round = &checked.signed.record.round;
        Self {
            competition: round.competition.clone(),
            number: round.number,
            block: round.block.0,
            validator: round.validator.to_string(),
        }
    }
}

/// Why a record is not taken in.
enum Flaw {
    /// It is false.
    False(String),
    /// It cannot be read now.
    Trouble(String),
    /// The index cannot have it.
    Index(index::Error),
}

/// What fails while the chain is read.
enum Trouble {
    Chain(chain::Error),
    Index(index::Error),
}

impl From<chain::Error> for Trouble {
    fn from(error: chain::Error) -> Self {
        Self::Chain(error)
    }
}

impl From<index::Error> for Trouble {
    fn from(error: index::Error) -> Self {
        Self::Index(error)
    }
}
