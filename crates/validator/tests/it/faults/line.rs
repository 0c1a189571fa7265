//! Which request to which port fails, and how.

use crate::{network::hotkey, tapped::Tap};
use chain::{Error, Metagraph, Rewards};
use protocol::{Block, Uid};
use std::{
    ops::RangeInclusive,
    sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    time::Duration,
};

/// What a validator depends on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Port {
    Chain,
    HidingChain,
    Clock,
    Blocks,
    Key,
    Hub,
    Text,
    Evaluator,
    Disk,
    Records,
    Journal,
    Process,
}

impl Port {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Chain => "chain",
            Self::HidingChain => "chain that hides weights",
            Self::Clock => "clock, with hidden weights",
            Self::Blocks => "final blocks",
            Self::Key => "key",
            Self::Hub => "hub",
            Self::Text => "text",
            Self::Evaluator => "evaluator",
            Self::Disk => "disk for models",
            Self::Records => "where records go",
            Self::Journal => "journal",
            Self::Process => "process",
        }
    }

    /// Whether the chain hides weights in its runs.
    pub(super) fn hides(self) -> bool {
        matches!(self, Self::HidingChain | Self::Clock)
    }
}

/// What is wrong with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// It does not answer, or is not there.
    Absent,
    /// It answers at every third block only.
    Slow,
    /// It answers with something else.
    Wrong,
    /// It ceases to answer after two requests of a block.
    Torn,
    Ahead,
    Behind,
    Lagging,
    Contradiction,
    Dropped,
    Unregistered,
    OtherSlot,
    NoPermit,
    Full,
    Locked,
}

/// When.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    First,
    Crown,
    Middle,
    OnTheWay,
    Quiet,
    TwoRounds,
    ThreeRounds,
}

impl Phase {
    pub(super) const ALL: [Self; 7] = [
        Self::First,
        Self::Crown,
        Self::Middle,
        Self::OnTheWay,
        Self::Quiet,
        Self::TwoRounds,
        Self::ThreeRounds,
    ];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::First => "first round",
            Self::Crown => "new champion",
            Self::Middle => "middle of a round",
            Self::OnTheWay => "weights on their way",
            Self::Quiet => "quiet round",
            Self::TwoRounds => "two rounds",
            Self::ThreeRounds => "three rounds",
        }
    }

    pub(super) fn meaning(self) -> &'static str {
        match self {
            Self::First => "nobody holds the crown yet",
            Self::Crown => "the round that has to crown a better model, which is new",
            Self::Middle => "the same round, from the second request to the port on",
            Self::OnTheWay => "the round is decided, and its weights are sent",
            Self::Quiet => "a round without a new model",
            Self::TwoRounds => "from before that round until after the next",
            Self::ThreeRounds => "as long as a champion is spared whom we cannot measure",
        }
    }

    pub(super) fn window(self) -> RangeInclusive<u64> {
        match self {
            Self::First => 20..=24,
            Self::Crown | Self::Middle => 40..=44,
            Self::OnTheWay => 41..=43,
            Self::Quiet => 60..=62,
            Self::TwoRounds => 38..=55,
            Self::ThreeRounds => 38..=65,
        }
    }
}

/// A port that fails in a way for some blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Fault {
    pub(super) port: Port,
    pub(super) kind: Kind,
    pub(super) phase: Phase,
}

impl Fault {
    pub(super) fn name(self) -> &'static str {
        match (self.port, self.kind) {
            (Port::Journal, Kind::Absent) => "lost",
            (Port::Journal, Kind::Wrong) => "damaged, then restored",
            (Port::Journal, Kind::Torn) => "killed in the middle of a write",
            (Port::Process, Kind::Absent) => "away",
            (Port::Process, _) => "started anew at every block",
            (Port::Chain, Kind::Wrong) => "absurd numbers",
            (Port::Hub, Kind::Wrong) => "other bytes",
            (Port::Evaluator, Kind::Wrong) => "too many losses, or too few",
            (Port::Evaluator, Kind::Torn) => "dies while it measures",
            (_, Kind::Absent) => "no answer",
            (_, Kind::Slow) => "an answer at every third block",
            (_, Kind::Wrong) => "something else",
            (_, Kind::Torn) => "two answers, then none",
            (_, Kind::Ahead) => "an hour ahead",
            (_, Kind::Behind) => "an hour behind",
            (_, Kind::Lagging) => "three blocks back",
            (_, Kind::Contradiction) => "another hash",
            (_, Kind::Dropped) => "calls are lost",
            (_, Kind::Unregistered) => "not registered",
            (_, Kind::OtherSlot) => "moved to a slot without a permit",
            (_, Kind::NoPermit) => "no permit",
            (_, Kind::Full) => "full",
            (_, Kind::Locked) => "nothing can be let go of",
        }
    }
}

/// Says of each request whether the fault hits it.
pub(super) struct Line {
    fault: Option<Fault>,
    block: AtomicU64,
    /// Requests at this block that the fault concerns.
    n_requests: AtomicUsize,
    n_hits: AtomicUsize,
    /// Whether a request to the chain went without an answer.
    is_unanswered: AtomicBool,
}

