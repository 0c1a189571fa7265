//! What the chain must not wait for: weights are handed over and followed.

use crate::{
    Config, Validator,
    entry::Entry,
    event::Event,
    state::{Hidden, State, WeightsState},
    weights,
};
use anyhow::Context as _;
use chain::{Call, CallStatus, Handed, Head, Mechanism, Metagraph, Neuron, Weights};
use protocol::{Block, Uid};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Blocks after which weights are handed over again, whether they have changed or not: the chain
/// counts a validator that is silent for 5,000 blocks as inactive, and explorers a quarter of that
/// as away.
pub const WEIGHTS_AGE_MAX: u64 = 1_250;

/// Blocks for which another process with the same hotkey counts as alive after it has set weights:
/// one that lives sets them at least every [`WEIGHTS_AGE_MAX`].
const OTHER_ALIVE: u64 = WEIGHTS_AGE_MAX + 250;

/// Blocks for which weights wait for a root of records that was sent and stands in no final block
/// yet.
///
/// Both are calls of one key, so weights that are signed after a root wait behind it, for their
/// whole era if a node drops it. After so many blocks a node has put it into a block or let go of
/// it, and then the weights take its place.
const ROOT_PATIENCE: u64 = 6;

/// Weights as they would go to the chain now.
struct Due {
    call: Call,
    hidden: Option<Hidden>,
    /// The row that the chain keeps of them, where they are not hidden.
    row: Option<Vec<(Uid, u16)>>,
    /// Last block that may include them, where they are hidden.
    last: Option<Block>,
    /// Decisions that they follow from.
    n_decisions: u64,
}

/// Which weights on the chain count as ours though no entry says so.
pub(crate) struct Claim(Mutex<Claimed>);

#[derive(Clone, Copy)]
enum Claimed {
    /// None.
    Nothing,
    /// All, until the chain has taken some that this process signed.
    All { has_signed: bool },
    /// Those that the first look finds.
    First,
    /// Those up to this block.
    UpTo(Block),
}

impl Claim {
    /// That of a validator that goes on from a state.
    pub(crate) fn new(config: Config, state: &State) -> Self {
        let WeightsState { due, sent, set, .. } = &state.weights;
        // Weights that were never taken are due for ever. If none are due and none on their way,
        // an earlier version has set them, which did not note when.
        let is_unnoted = !due && sent.is_none() && set.is_none() && state.n_decisions() > 0;
        Self(Mutex::new(match (config.takes_over, is_unnoted) {
            (true, _) => Claimed::All { has_signed: false },
            (false, true) => Claimed::First,
            (false, false) => Claimed::Nothing,
        }))
    }

    pub(crate) fn takes_over(&self) -> bool {
        matches!(*self.lock(), Claimed::All { .. })
    }

    /// This process has signed weights.
    fn signed(&self) {
        let mut claimed = self.lock();
        if let Claimed::All { has_signed } = &mut *claimed {
            *has_signed = true;
        }
    }

    /// The chain has taken weights of ours.
    fn set(&self) {
        let mut claimed = self.lock();
        if matches!(*claimed, Claimed::All { has_signed: true }) {
            *claimed = Claimed::Nothing;
        }
    }

