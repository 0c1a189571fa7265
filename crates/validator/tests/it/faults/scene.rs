//! One validator and three miners for some rounds, with a fault or without.

use super::line::{Fault, Kind, Line, Port};
use crate::{
    network::{Formula, GENESIS, NETUID, Network, hotkey},
    tapped::{HubTap, TappedChain, TappedHub},
};
use chain::{Chain as _, Head};
use journal::Journal;
use protocol::{
    AccountId, Block, Competition, Digest, Loss, Reason, Repo, Revision, SequenceLoss, Uid,
};
use records::Signed;
use std::{
    collections::BTreeSet,
    fs,
    ops::RangeInclusive,
    path::PathBuf,
    sync::{Arc, Mutex},
};
use validator::{
    Admission, Ask, Committed, Config, Contest, Drawn, Evaluate, Event, Had, Models, Ports,
    Publish, Sight, Terms, Text, Trouble, Validator,
};

/// The last block of a run: what our own trouble kept from being measured three times waits for
/// four rounds, and has its time all the same.
const LAST: u64 = 129;
/// After it the better model is committed to.
const BETTER_AFTER: u64 = 32;
/// Kinds of those faults that leave a port without an answer.
const SILENT: [Kind; 3] = [Kind::Absent, Kind::Slow, Kind::Torn];

/// A round that was decided.
pub(super) struct Decided {
    pub(super) seed: u64,
    /// Block at which it was.
    pub(super) at: u64,
    pub(super) champion: Option<AccountId>,
    pub(super) digest: Digest,
}

/// What came of a run.
pub(super) struct Run {
    pub(super) rounds: Vec<Decided>,
    /// Blocks at which weights were handed over.
    pub(super) sets: Vec<u64>,
    /// Rows that stood on the chain, and the last of them.
    pub(super) rows: BTreeSet<Vec<(Uid, u16)>>,
    pub(super) last_row: Vec<(Uid, u16)>,
    /// Requests that the fault hit.
    pub(super) n_hits: usize,
    /// Whether a request to the chain went without an answer.
    pub(super) is_unanswered: bool,
    /// Whether the validator did not start, or took itself for the second of its key.
    pub(super) is_refused: bool,
    /// Whether all records were published in the end.
    pub(super) is_published: bool,
    /// Slot of the validator.
    pub(super) own: Uid,
    /// Who holds the crown before and after the better model is there.
    pub(super) first: AccountId,
    pub(super) better: AccountId,
}

/// Whatever is not the chain, behind the same line.
struct Wired {
    ports: Ports,
    text: Formula,
    line: Arc<Line>,
    published: Mutex<BTreeSet<Digest>>,
}

impl Wired {
    fn hits(&self, port: Port, kinds: &[Kind]) -> anyhow::Result<()> {
        anyhow::ensure!(self.line.hits(port, kinds).is_none(), "{port:?} fails");
        Ok(())
    }
}

impl Text for Wired {
    fn tokenizer(&self) -> Digest {
        self.text.tokenizer()
    }
    fn dataset(&self) -> Digest {
        self.text.dataset()
    }
    fn draw(&self, competition: &Competition, seed: Head) -> anyhow::Result<Arc<Drawn>> {
        self.hits(Port::Text, &SILENT)?;
        self.text.draw(competition, seed)
    }
}

impl Models for Wired {
    fn look(&self, competition: &Competition, committed: &Committed) -> Result<Sight, Trouble> {
        self.ports.models.look(competition, committed)
    }
    fn is_up(&self) -> bool {
        self.ports.models.is_up()
    }
    fn delivers(&self, committed: &Committed, admission: &Admission) -> bool {
        self.ports.models.delivers(committed, admission)
    }
    fn have(
        &self,
        competition: &Competition,
        committed: &Committed,
        terms: Terms<'_>,
    ) -> Result<Had, Trouble> {
        if terms.known.is_none() {
            self.hits(Port::Disk, &[Kind::Full]).map_err(Trouble::Own)?;
        }
        self.ports.models.have(competition, committed, terms)
    }
    fn keep(&self, file_roots: &[Digest], room_bytes: u64) -> anyhow::Result<()> {
        self.hits(Port::Disk, &[Kind::Locked])?;
        self.ports.models.keep(file_roots, room_bytes)
    }
    fn retain(&self, file_roots: &BTreeSet<Digest>) -> anyhow::Result<()> {
        self.hits(Port::Disk, &[Kind::Locked])?;
        self.ports.models.retain(file_roots)
    }
}

