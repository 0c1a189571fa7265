//! What a validator tells whoever watches.

use crate::{ports::Contest, state::Holder};
use chain::{CallId, Head, Reveal};
use protocol::{
    AccountId, Block, Digest, Loss, Merit, Reason, Uid,
    duel::{self, DuelRules, Fight, INTERVAL_ERROR, Interval, Strength},
};
use serde::{Deserialize, Serialize};
use std::{fmt, sync::Arc};

/// Something that happened at a validator.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// A round begins to measure.
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
    /// A round cannot go on because of our own trouble; nothing moves.
    RoundSuspended(String),
    /// A record could not be published yet.
    RecordDelayed(String),
    /// Records were not published, and the journal has them no more: nobody ever reads them, and
    /// publication goes on after them.
    RecordsLost {
        /// Name of the competition.
        competition: String,
        /// Number of the first.
        first: u64,
        /// Number of the last.
        last: u64,
    },
    /// The chain could not be asked, or did not take a call.
    ChainTrouble(String),
    /// How far a round is, in numbers: for meters, and nothing that people need to hear.
    Progress {
        /// Name of the competition.
        competition: Arc<str>,
        /// What was reached.
        progress: Progress,
    },
    /// Weights were handed to the chain.
    WeightsSubmitted(CallId),
    /// The chain has taken weights of ours.
    WeightsSet {
        /// Block in which it did.
        block: Block,
    },
    /// The chain refused the weights: their call stood in a block and failed.
    WeightsRefused(chain::CallError),
    /// The chain would refuse the weights: none are handed over, and the next block looks again.
    WeightsUnfit(chain::CallError),
    /// Another process with this hotkey set weights: we set none.
    AnotherValidator {
        /// When it did.
        block: Block,
        /// Until when it counts as alive, if it does not do so again.
        until: Block,
    },
    /// The chain has opened our hidden weights.
    WeightsRevealed {
        /// Newest block when that was seen.
        block: Block,
    },
    /// Hidden weights of ours had their time, and the chain has the row that they name; it had the
    /// same before, so nobody can tell whether it has opened them.
    WeightsUnchanged {
        /// Newest block when that was seen.
        block: Block,
    },
    /// The chain has not opened our hidden weights in their epoch: nobody is paid by them.
    WeightsNotRevealed {
        /// When it should have, as it was reckoned when they were signed.
        reveal: Reveal,
    },
    /// The chain took our hidden weights in a later epoch than planned: their round comes before
    /// they are opened, and from then on anybody can read them.
    WeightsExposed {
        /// Block in which it took them.
        block: Block,
        /// When they were to be opened.
        reveal: Reveal,
    },
    /// A commitment to the root of the records was handed to the chain.
    RootSubmitted(CallId),
    /// The chain has taken it.
    RootSet {
        /// Block in which it did.
        block: Block,
    },
    /// The chain refused it: its call stood in a block and failed.
    RootRefused(chain::CallError),
    /// The chain has another commitment of this hotkey, which stays: it is this text.
    RootWithheld(String),
}

impl Event {
    /// How far a round of a competition is.
    pub(crate) fn progress(contest: &Contest, progress: Progress) -> Self {
        Self::Progress { competition: Arc::clone(&contest.name), progress }
    }
}

/// How far a round is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// A stage begins; until it ends, this validator begins no other.
    Began(Stage),
    /// The stage has ended, whatever came of it.
    Ended(Stage),
    /// Bytes of a model were fetched.
    Fetched {
        /// How many.
        n_bytes: u64,
    },
    /// A model was measured on some sequences.
    Measured {
        /// Their tokens.
        n_tokens: u64,
    },
    /// Something went wrong that is no model's own fault; it is tried again.
    Failed(Cause),
    /// The round is decided.
    Decided {
        /// Models of the round.
        n_models: usize,
        /// Those that have no outcome and wait for a later round.
        n_waiting: usize,
    },
    /// The round is given up because of our own trouble; nothing moves.
    GivenUp,
}

/// What a validator is at in a round.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// Commitments and payments are read from the chain.
    Book,
    /// Repos are looked at, and the hub is tried.
    Look,
    /// Text is drawn.
    Text,
    /// The bytes of a model are fetched, or verified where they are here, and inspected.
    Fetch,
    /// A model is measured.
    Measure,
    /// The decision is made and noted.
    Decide,
}

/// What our trouble is with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Cause {
    /// The chain.
    Chain,
    /// The hub.
    Hub,
    /// Where text comes from.
    Text,
    /// The process that measures a model.
    Evaluator,
    /// Our disk.
    Disk,
    /// The journal.
    Journal,
}

/// What a round came to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RoundSummary {
    /// Name of the competition.
    pub competition: String,
    /// Number of the round, from 1.
    pub round: u64,
    /// Block that seeded it.
    pub seed: Head,
    /// Holder of the crown after the round.
    pub champion: Option<Holder>,
    /// The champion's perplexity over all batches; with rule `duel` over the documents that its
    /// duels took in, if they took in any.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "measured")]
    pub champion_perplexity: Option<Loss>,
    /// Whether the crown went to another hotkey.
    pub crown_moved: bool,
    /// Perplexity of a model that knew the true distribution, where that is known.
    pub optimum_perplexity: Option<f64>,
    /// Digest of the record.
    pub digest: Digest,
    /// Its duels, with rule `duel` alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duels: Option<Duels>,
    /// The models, in order of uid.
    pub rows: Vec<Row>,
}

