//! Records and chain into the index, on a thread of its own.
//!
//! Nothing is believed: each record has to be signed, to follow the one before it, to be of the
//! chain that is read, and to say what the rules make of its losses. The first of a validator that
//! is not ends what is believed of it in that competition, and is tried again: what was a fault of
//! a copy heals. What a validator did not sign is a fault of the place alone: anybody can lay out
//! records under its name.

mod checks;
mod flaw;
mod lot;
mod rules;
mod subnet;
mod troubles;

pub use rules::Rules;
pub use troubles::Troubles;

use crate::{
    clock::Clock,
    index::{self, Checked, FalseRecord, Index, Progress, Recall, Series},
    limits::{COMPETITIONS_MAX, Judges, Limits},
};
use chain::Chain;
use flaw::Flaw;
use protocol::{AccountId, BlockHash, NetUid};
use records::Source;
use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
    num::NonZero,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    thread,
};

/// Most bytes of a last record that is kept for the next lot: each place has one in memory.
const KEPT_BYTES_MAX: usize = 1 << 20;
/// Most places that are read at a time: each holds a lot in memory.
const WORKERS_MAX: usize = 8;

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
    /// Its index, as it was when this visit began.
    known: Option<records::Index>,
    /// Newest records of competitions that were taken in to their end: until there is another,
    /// nothing is looked for.
    ended: BTreeMap<String, records::Head>,
    /// How far a competition was taken in, while there is more of it.
    going: Option<(AccountId, String, Progress)>,
    /// Records of its last lot that had nothing in common with others that were read.
    n_made: usize,
}

impl Visited {
    fn new(place: Place) -> Self {
        let ended = BTreeMap::new();
        Self { place, last_read: None, known: None, ended, going: None, n_made: 0 }
    }
}

/// What came of reading a competition of a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Came {
    /// Records.
    Some,
    /// None: there are no more, and nothing is wrong.
    None,
    /// None: it is to be tried again.
    Later,
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
    /// The newest block of which the subnet was read.
    head: Option<chain::Head>,
    /// How often what pages are made of was changed.
    n_changes: Arc<AtomicU64>,
    /// What records that were read last have in common.
    recall: Recall,
}

