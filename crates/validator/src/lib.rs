//! The validator service: which models there are, text, losses, decision, weights, record.
//!
//! A [`Validator`] is driven by blocks. When a block that seeds a round is final it brings, one
//! after the other, what the round is missing, and notes each in its journal; the round itself is a
//! function of what is known (`round.rs`), which reads like section 2.3 of the paper. So whatever
//! ends the process, the next one goes on at the next thing that is missing.
//!
//! What a model is, how it is measured and where text comes from is not its business: it asks
//! [`ports`], by content.

mod book;
mod decide;
mod duels;
mod duties;
pub mod entry;
pub mod event;
pub mod fetched;
pub mod legacy;
mod memory;
pub mod ports;
mod publish;
mod reveal;
pub mod roots;
mod round;
pub mod state;
mod supply;
mod turn;
mod unheard;
mod weights;
mod work;

pub use book::{Listed, OnChain, on_chain};
pub use duties::WEIGHTS_AGE_MAX;
pub use entry::Entry;
pub use event::{Cause, Duels, Event, Fought, Progress, RoundSummary, Row, Stage};
pub use fetched::{Engine, FetchedModels, Inspected};
pub use ports::{
    Admission, Ask, Committed, Contest, Drawn, Evaluate, Had, Models, Ports, Publish, Sequence,
    Sight, Terms, Text, Trouble,
};
pub use roots::{RootState, Said, SentRoot};
pub use state::{ContestState, State};
pub use work::Worked;

use chain::{Head, Keypair};
use duties::Claim;
use journal::{Journal, Past};
use memory::Memory;
use protocol::{BlockHash, Competition, NetUid, Schedule};
use publish::Queues;
use std::{collections::BTreeSet, sync::Arc};
use work::Turns;

/// How this validator runs.
#[derive(Clone, Copy, Debug)]
pub struct Config {
    /// Subnet that it serves.
    pub netuid: NetUid,
    /// Hash of the first block of the chain, which records name.
    pub genesis: BlockHash,
    /// Version of the rules, as it is sent with the weights.
    pub version_key: u64,
    /// Most bytes of new models that are fetched for a round; without this four models of the
    /// largest size that the competition admits, and 16 GiB at least.
    pub fetched_bytes_max: Option<u64>,
    /// Whether weights may be set although another process with the same hotkey set some shortly
    /// before: it is known to have ended for good. Once the chain has taken weights that this
    /// validator signed, another counts as one again.
    pub takes_over: bool,
    /// Blocks between two commitments to the root of the records; 0 for none.
    pub root_blocks: u64,
}

impl Config {
    /// The usual way on a subnet of the chain with this genesis.
    pub fn new(netuid: NetUid, genesis: BlockHash) -> Self {
        Self {
            netuid,
            genesis,
            version_key: 0,
            fetched_bytes_max: None,
            takes_over: false,
            root_blocks: 0,
        }
    }
}

/// A validator at work: one hotkey on one subnet.
///
/// Its parts can be called from several threads, so that duties to the chain never wait for a
/// measurement: [`Self::duties`], [`Self::work`] and [`Self::publish`]. [`Self::on_block`] does all
/// of it in one fixed order.
pub struct Validator {
    config: Config,
    ports: Ports,
    contests: Vec<Contest>,
    /// Their names in order, each once.
    names: Vec<Arc<str>>,
    /// When each of them runs.
    schedule: Schedule,
    keypair: Keypair,
    memory: Memory,
    /// Which weights on the chain count as ours though no entry says so.
    claim: Claim,
    /// Rounds that go on.
    turns: Turns,
    /// Records that wait to be published.
    queues: Queues,
}

impl Validator {
    /// Goes on from what stands in the journal.
    pub fn open(
        config: Config,
        ports: Ports,
        contests: Vec<Contest>,
        keypair: Keypair,
        journal: Journal,
    ) -> anyhow::Result<Self> {
        // Rules that contradict each other are found before anything follows from them.
        let schedule =
            Schedule::new(contests.iter().map(|contest| contest.competition.clone()).collect())?;
        let past = Past::open(journal)?;
        let (queues, claim) = (Queues::of(&past)?, Claim::new(config, past.state()));
        let (memory, turns) = (Memory::new(past), Turns::default());
        let names: BTreeSet<Arc<str>> =
            contests.iter().map(|contest| Arc::clone(&contest.name)).collect();
        let names = names.into_iter().collect();
        Ok(Self { config, ports, contests, names, schedule, keypair, memory, claim, turns, queues })
    }

    /// The rules of all competitions that are judged here, versions and all.
    pub fn competitions(&self) -> impl Iterator<Item = &Competition> {
        self.contests.iter().map(Contest::competition)
    }

    /// State as it stands: moving averages, champions, verdicts.
    pub fn state(&self) -> State {
        self.memory.state(Clone::clone)
    }

    /// The same of one competition; `None` if nothing is known of it.
    pub fn contest(&self, name: &str) -> Option<ContestState> {
        self.memory.state(|state| state.contest(name).cloned())
    }

    /// Whether weights may still be set although another process set some shortly before.
    pub fn takes_over(&self) -> bool {
        self.claim.takes_over()
    }

    /// What the last rounds came to, the oldest first, at most `n_max` of them and 1,000 of those
    /// before the state was last written down whole.
    pub fn rounds(&self, n_max: usize) -> anyhow::Result<Vec<RoundSummary>> {
        let summary = |entry| match entry {
            Entry::Decided { summary, .. } => summary.map(|summary| *summary),
            _ => None,
        };
        let decided = self.memory.lock().newest(entry::DECIDED, n_max)?;
        Ok(decided.into_iter().filter_map(summary).collect())
    }

    /// Does what is due at a block: looks after calls on their way, runs the rounds whose seed is
    /// final, hands over weights, publishes records.
    ///
    /// Trouble with the chain, a hub or text is told and tried again at the next block, and keeps
    /// nothing else from being done; an `Err` is a journal that cannot be written.
    pub fn on_block(&self, head: Head, watch: &(dyn Fn(Event) + Sync)) -> anyhow::Result<()> {
        // Calls first: what became of them decides whether weights are due.
        self.follow_weights(head, watch)?;
        self.follow_root(head, watch)?;
        self.rounds_at(head, watch)?;
        // After the rounds, so that weights which are due with one go out at the same block; and
        // before records are published, which may wait for an outage to end.
        self.set_weights(head, watch)?;
        self.publish(watch);
        Ok(())
    }

    /// Does what the chain must not wait for at a block: looks after weights and the root of
    /// records on their way, and hands over weights that are due.
    pub fn duties(&self, head: Head, watch: &dyn Fn(Event)) -> anyhow::Result<()> {
        self.follow_weights(head, watch)?;
        self.follow_root(head, watch)?;
        self.set_weights(head, watch)
    }
}

/// A journal that fails: nothing may go on.
#[derive(Debug, thiserror::Error)]
#[error("the journal cannot be written")]
struct JournalFailed;

fn ours(error: impl Into<anyhow::Error>) -> anyhow::Error {
    error.into().context(JournalFailed)
}

fn is_ours(error: &anyhow::Error) -> bool {
    error.downcast_ref::<JournalFailed>().is_some()
}