impl Evaluate for Wired {
    fn engine(&self) -> &str {
        self.ports.evaluate.engine()
    }
    fn losses(
        &self,
        ask: Ask<'_>,
        learn: &mut dyn FnMut(&[SequenceLoss]) -> anyhow::Result<()>,
    ) -> Result<Result<(), Reason>, Trouble> {
        let kinds = [Kind::Absent, Kind::Slow, Kind::Wrong, Kind::Torn];
        let fails = |why: &'static str| Trouble::Own(anyhow::anyhow!(why));
        match self.line.hits(Port::Evaluator, &kinds) {
            None => self.ports.evaluate.losses(ask, learn),
            Some(Kind::Wrong) if self.line.n_hits().is_multiple_of(2) => Ok(Ok(())),
            Some(Kind::Wrong) => {
                let loss = SequenceLoss { n_tokens: 3, cross_entropy: Loss::new(1.0).unwrap() };
                let too_many = vec![loss; ask.sequences.len() + 1];
                learn(&too_many).map_err(Trouble::Own)?;
                Ok(Ok(()))
            }
            Some(Kind::Torn) => {
                let some = &ask.sequences[..ask.sequences.len().min(3)];
                let ask = Ask { sequences: some, ..ask };
                self.ports.evaluate.losses(ask, learn)?.map_err(|_| fails("a verdict"))?;
                Err(fails("it died"))
            }
            Some(_) => Err(fails("it does not start")),
        }
    }
}

impl Publish for Wired {
    fn record(&self, _: &str, _: u64, bytes: &[u8]) -> anyhow::Result<()> {
        self.hits(Port::Records, &SILENT)?;
        self.published.lock().unwrap().insert(Signed::from_json(bytes)?.digest());
        Ok(())
    }
    fn lacks(
        &self,
        _: &str,
        numbers: RangeInclusive<u64>,
    ) -> anyhow::Result<Vec<RangeInclusive<u64>>> {
        self.hits(Port::Records, &SILENT)?;
        Ok(vec![numbers])
    }
}

/// The line to a hub.
impl HubTap for Line {
    fn shows(&self, _repo: &Repo) -> Result<bool, hub::Error> {
        match self.hits(Port::Hub, &SILENT) {
            Some(_) => Err(hub::Error::Unavailable("the connection was closed".to_owned())),
            None => Ok(true),
        }
    }

    fn before_bytes(&self, repo: &Repo, _: &Revision, _: &str) -> Result<(), hub::Error> {
        self.shows(repo).map(drop)
    }

    fn alters(&self, _repo: &Repo, path: &str, _n_bytes: u64) -> bool {
        path != "config.json" && self.hits(Port::Hub, &[Kind::Wrong]).is_some()
    }
}

/// A validator on its network.
struct Scene {
    network: Network,
    wired: Arc<Wired>,
    line: Arc<Line>,
    /// Where its journal is, if its process may end.
    home: Option<PathBuf>,
}

impl Scene {
    fn new(port: Port, fault: Option<Fault>) -> Self {
        let network = Network::new(&["ada", "ben", "eve"]);
        if port.hides() {
            network.hide_weights(true);
        }
        let line = Arc::new(Line::new(fault));
        let home = network.home();
        let hub = TappedHub { inner: Arc::clone(&network.hub), tap: Arc::clone(&line) };
        let ports = network.ports_with(network.models(Arc::new(hub), &home), &home);
        let wired = Wired {
            ports,
            text: Formula::default(),
            line: Arc::clone(&line),
            published: Mutex::default(),
        };
        network.enter("ada", "first", 3.0);
        network.enter("eve", "worse", 3.5);
        let home = matches!(port, Port::Journal | Port::Process).then_some(home);
        Self { network, wired: Arc::new(wired), line, home }
    }

    fn open(&self) -> anyhow::Result<Validator> {
        let tap = Arc::clone(&self.line);
        let ports = Ports {
            chain: Arc::new(TappedChain { inner: self.network.chain.clone(), tap }),
            models: self.wired.clone(),
            evaluate: self.wired.clone(),
            publish: self.wired.clone(),
        };
        let contest = Contest::new(self.network.competition.clone(), self.wired.clone());
        let journal = match &self.home {
            Some(home) => Journal::open(home)?,
            None => Journal::memory(),
        };
        Validator::open(Config::new(NETUID, GENESIS), ports, vec![contest], hotkey("val"), journal)
    }

    /// The files of the journal: the tables, and the log of what is not in them yet.
    fn files(&self) -> [PathBuf; 2] {
        let home = self.home.as_ref().unwrap();
        [home.join(journal::FILE), home.join("journal.db-wal")]
    }

    /// Lets the fault befall the process at a block; gives what lives of it.
    fn befall(&self, living: Option<Validator>) -> Option<Validator> {
        let is_first = self.line.n_hits() == 0;
        match self.line.hits(Port::Process, &[Kind::Absent, Kind::Torn]) {
            Some(Kind::Absent) => return None,
            Some(_) => {
                drop(living);
                return Some(self.open().unwrap());
            }
            None => {}
        }
        let kinds = [Kind::Absent, Kind::Wrong, Kind::Torn];
        match self.line.hits(Port::Journal, &kinds).filter(|_| is_first) {
            Some(kind) => self.damage(living, kind),
            None => living,
        }
    }

