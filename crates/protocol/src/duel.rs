//! Who is better, with a stated chance of error: the sequential test between champion and
//! challenger.
//!
//! Both are measured on fresh documents, one window of each, until the evidence is clear. A gain is
//! by how much the challenger's cross-entropy is lower, as a fraction of a reference that is frozen
//! at the start, within a clip that the rules fix. Two sets of bets run on the gains: that their
//! mean is above the margin, and that it is below epsilon. Each set starts with a wealth of 1, and
//! a bettor who is wrong multiplies it by a with a chance of at most 1 / a, whatever the tails of
//! the gains and however often one looks (Ville's inequality). So a challenger that is not better
//! by epsilon takes the crown with a chance of at most alpha.
//!
//! The clip must not be learnt from the gains: whoever publishes the challenger chooses their
//! tails, and would hide catastrophes beyond it. What a clip hides all the same, a crown must show
//! besides: a positive mean without it, and few documents on which the challenger is far worse.
//!
//! Deviation: the paper compares two losses by epsilon and states no chance of error. What duels
//! make of the crown from round to round is in `reign.rs`.
//!
//! A document counts once. Windows of one document are alike, and so are not more evidence.
//!
//! Only sums, products, quotients and roots of doubles in a fixed order, and the functions of
//! [`crate::math`]: everybody who sees the same documents in the same order has the same bits, in
//! one go or in many.

mod board;
mod budget;
mod evidence;
mod pooled;
mod reign;
mod rules;

pub use board::{INTERVAL_ERROR, Interval, Report, Strength};
pub use budget::{Attempts, Budget};
pub use evidence::{Document, Evidence};
pub use pooled::{Pooled, log_product, pool};
pub use reign::{
    Bout, Champion, Decided, Entrant, Fight, Hidden, Missing, Predecessor, Progress, Reign, Wanted,
};
pub use rules::{DuelRules, N_DOCUMENTS_LIMIT};

use crate::{Digest, Error, Loss};
use evidence::Gain;
use serde::{Deserialize, Serialize};
use std::{collections::BTreeSet, fmt::Display};

/// The smallest reference, in nats per token: gains of models that know everything mean nothing.
const REFERENCE_MIN: f64 = 1e-6;

/// Two models by their tensor roots; evidence belongs to contents, not to commitments.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pairing {
    /// Whoever holds the crown.
    pub champion: Digest,
    /// Whoever wants it.
    pub challenger: Digest,
}

/// What is frozen when a duel begins.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Terms {
    /// Who duels.
    pub pairing: Pairing,
    /// Cross-entropy that gains are fractions of, in nats per token: the champion's, on documents
    /// that are not those of the duel.
    pub reference: Loss,
    /// Advantage of the champion at the block of the start: `rules.epsilon.at(…)`.
    pub epsilon: f64,
    /// Chance of a crown by luck, from the [`Budget`] of the challenger's coldkey.
    pub alpha: f64,
    /// Documents after which an undecided duel ends.
    pub n_documents_max: u32,
}

/// What a duel ends with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// The challenger takes the crown.
    Dethroned,
    /// The challenger is not better by epsilon.
    Rejected,
    /// Neither is proven; the champion stays, and the evidence may be taken up again.
    Undecided,
}

/// What cannot be a duel, or cannot go on with it; never a verdict on a model.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DuelError {
    /// The rules of duels are out of range.
    #[error(transparent)]
    Rules(#[from] Error),
    /// A term is out of range.
    #[error("`{field}` of a duel is `{value}`: expected {expected}")]
    Terms {
        /// The term.
        field: &'static str,
        /// What it is.
        value: String,
        /// What it may be.
        expected: &'static str,
    },
    /// A model without finite losses is absent, and duels nobody.
    #[error("document `{document}` has a loss that is not finite")]
    NotFinite {
        /// Where.
        document: Digest,
    },
    /// The evidence was not made by these rules on these terms.
    #[error("the evidence is not that of this duel: {what}")]
    Evidence {
        /// What does not fit.
        what: &'static str,
    },
    /// Evidence of which a part is the same does not multiply.
    #[error("document `{document}` is in the evidence of two: it is not independent")]
    Shared {
        /// The document.
        document: Digest,
    },
}

/// A duel between two models, as far as it has come.
#[derive(Clone, Debug, PartialEq)]
pub struct Duel {
    rules: DuelRules,
    terms: Terms,
    evidence: Evidence,
    /// What the evidence was made of, by which a repeated document is known.
    documents: BTreeSet<Digest>,
    /// Shares of the greatest bets.
    shares: Vec<f64>,
    /// Bets that the gain is above the margin, each per unit of gain; empty in the pilot.
    crown_bets: Vec<f64>,
    /// Bets that it is below epsilon.
    reject_bets: Vec<f64>,
}