impl Line {
    pub(super) fn new(fault: Option<Fault>) -> Self {
        Self {
            fault,
            block: AtomicU64::new(0),
            n_requests: AtomicUsize::new(0),
            n_hits: AtomicUsize::new(0),
            is_unanswered: AtomicBool::new(false),
        }
    }

    /// A block begins.
    pub(super) fn begin(&self, block: Block) {
        self.block.store(block.0, Ordering::SeqCst);
        self.n_requests.store(0, Ordering::SeqCst);
    }

    pub(super) fn n_hits(&self) -> usize {
        self.n_hits.load(Ordering::SeqCst)
    }

    pub(super) fn is_unanswered(&self) -> bool {
        self.is_unanswered.load(Ordering::SeqCst)
    }

    /// Whether a request to a port is hit by a fault of these kinds, and by which.
    pub(super) fn hits(&self, port: Port, kinds: &[Kind]) -> Option<Kind> {
        let concerns = |fault: &Fault| fault.port == port && kinds.contains(&fault.kind);
        let fault = self.fault.filter(concerns)?;
        let (block, window) = (self.block.load(Ordering::SeqCst), fault.phase.window());
        if !window.contains(&block) {
            return None;
        }
        let n_before = self.n_requests.fetch_add(1, Ordering::SeqCst);
        let is_early = fault.phase == Phase::Middle && block == *window.start() && n_before == 0;
        // A process and its journal are asked once a block.
        let can_tear = !matches!(port, Port::Process | Port::Journal);
        let is_answered = match fault.kind {
            Kind::Slow => block.is_multiple_of(3),
            Kind::Torn => can_tear && n_before < 2,
            _ => false,
        };
        if is_early || is_answered {
            return None;
        }
        self.n_hits.fetch_add(1, Ordering::SeqCst);
        Some(fault.kind)
    }

    fn is_silent(&self) -> bool {
        const SILENT: [Kind; 3] = [Kind::Absent, Kind::Slow, Kind::Torn];
        self.hits(Port::Chain, &SILENT).or_else(|| self.hits(Port::HidingChain, &SILENT)).is_some()
    }
}

/// What a chain says whose clock and ours are an hour apart.
fn clock(kind: Kind) -> Error {
    let (early, late) = (Duration::from_secs(1_000_000), Duration::from_secs(1_003_600));
    let (ours, chains) = if kind == Kind::Ahead { (late, early) } else { (early, late) };
    Error::Clock { ours, chains, block: Duration::from_secs(12) }
}

impl Tap for Line {
    fn before(&self, request: &'static str) -> Result<(), Error> {
        if self.is_silent() {
            self.is_unanswered.store(true, Ordering::SeqCst);
            return Err(Error::Unavailable { request });
        }
        if self.hits(Port::Blocks, &[Kind::Contradiction]).is_some() {
            return Err(Error::Contradiction { block: Block(self.block.load(Ordering::SeqCst)) });
        }
        if request == "hiding"
            && let Some(kind) = self.hits(Port::Clock, &[Kind::Ahead, Kind::Behind])
        {
            return Err(clock(kind));
        }
        Ok(())
    }

    fn loses_calls(&self) -> bool {
        self.hits(Port::Blocks, &[Kind::Dropped]).is_some()
    }

    fn metagraph(&self, mut answer: Metagraph) -> Metagraph {
        const KEY: [Kind; 3] = [Kind::Unregistered, Kind::OtherSlot, Kind::NoPermit];
        let own = hotkey("val").public();
        let own = answer.neurons.iter().position(|neuron| neuron.hotkey == own).unwrap();
        let last = answer.neurons.len() - 1;
        match self.hits(Port::Key, &KEY) {
            Some(Kind::Unregistered) => {
                answer.neurons[own].hotkey = hotkey("somebody else").public();
            }
            Some(Kind::OtherSlot) => {
                let keys = [own, last].map(|uid| answer.neurons[uid].hotkey);
                (answer.neurons[own].hotkey, answer.neurons[last].hotkey) = (keys[1], keys[0]);
            }
            Some(_) => answer.neurons[own].validator_permit = false,
            None => {}
        }
        if self.hits(Port::Chain, &[Kind::Wrong]).is_some() {
            answer.weights_rate_limit = u64::MAX;
            for neuron in &mut answer.neurons {
                (neuron.last_update, neuron.stake_rao) = (Block(u64::MAX), u64::MAX);
            }
        }
        answer
    }

    fn rewards(&self, answer: Rewards) -> Rewards {
        match self.hits(Port::Chain, &[Kind::Wrong]) {
            Some(_) => Rewards {
                incentives: Vec::new(),
                tempo: u64::MAX,
                weights_rate_limit: u64::MAX,
                hidden_epochs: u64::MAX,
            },
            None => answer,
        }
    }

    fn row(&self, answer: Vec<(Uid, u16)>) -> Vec<(Uid, u16)> {
        match self.hits(Port::Chain, &[Kind::Wrong]) {
            Some(_) => vec![(Uid(u16::MAX), 1); 1_000],
            None => answer,
        }
    }
}