/// One model in a round.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// Slot.
    pub uid: Uid,
    /// Key in the slot.
    pub hotkey: AccountId,
    /// Block of its commitment.
    pub block: Block,
    /// Perplexity over all batches, where it was measured; with rule `duel` over the documents that
    /// its duel took in.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "measured")]
    pub perplexity: Option<Loss>,
    /// Why it was disqualified.
    pub reason: Option<Reason>,
    /// Whether it counts, or what stands in its way.
    pub merit: Merit,
    /// Wins (equation 4).
    pub wins: u64,
    /// Win rate (equation 5).
    pub win_rate: f64,
    /// Weight of this round (equation 6).
    pub weight: f64,
    /// Moving average of the weight after this round.
    pub average: f64,
    /// How its duel against the champion stands, where it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duel: Option<Fought>,
}

impl RoundSummary {
    /// The challenger to tell of first, and how its duel stands.
    pub fn foremost(&self) -> Option<(Uid, Fought)> {
        let uid = self.duels?.foremost?;
        let row = self.rows.iter().find(|row| row.uid == uid)?;
        Some((uid, row.duel?))
    }
}

/// The duels of a round at a glance.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Duels {
    /// Duels that go on in the next round, unless the crown has moved.
    pub n_open: usize,
    /// Documents of the round that decided anything.
    pub n_documents: usize,
    /// The challenger to tell of first: whoever took the crown, or has the greatest gain of those
    /// whose duel is open, or of all.
    pub foremost: Option<Uid>,
}

/// How far a challenger has come against the champion, and how sure that is.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Fought {
    /// How the duel is decided; absent while it is open.
    pub verdict: Option<duel::Verdict>,
    /// Documents that it took in so far, over all rounds.
    pub n_documents: u32,
    /// Mean clipped gain: by how much the challenger's cross-entropy is lower, as a fraction of the
    /// reference of the duel.
    pub gain: f64,
    /// Where the true mean lies, wrong with a chance of at most [`INTERVAL_ERROR`].
    pub interval: Interval,
    /// Chance of a crown by luck that its terms allow.
    pub alpha: f64,
    /// How sure it is that the challenger takes the crown by right.
    pub crown: Strength,
    /// How sure it is that it is not better by epsilon.
    pub reject: Strength,
}

impl Fought {
    /// What may be said of a duel as it stands.
    pub(crate) fn of(fight: &Fight, rules: &DuelRules) -> Self {
        let evidence = &fight.evidence;
        Self {
            verdict: fight.verdict,
            n_documents: evidence.n_documents(),
            gain: evidence.mean(),
            interval: Interval::of(evidence, rules.clip, INTERVAL_ERROR),
            alpha: fight.terms.alpha,
            crown: Strength::of(evidence.e_crown(), fight.terms.alpha),
            reject: Strength::of(evidence.e_reject(), rules.beta),
        }
    }

    /// How sure it is, in words.
    fn how_sure(&self) -> &'static str {
        match self.verdict {
            Some(duel::Verdict::Dethroned) => "it takes the crown",
            Some(duel::Verdict::Rejected) => "it is rejected",
            Some(duel::Verdict::Undecided) => "it ends undecided",
            None if self.crown >= self.reject => match self.crown {
                Strength::Nothing => "nothing is proven yet",
                Strength::Weak => "weak evidence for it so far",
                Strength::Strong => "strong evidence for it so far",
                Strength::Decisive => "decisive evidence for it, on too few documents yet",
            },
            None => match self.reject {
                Strength::Nothing | Strength::Weak => "weak evidence against it so far",
                Strength::Strong | Strength::Decisive => "strong evidence against it so far",
            },
        }
    }
}

impl fmt::Display for Fought {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let gain = self.interval.around(self.gain);
        write!(f, "gain of {gain} on {} documents, {}", self.n_documents, self.how_sure())
    }
}

/// A loss that is there: `null` is an infinite one, and none at all is left out.
fn measured<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<Loss>, D::Error> {
    Loss::deserialize(deserializer).map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duel_is_told_with_as_many_digits_as_are_known() {
        let open = Fought {
            verdict: None,
            n_documents: 120,
            gain: 0.0123,
            interval: Interval { low: 0.0041, high: 0.0203 },
            alpha: 0.0005,
            crown: Strength::Weak,
            reject: Strength::Nothing,
        };
        let told = "gain of 1.2 % (0.4 to 2.0 %) on 120 documents, weak evidence for it so far";
        assert_eq!(open.to_string(), told);
        let decided = Fought { verdict: Some(duel::Verdict::Rejected), gain: -0.03, ..open };
        assert!(decided.to_string().ends_with("documents, it is rejected"), "{decided}");
        let worse = Fought { crown: Strength::Nothing, reject: Strength::Strong, ..open };
        assert!(worse.to_string().ends_with("strong evidence against it so far"), "{worse}");
    }
}
