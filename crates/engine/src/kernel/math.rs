//! Exponential, logarithm, sine and cosine from exactly rounded operations.
//!
//! The system's library is never asked: its results differ between systems and versions.

use super::simd::Simd;
use std::f64::consts::{FRAC_2_PI, FRAC_PI_2, LN_2, LN_10, SQRT_2};

pub(crate) use protocol::math::exp;

/// Below, [`exp_lanes`] is zero: its result would not be a normal number.
const EXP_MIN: f32 = -87.336_54;
/// Above, [`exp_lanes`] stays at its largest value, 2.4e38.
const EXP_MAX: f32 = 88.376_26;
/// Adding it rounds a float to an integer, which then stands in the low bits.
const ROUND: f32 = 12_582_912.0;

/// e to the power `x` in each lane, within 1.1 units in the last place.
///
/// Zero below -87.34, largest 2.4e38; NaN stays NaN.
#[inline(always)]
pub(crate) fn exp_lanes<S: Simd>(simd: S, x: S::V) -> S::V {
    let capped = simd.min(simd.splat(EXP_MAX), x);
    let capped = simd.max(simd.splat(EXP_MIN), capped);
    let biased = simd.fma(capped, simd.splat(std::f32::consts::LOG2_E), simd.splat(ROUND));
    let n = simd.sub(biased, simd.splat(ROUND));
    let rest = simd.fma(n, simd.splat(-std::f32::consts::LN_2), capped);
    let rest = simd.fma(n, simd.splat(1.904_654_3e-9), rest);
    let mut p = simd.splat(1.987_569_2e-4);
    for coefficient in [1.398_2e-3, 8.333_452e-3, 4.166_579_6e-2, 1.666_666_5e-1, 5e-1, 1.0, 1.0] {
        p = simd.fma(p, rest, simd.splat(coefficient));
    }
    simd.zero_below(x, simd.splat(EXP_MIN), simd.mul(p, simd.power_of_two(biased)))
}

/// The error function, within 2e-7: a ratio of polynomials, one beyond 4.
///
/// The coefficients are those of the approximation that Eigen and XLA use.
#[inline(always)]
#[expect(clippy::excessive_precision, reason = "as published; each rounds to single precision")]
pub(crate) fn erf_lanes<S: Simd>(simd: S, x: S::V) -> S::V {
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
    ratio(simd, simd.splat(4.0), x, &ABOVE, &BELOW)
}

/// The hyperbolic tangent, within 3e-7 of its size: a ratio of polynomials, one beyond 7.9.
///
/// The coefficients are those of the approximation that Eigen and XLA use.
#[inline(always)]
#[expect(clippy::excessive_precision, reason = "as published; each rounds to single precision")]
pub(crate) fn tanh_lanes<S: Simd>(simd: S, x: S::V) -> S::V {
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
    ratio(simd, simd.splat(7.905_311), x, &ABOVE, &BELOW)
}

/// `cap tanh(x / cap)`.
#[inline(always)]
pub(crate) fn cap_lanes<S: Simd>(simd: S, x: S::V, cap: f32) -> S::V {
    let cap = simd.splat(cap);
    simd.mul(cap, tanh_lanes(simd, simd.div(x, cap)))
}

/// `x P(x^2) / Q(x^2)` for x cut to an interval around zero; a NaN stays one.
#[inline(always)]
fn ratio<S: Simd>(simd: S, most: S::V, x: S::V, above: &[f32], below: &[f32]) -> S::V {
    // What may be NaN stands second in both.
    let x = simd.max(simd.sub(simd.splat(0.0), most), simd.min(most, x));
    let square = simd.mul(x, x);
    let polynomial = |coefficients: &[f32]| {
        coefficients[1..]
            .iter()
            .fold(simd.splat(coefficients[0]), |sum, c| simd.fma(sum, square, simd.splat(*c)))
    };
    simd.div(simd.mul(x, polynomial(above)), polynomial(below))
}

