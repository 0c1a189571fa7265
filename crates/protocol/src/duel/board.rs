//! What may be said of a duel while it goes on and after it: intervals and words.

use super::{Duel, Evidence, Verdict, evidence::WEALTH_MIN};
use crate::math;
use serde::{Deserialize, Serialize};
use std::{cell::RefCell, collections::HashMap, f64::consts::LN_10, fmt};

/// Chance that an interval of a report ever misses the mean, over all looks at once.
pub const INTERVAL_ERROR: f64 = 0.01;
/// Steps from −clip to the clip, in which the ends of an interval are looked for.
const N_STEPS: u32 = 1_000;
/// Shares of the greatest bet that the ends of an interval rest on: 1/32 to 31/32.
const N_SHARES: u32 = 32;

/// Intervals that a thread keeps.
const KNOWN_MAX: usize = 4_096;

thread_local! {
    /// Intervals by the bits of all that they follow from.
    static KNOWN: RefCell<HashMap<[u64; 5], Interval>> = RefCell::default();
}

/// Where the mean clipped gain lies, as fractions of the reference.
///
/// However often one looks, the chance that any of the intervals of a duel misses it is at most the
/// error that they were made with.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Interval {
    /// Lower end: the improvement that may be credited.
    pub low: f64,
    /// Upper end.
    pub high: f64,
}

/// How sure evidence is, in words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Strength {
    /// Below 10: luck may explain it.
    Nothing,
    /// From 10 on: at most one in ten would ever have as much by luck.
    Weak,
    /// From 100 on: at most one in a hundred.
    Strong,
    /// As much as the verdict asks for.
    Decisive,
}

/// What a leaderboard may say of a duel.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Report {
    /// Documents so far.
    pub n_documents: u32,
    /// Mean of the clipped gains.
    pub mean: f64,
    /// Where the mean clipped gain lies, with an error of [`INTERVAL_ERROR`].
    pub interval: Interval,
    /// Mean of the gains as they are.
    pub mean_unclipped: f64,
    /// Standard deviation of the clipped gains.
    pub spread: f64,
    /// Whether the clip takes away more than half of the mean: few documents make it.
    pub is_concentrated: bool,
    /// Decimal logarithm of the evidence for a crown, −300 at least.
    pub log10_e_crown: f64,
    /// Decimal logarithm of the evidence for a rejection, −300 at least.
    pub log10_e_reject: f64,
    /// The evidence for a crown in a word.
    pub crown: Strength,
    /// The evidence for a rejection in a word.
    pub reject: Strength,
    /// How the duel is decided; `None` while it is open.
    pub verdict: Option<Verdict>,
}

impl Report {
    /// What may be said of a duel now.
    pub fn of(duel: &Duel) -> Self {
        let evidence = duel.evidence();
        let (mean, mean_unclipped) = (evidence.mean(), evidence.mean_unclipped());
        let (e_crown, e_reject) = (evidence.e_crown(), evidence.e_reject());
        Self {
            n_documents: evidence.n_documents(),
            mean,
            interval: Interval::of(evidence, duel.rules().clip, INTERVAL_ERROR),
            mean_unclipped,
            spread: evidence.spread(),
            is_concentrated: (mean_unclipped - mean).abs() > 0.5 * mean_unclipped.abs(),
            log10_e_crown: log10(e_crown),
            log10_e_reject: log10(e_reject),
            crown: Strength::of(e_crown, duel.terms().alpha),
            reject: Strength::of(e_reject, duel.rules().beta),
            verdict: duel.verdict(),
        }
    }
}

impl Strength {
    /// How sure an e-value is where a verdict asks for 1 / `error`.
    pub fn of(e_value: f64, error: f64) -> Self {
        if e_value >= 1.0 / error {
            Self::Decisive
        } else if e_value >= 100.0 {
            Self::Strong
        } else if e_value >= 10.0 {
            Self::Weak
        } else {
            Self::Nothing
        }
    }
}

impl fmt::Display for Strength {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.serialize(f)
    }
}

