//! What miners do: each strategy is a few lines on one trait.

mod copies;
mod exam;
mod hands;
mod honest;
mod timing;

pub use hands::Hands;
pub(crate) use hands::{Purse, Slot};

use crate::{
    hub::FileId,
    model::ModelId,
    scenario::{ModelRules, TextRules},
};
use protocol::{Block, Competition, competition::LossKind};
use serde::Deserialize;
use std::fmt;

/// How many epsilons a miner wants to be better by before it enters: its own commitment goes with
/// a new one, and whoever has a copy of the old model inherits a crown that the new one misses.
const MARGIN: f64 = 2.0;

/// What a miner does in each block.
pub trait Strategy: Send {
    /// Looks at what everybody sees, and acts with what is its own.
    fn act(&mut self, view: &View<'_>, hands: &mut Hands<'_>);
}

/// An entry of a competition as everybody knows it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Listed {
    /// Slot of its miner.
    pub slot: usize,
    /// What was committed to.
    pub file: FileId,
    /// The model in it.
    pub model: ModelId,
    /// True loss of the model: whoever has the bytes can measure as long as it likes.
    pub merit: f64,
    /// Block from which the commitment stands.
    pub since: Block,
    /// Whether everybody sees the bytes now.
    pub is_public: bool,
}

/// What everybody sees.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    /// The newest block.
    pub block: Block,
    /// Whoever wears the crown, by what it stands for now.
    pub champion: Option<Listed>,
    /// The rules of the competition.
    pub competition: &'a Competition,
    /// The text.
    pub text: &'a TextRules,
    /// What models can hold.
    pub models: &'a ModelRules,
    /// Validators of all kinds.
    pub n_validators: usize,
}

impl View<'_> {
    /// The loss below which a model is better than one of this loss, by twice epsilon; any is where
    /// there is none to be better than, with an infinite loss.
    pub fn needed(&self, merit: f64) -> f64 {
        if merit.is_infinite() {
            // A part of infinity is as much.
            return merit;
        }
        merit - MARGIN * epsilon_nats(self.competition, merit)
    }
}

/// By how many nats per token a challenger must be better than a model of this loss.
pub(crate) fn epsilon_nats(competition: &Competition, merit: f64) -> f64 {
    let scoring = &competition.scoring;
    let epsilon = scoring.epsilon.at(Block(0), Block(0));
    match scoring.loss {
        // A small part of a perplexity is as many nats.
        LossKind::Perplexity => epsilon,
        LossKind::CrossEntropy => epsilon * merit,
    }
}

/// The strategies, by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// Trains its own line of models, and publishes each that is better: honest.
    Scratch,
    /// Trains on from the champion where that is better than what it has: honest, too.
    Rebase,
    /// Does nothing.
    Idle,
    /// Publishes what it has only when it does not wear the crown.
    Hoard,
    /// Hoards, and publishes no more of it than beats the champion by epsilon.
    Snipe,
    /// Publishes several models at once, each a little better than the one before.
    Ladder,
    /// Commits to the champion's files.
    Copy,
    /// Commits to what others upload, in the block in which they do.
    Intercept,
    /// Commits to copies of the champion with noise in them.
    Noise,
    /// Commits to the champion's tensors in other files.
    Repack,
    /// Commits to junk and noise as often as it may.
    Spam,
    /// Commits to the same model again and again, for another try.
    Recommit,
    /// Commits first, and shows the bytes rounds later.
    Late,
    /// Shows the bytes to half of the validators.
    Withhold,
    /// Hides the bytes while it wears the crown.
    Gate,
    /// Withdraws its commitment once it wears the crown.
    Desert,
    /// Enters one model many times, with noise, under many keys.
    Sybil,
    /// Publishes models that nobody can train further.
    Sabotage,
    /// Is a little better on most documents, and far worse on the rest.
    Target,
    /// Knows the reserve by heart.
    Overfit,
    /// Knows by heart what made-up block hashes show of the exam.
    Harvest,
}

impl Kind {
    /// All there are.
    pub const ALL: [Self; 21] = [
        Self::Scratch,
        Self::Rebase,
        Self::Idle,
        Self::Hoard,
        Self::Snipe,
        Self::Ladder,
        Self::Copy,
        Self::Intercept,
        Self::Noise,
        Self::Repack,
        Self::Spam,
        Self::Recommit,
        Self::Late,
        Self::Withhold,
        Self::Gate,
        Self::Desert,
        Self::Sybil,
        Self::Sabotage,
        Self::Target,
        Self::Overfit,
        Self::Harvest,
    ];

    /// The name of it in files and tables.
    pub fn name(self) -> &'static str {
        match self {
            Self::Scratch => "scratch",
            Self::Rebase => "rebase",
            Self::Idle => "idle",
            Self::Hoard => "hoard",
            Self::Snipe => "snipe",
            Self::Ladder => "ladder",
            Self::Copy => "copy",
            Self::Intercept => "intercept",
            Self::Noise => "noise",
            Self::Repack => "repack",
            Self::Spam => "spam",
            Self::Recommit => "recommit",
            Self::Late => "late",
            Self::Withhold => "withhold",
            Self::Gate => "gate",
            Self::Desert => "desert",
            Self::Sybil => "sybil",
            Self::Sabotage => "sabotage",
            Self::Target => "target",
            Self::Overfit => "overfit",
            Self::Harvest => "harvest",
        }
    }

    /// Whether it plays against the rules.
    pub fn is_attack(self) -> bool {
        !matches!(self, Self::Scratch | Self::Rebase | Self::Idle)
    }

    /// Slots that a player of it has where a scenario says nothing.
    pub fn slots(self) -> usize {
        match self {
            Self::Ladder | Self::Copy | Self::Noise | Self::Spam | Self::Sybil => 4,
            Self::Intercept | Self::Repack => 2,
            _ => 1,
        }
    }

    /// A player of it at the start of a season.
    pub fn player(self) -> Box<dyn Strategy> {
        match self {
            Self::Scratch => Box::new(honest::Scratch::default()),
            Self::Rebase => Box::new(honest::Rebase::default()),
            Self::Idle => Box::new(honest::Idle),
            Self::Hoard => Box::new(timing::Hoard::default()),
            Self::Snipe => Box::new(timing::Snipe::default()),
            Self::Ladder => Box::new(copies::Ladder::default()),
            Self::Copy => Box::new(copies::Copy),
            Self::Intercept => Box::new(copies::Intercept),
            Self::Noise => Box::new(copies::Noise::default()),
            Self::Repack => Box::new(copies::Repack::default()),
            Self::Spam => Box::new(copies::Spam::default()),
            Self::Recommit => Box::new(timing::Recommit::default()),
            Self::Late => Box::new(timing::Late::default()),
            Self::Withhold => Box::new(timing::Withhold::default()),
            Self::Gate => Box::new(timing::Gate::default()),
            Self::Desert => Box::new(timing::Desert::default()),
            Self::Sybil => Box::new(copies::Sybil::default()),
            Self::Sabotage => Box::new(exam::Sabotage::default()),
            Self::Target => Box::new(exam::Tilted::new(exam::target)),
            Self::Overfit => Box::new(exam::Tilted::new(exam::overfit)),
            Self::Harvest => Box::new(exam::Tilted::new(exam::harvest)),
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests;