    /// Damages the journal in a way while nobody has it open, and starts again if that is possible.
    fn damage(&self, living: Option<Validator>, kind: Kind) -> Option<Validator> {
        let [tables, log] = self.files();
        let crashed: Vec<Vec<u8>> = match kind {
            Kind::Torn => [&tables, &log].map(|file| fs::read(file).unwrap()).into(),
            _ => Vec::new(),
        };
        drop(living);
        match kind {
            Kind::Absent => fs::remove_file(&tables).unwrap(),
            Kind::Torn => {
                // Of what was being written some has reached the log.
                let torn: Vec<u8> = [crashed[1].as_slice(), &[0xa5; 300]].concat();
                fs::write(&tables, &crashed[0]).unwrap();
                fs::write(&log, torn).unwrap();
            }
            _ => {
                let good = fs::read(&tables).unwrap();
                let mut bad = good.clone();
                bad[100..].iter_mut().step_by(7).for_each(|byte| *byte ^= 0x5a);
                fs::write(&tables, bad).unwrap();
                assert!(self.open().is_err(), "a damaged journal is no fresh start");
                // For whoever restores it.
                fs::write(tables.with_extension("good"), good).unwrap();
                return None;
            }
        }
        Some(self.open().unwrap())
    }

    /// A validator that goes on after the fault.
    fn restored(&self) -> Validator {
        let [tables, _] = self.files();
        let good = tables.with_extension("good");
        if good.exists() {
            fs::rename(&good, &tables).unwrap();
        }
        self.open().unwrap()
    }

    /// The head that the validator is told of.
    fn told(&self, head: Head) -> Head {
        if self.line.hits(Port::Blocks, &[Kind::Lagging]).is_none() {
            return head;
        }
        let block = Block(head.block.0 - 3);
        Head { block, hash: self.network.chain.block_hash(block).unwrap().unwrap() }
    }

    fn row(&self) -> Vec<(Uid, u16)> {
        self.network.chain.weights(NETUID, self.network.uid("val")).unwrap()
    }
}

/// What was heard while a validator ran.
#[derive(Default)]
struct Heard {
    rounds: Vec<Decided>,
    sets: Vec<u64>,
    is_refused: bool,
}

impl Heard {
    fn hear(&mut self, at: Block, event: Event) {
        match event {
            Event::RoundEnded(summary) => self.rounds.push(Decided {
                seed: summary.seed.block.0,
                at: at.0,
                champion: summary.champion.map(|champion| champion.hotkey),
                digest: summary.digest,
            }),
            Event::WeightsSubmitted(_) => self.sets.push(at.0),
            Event::AnotherValidator { .. } => self.is_refused = true,
            _ => {}
        }
    }
}

/// Runs a validator with a fault, or without.
///
/// Nothing but our own disk ends it, and that only where the fault is there.
pub(super) fn run(port: Port, fault: Option<Fault>) -> Run {
    let scene = Scene::new(port, fault);
    let mut living = Some(scene.open().unwrap());
    let (heard, mut rows) = (Mutex::new(Heard::default()), BTreeSet::new());
    let is_over = |block: Block| fault.is_none_or(|fault| block.0 > *fault.phase.window().end());
    while scene.network.chain.head().unwrap().block.0 < LAST {
        let head = scene.network.chain.produce_block().unwrap();
        if head.block.0 == BETTER_AFTER {
            scene.network.enter("ben", "better", 2.5);
        }
        scene.line.begin(head.block);
        living = scene.befall(living);
        if living.is_none() && is_over(head.block) {
            living = Some(scene.restored());
        }
        if let Some(validator) = &living {
            let hear = |event: Event| heard.lock().unwrap().hear(head.block, event);
            let acted = validator.on_block(scene.told(head), &hear);
            acted.unwrap_or_else(|error| panic!("{fault:?} at block {}: {error:#}", head.block));
        } else if port == Port::Journal {
            heard.lock().unwrap().is_refused = true;
        }
        rows.insert(scene.row());
    }
    let Heard { rounds, sets, is_refused } = heard.into_inner().unwrap();
    let published = scene.wired.published.lock().unwrap();
    Run {
        is_published: rounds.iter().all(|round| published.contains(&round.digest)),
        rounds,
        sets,
        rows,
        last_row: scene.row(),
        n_hits: scene.line.n_hits(),
        is_unanswered: scene.line.is_unanswered(),
        is_refused,
        own: scene.network.uid("val"),
        first: hotkey("ada").public(),
        better: hotkey("ben").public(),
    }
}
