//! The miner service: train or take a model, check it, publish it, commit to it; rebase.
//!
//! A [`Miner`] is driven by blocks: at each one it trains for some steps, measures itself on text
//! it holds back, and when it is clearly better than what it last published it goes through the one
//! door that every model takes, the [`Outbox`]: check, publish on the hub, commit on the chain. How
//! training works is not its business: it is given something that can [`Train`].
//!
//! Each step is noted in a journal before the next is made, and training leaves checkpoints: a
//! miner that was killed trains on where it was, and commits to nothing twice.

pub mod champion;
pub mod publish;
pub mod state;
pub mod strategy;

pub use champion::{Champion, find_champion};
pub use publish::{Check, Outbox, Published, Publisher};
pub use state::State;
pub use strategy::{Miner, Plan, Strategy};

use std::path::Path;

/// One optimizer step, as it is reported while it happens.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct StepReport {
    /// Steps taken since training began, this one included.
    pub step: u64,
    /// Mean cross-entropy of the step's batch, in nats per token.
    pub loss: f64,
}

/// Something that makes a model better, a step at a time.
pub trait Train: Send {
    /// Starts over from the parameters of the model in `dir`, keeping nothing of its own; `false`,
    /// and nothing has changed, where a first step from there comes to no numbers.
    fn rebase(&mut self, dir: &Path) -> anyhow::Result<bool>;

    /// Takes one optimizer step on fresh training text.
    fn step(&mut self) -> anyhow::Result<StepReport>;

    /// Mean cross-entropy in nats per token on text held back from training, always the same.
    fn held_out_loss(&mut self) -> anyhow::Result<f64>;

    /// The same for somebody else's model on disk; training is not touched. `None` where it could
    /// not go on from that model: it may be of another architecture, or in another form.
    fn loss_of(&mut self, dir: &Path) -> anyhow::Result<Option<f64>>;

    /// Writes `config.json` and `model.safetensors` into `dir`, which must not exist.
    fn save(&mut self, dir: &Path) -> anyhow::Result<()>;

    /// Writes everything that training needs to go on to the same numbers into `dir`, in place of
    /// what was there, and with it a number of steps that is the caller's.
    fn checkpoint(&mut self, dir: &Path, n_steps: u64) -> anyhow::Result<()>;

    /// Goes on from the checkpoint in `dir` and gives the number that was written with it; `None`
    /// if there is no checkpoint.
    fn resume(&mut self, dir: &Path) -> anyhow::Result<Option<u64>>;
}

/// What a miner tells whoever watches.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// A training step was taken.
    Step(StepReport),
    /// The model was measured on held-back text, in nats per token.
    Measured(f64),
    /// Training goes on from somebody else's parameters.
    Rebased(Champion),
    /// Training cannot go on from this champion's parameters.
    PassedOver(Champion),
    /// A model went out: on the hub and, with the next block, on the chain.
    Published(Published),
    /// The model was not published because a validator would refuse it.
    Withheld(protocol::Reason),
    /// The chain refused the commitment.
    CommitmentRefused(chain::CallError),
    /// The hub did not do what was asked; it is asked again.
    HubTrouble(String),
    /// The chain could not be asked, or did not take a call; it is tried again.
    ChainTrouble(String),
}