    /// Whether weights of this block are claimed.
    fn has(&self, block: Block) -> bool {
        let mut claimed = self.lock();
        if matches!(*claimed, Claimed::First) {
            *claimed = Claimed::UpTo(block);
        }
        match *claimed {
            Claimed::Nothing | Claimed::First => false,
            Claimed::All { .. } => true,
            Claimed::UpTo(last) => block <= last,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Claimed> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Validator {
    /// Looks after weights on their way, and after those that the chain keeps hidden.
    pub(crate) fn follow_weights(&self, head: Head, watch: &dyn Fn(Event)) -> anyhow::Result<()> {
        self.settle(head, watch)?;
        self.look_for_reveal(head, watch)
    }

    /// What is known of the weights, if that is so of them.
    pub(crate) fn weights_if(
        &self,
        is_so: impl FnOnce(&WeightsState) -> bool,
    ) -> Option<WeightsState> {
        // Asked at each block, and mostly it is not.
        self.memory.state(|state| is_so(&state.weights).then(|| state.weights.clone()))
    }

    /// Learns what became of the weights on their way; lost ones are handed over again.
    fn settle(&self, head: Head, watch: &dyn Fn(Event)) -> anyhow::Result<()> {
        let Some(state) = self.weights_if(|weights| weights.sent.is_some()) else {
            return Ok(());
        };
        let Some(sent) = &state.sent else { return Ok(()) };
        let set = match self.ports.chain.follow(sent) {
            Ok(CallStatus::Pending) => return Ok(()),
            Ok(CallStatus::Unknown) if head.block <= sent.last => return Ok(()),
            Ok(CallStatus::Applied(block)) => Some(block),
            Ok(CallStatus::Refused(_, error)) => {
                watch(Event::WeightsRefused(error));
                None
            }
            // Whoever operates it is to know where an endpoint holds each of them back.
            Ok(CallStatus::Expired) => {
                let text = "the weights were in no block in their time, and are handed over anew";
                watch(Event::ChainTrouble(text.to_owned()));
                None
            }
            Ok(CallStatus::Displaced) => None,
            // No block tells, but the chain's own state does.
            Ok(CallStatus::Unreadable(_) | CallStatus::Unknown) => match self.last_update() {
                Ok(last_update) => Some(last_update).filter(|block| *block > sent.from),
                Err(error) => {
                    watch(Event::ChainTrouble(format!("{error:#}")));
                    return Ok(());
                }
            },
            Err(error) => {
                watch(Event::ChainTrouble(format!("cannot ask for the weights: {error}")));
                return Ok(());
            }
        };
        let epoch = match self.epoch_taken(&state, set) {
            Ok(epoch) => epoch,
            Err(error) => {
                watch(Event::ChainTrouble(format!("{error:#}")));
                return Ok(());
            }
        };
        let settled = Entry::WeightsSettled { again: set.is_none(), set, epoch };
        self.memory.learn(&settled, head.block)?;
        if let Some(block) = set {
            self.claim.set();
            watch(Event::WeightsSet { block });
        }
        if let (Some(block), Some(hidden)) = (set, &state.hiding)
            && epoch.is_some_and(|epoch| hidden.reveal.epoch < epoch)
        {
            watch(Event::WeightsExposed { block, reveal: hidden.reveal });
        }
        Ok(())
    }

    /// Block at which our own slot last set weights.
    fn last_update(&self) -> anyhow::Result<Block> {
        let metagraph = self.metagraph()?;
        Ok(weights::slot(&metagraph, self.keypair.public())?.last_update)
    }

    fn metagraph(&self) -> anyhow::Result<Metagraph> {
        let metagraph = self.ports.chain.metagraph(self.config.netuid);
        metagraph.context("cannot read the metagraph")
    }

    /// Hands over the merged weights when they are due, allowed, and none are on their way.
    pub(crate) fn set_weights(&self, head: Head, watch: &dyn Fn(Event)) -> anyhow::Result<()> {
        let is_old = |weights: &WeightsState| {
            weights.set.is_some_and(|set| head.block.since(set) >= WEIGHTS_AGE_MAX)
        };
        let is_due = |weights: &WeightsState| weights.due || is_old(weights);
        let Some(state) = self.weights_if(|weights| is_due(weights) && weights.sent.is_none())
        else {
            return Ok(());
        };
        // Those that have grown old wait for nothing.
        if !is_old(&state) && self.is_root_young(head.block) {
            return Ok(());
        }
        let due = match self.weights(&state, watch) {
            Ok(Some(due)) => due,
            Ok(None) => return Ok(()),
            Err(error) => {
                watch(Event::ChainTrouble(format!("{error:#}")));
                return Ok(());
            }
        };
        let signed = match self.ports.chain.sign(due.call, &self.keypair, due.last) {
            Ok(signed) => signed,
            Err(error) => {
                watch(Event::ChainTrouble(format!("cannot sign the weights: {error}")));
                return Ok(());
            }
        };
        // Before they are sent: if we die now, the next process knows what it has to ask for.
        let (hidden, row) = (due.hidden, due.row);
        let entry = Entry::WeightsSigned { signed: signed.clone(), hidden, row };
        {
            let mut past = self.memory.lock();
            // A round may have ended meanwhile: what follows from it is handed over instead, at the
            // next block. Noted here, it would count as set.
            if past.state().n_decisions() != due.n_decisions {
                return Ok(());
            }
            past.learn(&entry, head.block).map_err(crate::ours)?;
        }
        self.claim.signed();
        match self.ports.chain.send(&signed) {
            Ok(()) => {
                watch(Event::WeightsSubmitted(signed.id));
                Ok(())
            }
            Err(error) => {
                watch(Event::ChainTrouble(format!("cannot send the weights: {error}")));
                let settled = Entry::WeightsSettled { again: true, set: None, epoch: None };
                self.memory.learn(&settled, head.block)
            }
        }
    }

    /// Whether a root of records was sent so shortly before a block that it may still be included.
    fn is_root_young(&self, now: Block) -> bool {
        self.memory.state(|state| {
            let sent = state.roots.sent.as_ref();
            sent.is_some_and(|sent| now.since(sent.signed.from) < ROOT_PATIENCE)
        })
    }

    /// The call that sets the weights, and what it hides, if the chain takes one now.
    fn weights(&self, state: &WeightsState, watch: &dyn Fn(Event)) -> anyhow::Result<Option<Due>> {
        let metagraph = self.metagraph()?;
        let own = weights::slot(&metagraph, self.keypair.public())?;
        // First of all: whoever asks only when it may set weights takes another for gone meanwhile.
        if let Some(block) = self.set_by_another(state, &metagraph, own)? {
            let until = Block(block.0.saturating_add(OTHER_ALIVE));
            watch(Event::AnotherValidator { block, until });
            return Ok(None);
        }
        // The chain counts registration as an update, so a new validator waits as well.
        if metagraph.block.since(own.last_update) < metagraph.weights_rate_limit
            || !own.validator_permit
        {
            return Ok(None);
        }
        let (merged, n_decisions) = self.memory.state(|state| {
            (weights::merged(&self.schedule, state, &metagraph, own.uid), state.n_decisions())
        });
        let (uids, weights) = merged;
        if uids.is_empty() {
            return Ok(None);
        }
        let (netuid, version_key) = (self.config.netuid, self.config.version_key);
        let mechanism = Mechanism::FIRST;
        let weights = Weights { netuid, mechanism, uids, weights, version_key };
        // What is wrong with hidden weights the chain tells nobody.
        let demands = self.ports.chain.demands(netuid);
        let demands = demands.context("cannot read what the subnet demands of weights")?;
        if let Some(error) = demands.refusal(&metagraph, &weights, self.keypair.public()) {
            watch(Event::WeightsUnfit(error));
            return Ok(None);
        }
        self.handed(state, own, &weights).map(|due| Some(Due { n_decisions, ..due }))
    }

    /// The weights in the way in which the subnet takes them now, openly or hidden.
    fn handed(&self, state: &WeightsState, own: &Neuron, weights: &Weights) -> anyhow::Result<Due> {
        let handed = self.ports.chain.hand(weights, &self.keypair);
        let Handed { call, reveal, last } = handed.context("cannot hand over the weights")?;
        let row = weights.row();
        let Some(reveal) = reveal else {
            return Ok(Due { call, hidden: None, row: Some(row), last, n_decisions: 0 });
        };
        let mut kept = own.weights.clone();
        kept.sort_unstable();
        let repeats = kept == row || state.hidden.iter().any(|hidden| hidden.row == row);
        let hidden = Some(Hidden { uid: own.uid, reveal, row, repeats });
        Ok(Due { call, hidden, row: None, last, n_decisions: 0 })
    }

    /// Block at which another process with this hotkey set weights, if it counts as alive.
    ///
    /// Two that share a hotkey would undo each other's weights, and a watcher could not tell which
    /// of them to believe.
    fn set_by_another(
        &self,
        state: &WeightsState,
        metagraph: &Metagraph,
        own: &Neuron,
    ) -> anyhow::Result<Option<Block>> {
        let ours = state.set.unwrap_or_default().max(own.block_at_registration);
        let is_alive = metagraph.block.since(own.last_update) < OTHER_ALIVE;
        if own.last_update <= ours || !is_alive || self.claim.has(own.last_update) {
            return Ok(None);
        }
        // Where a subnet hides weights no more, opening ours of before is an update like any other.
        if state.hidden_until.is_some_and(|until| own.last_update <= until) {
            let hiding = self.ports.chain.hiding(self.config.netuid);
            if hiding.context("cannot read how the subnet takes weights")?.is_none() {
                return Ok(None);
            }
        }
        Ok(Some(own.last_update))
    }
}
