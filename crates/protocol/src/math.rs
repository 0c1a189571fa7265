//! Exponential and logarithm, bit for bit the same on every machine.
//!
//! Verdicts are compared bit by bit, and the functions of the platform's C library differ from one
//! platform to the next. These use additions, subtractions, multiplications and divisions of IEEE
//! doubles only, in a fixed order and never fused.

/// High part of ln 2: its last 21 bits are zero, so that its product with an exponent is exact.
const LN_2_HIGH: f64 = 0.693_147_180_369_123_8;
/// What [`LN_2_HIGH`] lacks.
const LN_2_LOW: f64 = 1.908_214_929_270_587_7e-10;
/// 1/n! for n from 13 down to 2; the next term is below 5e-18 on the reduced range.
const INVERSE_FACTORIALS: [f64; 12] = [
    1.0 / 6_227_020_800.0,
    1.0 / 479_001_600.0,
    1.0 / 39_916_800.0,
    1.0 / 3_628_800.0,
    1.0 / 362_880.0,
    1.0 / 40_320.0,
    1.0 / 5_040.0,
    1.0 / 720.0,
    1.0 / 120.0,
    1.0 / 24.0,
    1.0 / 6.0,
    1.0 / 2.0,
];

/// The bits of a double that are its mantissa.
const MANTISSA: u64 = (1 << 52) - 1;
/// 1/n for odd n from 21 down to 3; the next term is below 2e-19 of the whole.
const INVERSE_ODD: [f64; 10] = [
    1.0 / 21.0,
    1.0 / 19.0,
    1.0 / 17.0,
    1.0 / 15.0,
    1.0 / 13.0,
    1.0 / 11.0,
    1.0 / 9.0,
    1.0 / 7.0,
    1.0 / 5.0,
    1.0 / 3.0,
];

/// e to the power of `x`, within one unit in the last place (0.81 measured).
///
/// Above 709.78 the result is infinite, below -745.13 zero; NaN stays NaN.
pub fn exp(x: f64) -> f64 {
    if x > 710.0 {
        return f64::INFINITY;
    }
    if x < -746.0 {
        return 0.0;
    }
    // x = exponent * ln 2 + reduced + rest, with |reduced| <= ln 2 / 2 (Cody and Waite).
    let exponent = (x * std::f64::consts::LOG2_E + 0.5).floor();
    let high = x - exponent * LN_2_HIGH;
    let low = exponent * LN_2_LOW;
    let reduced = high - low;
    let rest = (high - reduced) - low;
    let series = INVERSE_FACTORIALS.iter().fold(0.0, |sum, term| sum * reduced + term);
    let power = 1.0 + (reduced + (reduced * reduced * series + rest));
    // Two steps, because 2^1024 is not a double and a subnormal must be rounded only once.
    let exponent = exponent as i64;
    let half = exponent >> 1;
    power * power_of_two(half) * power_of_two(exponent - half)
}

/// The natural logarithm of a normal, positive `x`, within two units in the last place.
///
/// What is below the least normal number is -infinity, like zero and everything negative; infinity
/// and NaN stay what they are.
pub fn ln(x: f64) -> f64 {
    if x < f64::MIN_POSITIVE {
        return f64::NEG_INFINITY;
    }
    if !x.is_finite() {
        return x;
    }
    // x = 2^exponent * mantissa, with the mantissa from 1/sqrt 2 to sqrt 2.
    let bits = x.to_bits();
    let (mut exponent, mut mantissa) =
        ((bits >> 52) as i64 - 1023, f64::from_bits(bits & MANTISSA | 1.0f64.to_bits()));
    if mantissa > std::f64::consts::SQRT_2 {
        (exponent, mantissa) = (exponent + 1, mantissa * 0.5);
    }
    // ln m = 2 artanh z = 2 (z + z^3 / 3 + ...), with |z| below 0.172.
    let z = (mantissa - 1.0) / (mantissa + 1.0);
    let square = z * z;
    let series = INVERSE_ODD.iter().fold(0.0, |sum, term| sum * square + term);
    let exponent = exponent as f64;
    exponent * LN_2_HIGH + (2.0 * z + (2.0 * z * square * series + exponent * LN_2_LOW))
}

/// 2 to the power of `exponent`, which must lie in -1022..=1023.
fn power_of_two(exponent: i64) -> f64 {
    f64::from_bits(((exponent + 1023) as u64) << 52)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_bits_of_exp_are_frozen() {
        for (x, bits) in [
            (0.0, 0x3ff0_0000_0000_0000),
            (1.0, 0x4005_bf0a_8b14_576a),
            (-1.0, 0x3fd7_8b56_362c_ef38),
            (std::f64::consts::LN_10, 0x4024_0000_0000_0001),
            (709.7, 0x7fed_75ae_7a50_ee14),
            (-745.0, 0x0000_0000_0000_0001),
        ] {
            assert_eq!(exp(x).to_bits(), bits, "exp({x}) = {:e}", exp(x));
        }
    }

    #[test]
    fn the_ends_of_exp_are_infinity_zero_and_nan() {
        assert_eq!(exp(709.79), f64::INFINITY);
        assert_eq!(exp(f64::INFINITY), f64::INFINITY);
        assert!(exp(709.782).is_finite());
        assert_eq!(exp(-745.2), 0.0);
        assert_eq!(exp(f64::NEG_INFINITY), 0.0);
        assert!(exp(f64::NAN).is_nan());
        assert_eq!(exp(-0.0), 1.0);
    }

    #[test]
    fn the_bits_of_ln_are_frozen_and_its_ends_are_infinite() {
        for (x, bits) in [
            (1.0, 0),
            (2.0, 0x3fe6_2e42_fefa_39ef),
            (10.0, 0x4002_6bb1_bbb5_5516),
            (0.1, 0xc002_6bb1_bbb5_5515),
            (1e-300, 0xc085_9634_47f8_7fb5),
            (511.0, 0x4018_f20a_deae_c67c),
        ] {
            assert_eq!(ln(x).to_bits(), bits, "ln({x}) = {:e} {:x}", ln(x), x.ln().to_bits());
        }
        assert_eq!(ln(0.0), f64::NEG_INFINITY);
        assert_eq!(ln(-1.0), f64::NEG_INFINITY);
        assert_eq!(ln(f64::INFINITY), f64::INFINITY);
        assert!(ln(f64::NAN).is_nan());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(1000))]

        #[test]
        fn ln_agrees_with_the_library_to_4e_16(
            x in prop_oneof![1e-300..1e300, 0.5..2.0, 1.0..1e6],
        ) {
            let (ours, library) = (ln(x), x.ln());
            prop_assert!((ours - library).abs() <= 4.5e-16 * library.abs(), "{ours:e} {library:e}");
        }

        #[test]
        fn exp_agrees_with_the_library_to_1e_15(
            x in prop_oneof![-708.0..709.7, -40.0..40.0, -1.0..1.0],
        ) {
            let (ours, library) = (exp(x), x.exp());
            prop_assert!((ours - library).abs() <= 1e-15 * library, "{ours:e} {library:e}");
        }

        #[test]
        fn exp_never_falls(x in -745.0..709.0, step in 0.0..1.0) {
            prop_assert!(exp(x) <= exp(x + step) * (1.0 + 1e-15));
        }
    }
}