impl Interval {
    /// The interval by the evidence of a duel with this clip, wrong with a chance of at most
    /// `error`, in (0, 1); without documents the whole range.
    pub fn of(evidence: &Evidence, clip: f64, error: f64) -> Self {
        let moments = Moments {
            n: f64::from(evidence.n_documents()),
            sum: evidence.sum,
            squares: evidence.sum_squares,
            clip,
        };
        // Duels that stand still are told again and again, and some validators tell of the same.
        let key = [moments.n, moments.sum, moments.squares, clip, error].map(f64::to_bits);
        if let Some(known) = KNOWN.with_borrow(|known| known.get(&key).copied()) {
            return known;
        }
        let interval = Self::by(moments, error);
        KNOWN.with_borrow_mut(|known| {
            if known.len() >= KNOWN_MAX {
                known.clear();
            }
            known.insert(key, interval);
        });
        interval
    }

    fn by(moments: Moments, error: f64) -> Self {
        let mirrored = Moments { sum: -moments.sum, ..moments };
        // Half of the error on each side.
        let (log_needed, bets) = (-math::ln(error / 2.0), bets());
        Self { low: moments.low(&bets, log_needed), high: -mirrored.low(&bets, log_needed) }
    }

    /// Whether the two have no point in common: only then may one be ranked before the other.
    pub fn is_apart_from(&self, other: &Self) -> bool {
        self.low > other.high || other.low > self.high
    }

    /// A mean and the interval that it lies in, as percentages with the decimals that are worth
    /// showing: `1.2 % (0.4 to 2.0 %)`.
    pub fn around(&self, mean: f64) -> String {
        let [mean, low, high] = [mean, self.low, self.high].map(|part| 100.0 * part);
        let decimals = self.decimals();
        format!("{mean:.decimals$} % ({low:.decimals$} to {high:.decimals$} %)")
    }

    /// Decimals of a percentage that are worth showing: the last stands where half of the interval
    /// has its first digit; at most 6.
    pub fn decimals(&self) -> usize {
        let half = 50.0 * (self.high - self.low);
        let mut unit = 1.0;
        for decimals in 0..6 {
            if half >= unit {
                return decimals;
            }
            unit /= 10.0;
        }
        6
    }
}

/// The shares of the greatest bet, each with its ψ.
fn bets() -> Vec<(f64, f64)> {
    let bet = |k| {
        let share = f64::from(k) / f64::from(N_SHARES);
        (share, -math::ln(1.0 - share) - share)
    };
    (1..N_SHARES).map(bet).collect()
}

/// The sums that an interval follows from.
#[derive(Clone, Copy, Debug)]
struct Moments {
    n: f64,
    sum: f64,
    squares: f64,
    clip: f64,
}

impl Moments {
    /// The highest mean, in steps of the clip, that the gains speak against; −clip if none.
    ///
    /// With y = (gain − m) / (clip + m), which is at least −1 and falls as m rises, a bet's wealth
    /// is the product of 1 + share · y, and so falls as m rises: whoever speaks against a mean
    /// speaks against all below it. The logarithm of that wealth is at least share · Σ y −
    /// ψ(share) · Σ y², with ψ(s) = −ln(1 − s) − s (Fan, Grama and Liu 2015).
    fn low(&self, bets: &[(f64, f64)], log_needed: f64) -> f64 {
        let step = 2.0 * self.clip / f64::from(N_STEPS);
        // Where Σ y is as great as the logarithm that is needed; no bet wins as much as Σ y, since
        // a share is below 1 and its cost not below 0. Three steps more than enough for rounding.
        let most = (self.sum - log_needed * self.clip) / (self.n + log_needed);
        let k_max = ((most + self.clip) / step + 3.0).clamp(1.0, f64::from(N_STEPS)) as u32;
        let mut means = (1..k_max).rev().map(|k| f64::from(k) * step - self.clip);
        means.find(|mean| self.speaks_against(*mean, bets, log_needed)).unwrap_or(-self.clip)
    }