/// Natural logarithm of a positive normal number, within a few units in the last place.
///
/// Infinity stays infinite, NaN stays NaN; zero and negative numbers give NaN.
pub(crate) fn ln(x: f64) -> f64 {
    if x.is_nan() || x <= 0.0 {
        return f64::NAN;
    }
    if x.is_infinite() {
        return x;
    }
    let bits = x.to_bits();
    let mut exponent = (bits >> 52) as i64 - 1023;
    let mut mantissa = f64::from_bits((bits & ((1 << 52) - 1)) | (1023 << 52));
    if mantissa > SQRT_2 {
        mantissa /= 2.0;
        exponent += 1;
    }
    // ln m = 2 artanh((m - 1) / (m + 1)); the square is at most 0.03.
    let s = (mantissa - 1.0) / (mantissa + 1.0);
    let square = s * s;
    let series = (0..12).rev().fold(0.0, |sum, k| sum * square + 1.0 / f64::from(2 * k + 1));
    exponent as f64 * LN_2 + 2.0 * s * series
}

/// Logarithm to base ten, where [`ln`] is defined; within a few units in the last place.
pub(crate) fn log10(x: f64) -> f64 {
    ln(x) / LN_10
}

/// Sine and cosine of an angle from zero to 2^25, within 1e-15.
pub(crate) fn sin_cos(angle: f64) -> (f64, f64) {
    let n = (angle * FRAC_2_PI).round_ties_even();
    let rest = n.mul_add(-FRAC_PI_2, angle);
    let rest = n.mul_add(-6.123_233_995_736_766e-17, rest);
    let square = rest * rest;
    // Taylor on [-pi/4, pi/4]: the first terms left out are below 1e-18.
    let term = |sum: f64, k: u32| 1.0 - sum * square / f64::from(k * (k + 1));
    let sin = rest * (1..=9).rev().fold(1.0, |sum, k| term(sum, 2 * k));
    let cos = (0..=9).rev().fold(1.0, |sum, k| term(sum, 2 * k + 1));
    match n as i64 & 3 {
        0 => (sin, cos),
        1 => (cos, -sin),
        2 => (-sin, -cos),
        _ => (-cos, sin),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::{InstructionSet, Kernel, run, simd::LANES};
    use proptest::prelude::*;

    struct Exp<'a>(&'a mut [f32; LANES]);

    impl Kernel for Exp<'_> {
        #[inline(always)]
        fn run<S: Simd>(self, simd: S) {
            simd.store(exp_lanes(simd, simd.load(self.0)), self.0);
        }
    }

    fn exp_on(set: InstructionSet, x: f32) -> f32 {
        let mut lanes = [x; LANES];
        run(set, Exp(&mut lanes));
        assert!(lanes.iter().all(|y| y.to_bits() == lanes[0].to_bits()));
        lanes[0]
    }

    #[test]
    fn exp_of_special_numbers_is_exact() {
        for set in InstructionSet::ALL {
            assert_eq!(exp_on(set, 0.0), 1.0);
            assert_eq!(exp_on(set, f32::NEG_INFINITY), 0.0);
            assert_eq!(exp_on(set, -88.0), 0.0);
            assert!(exp_on(set, f32::NAN).is_nan());
            assert!(exp_on(set, f32::INFINITY) > 2e38);
        }
        assert_eq!(ln(1.0), 0.0);
        assert!(ln(0.0).is_nan() && ln(f64::NAN).is_nan());
        assert_eq!((sin_cos(0.0), ln(f64::INFINITY)), ((0.0, 1.0), f64::INFINITY));
    }

    struct Erf<'a>(&'a mut [f32; LANES]);

    impl Kernel for Erf<'_> {
        #[inline(always)]
        fn run<S: Simd>(self, simd: S) {
            simd.store(erf_lanes(simd, simd.load(self.0)), self.0);
        }
    }

    fn erf_on(set: InstructionSet, x: f32) -> f32 {
        let mut lanes = [x; LANES];
        run(set, Erf(&mut lanes));
        lanes[0]
    }

    struct Tanh<'a>(&'a mut [f32; LANES]);

    impl Kernel for Tanh<'_> {
        #[inline(always)]
        fn run<S: Simd>(self, simd: S) {
            simd.store(tanh_lanes(simd, simd.load(self.0)), self.0);
        }
    }

    fn tanh_on(set: InstructionSet, x: f32) -> f32 {
        let mut lanes = [x; LANES];
        run(set, Tanh(&mut lanes));
        lanes[0]
    }

    #[test]
    fn tanh_of_special_numbers_is_what_it_should_be() {
        assert_eq!(tanh_on(InstructionSet::Portable, 0.0), 0.0);
        for x in [8.0, 100.0, f32::INFINITY] {
            assert!((tanh_on(InstructionSet::Portable, x) - 1.0).abs() < 4e-7, "{x}");
        }
        assert!(tanh_on(InstructionSet::Portable, f32::NAN).is_nan());
    }

    #[test]
    fn erf_agrees_with_its_tables() {
        for (x, truth) in [
            (0.0, 0.0),
            (0.1, 0.112_462_9),
            (0.5, 0.520_499_9),
            (1.0, 0.842_700_8),
            (2.0, 0.995_322_3),
            (3.0, 0.999_977_9),
            (9.0, 1.0),
        ] {
            for set in InstructionSet::ALL.into_iter().filter(|set| set.is_available()) {
                assert!((erf_on(set, x) - truth).abs() < 2e-7, "{set} {x}");
                assert_eq!(erf_on(set, -x), -erf_on(set, x));
            }
        }
        assert!(erf_on(InstructionSet::Portable, f32::NAN).is_nan());
    }

    proptest! {
        #[test]
        fn every_instruction_set_has_the_same_erf(bits in any::<u32>()) {
            let x = f32::from_bits(bits);
            for set in InstructionSet::ALL.into_iter().filter(|set| set.is_available()) {
                let (a, b) = (erf_on(InstructionSet::Portable, x), erf_on(set, x));
                prop_assert!(a.to_bits() == b.to_bits() || a.is_nan() && b.is_nan(), "{x} {a} {b}");
            }
        }

        #[test]
        fn tanh_agrees_with_the_system_and_on_every_instruction_set(x in -12.0_f32..12.0) {
            let (y, truth) = (tanh_on(InstructionSet::Portable, x), f64::from(x).tanh());
            prop_assert!((f64::from(y) - truth).abs() <= 3e-7 * truth.abs(), "{x} {y} {truth}");
            for set in InstructionSet::ALL.into_iter().filter(|set| set.is_available()) {
                prop_assert_eq!(tanh_on(set, x).to_bits(), y.to_bits());
            }
        }

        #[test]
        fn exp_is_within_two_units_in_the_last_place(x in -87.3_f32..88.3) {
            let (y, truth) = (exp_on(InstructionSet::Portable, x), f64::from(x).exp());
            let ulp = f64::from((truth as f32).next_up()) - f64::from(truth as f32);
            prop_assert!((f64::from(y) - truth).abs() <= 1.1 * ulp, "{y} {truth}");
        }

        #[test]
        fn every_instruction_set_has_the_same_exp(bits in any::<u32>()) {
            let x = f32::from_bits(bits);
            let [a, b, c] = InstructionSet::ALL.map(|set| exp_on(set, x));
            for b in [b, c] {
                prop_assert!(a.to_bits() == b.to_bits() || a.is_nan() && b.is_nan(), "{x} {a} {b}");
            }
        }

        #[test]
        fn double_functions_agree_with_the_system(x in -700.0_f64..700.0, a in 0.0..3e7) {
            let y = x.exp();
            prop_assert!((ln(y) - y.ln()).abs() <= 4e-16 * y.ln().abs().max(1.0));
            prop_assert!((log10(y) - y.log10()).abs() <= 8e-16 * y.log10().abs().max(1.0));
            let ((sin, cos), (s, c)) = (sin_cos(a), a.sin_cos());
            prop_assert!((sin - s).abs() < 1e-15 && (cos - c).abs() < 1e-15, "{a}");
        }
    }
}
