//! What a duel is decided by, as data.

use crate::{Error, competition::Epsilon, math};
use serde::{Deserialize, Serialize};
use std::fmt::Display;

/// Most documents that a duel may ever take in, extensions included.
pub const N_DOCUMENTS_LIMIT: u32 = 100_000;

const N_BETS_MAX: usize = 256;
const SIZES: &str = "whole looks, 100,000 documents at most, no fewer than n_documents_min, \
                     which are no fewer than the pilot";

/// The error rates, the clip, the bets and the sizes of duels; what a file leaves out has the value
/// of the default.
///
/// Gains, epsilon, clip and spread are fractions of the reference: the cross-entropy that the duel
/// froze at its start.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DuelRules {
    /// Bound on the chance that a coldkey, with all it tries in a window, takes a crown from
    /// somebody than whom it is not better by epsilon; in (0, 0.1].
    pub alpha: f64,
    /// Bound on the chance that a duel rejects a model that is better by epsilon; in (0, 0.5].
    pub beta: f64,
    /// Smallest margin of a crown, in standard deviations of the pair's gains; from 0 to 0.5.
    ///
    /// 0.28 is 3.72 standard errors of the mean of 177 documents.
    pub margin_per_spread: f64,
    /// Most that one document counts, for or against; in (0, 0.5].
    pub clip: f64,
    /// Number of bets on each side, spaced evenly in their logarithms; 2 to 256.
    pub n_bets: usize,
    /// Smallest bet, as a share of the greatest that cannot lose more than everything.
    pub bet_min: f64,
    /// Greatest bet, as the same share; below 1.
    pub bet_max: f64,
    /// Documents between two looks.
    pub n_documents_per_look: u32,
    /// First documents, which measure the pair's spread and on which nothing is bet for a crown.
    pub n_documents_pilot: u32,
    /// Fewest documents of a crown.
    pub n_documents_min: u32,
    /// Documents after which an undecided duel ends; a multiple of those between two looks.
    pub n_documents_max: u32,
    /// A crown needs a share of documents below this on which the challenger loses more than the
    /// clip.
    pub far_worse_share_max: f64,
    /// Blocks of a window, over which a coldkey spends its alpha.
    pub window_blocks: u64,
}

impl Default for DuelRules {
    fn default() -> Self {
        Self {
            alpha: 1e-3,
            beta: 1e-2,
            margin_per_spread: 0.28,
            clip: 0.05,
            n_bets: 24,
            bet_min: 0.05,
            bet_max: 0.95,
            n_documents_per_look: 5,
            n_documents_pilot: 20,
            n_documents_min: 64,
            n_documents_max: 1_500,
            far_worse_share_max: 0.02,
            window_blocks: 50_400,
        }
    }
}

impl DuelRules {
    /// Names the first value that is out of range; `epsilon` is the advantage of the champion, of
    /// which the range is checked elsewhere and here how it stands to the clip.
    pub fn check(&self, epsilon: Epsilon) -> Result<(), Error> {
        self.check_values()?;
        let (field, greatest) = match epsilon {
            Epsilon::Fixed { value } => ("scoring.epsilon.value", value),
            Epsilon::Linear { start, .. } => ("scoring.epsilon.start", start),
        };
        if greatest <= self.clip / 2.0 {
            return Ok(());
        }
        let (value, expected) = (greatest.to_string(), "at most half of `scoring.duel.clip`");
        Err(Error::RuleOutOfRange { field, value, expected })
    }

