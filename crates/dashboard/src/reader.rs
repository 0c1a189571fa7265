//! Records and chain into the index, on a thread of its own.
//!
//! Nothing is believed: each record has to be signed, to follow the one before it, to be of the
//! chain that is read, and to say what the rules make of its losses. The first of a validator that
//! is not ends what is believed of it in that competition, and is tried again: what was a fault of
//! a copy heals. What a validator did not sign is a fault of the place alone: anybody can lay out
//! records under its name.

mod checks;
mod troubles;

pub use troubles::Troubles;

use crate::{
    clock::Clock,
    index::{self, Checked, Index, Progress},
    limits::{COMPETITIONS_MAX, Judges, Limits},
};
use chain::Chain;
use protocol::{
    AccountId, Block, BlockHash, Competition, Digest, NetUid, Record,
    record::{verify_chain, verify_duels},
};
use records::{Broken, Links, Records, Signed, Source};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// Most records that are taken in at once.
const LOT_MAX: usize = 32;
/// Bytes after which no more records come into a lot: they are held in memory.
const LOT_BYTES_MAX: usize = 16 << 20;
/// Blocks before the newest whose hashes are asked for: older ones many nodes have no more.
const HASHES_MAX: u64 = 256;

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

/// Whatever reads records and chain.
pub struct Reader {
    index: Index,
    rules: Arc<Rules>,
    chain: Option<Arc<dyn Chain>>,
    netuid: NetUid,
    places: Vec<Place>,
    /// The competition of each place that was read last: the others come first.
    last_read: Vec<Option<String>>,
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
        Self {
            index,
            rules,
            chain: None,
            netuid: NetUid::default(),
            last_read: vec![None; places.len()],
            places,
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

    /// Reads whatever is new, a lot of each place at a time, so that none keeps others waiting;
    /// `tell` hears of each round. Ends early once `stop` says so. An error is one of the index
    /// while the chain is read: all else is a trouble of one place that passes.
    pub fn read(
        &mut self,
        stop: &dyn Fn() -> bool,
        tell: &dyn Fn(News),
    ) -> Result<(), index::Error> {
        while self.read_once(stop, tell)? {}
        Ok(())
    }

    /// Reads the chain and a lot of each place; whether more may be there.
    fn read_once(
        &mut self,
        stop: &dyn Fn() -> bool,
        tell: &dyn Fn(News),
    ) -> Result<bool, index::Error> {
        let trouble = match self.read_chain() {
            Ok(()) => None,
            Err(Trouble::Chain(error)) => Some(error.to_string()),
            Err(Trouble::Index(error)) => return Err(error),
        };
        self.troubles.note("chain", trouble);
        let (mut is_more, mut strangers) = (false, Vec::new());
        for at in 0..self.places.len() {
            if stop() {
                return Ok(false);
            }
            let turn = self.read_place(at, tell);
            let name = &self.places[at].name;
            is_more |= turn.has_read;
            if turn.is_stranger {
                strangers.push(name.clone());
            }
            self.troubles.note(name, turn.trouble);
        }
        // One for all of them: who has a slot can name a place.
        let strangers = (!strangers.is_empty()).then(|| strangers.join(", "));
        let trouble = strangers.map(|names| format!("not read, no permit to judge: {names}"));
        self.troubles.note("validators", trouble);
        Ok(is_more)
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
        let noted = self.index.newest_metagraph()?;
        if noted.is_none_or(|noted| metagraph.block.since(noted) >= every) {
            self.index.note_metagraph(&metagraph)?;
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
    fn read_place(&mut self, at: usize, tell: &dyn Fn(News)) -> Turn {
        let mut turn = Turn::default();
        let known = match self.outset(at) {
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
        for competition in in_turn(&known, self.last_read[at].as_deref()) {
            match self.read_lot((at, &known), &competition, tell) {
                Ok(true) => {
                    self.last_read[at] = Some(competition);
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
    fn outset(&self, at: usize) -> Result<records::Index, String> {
        let known = self.places[at].source.index().map_err(|error| error.to_string())?;
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
        &mut self,
        (at, known): (usize, &records::Index),
        competition: &str,
        tell: &dyn Fn(News),
    ) -> Result<bool, String> {
        let failed = |error: index::Error| format!("`{competition}` cannot be taken in: {error}");
        let (name, whose) = (self.places[at].name.clone(), (known.validator, competition));
        let mut progress = self.index.progress(whose.0, competition).map_err(failed)?;
        let n_named = known.competitions.get(competition).map_or(0, |head| head.n_records);
        if n_named > progress.n_records() {
            self.has_room(whose)?;
        }
        let (lot, flaw) = self.next_lot((at, known), competition, &mut progress);
        self.index.take_in(&lot, progress.reign.as_ref(), &name).map_err(failed)?;
        for checked in &lot {
            tell(News::of(checked));
        }
        match flaw {
            Some(Flaw::False(what)) => {
                let shown = protocol::text::shown(&what, troubles::LETTERS_MAX);
                let flaw = (progress.n_records().saturating_add(1), shown.as_str());
                self.index.note_flaw(whose, flaw, &name).map_err(failed)?;
            }
            // It is found again, once the lot before it is out of the way.
            Some(Flaw::OfPlace(what)) if lot.is_empty() => return Err(what),
            None if lot.is_empty() => self.index.note_no_flaw(whose, &name).map_err(failed)?,
            _ => {}
        }
        Ok(!lot.is_empty())
    }

    /// Whether more of a validator is taken in; why not, otherwise.
    fn has_room(&self, whose: (AccountId, &str)) -> Result<(), String> {
        let extent = self.index.extent(whose).map_err(|error| error.to_string())?;
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
        (at, known): (usize, &records::Index),
        competition: &str,
        progress: &mut Progress,
    ) -> (Vec<Checked>, Option<Flaw>) {
        let (mut lot, mut n_bytes) = (Vec::new(), 0);
        let mut links = Links::default();
        if let Some(Err(broken)) = progress.last.as_ref().map(|last| links.take(last)) {
            // It was taken in, and so was genuine.
            return (lot, Some(Flaw::OfPlace(format!("the index is damaged: {broken}"))));
        }
        let source: &dyn Source = &*self.places[at].source;
        let from = progress.n_records().saturating_add(1);
        for read in Records::new(source, known, competition, from..=u64::MAX).take(LOT_MAX) {
            let signed = match read {
                Ok(signed) => signed,
                Err(error) => return (lot, Some(Flaw::of_reading(&error))),
            };
            if let Err(broken) = links.take(&signed) {
                return (lot, Some(Flaw::of_link(&broken)));
            }
            match self.check(&signed, progress) {
                Err(flaw) => return (lot, Some(flaw)),
                Ok(checked) => {
                    match progress.reign.as_mut().filter(|_| checked.is_derived) {
                        Some(reign) => reign.follow(&checked.signed.record),
                        None => progress.reign = None,
                    }
                    progress.last = Some(signed);
                    n_bytes += checked.signed.to_json().len();
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
    fn check(&self, signed: &Signed, progress: &Progress) -> Result<Checked, Flaw> {
        let record = &signed.record;
        let round = &record.round;
        checks::lengths(record).map_err(Flaw::False)?;
        self.check_seed(round.block, round.block_hash)?;
        let checked = |is_derived, is_paid_checked| Checked {
            signed: signed.clone(),
            is_derived,
            is_paid_checked,
        };
        let rules = self.rules.of(round.competition_digest);
        // What follows from a record that could not be derived cannot be, either.
        let Some((rules, reign)) = rules.zip(progress.reign.as_ref()) else {
            checks::outline(record).map_err(Flaw::False)?;
            return Ok(checked(false, record.crown.is_none()));
        };
        let last = progress.last.as_ref().map(|last| &last.record);
        verify_duels(record, rules, reign)
            .and_then(|()| verify_chain(record, last, rules))
            .map_err(|mismatch| Flaw::False(mismatch.to_string()))?;
        Ok(checked(true, self.check_paid(record, rules)?))
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

/// Why a record is not taken in.
enum Flaw {
    /// The validator signed it, and it is false.
    False(String),
    /// It cannot be read now, or is none of the validator's.
    OfPlace(String),
}

impl Flaw {
    fn of_reading(error: &records::Error) -> Self {
        match error {
            records::Error::Broken(broken) => Self::of_link(broken),
            _ => Self::OfPlace(error.to_string()),
        }
    }

    /// Those of one validator, chain and subnet are looked at after the signature; all else anybody
    /// can bring about who has an index.
    fn of_link(broken: &Broken) -> Self {
        let said = broken.to_string();
        match broken {
            Broken::Previous(_) | Broken::Block(_) => Self::False(said),
            _ => Self::OfPlace(said),
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