impl Duel {
    /// A duel without documents; an error if rules or terms are out of range.
    pub fn begin(rules: DuelRules, terms: Terms) -> Result<Self, DuelError> {
        rules.check_values()?;
        terms.check(&rules)?;
        Ok(Self::of(rules, terms, Evidence::none(rules.n_bets), BTreeSet::new()))
    }

    /// A duel that was stored with the documents that it has taken in; an error if the evidence is
    /// not of these rules, terms and documents.
    pub fn resume(
        rules: DuelRules,
        terms: Terms,
        evidence: Evidence,
        documents: BTreeSet<Digest>,
    ) -> Result<Self, DuelError> {
        check_stored(&rules, &terms, &evidence, documents.len())?;
        Ok(Self::of(rules, terms, evidence, documents))
    }

    fn of(rules: DuelRules, terms: Terms, evidence: Evidence, documents: BTreeSet<Digest>) -> Self {
        let shares = rules.shares();
        // A gain is at most the clip: with more than this, a bet against it could owe something.
        let most = rules.clip - terms.epsilon;
        let reject_bets = shares.iter().map(|share| share / most).collect();
        let above = |margin: f64| bets_above(&rules, &shares, margin);
        let crown_bets = evidence.margin.map_or_else(Vec::new, above);
        Self { rules, terms, evidence, documents, shares, crown_bets, reject_bets }
    }

    /// Takes in documents, in order, until the duel is decided, and says how; `None` while it is
    /// open.
    ///
    /// What comes after the decision is not looked at. An error if a loss is not finite: that
    /// document is not taken in, those before it are.
    pub fn look(&mut self, documents: &[Document]) -> Result<Option<Verdict>, DuelError> {
        for document in documents {
            if let Some(verdict) = self.verdict() {
                return Ok(Some(verdict));
            }
            self.append(document)?;
        }
        Ok(self.verdict())
    }

    fn append(&mut self, document: &Document) -> Result<(), DuelError> {
        let (rules, epsilon) = (&self.rules, self.terms.epsilon);
        let gain = Gain::of(document, self.terms.reference.value(), rules.clip)?;
        if !self.documents.insert(document.id) {
            // Or a text of few documents would keep a duel open for ever.
            self.evidence.n_repeated = self.evidence.n_repeated.saturating_add(1);
            return Ok(());
        }
        self.evidence.bet_on_reject(gain, epsilon, &self.reject_bets);
        if let Some(margin) = self.evidence.margin {
            self.evidence.bet_on_crown(gain, margin, &self.crown_bets);
        }
        self.evidence.sum_up(gain);
        if self.evidence.n_documents() == rules.n_documents_pilot {
            // From documents on which nothing is bet for a crown: no bet knows its own gain.
            let margin = epsilon.max(rules.margin_per_spread * self.evidence.spread());
            self.evidence.margin = Some(margin);
            self.crown_bets = bets_above(&self.rules, &self.shares, margin);
        }
        Ok(())
    }

    /// How the duel is decided; `None` while it is open, and between two looks.
    pub fn verdict(&self) -> Option<Verdict> {
        let (rules, evidence) = (&self.rules, &self.evidence);
        let n = evidence.n_documents();
        let n_all = n.saturating_add(evidence.n_repeated);
        let at_its_end = (n_all >= self.terms.n_documents_max).then_some(Verdict::Undecided);
        if n == 0 || !n.is_multiple_of(rules.n_documents_per_look) {
            // Documents that come again end it between two looks, too.
            return at_its_end;
        }
        let is_proven = n >= rules.n_documents_min && evidence.e_crown() >= 1.0 / self.terms.alpha;
        let is_sound =
            evidence.sum_unclipped > 0.0 && evidence.far_worse_share() < rules.far_worse_share_max;
        if is_proven && is_sound {
            Some(Verdict::Dethroned)
        } else if evidence.e_reject() >= 1.0 / rules.beta {
            Some(Verdict::Rejected)
        } else {
            at_its_end
        }
    }

    /// Lets an undecided duel go on for up to `n_looks` more looks; others stay what they are.
    ///
    /// The evidence stays valid: it holds at all numbers of documents at once.
    pub fn extend(&mut self, n_looks: u32) {
        if self.verdict() == Some(Verdict::Undecided) {
            let per_look = self.rules.n_documents_per_look;
            let most = N_DOCUMENTS_LIMIT - N_DOCUMENTS_LIMIT % per_look;
            let more = n_looks.saturating_mul(per_look);
            let n = self.terms.n_documents_max.saturating_add(more);
            // What saturates may end between two looks.
            self.terms.n_documents_max = (n - n % per_look).min(most);
        }
    }

