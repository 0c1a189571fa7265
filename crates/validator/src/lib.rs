//! The validator service: sync, sample, evaluate, decide, set weights, publish the record.
//!
//! A [`Validator`] is driven by blocks. When a block that seeds a round is final it runs one
//! [`round`], which reads like section 2.3 of the paper, and submits its weights. How a model is
//! measured is not its business: it is given something that can [`Evaluate`].

pub mod round;
pub mod state;
pub mod sync;

pub use round::RoundSummary;
pub use state::State;

use anyhow::Context as _;
use chain::{Call, CallId, CallStatus, Chain, Head, Keypair, Metagraph};
use dataset::{Batch, Source, Tokenizer};
use hub::Hub;
use protocol::{
    Competition, Digest, NetUid, Outcome, Reason, Uid,
    weights::{Miner, merge, quantize},
};
use serde::{Deserialize, Serialize};
use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

/// What is known of a model after inspection, before anything of it is run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Inspected {
    /// Number of parameters; tied tensors count once.
    pub n_parameters: u64,
    /// Digest over config and tensors, the same however the tensors are spread over files.
    pub tensor_root: Digest,
}

/// Something that measures models; an `Err` is our own trouble and never a verdict.
pub trait Evaluate: Send + Sync {
    /// Judges a model of which nothing is here but its config, its index, its headers and the
    /// lengths of its files: whatever of [`Evaluate::inspect`] needs no parameters.
    fn inspect_ahead(
        &self,
        dir: &Path,
        competition: &Competition,
    ) -> anyhow::Result<Result<(), Reason>>;

    /// Judges the files of a model without running it.
    fn inspect(
        &self,
        dir: &Path,
        competition: &Competition,
    ) -> anyhow::Result<Result<Inspected, Reason>>;

    /// Measures the losses of a model on all batches, and disqualifies one that does no better
    /// than guessing words by their frequency (section 2.3.2).
    ///
    /// `progress` hears of batches done.
    fn evaluate(
        &self,
        dir: &Path,
        competition: &Competition,
        batches: &[Batch],
        progress: &(dyn Fn(usize) + Sync),
    ) -> anyhow::Result<Outcome>;
}

/// A competition with the text it is measured on.
#[derive(Clone)]
pub struct Contest {
    /// The rules.
    pub competition: Competition,
    /// Where fresh text comes from.
    pub source: Arc<dyn Source>,
    /// How it becomes tokens.
    pub tokenizer: Arc<Tokenizer>,
}

/// What a validator works with.
#[derive(Clone)]
pub struct Ports {
    /// Where commitments are read and weights are set.
    pub chain: Arc<dyn Chain>,
    /// Where models are fetched from.
    pub hub: Arc<dyn Hub>,
    /// What measures them.
    pub evaluate: Arc<dyn Evaluate>,
}

/// How this validator runs.
#[derive(Clone, Debug)]
pub struct Config {
    /// Subnet that it serves.
    pub netuid: NetUid,
    /// Folder for state, models and records.
    pub home: PathBuf,
    /// Version of the rules, as it is sent with the weights.
    pub version_key: u64,
}

/// What a validator tells whoever watches.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// A round begins with so many models and batches.
    RoundStarted {
        /// Models in the pool.
        n_models: usize,
        /// Batches each is measured on.
        n_batches: usize,
    },
    /// A model is being measured.
    Evaluating {
        /// Its slot.
        uid: Uid,
        /// Batches done.
        n_batches_done: usize,
    },
    /// A model broke a rule.
    Disqualified {
        /// Its slot.
        uid: Uid,
        /// Which rule, and how.
        reason: Reason,
    },
    /// A model could not be measured by our own fault; it keeps what it had.
    Skipped {
        /// Its slot.
        uid: Uid,
        /// What went wrong.
        error: String,
    },
    /// A round ended with a record.
    RoundEnded(RoundSummary),
    /// A round was given up because of our own trouble; nothing moves.
    RoundSuspended(String),
    /// Weights were handed to the chain.
    WeightsSubmitted(CallId),
    /// The chain refused the weights.
    WeightsRefused(chain::CallError),
}

/// A validator at work: one hotkey on one subnet.
pub struct Validator {
    config: Config,
    ports: Ports,
    contests: Vec<Contest>,
    keypair: Keypair,
    state: State,
    /// Weights on their way to the chain.
    pending: Option<CallId>,
    disk_reserve_bytes: u64,
    fetched_bytes_max: Option<u64>,
}

impl Validator {
    /// Opens the validator's folder and goes on from the state found there.
    pub fn open(
        config: Config,
        ports: Ports,
        contests: Vec<Contest>,
        keypair: Keypair,
    ) -> anyhow::Result<Self> {
        let state = State::load(&config.home)?;
        let disk_reserve_bytes = hub::disk::RESERVE_BYTES;
        Ok(Self {
            config,
            ports,
            contests,
            keypair,
            state,
            pending: None,
            disk_reserve_bytes,
            fetched_bytes_max: None,
        })
    }