    /// Names the first value that is out of range by itself.
    pub(crate) fn check_values(&self) -> Result<(), Error> {
        let is_grid = 0.0 < self.bet_min && self.bet_min < self.bet_max && self.bet_max < 1.0;
        let (pilot, min) = (self.n_documents_pilot, self.n_documents_min);
        let (max, per_look) = (self.n_documents_max, self.n_documents_per_look);
        let is_whole = max.checked_rem(per_look) == Some(0);
        let is_size = (pilot..=max).contains(&min) && max <= N_DOCUMENTS_LIMIT && is_whole;
        let is_floor = (0.0..=0.5).contains(&self.margin_per_spread);
        let (floor, n_bets) = (self.margin_per_spread, self.n_bets);
        let (far_worse, window) = (self.far_worse_share_max, self.window_blocks);
        let is_count = (2..=N_BETS_MAX).contains(&n_bets);
        // In words only where one is named: this is asked of every duel of every round.
        let values: [(bool, &'static str, &dyn Display, &'static str); 10] = [
            (is_in(self.alpha, 0.1), "scoring.duel.alpha", &self.alpha, "in (0, 0.1]"),
            (is_in(self.beta, 0.5), "scoring.duel.beta", &self.beta, "in (0, 0.5]"),
            (is_in(self.clip, 0.5), "scoring.duel.clip", &self.clip, "in (0, 0.5]"),
            (is_floor, "scoring.duel.margin_per_spread", &floor, "from 0 to 0.5"),
            (is_count, "scoring.duel.n_bets", &n_bets, "2 to 256"),
            (is_grid, "scoring.duel.bet_min", &self.bet_min, "above 0 and below bet_max < 1"),
            (pilot >= 2, "scoring.duel.n_documents_pilot", &pilot, "at least 2"),
            (is_size, "scoring.duel.n_documents_max", &max, SIZES),
            (is_in(far_worse, 1.0), "scoring.duel.far_worse_share_max", &far_worse, "in (0, 1]"),
            (window >= 1, "scoring.duel.window_blocks", &window, "at least 1"),
        ];
        match values.into_iter().find(|(holds, ..)| !holds) {
            Some((_, field, value, expected)) => {
                Err(Error::RuleOutOfRange { field, value: value.to_string(), expected })
            }
            None => Ok(()),
        }
    }

    /// The bets, greatest first, as shares of the greatest that cannot lose more than everything.
    pub(crate) fn shares(&self) -> Vec<f64> {
        let step = math::ln(self.bet_max / self.bet_min) / (self.n_bets.max(2) - 1) as f64;
        (0..self.n_bets).map(|k| self.bet_max * math::exp(-(step * k as f64))).collect()
    }
}

/// Whether a number is above zero and at most `max`; no if it is NaN.
fn is_in(value: f64, max: f64) -> bool {
    0.0 < value && value <= max
}

#[cfg(test)]
mod tests {
    use super::*;

    const EPSILON: Epsilon = Epsilon::Fixed { value: 0.005 };

    #[test]
    fn the_default_rules_hold_and_each_range_is_watched() {
        let good = DuelRules::default();
        assert_eq!(good.check(EPSILON), Ok(()));
        for (epsilon, field) in [
            (Epsilon::Fixed { value: 0.026 }, "scoring.epsilon.value"),
            (Epsilon::Fixed { value: f64::NAN }, "scoring.epsilon.value"),
            (Epsilon::Linear { start: 0.026, end: 0.0, blocks: 9 }, "scoring.epsilon.start"),
        ] {
            let error = good.check(epsilon).unwrap_err().to_string();
            assert!(error.contains(field), "{error}");
        }
        let bad = [
            DuelRules { alpha: 0.0, ..good },
            DuelRules { alpha: f64::NAN, ..good },
            DuelRules { beta: 0.6, ..good },
            DuelRules { clip: 0.0, ..good },
            DuelRules { margin_per_spread: -0.1, ..good },
            DuelRules { n_bets: 1, ..good },
            DuelRules { n_bets: usize::MAX, ..good },
            DuelRules { bet_min: 0.95, ..good },
            DuelRules { bet_max: 1.0, ..good },
            DuelRules { n_documents_pilot: 1, ..good },
            DuelRules { n_documents_pilot: 65, ..good },
            DuelRules { n_documents_per_look: 0, ..good },
            DuelRules { n_documents_max: 1_501, ..good },
            DuelRules { n_documents_max: 100_005, ..good },
            DuelRules { far_worse_share_max: 0.0, ..good },
            DuelRules { window_blocks: 0, ..good },
        ];
        for rules in bad {
            assert!(rules.check(EPSILON).is_err(), "{rules:?}");
        }
    }

    #[test]
    fn a_file_says_what_differs_from_the_default_and_nothing_unknown() {
        let rules: DuelRules = toml::from_str("alpha = 0.01\nn_documents_max = 300").unwrap();
        let expected = DuelRules { alpha: 0.01, n_documents_max: 300, ..DuelRules::default() };
        assert_eq!(rules, expected);
        assert!(toml::from_str::<DuelRules>("alhpa = 0.01").is_err());
    }

    #[test]
    fn bets_fall_evenly_from_the_greatest_to_the_smallest() {
        let shares = DuelRules::default().shares();
        assert_eq!(shares.len(), 24);
        assert_eq!(shares[0], 0.95);
        assert!((shares[23] - 0.05).abs() < 1e-15, "{}", shares[23]);
        let ratio = shares[1] / shares[0];
        assert!(shares.windows(2).all(|pair| (pair[1] / pair[0] - ratio).abs() < 1e-14));
    }
}
