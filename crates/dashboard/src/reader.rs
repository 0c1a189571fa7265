//! Records and chain into the index, on a thread of its own.
//!
//! Nothing is believed: each record has to be signed, to follow the one before it, to be of the
//! chain that is read, and to say what the rules make of its losses. The first of a validator that
//! is not ends what is believed of it in that competition, and is tried again: what was a fault of
//! a copy heals. What a validator did not sign is a fault of the place alone: anybody can lay out
//! records under its name.

mod checks;
mod flaw;
mod rules;
mod troubles;

pub use rules::Rules;
pub use troubles::Troubles;

use crate::{
    clock::Clock,
    index::{self, Checked, Index, Progress},
    limits::{COMPETITIONS_MAX, Judges, Limits},
};
use chain::Chain;
use flaw::Flaw;
use protocol::{
    AccountId, Block, BlockHash, Competition, NetUid, Record,
    record::{verify_chain, verify_duels},
};
use records::{Links, Records, Signed, Source};
use std::{
    collections::{BTreeMap, BTreeSet},
    num::NonZero,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

/// Most records that are taken in at once.
const LOT_MAX: usize = 32;
/// Bytes after which no more records come into a lot: they are held in memory.
const LOT_BYTES_MAX: usize = 16 << 20;
/// Most places that are read at a time: each holds a lot in memory.
const WORKERS_MAX: usize = 8;
/// Blocks before the newest whose hashes are asked for: older ones many nodes have no more.
const HASHES_MAX: u64 = 256;

/// Where signed records of a validator lie.
pub struct Place {
    /// What people call it: a folder, or a repo.
    pub name: String,
    /// What lies there.
    pub source: Box<dyn Source + Send>,
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

/// A place, and how far its turns went.
struct Visited {
    place: Place,
    /// The competition that was read last: the others come first.
    last_read: Option<String>,
}

/// Whatever reads records and chain.
pub struct Reader {
    index: Mutex<Index>,
    rules: Arc<Rules>,
    chain: Option<Arc<dyn Chain>>,
    netuid: NetUid,
    places: Vec<Mutex<Visited>>,
    limits: Limits,
    /// Whoever may judge by the chain; `None` before it was read.
    permitted: Option<BTreeSet<AccountId>>,
    troubles: Arc<Troubles>,
    clock: Arc<Clock>,
    genesis: Option<BlockHash>,
}

impl Reader {
    /// Reads into `index`, by `rules`; without a chain, records of any are taken.
    pub fn new(index: Index, rules: Arc<Rules>, places: Vec<Place>) -> Self {
        let visited = |place| Mutex::new(Visited { place, last_read: None });
        Self {
            index: Mutex::new(index),
            rules,
            chain: None,
            netuid: NetUid::default(),
            places: places.into_iter().map(visited).collect(),
            limits: Limits::default(),
            permitted: None,
            troubles: Arc::default(),
            clock: Arc::default(),
            genesis: None,
        }
    }

    /// The same beside a subnet of a chain.
    pub fn beside(self, chain: Arc<dyn Chain>, netuid: NetUid) -> Self {
        Self { chain: Some(chain), netuid, ..self }
    }

    /// The same with other limits.
    pub fn within(self, limits: Limits) -> Self {
        Self { limits, ..self }
    }

    /// What does not work at the moment.
    pub fn troubles(&self) -> Arc<Troubles> {
        Arc::clone(&self.troubles)
    }

    /// When blocks were.
    pub fn clock(&self) -> Arc<Clock> {
        Arc::clone(&self.clock)
    }

    /// Reads whatever is new, several places at a time and a lot of each in turn, so that none
    /// keeps others waiting; `tell` hears of each round. Ends early once `stop` says so. An error
    /// is one of the index while the chain is read: all else is a trouble of one place that passes.
    pub fn read(&mut self, stop: Stop<'_>, tell: Tell<'_>) -> Result<(), index::Error> {
        while self.read_once(stop, tell)? {}
        Ok(())
    }

    /// Reads the chain and a lot of each place; whether more may be there.
    fn read_once(&mut self, stop: Stop<'_>, tell: Tell<'_>) -> Result<bool, index::Error> {
        let trouble = match self.read_chain() {
            Ok(()) => None,
            Err(Trouble::Chain(error)) => Some(error.to_string()),
            Err(Trouble::Index(error)) => return Err(error),
        };
        self.troubles.note("chain", trouble);
        let turns = self.read_places(stop, tell);
        let is_whole = turns.len() == self.places.len();
        let (mut is_more, mut strangers) = (false, Vec::new());
        for (at, turn) in turns {
            let visited = held(&self.places[at]);
            let name = &visited.place.name;
            is_more |= turn.has_read;
            if turn.is_stranger {
                strangers.push(name.clone());
            }
            self.troubles.note(name, turn.trouble);
        }
        if !is_whole {
            return Ok(false);
        }
        // One for all of them: who has a slot can name a place.
        let strangers = (!strangers.is_empty()).then(|| strangers.join(", "));
        let trouble = strangers.map(|names| format!("not read, no permit to judge: {names}"));
        self.troubles.note("validators", trouble);
        Ok(is_more)
    }

    /// Reads a lot of each place, several places at a time, until `stop` says so; what came of
    /// each, by its number.
    fn read_places(&self, stop: Stop<'_>, tell: Tell<'_>) -> BTreeMap<usize, Turn> {
        let next = AtomicUsize::new(0);
        let work = || {
            let mut turns = BTreeMap::new();
            loop {
                let at = next.fetch_add(1, Ordering::Relaxed);
                let Some(place) = self.places.get(at).filter(|_| !stop()) else { return turns };
                turns.insert(at, self.read_place(&mut held(place), tell));
            }
        };
        let n_cores = thread::available_parallelism().map_or(1, NonZero::get);
        let n_workers = n_cores.min(WORKERS_MAX).min(self.places.len());
        if n_workers <= 1 {
            return work();
        }
        thread::scope(|scope| {
            let workers: Vec<_> = (0..n_workers).map(|_| scope.spawn(work)).collect();
            let ends = workers.into_iter().map(|worker| match worker.join() {
                Ok(turns) => turns,
                Err(panic) => std::panic::resume_unwind(panic),
            });
            ends.flatten().collect()
        })
    }

    /// Notes the head of the chain, whoever may judge, and the subnet as it is once an epoch.
    fn read_chain(&mut self) -> Result<(), Trouble> {
        let Some(chain) = self.chain.clone() else { return Ok(()) };
        self.clock.see(chain.head()?.block);
        if self.genesis.is_none() {
            self.genesis = chain.block_hash(Block(0))?;
        }
        let metagraph = chain.metagraph(self.netuid)?;
        let judges = metagraph.neurons.iter().filter(|neuron| neuron.validator_permit);
        self.permitted = Some(judges.map(|neuron| neuron.hotkey).collect());
        // Between two epochs only the weights change; they are looked at every so many blocks.
        let every = (metagraph.tempo / 4).clamp(1, 100);
        let mut index = held(&self.index);
        let noted = index.newest_metagraph()?;
        if noted.is_none_or(|noted| metagraph.block.since(noted) >= every) {
            index.note_metagraph(&metagraph)?;
        }
        Ok(())
    }

    /// Whether records of a validator are read.
    fn may_judge(&self, validator: AccountId) -> bool {
        self.chain.is_none()
            || self.limits.judges == Judges::Anybody
            || self.permitted.as_ref().is_some_and(|permitted| permitted.contains(&validator))
    }

    /// Reads a lot of one place: of the first competition that has anything new, those first that
    /// were not read last.
    fn read_place(&self, visited: &mut Visited, tell: Tell<'_>) -> Turn {
        let mut turn = Turn::default();
        let known = match self.outset(&visited.place) {
            Ok(known) => known,
            Err(what) => {
                turn.trouble = Some(what);
                return turn;
            }
        };
        if !self.may_judge(known.validator) {
            turn.is_stranger = true;
            return turn;
        }
        for competition in in_turn(&known, visited.last_read.as_deref()) {
            match self.read_lot((&visited.place, &known), &competition, tell) {
                Ok(true) => {
                    visited.last_read = Some(competition);
                    turn.has_read = true;
                    break;
                }
                Ok(false) => {}
                Err(what) => turn.trouble = turn.trouble.or(Some(what)),
            }
        }
        turn
    }

    /// The index of a place, if what it names can be read here; nobody signs it.
    fn outset(&self, place: &Place) -> Result<records::Index, String> {
        let known = place.source.index().map_err(|error| error.to_string())?;
        let known = known.ok_or_else(|| "no records are there yet".to_owned())?;
        let n = known.competitions.len();
        if n > COMPETITIONS_MAX {
            return Err(format!("its index names {n} competitions, more than {COMPETITIONS_MAX}"));
        }
        if self.genesis.is_some_and(|genesis| genesis != known.genesis) {
            return Err("its records are of another chain".to_owned());
        }
        if self.chain.is_some() && known.netuid != self.netuid {
            return Err(format!("its records are of another subnet: {}", known.netuid));
        }
        Ok(known)
    }

    /// Reads the next records of a competition of one place; whether there were any. An error says
    /// what is wrong with the place.
    fn read_lot(
        &self,
        (place, known): (&Place, &records::Index),
        competition: &str,
        tell: Tell<'_>,
    ) -> Result<bool, String> {
        let failed = |error: index::Error| format!("`{competition}` cannot be taken in: {error}");
        let (name, whose) = (place.name.as_str(), (known.validator, competition));
        let mut progress = held(&self.index).progress(whose.0, competition).map_err(failed)?;
        let n_named = known.competitions.get(competition).map_or(0, |head| head.n_records);
        let begun = progress.n_records();
        if n_named > begun {
            self.has_room(whose)?;
        }
        let (lot, flaw) = self.next_lot((place, known), competition, &mut progress);
        let mut index = held(&self.index);
        if index.n_records(whose).map_err(failed)? != begun {
            // Another place of the validator was quicker, and so has one more turn.
            return Ok(false);
        }
        index.take_in(&lot, progress.reign.as_ref(), name).map_err(failed)?;
        for checked in &lot {
            tell(News::of(checked));
        }
        match flaw {
            Some(Flaw::False(what)) => {
                let shown = protocol::text::shown(&what, troubles::LETTERS_MAX);
                let flaw = (progress.n_records().saturating_add(1), shown.as_str());
                index.note_flaw(whose, flaw, name).map_err(failed)?;
            }
            // It is found again, once the lot before it is out of the way.
            Some(Flaw::OfPlace(what)) if lot.is_empty() => return Err(what),
            None if lot.is_empty() => index.note_no_flaw(whose, name).map_err(failed)?,
            _ => {}
        }
        Ok(!lot.is_empty())
    }

    /// Whether more of a validator is taken in; why not, otherwise.
    fn has_room(&self, whose: (AccountId, &str)) -> Result<(), String> {
        let extent = held(&self.index).extent(whose).map_err(|error| error.to_string())?;
        let (validator, most) = (whose.0, self.limits.bytes_per_validator);
        if extent.n_others >= COMPETITIONS_MAX {
            return Err(format!(
                "validator {validator} has records of more than {COMPETITIONS_MAX} competitions: \
                 no more are read"
            ));
        }
        if extent.n_bytes >= most {
            let n_bytes = extent.n_bytes;
            return Err(format!(
                "the records of validator {validator} take {n_bytes} bytes of {most}: no more are \
                 read"
            ));
        }
        Ok(())
    }

    /// The next records that are true, and what is wrong with the one after them.
    fn next_lot(
        &self,
        (place, known): (&Place, &records::Index),
        competition: &str,
        progress: &mut Progress,
    ) -> (Vec<Checked>, Option<Flaw>) {
        let (mut lot, mut n_bytes) = (Vec::new(), 0);
        let mut links = Links::default();
        if let Some(Err(broken)) = progress.last.as_ref().map(|last| links.take(last)) {
            // It was taken in, and so was genuine.
            return (lot, Some(Flaw::OfPlace(format!("the index is damaged: {broken}"))));
        }
        let source: &dyn Source = &*place.source;
        let from = progress.n_records().saturating_add(1);
        for read in Records::new(source, known, competition, from..=u64::MAX).take(LOT_MAX) {
            let signed = match read {
                Ok(signed) => signed,
                Err(error) => return (lot, Some(Flaw::of_reading(&error))),
            };
            // Those of a lot follow each other: so they were read. The first must follow what was
            // taken in before it.
            if let Some(Err(broken)) = lot.is_empty().then(|| links.take(&signed)) {
                return (lot, Some(Flaw::of_link(&broken)));
            }
            match self.check(signed, progress) {
                Err(flaw) => return (lot, Some(flaw)),
                Ok(checked) => {
                    match progress.reign.as_mut().filter(|_| checked.is_derived) {
                        Some(reign) => reign.follow(&checked.signed.record),
                        None => progress.reign = None,
                    }
                    progress.last = Some(checked.signed.clone());
                    n_bytes += checked.n_bytes;
                    lot.push(checked);
                }
            }
            if n_bytes > LOT_BYTES_MAX {
                break;
            }
        }
        (lot, None)
    }

    /// Looks at a record whose signature and link are good: whether it follows from its rules,
    /// where those are known, and says of the chain what that tells.
    fn check(&self, signed: Signed, progress: &Progress) -> Result<Checked, Flaw> {
        let record = &signed.record;
        let round = &record.round;
        checks::lengths(record).map_err(Flaw::False)?;
        self.check_seed(round.block, round.block_hash)?;
        let rules = self.rules.of(round.competition_digest);
        let (is_derived, is_paid_checked) = match rules.zip(progress.reign.as_ref()) {
            Some((rules, reign)) => {
                let last = progress.last.as_ref().map(|last| &last.record);
                verify_duels(record, rules, reign)
                    .and_then(|()| verify_chain(record, last, rules))
                    .map_err(|mismatch| Flaw::False(mismatch.to_string()))?;
                (true, self.check_paid(record, rules)?)
            }
            // What follows from a record that could not be derived cannot be, either.
            None => {
                checks::outline(record).map_err(Flaw::False)?;
                (false, record.crown.is_none())
            }
        };
        // What cannot be packed is no fault of the validator's.
        let mut checked = Checked::new(signed).map_err(|error| Flaw::OfPlace(error.to_string()))?;
        checked.is_derived = is_derived;
        checked.is_paid_checked = is_paid_checked;
        Ok(checked)
    }

    /// Whether whom the chain paid is what a record says of it; false where the chain does not tell
    /// any more.
    fn check_paid(&self, record: &Record, rules: &Competition) -> Result<bool, Flaw> {
        let Some(crown) = &record.crown else { return Ok(true) };
        let (Some(chain), Some(head)) = (&self.chain, self.clock.head()) else {
            return Ok(false);
        };
        if head.since(record.round.block) >= HASHES_MAX {
            return Ok(false);
        }
        // A node that has let go of the state answers with an error, and never otherwise.
        let Ok(told) = checks::paid(&**chain, rules, &record.round) else { return Ok(false) };
        if told == (crown.paid, crown.settling_blocks) {
            return Ok(true);
        }
        let uid =
            |uid: Option<protocol::Uid>| uid.map_or("nobody".to_owned(), |uid| uid.to_string());
        Err(Flaw::False(format!(
            "it says that the chain paid {} most, and pays within {} blocks; the chain: {} and {}",
            uid(crown.paid),
            crown.settling_blocks,
            uid(told.0),
            told.1
        )))
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
            Ok(None) => Err(Flaw::OfPlace(format!("the chain has no block {block} yet"))),
            Ok(_) => Ok(()),
            Err(error) => Err(Flaw::OfPlace(error.to_string())),
        }
    }
}

/// What a lock holds: a thread that panicked with it tells so itself.
fn held<T>(lock: &Mutex<T>) -> MutexGuard<'_, T> {
    lock.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Competitions of an index, those after the last that was read first.
fn in_turn(known: &records::Index, last: Option<&str>) -> Vec<String> {
    let names = known.competitions.keys().cloned();
    let was_before = |name: &String| last.is_some_and(|last| name.as_str() <= last);
    let (before, after): (Vec<String>, Vec<String>) = names.partition(was_before);
    after.into_iter().chain(before).collect()
}

/// What came of the turn of a place.
#[derive(Default)]
struct Turn {
    /// Whether records were taken in, so that more may be there.
    has_read: bool,
    /// Whether its validator may not judge.
    is_stranger: bool,
    /// What is wrong with it.
    trouble: Option<String>,
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
