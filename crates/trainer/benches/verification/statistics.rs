//! Intervals and tails of what was counted.

use protocol::{Seed, seed::uniform_below};

/// Quantile of the normal distribution that leaves 2.5 % above it.
const Z_95: f64 = 1.959_963_984_540_054;
/// Samples of a bootstrap.
const N_RESAMPLED: usize = 2_000;

/// Mean, deviation and least of some numbers.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Moments {
    pub(crate) mean: f64,
    pub(crate) deviation: f64,
    pub(crate) least: f64,
}

impl Moments {
    pub(crate) fn of(numbers: &[f64]) -> Self {
        let n = numbers.len() as f64;
        let mean = numbers.iter().sum::<f64>() / n;
        let squares = numbers.iter().map(|number| (number - mean).powi(2)).sum::<f64>();
        let least = numbers.iter().copied().fold(f64::INFINITY, f64::min);
        Self { mean, deviation: (squares / (n - 1.0)).sqrt(), least }
    }

    /// How many deviations the mean is above zero.
    pub(crate) fn z(&self) -> f64 {
        self.mean / self.deviation
    }
}

/// The lowest twentieth of some numbers as an exponential tail.
///
/// The margins of rounds are not normal: what a table gains by knowing the round grows with the
/// square of how unusual the round is, so that low margins are far more frequent than their
/// deviation says.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LowTail {
    /// What one in twenty numbers is below.
    start: f64,
    /// By how much these are below it, in the mean.
    excess: f64,
}

impl LowTail {
    pub(crate) fn of(numbers: &[f64]) -> Self {
        let mut sorted = numbers.to_vec();
        sorted.sort_by(f64::total_cmp);
        let n_below = numbers.len() / 20;
        let start = sorted[n_below];
        let below = sorted[..n_below].iter().map(|number| start - number);
        Self { start, excess: below.sum::<f64>() / n_below as f64 }
    }

    /// Decimal logarithm of the probability of a number below zero, if zero is in the tail.
    pub(crate) fn log10_below_zero(&self) -> f64 {
        (0.05_f64.ln() - self.start.max(0.0) / self.excess) / std::f64::consts::LN_10
    }
}

/// Wilson's 95 % interval of a rate of which `n_hits` of `n` were seen.
pub(crate) fn wilson(n_hits: usize, n: usize) -> (f64, f64) {
    let (n, rate) = (n as f64, n_hits as f64 / n as f64);
    let square = Z_95 * Z_95;
    let middle = rate + square / (2.0 * n);
    let width = Z_95 * (rate * (1.0 - rate) / n + square / (4.0 * n * n)).sqrt();
    let whole = 1.0 + square / n;
    (((middle - width) / whole).max(0.0), ((middle + width) / whole).min(1.0))
}

/// The exact one-sided 95 % bound of a rate of which none of `n` was seen.
pub(crate) fn bound_of_none(n: usize) -> f64 {
    1.0 - 0.05_f64.powf(1.0 / n as f64)
}

/// The 95 % interval of the mean of rates by drawing models, not rounds: rounds of one model are
/// alike.
pub(crate) fn interval_by_model(rates: &[f64], seed: Seed) -> (f64, f64) {
    let mut stream = seed.stream();
    let mut resampled = || {
        let drawn = (0..rates.len())
            .map(|_| rates[uniform_below(&mut stream, rates.len() as u64) as usize]);
        drawn.sum::<f64>() / rates.len() as f64
    };
    let mut means: Vec<f64> = (0..N_RESAMPLED).map(|_| resampled()).collect();
    means.sort_by(f64::total_cmp);
    (means[N_RESAMPLED / 40], means[N_RESAMPLED - 1 - N_RESAMPLED / 40])
}

/// Decimal logarithm of the probability that a normal number is more than `z` deviations below its
/// mean, for positive `z`: the continued fraction of Mills' ratio.
pub(crate) fn log10_of_tail(z: f64) -> f64 {
    let fraction = (1..=200).rev().fold(z, |rest, n| z + f64::from(n) / rest);
    let ln = -z * z / 2.0 - (2.0 * std::f64::consts::PI).sqrt().ln() - fraction.ln();
    ln / std::f64::consts::LN_10
}