impl Reader {
    /// Reads into `index`, by `rules`; without a chain, records of any are taken.
    pub fn new(index: Index, rules: Arc<Rules>, places: Vec<Place>) -> Self {
        Self {
            index: Mutex::new(index),
            rules,
            chain: None,
            netuid: NetUid::default(),
            places: places.into_iter().map(|place| Mutex::new(Visited::new(place))).collect(),
            limits: Limits::default(),
            permitted: None,
            troubles: Arc::default(),
            clock: Arc::default(),
            genesis: None,
            head: None,
            n_changes: Arc::default(),
            recall: Recall::default(),
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

    /// How often records and chain have changed what pages are made of.
    pub fn n_changes(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.n_changes)
    }

    fn note_change(&self) {
        self.n_changes.fetch_add(1, Ordering::AcqRel);
    }

    /// When blocks were.
    pub fn clock(&self) -> Arc<Clock> {
        Arc::clone(&self.clock)
    }

    /// Reads whatever is new, several places at a time and a lot of each in turn, so that none
    /// keeps others waiting; `tell` hears of each round. Ends early once `stop` says so. An error
    /// is one of the index while the chain is read: all else is a trouble of one place that passes.
    pub fn read(&mut self, stop: Stop<'_>, tell: Tell<'_>) -> Result<(), index::Error> {
        for place in &self.places {
            held(place).known = None;
        }
        while self.read_once(stop, tell)? {}
        held(&self.index).finish()
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
        if held(&self.index).settle()? {
            self.note_change();
        }
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
        // Whatever takes long comes first, so that no thread is left with it alone.
        let mut order: Vec<(usize, &Mutex<Visited>)> = self.places.iter().enumerate().collect();
        order.sort_by_key(|(_, place)| Reverse(held(place).n_made));
        let work = || {
            let mut turns = BTreeMap::new();
            loop {
                let turn = order.get(next.fetch_add(1, Ordering::Relaxed));
                let Some((at, place)) = turn.filter(|_| !stop()) else { return turns };
                turns.insert(*at, self.read_place(&mut held(place), tell));
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
        let known = match visited.known.take() {
            Some(known) => Ok(known),
            None => self.outset(&visited.place),
        };
        let known = match known {
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
        visited.ended.retain(|name, head| known.competitions.get(name) == Some(head));
        for competition in in_turn(&known, visited.last_read.as_deref()) {
            if visited.ended.contains_key(&competition) {
                continue;
            }
            match self.read_lot(visited, &known, &competition, tell) {
                Ok(Came::Some) => {
                    visited.last_read = Some(competition);
                    turn.has_read = true;
                    break;
                }
                Ok(Came::None) => {
                    let head = known.competitions.get(&competition).copied();
                    visited.ended.extend(head.map(|head| (competition, head)));
                }
                Ok(Came::Later) => {}
                Err(what) => turn.trouble = turn.trouble.or(Some(what)),
            }
        }
        visited.known = Some(known);
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

    /// Reads the next records of a competition of one place. An error says what is wrong with the
    /// place.
    fn read_lot(
        &self,
        visited: &mut Visited,
        known: &records::Index,
        competition: &str,
        tell: Tell<'_>,
    ) -> Result<Came, String> {
        let failed = |error: index::Error| format!("`{competition}` cannot be taken in: {error}");
        let series = Series { validator: known.validator, competition };
        let place = &visited.place;
        let source = place.name.as_str();
        let going = visited.going.take().filter(|(validator, name, _)| {
            Series { validator: *validator, competition: name } == series
        });
        let mut progress = match going {
            Some((.., progress)) => progress,
            None => held(&self.index).progress(series).map_err(failed)?,
        };
        let n_named = known.competitions.get(competition).map_or(0, |head| head.n_records);
        let begun = progress.n_records();
        if n_named > begun {
            self.has_room(series)?;
        }
        let (lot, flaw) = self.next_lot((place, known), competition, &mut progress);
        visited.n_made = Checked::make(&lot);
        let mut index = held(&self.index);
        if index.n_records(series).map_err(failed)? != begun {
            // Another place of the validator was quicker, and so has one more turn.
            return Ok(Came::Later);
        }
        if let Some(last) = lot.last() {
            index.take_in(&lot, progress.reign.as_ref(), source).map_err(failed)?;
            self.note_change();
            lot.iter().for_each(|checked| tell(News::of(checked)));
            if last.n_bytes <= KEPT_BYTES_MAX && progress.n_records() < n_named {
                visited.going = Some((known.validator, competition.to_owned(), progress));
            }
            // Whatever else is wrong is found again, once this lot is out of the way.
            let Some(Flaw::False(flaw)) = &flaw else { return Ok(Came::Some) };
            let number = last.record.round.number.saturating_add(1);
            let record = FalseRecord { series, number, flaw, source };
            self.note_flaw(&mut index, record).map_err(failed)?;
            return Ok(Came::Some);
        }
        match flaw {
            Some(Flaw::False(flaw)) => {
                let number = begun.saturating_add(1);
                let record = FalseRecord { series, number, flaw: &flaw, source };
                self.note_flaw(&mut index, record).map_err(failed)?;
                Ok(Came::Later)
            }
            Some(Flaw::OfPlace(what)) => Err(what),
            None => {
                if index.note_no_flaw(series, source).map_err(failed)? {
                    self.note_change();
                }
                Ok(Came::None)
            }
        }
    }

    /// Notes that a record is false.
    fn note_flaw(&self, index: &mut Index, record: FalseRecord<'_>) -> Result<(), index::Error> {
        let shown = protocol::text::shown(record.flaw, troubles::LETTERS_MAX);
        if index.note_flaw(FalseRecord { flaw: &shown, ..record })? {
            self.note_change();
        }
        Ok(())
    }

    /// Whether more of a validator is taken in; why not, otherwise.
    fn has_room(&self, series: Series<'_>) -> Result<(), String> {
        let extent = held(&self.index).extent(series).map_err(|error| error.to_string())?;
        let (validator, most) = (series.validator, self.limits.bytes_per_validator);
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
        let round = &checked.record.round;
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
