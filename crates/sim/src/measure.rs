//! What is measured while a season goes on: crowns, quality, what is held back.

use crate::strategy::Listed;
use protocol::AccountId;

/// Points at which the quality of the champion is noted at least, in a season of as many blocks;
/// never twice as many.
pub(crate) const N_SAMPLES: u64 = 100;

/// Sums over the blocks of a season.
#[derive(Clone, Debug, Default)]
pub(crate) struct Measure {
    n_crowned: u64,
    n_due: u64,
    n_right: u64,
    agreement: f64,
    hoarded: f64,
    n_public: u64,
    /// True loss of the champion at points of equal distance: see [`N_SAMPLES`].
    pub(crate) quality: Vec<f64>,
}

/// What is seen of one block.
pub(crate) struct Moment<'a> {
    /// Champions by validator that measures.
    pub(crate) crowns: &'a [Option<AccountId>],
    /// Whoever most of them crown.
    pub(crate) champion: Option<Listed>,
    /// The best entry that has had its time, by true loss.
    pub(crate) best_due: Option<f64>,
    /// The best entry that everybody sees.
    pub(crate) best_public: Option<f64>,
    /// The best model that anybody has trained.
    pub(crate) best_trained: f64,
    /// By how much the best must be better to count as clearly better, in nats.
    pub(crate) clearly: f64,
}

impl Measure {
    pub(crate) fn note(&mut self, moment: &Moment<'_>) {
        let crowned = moment.crowns.iter().flatten().count();
        if crowned > 0 {
            let (_, n_most) = most(moment.crowns);
            self.n_crowned += 1;
            self.agreement += n_most as f64 / moment.crowns.len() as f64;
        }
        if let Some(best) = moment.best_due {
            self.n_due += 1;
            let merit = moment.champion.map_or(f64::INFINITY, |champion| champion.merit);
            self.n_right += u64::from(merit <= best + moment.clearly);
        }
        if let Some(public) = moment.best_public {
            self.n_public += 1;
            self.hoarded += (1.0 - moment.best_trained / public).max(0.0);
        }
    }

    /// Share of the blocks in which the best entry that had its time wore the crown, or none was
    /// clearly better than who did.
    pub(crate) fn right(&self) -> f64 {
        share(self.n_right as f64, self.n_due)
    }

    /// Share of the stake that crowns the same, averaged over blocks.
    pub(crate) fn agreement(&self) -> f64 {
        share(self.agreement, self.n_crowned)
    }

    /// Improvement over the best published model that nobody has published, averaged over blocks.
    pub(crate) fn hoarded(&self) -> f64 {
        if self.n_public == 0 { 0.0 } else { self.hoarded / self.n_public as f64 }
    }
}

/// A part of so many; all of nothing.
fn share(part: f64, n: u64) -> f64 {
    if n == 0 { 1.0 } else { part / n as f64 }
}

/// Whoever most validators crown, and how many they are; among equals the one that the first of
/// them crowns.
pub(crate) fn most(crowns: &[Option<AccountId>]) -> (Option<AccountId>, usize) {
    let count = |crown: &Option<AccountId>| crowns.iter().filter(|other| *other == crown).count();
    let mut best = (None, 0);
    for crown in crowns.iter().filter(|crown| crown.is_some()) {
        let n = count(crown);
        if n > best.1 {
            best = (*crown, n);
        }
    }
    best
}

#[cfg(test)]
mod tests;
