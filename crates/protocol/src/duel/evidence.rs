//! What the documents of a duel have come to: the wealth of its bets, and sums for its spread.

use super::DuelError;
use crate::{Digest, Loss};
use serde::{Deserialize, Serialize};

/// A bet whose wealth falls below this is lost for good: no subnormal number is ever computed with.
pub(crate) const WEALTH_MIN: f64 = 1e-300;
/// Wealth above this is not counted; less wealth is never less true.
const WEALTH_MAX: f64 = 1e300;
/// Most that one document counts in the mean that is not clipped, in multiples of the reference.
const UNCLIPPED_MAX: f64 = 1e6;

/// One document, on which both models were measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Document {
    /// What tells it from every other document: the same text has the same.
    pub id: Digest,
    /// Cross-entropy of the champion, in nats per predicted token.
    pub champion: Loss,
    /// Cross-entropy of the challenger.
    pub challenger: Loss,
}

/// What the documents of a duel have come to so far; empty at its start.
///
/// It may be stored at any document and taken up again, together with the documents that it was
/// made of: it goes on to the same bits.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Evidence {
    /// What a crown must prove to be exceeded; known after the pilot, and frozen.
    pub(crate) margin: Option<f64>,
    /// Wealth of each bet that the mean gain is above the margin.
    pub(crate) crown: Vec<f64>,
    /// Wealth of each bet that the mean gain is below epsilon.
    pub(crate) reject: Vec<f64>,
    /// Sum of the clipped gains, in order.
    pub(crate) sum: f64,
    /// Sum of their squares, in order.
    pub(crate) sum_squares: f64,
    /// Sum of the gains as they are, in order.
    pub(crate) sum_unclipped: f64,
    /// Documents on which the challenger loses more than the clip.
    pub(crate) n_far_worse: u32,
    /// Documents so far.
    pub(crate) n_documents: u32,
    /// Documents that came again, which say nothing new.
    pub(crate) n_repeated: u32,
}

/// What one document says.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Gain {
    /// By how much the challenger's loss is lower, as a fraction of the reference.
    unclipped: f64,
    /// The same within the clip.
    clipped: f64,
    /// Whether the challenger loses more than the clip.
    is_far_worse: bool,
}

impl Gain {
    /// The gain on a document; an error where a loss is not finite.
    pub(crate) fn of(document: &Document, reference: f64, clip: f64) -> Result<Self, DuelError> {
        if !document.champion.is_finite() || !document.challenger.is_finite() {
            return Err(DuelError::NotFinite { document: document.id });
        }
        let gain = (document.champion.value() - document.challenger.value()) / reference;
        let unclipped = gain.clamp(-UNCLIPPED_MAX, UNCLIPPED_MAX);
        let clipped = unclipped.clamp(-clip, clip);
        Ok(Self { unclipped, clipped, is_far_worse: unclipped < -clip })
    }
}

impl Evidence {
    /// No evidence: each bet has a wealth of 1.
    pub(crate) fn none(n_bets: usize) -> Self {
        Self { crown: vec![1.0; n_bets], reject: vec![1.0; n_bets], ..Self::default() }
    }

    /// Documents so far.
    pub fn n_documents(&self) -> u32 {
        self.n_documents
    }

    /// Documents that came again: none of them is evidence, and each counts towards the most that
    /// a duel may take in.
    pub fn n_repeated(&self) -> u32 {
        self.n_repeated
    }

    /// Evidence against “the mean clipped gain is at most the margin”.
    ///
    /// Whatever the tails and however often one looks, it reaches 1 / a with a chance of at most a
    /// where that is true.
    pub fn e_crown(&self) -> f64 {
        mixture(&self.crown)
    }

    /// Evidence against “the mean clipped gain is at least epsilon”, in the same way.
    pub fn e_reject(&self) -> f64 {
        mixture(&self.reject)
    }

    /// What a crown must prove to be exceeded, a fraction of the reference; `None` in the pilot.
    pub fn margin(&self) -> Option<f64> {
        self.margin
    }

    /// Mean of the clipped gains; zero without documents.
    pub fn mean(&self) -> f64 {
        self.sum / f64::from(self.n_documents().max(1))
    }

    /// Mean of the gains as they are; zero without documents.
    pub fn mean_unclipped(&self) -> f64 {
        self.sum_unclipped / f64::from(self.n_documents().max(1))
    }

    /// Standard deviation of the clipped gains, with n − 1 below; zero for fewer than two.
    pub fn spread(&self) -> f64 {
        let n = self.n_documents();
        if n < 2 {
            return 0.0;
        }
        let squares = self.sum_squares - self.sum * self.sum / f64::from(n);
        // What is left of two nearly equal sums may be below zero.
        (squares.max(0.0) / f64::from(n - 1)).sqrt()
    }

    /// The share of documents on which the challenger loses more than the clip.
    pub fn far_worse_share(&self) -> f64 {
        f64::from(self.n_far_worse) / f64::from(self.n_documents().max(1))
    }

    /// Counts a new document, and adds the gain on it to the sums.
    pub(crate) fn sum_up(&mut self, gain: Gain) {
        self.n_documents = self.n_documents.saturating_add(1);
        self.sum += gain.clipped;
        self.sum_squares += gain.clipped * gain.clipped;
        self.sum_unclipped += gain.unclipped;
        self.n_far_worse += u32::from(gain.is_far_worse);
    }

    /// Lets the bets that the gain is above the margin win or lose.
    pub(crate) fn bet_on_crown(&mut self, gain: Gain, margin: f64, bets: &[f64]) {
        let above = gain.clipped - margin;
        for (wealth, bet) in self.crown.iter_mut().zip(bets) {
            *wealth = kept(*wealth * (1.0 + bet * above));
        }
    }

    /// Lets the bets that the gain is below epsilon win or lose.
    pub(crate) fn bet_on_reject(&mut self, gain: Gain, epsilon: f64, bets: &[f64]) {
        let above = gain.clipped - epsilon;
        for (wealth, bet) in self.reject.iter_mut().zip(bets) {
            *wealth = kept(*wealth * (1.0 - bet * above));
        }
    }
}

/// Mean of the wealth of equal bets at the start, summed in order.
fn mixture(wealth: &[f64]) -> f64 {
    wealth.iter().sum::<f64>() / wealth.len().max(1) as f64
}

/// Wealth within what is counted.
fn kept(wealth: f64) -> f64 {
    if wealth < WEALTH_MIN { 0.0 } else { wealth.min(WEALTH_MAX) }
}