    /// Fetches at most so many bytes of new models for a round; without this four models of the
    /// largest size that the competition admits, and 16 GiB at least.
    pub fn with_fetched_bytes_max(mut self, fetched_bytes_max: u64) -> Self {
        self.fetched_bytes_max = Some(fetched_bytes_max);
        self
    }

    /// Takes in no new models where that would leave less than `reserve_bytes` of the disk free.
    pub fn with_disk_reserve(mut self, reserve_bytes: u64) -> Self {
        self.disk_reserve_bytes = reserve_bytes;
        self
    }

    /// Does what is due at a block: rounds whose seed is final, then weights.
    ///
    /// Rounds missed while the validator was away are not made up for: only the newest seed counts.
    pub fn on_block(&mut self, head: Head, watch: &(dyn Fn(Event) + Sync)) -> anyhow::Result<()> {
        self.settle(watch)?;
        for index in 0..self.contests.len() {
            let Some(seed) = self.due(&self.contests[index].competition, head)? else { continue };
            match self.run_round(index, seed, watch) {
                Ok(summary) => watch(Event::RoundEnded(summary)),
                Err(error) => watch(Event::RoundSuspended(format!("{error:#}"))),
            }
        }
        self.set_weights(watch)
    }

    /// State as it stands: moving averages, champions, pools.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// The block that seeds a round which has not been run yet.
    fn due(&self, competition: &Competition, head: Head) -> anyhow::Result<Option<Head>> {
        let every = competition.evaluation.blocks_per_round;
        let block = protocol::Block(head.block.0 - head.block.0 % every);
        let state = self.state.contest(&competition.name);
        let done = state.map_or(0, |state| state.seed_block.max(state.suspended).0);
        if block.0 == 0 || block.0 < competition.from_block || block.0 <= done {
            return Ok(None);
        }
        let hash = self.ports.chain.block_hash(block).context("cannot read a block hash")?;
        Ok(hash.map(|hash| Head { block, hash }))
    }

    /// Learns what became of the weights on their way; refused ones are submitted again.
    fn settle(&mut self, watch: &dyn Fn(Event)) -> anyhow::Result<()> {
        let Some(call) = self.pending else { return Ok(()) };
        match self.ports.chain.status(call).context("cannot ask for the weights")? {
            CallStatus::Pending => return Ok(()),
            CallStatus::Applied(_) => {}
            CallStatus::Refused(_, error) => {
                watch(Event::WeightsRefused(error));
                self.state.weights_due = true;
            }
            // Setting the same weights twice does no harm.
            CallStatus::Unreadable(_)
            | CallStatus::Expired
            | CallStatus::Displaced
            | CallStatus::Unknown => {
                self.state.weights_due = true;
            }
        }
        self.pending = None;
        Ok(())
    }

    /// Submits the merged weights when they are due, allowed, and none are on their way.
    fn set_weights(&mut self, watch: &dyn Fn(Event)) -> anyhow::Result<()> {
        if !self.state.weights_due || self.pending.is_some() {
            return Ok(());
        }
        let chain = &self.ports.chain;
        let metagraph = chain.metagraph(self.config.netuid).context("cannot read the metagraph")?;
        let hotkey = self.keypair.public();
        let Some(own) = metagraph.neurons.iter().find(|neuron| neuron.hotkey == hotkey) else {
            anyhow::bail!("hotkey `{hotkey}` is not registered on subnet {}", metagraph.netuid);
        };
        // The chain counts registration as an update, so a new validator waits as well.
        if metagraph.block.since(own.last_update) < metagraph.weights_rate_limit
            || !own.validator_permit
        {
            return Ok(());
        }
        let (uids, weights) = self.merged_weights(&metagraph);
        if uids.is_empty() {
            return Ok(());
        }
        let netuid = self.config.netuid;
        let version_key = self.config.version_key;
        let call = Call::SetWeights { netuid, uids, weights, version_key };
        let id = chain.submit(call, &self.keypair).context("cannot submit the weights")?;
        self.pending = Some(id);
        self.state.weights_due = false;
        self.state.save(&self.config.home)?;
        watch(Event::WeightsSubmitted(id));
        Ok(())
    }

    /// Moving averages of all competitions merged by reward share, as the chain takes them.
    ///
    /// A slot that has changed hands since it was measured gets nothing.
    fn merged_weights(&self, metagraph: &Metagraph) -> (Vec<Uid>, Vec<u16>) {
        let registered = metagraph
            .neurons
            .iter()
            .map(|neuron| Miner { uid: neuron.uid, hotkey: neuron.hotkey })
            .collect();
        let averages: Vec<_> = self
            .contests
            .iter()
            .filter_map(|contest| {
                let state = self.state.contest(&contest.competition.name)?;
                Some((contest.competition.reward_share, &state.average))
            })
            .collect();
        quantize(&merge(&averages, &registered)).into_iter().unzip()
    }
}
