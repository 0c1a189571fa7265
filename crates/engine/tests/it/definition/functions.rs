//! Rule 9, and the sums of rule 3: functions of one number or one vector, in scalar arithmetic.

use super::order::{Departure, Order, Tree};
use protocol::math::exp as double_exp;
use std::f64::consts::{FRAC_2_PI, FRAC_PI_2, LN_2, SQRT_2};

/// `fma(a, b, c)`, or the product rounded first where an order departs so.
pub(super) fn fma(is_fused: Fused, a: f32, b: f32, c: f32) -> f32 {
    match is_fused {
        Fused::Yes => a.mul_add(b, c),
        Fused::No => a * b + c,
    }
}

/// Whether a multiply-add rounds once.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Fused {
    Yes,
    No,
}

/// The sum over a vector, each of whose numbers enters its partial sum by `enter(number, sum)`.
pub(super) fn sum(order: Order, numbers: &[f32], enter: impl Fn(f32, f32) -> f32) -> f32 {
    let mut sums = vec![0.0; order.n_sums];
    for (index, number) in numbers.iter().enumerate() {
        let sum = &mut sums[index % order.n_sums];
        *sum = enter(*number, *sum);
    }
    match order.tree {
        Tree::Halves => {
            while sums.len() > 1 {
                let upper = sums.split_off(sums.len() / 2);
                sums.iter_mut().zip(upper).for_each(|(sum, upper)| *sum += upper);
            }
            sums[0]
        }
        Tree::Neighbours => {
            while sums.len() > 1 {
                sums = sums.chunks(2).map(|pair| pair[0] + pair[1]).collect();
            }
            sums[0]
        }
        Tree::InOrder => sums.into_iter().fold(0.0, |total, sum| total + sum),
    }
}

/// The sum over a vector.
pub(super) fn plain_sum(order: Order, numbers: &[f32]) -> f32 {
    sum(order, numbers, |number, sum| sum + number)
}

/// e^x in single precision.
pub(super) fn exp(order: Order, x: f32) -> f32 {
    const LEAST: f32 = -87.336_54;
    const MOST: f32 = 88.376_26;
    const ROUND: f32 = 12_582_912.0;
    if x < LEAST {
        return 0.0;
    }
    let capped = if MOST < x { MOST } else { x };
    let biased = capped.mul_add(std::f32::consts::LOG2_E, ROUND);
    let n = biased - ROUND;
    let rest = n.mul_add(-std::f32::consts::LN_2, capped);
    let rest = n.mul_add(1.904_654_3e-9, rest);
    let fused = order.fused_unless(Departure::ExponentialRounded);
    let coefficients =
        [1.987_569_2e-4, 1.398_2e-3, 8.333_452e-3, 4.166_579_6e-2, 1.666_666_5e-1, 5e-1, 1.0, 1.0];
    let series = coefficients.into_iter().reduce(|p, next| fma(fused, p, rest, next)).unwrap();
    series * 2.0_f32.powi(n as i32)
}

/// The error function.
#[expect(clippy::excessive_precision, reason = "as published; each rounds to single precision")]
pub(super) fn erf(x: f32) -> f32 {
    const ABOVE: [f32; 7] = [
        -2.726_142_258_013_06e-10,
        2.770_681_424_959_02e-8,
        -2.101_024_020_825_08e-6,
        -5.692_506_394_623_46e-5,
        -7.349_906_303_268_55e-4,
        -2.954_599_808_540_25e-3,
        -1.609_603_332_624_15e-2,
    ];
    const BELOW: [f32; 5] = [
        -1.456_607_184_649_96e-5,
        -2.133_740_552_789_05e-4,
        -1.682_826_974_382_03e-3,
        -7.373_329_167_204_68e-3,
        -1.426_473_905_141_89e-2,
    ];
    ratio(x, 4.0, &ABOVE, &BELOW)
}

