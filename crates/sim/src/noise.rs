//! Noise that follows from keys alone: the same two keys give the same number everywhere.

use protocol::math;

/// Square root of 3: four uniform numbers, centred, have a variance of a third.
const SQRT_3: f64 = 1.732_050_807_568_877_2;

/// A word that follows from two others and tells nothing of them (the finaliser of SplitMix64).
pub(crate) fn mix(a: u64, b: u64) -> u64 {
    let mut word = a ^ b.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(31);
    word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ (word >> 31)
}

/// A number in [0, 1) from the upper bits of a word.
pub(crate) fn unit(word: u64) -> f64 {
    (word >> 11) as f64 / (1_u64 << 53) as f64
}

/// A nearly normal number of mean 0 and variance 1: the sum of the word's four quarters.
pub(crate) fn normal(word: u64) -> f64 {
    let quarter = |shift: u32| (word >> shift) & 0xffff;
    let sum = quarter(0) + quarter(16) + quarter(32) + quarter(48);
    ((sum + 2) as f64 / 65_536.0 - 2.0) * SQRT_3
}

/// Numbers of mean 0 and variance 1 with heavy tails, and more of them on one side.
///
/// A normal number times the exponential of `tail` times another, which `skew` couples to the
/// first. A tail of 0.9 has a kurtosis of about 70 where the numbers are truly normal.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tailed {
    tail: f64,
    skew: f64,
    rest: f64,
    mean: f64,
    scale: f64,
}

impl Tailed {
    pub(crate) fn new(tail: f64, skew: f64) -> Self {
        let square = tail * tail;
        let mean = skew * tail * math::exp(square / 2.0);
        let raw = math::exp(2.0 * square) * (1.0 + 4.0 * skew * skew * square);
        let variance = raw - mean * mean;
        Self { tail, skew, rest: (1.0 - skew * skew).sqrt(), mean, scale: 1.0 / variance.sqrt() }
    }

    pub(crate) fn of(&self, word: u64) -> f64 {
        let (own, other) = (normal(word), normal(mix(word, 1)));
        let size = self.tail * (self.skew * own + self.rest * other);
        (own * math::exp(size) - self.mean) * self.scale
    }
}

#[cfg(test)]
mod tests;