    /// Whether the logarithm of the wealth of bets against a mean, shares with their ψ, is as great
    /// as that.
    fn speaks_against(&self, mean: f64, bets: &[(f64, f64)], log_needed: f64) -> bool {
        let scale = self.clip + mean;
        let sum = (self.sum - self.n * mean) / scale;
        if sum <= 0.0 {
            // No bet has won anything.
            return log_needed <= 0.0;
        }
        let squares = self.squares - 2.0 * mean * self.sum + self.n * mean * mean;
        let squares = squares.max(0.0) / (scale * scale);
        let logs = bets.iter().map(|(share, cost)| share * sum - cost * squares);
        // Mostly this is known without a look at each bet, or without exponentials.
        best_log(sum, squares) >= log_needed
            && most_mean_exp(logs.clone()) >= log_needed
            && log_mean_exp(logs) >= log_needed
    }
}

/// What share · `sum` − ψ(share) · `squares` is at most, whatever the share: at the share `sum` /
/// (`sum` + `squares`) its slope is zero. More than enough is added for rounding.
fn best_log(sum: f64, squares: f64) -> f64 {
    let ratio = sum / squares;
    // Of nearly no squares a bet wins as much as it is of the sum.
    let best = if ratio.is_finite() { sum - squares * math::ln(1.0 + ratio) } else { sum };
    best + 1e-9 * (1.0 + sum.abs()) + 1e-12 * squares
}

/// Logarithm of the mean of the exponentials of `logs`, summed in order; −infinity for none.
pub(super) fn log_mean_exp(logs: impl Iterator<Item = f64>) -> f64 {
    let logs: Vec<f64> = logs.collect();
    let highest = logs.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    if highest == f64::NEG_INFINITY {
        return highest;
    }
    let sum: f64 = logs.iter().map(|log| math::exp(log - highest)).sum();
    highest + math::ln(sum / logs.len() as f64)
}

/// What [`log_mean_exp`] is at most, without exponentials: e^−x is at most 1 / (1 + x + x² / 2).
/// More than enough is added for rounding.
fn most_mean_exp(logs: impl ExactSizeIterator<Item = f64> + Clone) -> f64 {
    let n = logs.len() as f64;
    let highest = logs.clone().fold(f64::NEG_INFINITY, f64::max);
    let below = logs.map(|log| highest - log);
    let sum: f64 = below.map(|below| 1.0 / (1.0 + below + 0.5 * below * below)).sum();
    highest + math::ln(sum / n) + 1e-9 * (1.0 + highest.abs())
}

fn log10(e_value: f64) -> f64 {
    math::ln(e_value.max(WEALTH_MIN)) / LN_10
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// What is known without exponentials is what they would have told.
        #[test]
        fn short_ways_change_no_interval(
            gains in proptest::collection::vec(-1.0..1.0f64, 1..200),
            (shift, scale) in (-1.0..1.0f64, 0..4i32),
            log_needed in 0.5..12.0f64,
        ) {
            let clip = 0.04;
            let gain = |gain: &f64| ((gain + shift) * 10f64.powi(-scale)).clamp(-clip, clip);
            let gains: Vec<f64> = gains.iter().map(gain).collect();
            let moments = Moments {
                n: gains.len() as f64,
                sum: gains.iter().sum(),
                squares: gains.iter().map(|gain| gain * gain).sum(),
                clip,
            };
            let bets = bets();
            let step = 2.0 * clip / f64::from(N_STEPS);
            for k in 1..N_STEPS {
                let mean = f64::from(k) * step - clip;
                let scale = clip + mean;
                let sum = (moments.sum - moments.n * mean) / scale;
                let squares =
                    moments.squares - 2.0 * mean * moments.sum + moments.n * mean * mean;
                let squares = squares.max(0.0) / (scale * scale);
                let logs = bets.iter().map(|(share, cost)| share * sum - cost * squares);
                let expected = sum > 0.0 && log_mean_exp(logs) >= log_needed;
                let found = moments.speaks_against(mean, &bets, log_needed);
                prop_assert_eq!(found, expected, "{:?} at {}", moments, mean);
            }
        }
    }
}
