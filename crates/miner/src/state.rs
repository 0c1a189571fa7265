//! What a miner must not forget: what follows from the entries of its journal.

use crate::Champion;
use chain::Signed;
use journal::past::{Follows, Happened};
use protocol::Block;
use serde::{Deserialize, Serialize};

/// One thing that happened at a miner.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Entry {
    /// The work of a block is done.
    Worked {
        /// The block.
        block: Block,
        /// Training steps so far.
        n_steps: u64,
        /// Whether nothing is left to train or to measure.
        is_finished: bool,
    },
    /// Training goes on from somebody's parameters, or is better than they are.
    Rebased {
        /// Whose.
        champion: Champion,
        /// Perplexity on held-back text to be below from now on, if theirs is finite.
        mark: Option<f64>,
    },
    /// Training cannot go on from this champion's parameters.
    PassedOver(Champion),
    /// A model lies ready to be published.
    Offered {
        /// The block.
        block: Block,
        /// Name of its folder in that of the miner.
        folder: String,
        /// What its miner measured, where it did.
        measured: Option<Measured>,
        /// What to commit to, where the model is on the hub already.
        commitment: Option<String>,
    },
    /// A validator would refuse it, so it was not published.
    Withheld,
    /// It is on the hub; the text is the commitment to it.
    Uploaded {
        /// The commitment.
        commitment: String,
    },
    /// The call that makes the commitment is signed, and about to be sent.
    Signed(Signed),
    /// It could not be handed over.
    Unsent,
    /// It is not on the chain and has to be handed over again.
    Lost,
    /// Nothing is left to be done for it: it is on the chain, or never will be.
    Settled,
}

/// Perplexities on held-back text.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Measured {
    /// That of the model.
    pub perplexity: f64,
    /// What the next model has to be below.
    pub mark: f64,
}

/// What a miner carries from block to block.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct State {
    /// The last block whose work is done.
    pub block: Block,
    /// Training steps up to then.
    pub n_steps: u64,
    /// Whether nothing is left to train or to measure.
    pub is_finished: bool,
    /// Perplexity below which the next model is published; any at first.
    pub mark: Option<f64>,
    /// Champion whose parameters training went on from, or is better than.
    pub base: Option<Champion>,
    /// Champion whose parameters training cannot go on from.
    pub passed_over: Option<Champion>,
    /// The model on its way out.
    pub outgoing: Option<Outgoing>,
    /// Folder of the model that was last published on the hub.
    pub uploaded: Option<String>,
    /// The model that was offered last.
    pub offered: Option<Offered>,
}

/// A model that was offered, whatever became of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Offered {
    /// The block.
    pub block: Block,
    /// Name of its folder in that of the miner.
    pub folder: String,
}

/// A model on its way from this disk to a commitment on the chain.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Outgoing {
    /// Name of its folder in that of the miner.
    pub folder: String,
    /// What its miner measured, where it did.
    pub measured: Option<Measured>,
    /// How far it has come.
    pub stage: Stage,
    /// Calls that were signed to commit to it: more than one where the chain asked to wait.
    pub n_signed: u32,
}

/// How far a model on its way has come.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stage {
    /// On this disk alone.
    Saved,
    /// On the hub.
    Uploaded {
        /// The commitment to it.
        commitment: String,
    },
    /// On the hub, and its commitment on the way to the chain.
    Committing {
        /// The commitment to it.
        commitment: String,
        /// The call that makes it.
        signed: Signed,
    },
}

impl Stage {
    /// The commitment, once there is one.
    pub fn commitment(&self) -> Option<&str> {
        match self {
            Self::Saved => None,
            Self::Uploaded { commitment } | Self::Committing { commitment, .. } => Some(commitment),
        }
    }
}

impl State {
    /// Whether a commitment is with the chain, so that another would be refused or cost the age of
    /// the first.
    pub fn is_committing(&self) -> bool {
        let stage = self.outgoing.as_ref().map(|outgoing| &outgoing.stage);
        matches!(stage, Some(Stage::Committing { .. }))
    }

    fn stage(&mut self, next: impl FnOnce(&Stage) -> Option<Stage>) {
        if let Some(outgoing) = &mut self.outgoing
            && let Some(next) = next(&outgoing.stage)
        {
            outgoing.stage = next;
        }
    }
}

impl Happened for Entry {
    const KEPT: (&'static [&'static str], usize) = (&["offered", "uploaded"], 1_000);

    fn kind(&self) -> &'static str {
        match self {
            Self::Worked { .. } => "worked",
            Self::Rebased { .. } => "rebased",
            Self::PassedOver(_) => "passed-over",
            Self::Offered { .. } => "offered",
            Self::Withheld => "withheld",
            Self::Uploaded { .. } => "uploaded",
            Self::Signed(_) => "signed",
            Self::Unsent => "unsent",
            Self::Lost => "lost",
            Self::Settled => "settled",
        }
    }
}

impl Follows for State {
    type Entry = Entry;

    fn apply(&mut self, entry: &Entry) -> Result<(), String> {
        let commitment = |stage: &Stage| Some(stage.commitment()?.to_owned());
        match entry.clone() {
            Entry::Worked { block, n_steps, is_finished } => {
                (self.block, self.n_steps, self.is_finished) = (block, n_steps, is_finished);
            }
            Entry::Rebased { champion, mark } => {
                (self.base, self.mark) = (Some(champion), mark.or(self.mark));
                // What still waits and is no better than the champion is not worth a commitment.
                let waits = self.outgoing.as_ref().filter(|_| !self.is_committing());
                let perplexity = waits.and_then(|outgoing| Some(outgoing.measured?.perplexity));
                if let (Some(waits), Some(mark)) = (perplexity, self.mark)
                    && waits >= mark
                {
                    self.outgoing = None;
                }
            }
            Entry::PassedOver(champion) => self.passed_over = Some(champion),
            Entry::Offered { block, folder, measured, commitment } => {
                let stage = match commitment {
                    Some(commitment) => Stage::Uploaded { commitment },
                    None => Stage::Saved,
                };
                let folder_of_it = folder.clone();
                self.outgoing =
                    Some(Outgoing { folder: folder_of_it, measured, stage, n_signed: 0 });
                self.offered = Some(Offered { block, folder });
            }
            Entry::Uploaded { commitment } => {
                if let Some(outgoing) = &self.outgoing {
                    self.uploaded = Some(outgoing.folder.clone());
                    // Only now: a model that never went out sets no mark.
                    let mark = outgoing.measured.map(|measured| measured.mark);
                    // It may have waited while the bar fell.
                    self.mark = match (mark, self.mark) {
                        (Some(new), Some(old)) => Some(new.min(old)),
                        (new, old) => new.or(old),
                    };
                }
                self.stage(|_| Some(Stage::Uploaded { commitment }));
            }
            Entry::Signed(signed) => {
                if let Some(outgoing) = &mut self.outgoing {
                    outgoing.n_signed = outgoing.n_signed.saturating_add(1);
                }
                self.stage(|stage| {
                    Some(Stage::Committing { commitment: commitment(stage)?, signed })
                });
            }
            Entry::Unsent => {
                if let Some(outgoing) = &mut self.outgoing {
                    outgoing.n_signed = outgoing.n_signed.saturating_sub(1);
                }
                self.stage(|stage| Some(Stage::Uploaded { commitment: commitment(stage)? }));
            }
            Entry::Lost => {
                self.stage(|stage| Some(Stage::Uploaded { commitment: commitment(stage)? }));
            }
            Entry::Withheld | Entry::Settled => self.outgoing = None,
        }
        Ok(())
    }
}