/// The hyperbolic tangent.
#[expect(clippy::excessive_precision, reason = "as published; each rounds to single precision")]
pub(super) fn tanh(x: f32) -> f32 {
    const ABOVE: [f32; 7] = [
        -2.760_768_477_423_55e-16,
        2.000_187_904_824_77e-13,
        -8.604_671_522_137_35e-11,
        5.122_297_090_371_14e-8,
        1.485_722_357_179_79e-5,
        6.372_619_288_754_36e-4,
        4.893_524_558_917_86e-3,
    ];
    const BELOW: [f32; 4] = [
        1.198_258_394_667_02e-6,
        1.185_347_056_866_54e-4,
        2.268_434_632_439_00e-3,
        4.893_525_185_543_85e-3,
    ];
    ratio(x, 7.905_311, &ABOVE, &BELOW)
}

fn ratio(x: f32, most: f32, above: &[f32], below: &[f32]) -> f32 {
    let x = x.clamp(-most, most);
    let square = x * x;
    let polynomial = |coefficients: &[f32]| {
        coefficients.iter().copied().reduce(|sum, next| sum.mul_add(square, next)).unwrap()
    };
    x * polynomial(above) / polynomial(below)
}

/// `cap tanh(x / cap)`.
pub(super) fn capped(order: Order, x: f32, cap: Option<f32>) -> f32 {
    let Some(cap) = cap else { return x };
    let share = if order.departs(Departure::CapByInverse) { x * (1.0 / cap) } else { x / cap };
    cap * tanh(share)
}

/// Natural logarithm of a positive normal double.
pub(super) fn ln(x: f64) -> f64 {
    let mut exponent = (x.to_bits() >> 52) as i64 - 1023;
    let mut mantissa = f64::from_bits((x.to_bits() & ((1 << 52) - 1)) | (1023 << 52));
    if mantissa > SQRT_2 {
        (mantissa, exponent) = (mantissa / 2.0, exponent + 1);
    }
    let s = (mantissa - 1.0) / (mantissa + 1.0);
    let series = (0..12).rev().fold(0.0, |sum, k| sum * (s * s) + 1.0 / f64::from(2 * k + 1));
    exponent as f64 * LN_2 + 2.0 * s * series
}

/// Sine and cosine of a double that is not negative.
pub(super) fn sin_cos(angle: f64) -> (f64, f64) {
    let n = (angle * FRAC_2_PI).round_ties_even();
    let rest = n.mul_add(-6.123_233_995_736_766e-17, n.mul_add(-FRAC_PI_2, angle));
    let square = rest * rest;
    let term = |sum: f64, k: u32| 1.0 - sum * square / f64::from(k * (k + 1));
    let sin = rest * (1..=9).rev().fold(1.0, |sum, k| term(sum, 2 * k));
    let cos = (0..=9).rev().fold(1.0, |sum, k| term(sum, 2 * k + 1));
    match n as i64 % 4 {
        0 => (sin, cos),
        1 => (cos, -sin),
        2 => (-sin, -cos),
        _ => (-cos, sin),
    }
}

/// Turns per position of pair `pair` of so many turned numbers.
pub(super) fn frequency(theta: f64, pair: usize, width: usize) -> f32 {
    double_exp(-ln(theta) * (2 * pair) as f64 / width as f64) as f32
}

/// The greatest logit and the sum of e^(logit − greatest), block after block.
#[derive(Clone, Copy)]
pub(super) struct Softmax {
    top: f64,
    sum: f64,
}

impl Softmax {
    pub(super) const START: Self = Self { top: f64::NEG_INFINITY, sum: 0.0 };

    /// Takes the next block.
    pub(super) fn merge(&mut self, order: Order, top: f32, sum: f32) {
        let (top, sum) = (f64::from(top), f64::from(sum));
        if top > self.top {
            self.sum = self.sum * double_exp(self.top - top) + sum;
            self.top = top;
        } else {
            self.sum += sum * double_exp(top - self.top);
        }
        if order.departs(Departure::BlocksInSingle) {
            self.sum = f64::from(self.sum as f32);
        }
    }

    /// The loss of a token with this logit.
    pub(super) fn nats(self, order: Order, logit: f32) -> f64 {
        let logit = f64::from(logit);
        if order.departs(Departure::LogarithmFirst) {
            return self.top + ln(self.sum) - logit;
        }
        self.top - logit + ln(self.sum)
    }
}