    /// The rules that it is decided by.
    pub fn rules(&self) -> &DuelRules {
        &self.rules
    }

    /// What was frozen at its start.
    pub fn terms(&self) -> &Terms {
        &self.terms
    }

    /// What the documents have come to.
    pub fn evidence(&self) -> &Evidence {
        &self.evidence
    }

    /// The documents that it has taken in.
    pub fn documents(&self) -> &BTreeSet<Digest> {
        &self.documents
    }
}

/// Whether a duel by these rules on these terms could have come to this evidence.
fn check_stored(
    rules: &DuelRules,
    terms: &Terms,
    evidence: &Evidence,
    n_documents: usize,
) -> Result<(), DuelError> {
    rules.check_values()?;
    terms.check(rules)?;
    evidence.check(rules, terms)?;
    if u32::try_from(n_documents) != Ok(evidence.n_documents()) {
        return Err(DuelError::Evidence { what: "it counts other documents than it has" });
    }
    Ok(())
}

/// Bets that a gain is above a margin, each per unit of gain.
fn bets_above(rules: &DuelRules, shares: &[f64], margin: f64) -> Vec<f64> {
    let most = rules.clip + margin;
    shares.iter().map(|share| share / most).collect()
}

impl Terms {
    /// Those of a pair that is told apart elsewhere, in a window in which nothing was tried yet:
    /// for whoever asks how a duel would end. A reference below the smallest counts as that.
    pub fn of_first_attempt(rules: &DuelRules, reference: Loss, epsilon: f64) -> Self {
        Self {
            pairing: Pairing { champion: Digest([0; 32]), challenger: Digest([1; 32]) },
            reference: Loss::new(reference.value().max(REFERENCE_MIN)).unwrap_or(reference),
            epsilon,
            alpha: Attempts { window: 0, n: 1 }.alpha(rules),
            n_documents_max: rules.n_documents_max,
        }
    }

    fn check(&self, rules: &DuelRules) -> Result<(), DuelError> {
        let (reference, epsilon, alpha) = (self.reference.value(), self.epsilon, self.alpha);
        let n = self.n_documents_max;
        let per_look = rules.n_documents_per_look;
        let is_size = (rules.n_documents_min..=N_DOCUMENTS_LIMIT).contains(&n);
        let is_reference = reference.is_finite() && reference >= REFERENCE_MIN;
        let terms: [(bool, &'static str, &dyn Display, &'static str); 4] = [
            (is_reference, "reference", &reference, "a finite loss of 1e-6 or more"),
            (
                (0.0..=rules.clip / 2.0).contains(&epsilon),
                "epsilon",
                &epsilon,
                "from 0 to half of the clip",
            ),
            (
                0.0 < alpha && alpha <= rules.alpha,
                "alpha",
                &alpha,
                "positive and at most that of the rules",
            ),
            (
                is_size && n.is_multiple_of(per_look),
                "n_documents_max",
                &n,
                "whole looks, n_documents_min to 100,000",
            ),
        ];
        match terms.into_iter().find(|(holds, ..)| !holds) {
            Some((_, field, value, expected)) => {
                Err(DuelError::Terms { field, value: value.to_string(), expected })
            }
            None => Ok(()),
        }
    }
}

impl Evidence {
    /// Names the first thing that no duel of these rules and terms comes to; what is left may still
    /// be a lie, which only measuring again can tell.
    fn check(&self, rules: &DuelRules, terms: &Terms) -> Result<(), DuelError> {
        let n = self.n_documents();
        let is_past_pilot = n >= rules.n_documents_pilot;
        let is_wealth = |wealth: &[f64]| {
            wealth.len() == rules.n_bets
                && wealth.iter().all(|wealth| wealth.is_finite() && *wealth >= 0.0)
        };
        let is_margin = |margin: f64| (terms.epsilon..rules.clip).contains(&margin);
        let sums = [self.sum, self.sum_squares, self.sum_unclipped];
        for (holds, what) in [
            (n.saturating_add(self.n_repeated) <= terms.n_documents_max, "it has more documents"),
            (is_wealth(&self.crown) && is_wealth(&self.reject), "it has other bets"),
            (self.margin.is_some() == is_past_pilot, "its pilot has another length"),
            (self.margin.is_none_or(is_margin), "its margin is out of range"),
            (sums.iter().all(|sum| sum.is_finite()), "a sum is not finite"),
            (self.sum_squares >= 0.0, "a sum of squares is negative"),
            (self.n_far_worse <= n, "it counts more documents than it has"),
        ] {
            if !holds {
                return Err(DuelError::Evidence { what });
            }
        }
        Ok(())
    }
}
