//! Noise: its moments, its tails, and that keys tell nothing of each other.

use super::*;
use std::collections::BTreeSet;

/// Standard errors that an estimate may be off.
const SIGMAS: f64 = 5.0;

/// What numbers look like.
#[derive(Debug)]
struct Shape {
    mean: f64,
    variance: f64,
    skewness: f64,
    kurtosis: f64,
}

/// The shape of the numbers of so many words of a seed.
fn shape(seed: u64, n: u64, of: impl Fn(u64) -> f64) -> Shape {
    let numbers: Vec<f64> = (0..n).map(|i| of(mix(seed, i))).collect();
    let n = n as f64;
    let mean = numbers.iter().sum::<f64>() / n;
    let power = |p: i32| numbers.iter().map(|x| (x - mean).powi(p)).sum::<f64>() / n;
    let variance = power(2);
    let (skewness, kurtosis) = (power(3) / variance.powf(1.5), power(4) / (variance * variance));
    Shape { mean, variance, skewness, kurtosis }
}

#[test]
fn normal_numbers_have_mean_0_and_variance_1_and_tailed_ones_heavy_tails_besides() {
    let plain = shape(7, 200_000, normal);
    assert!(plain.mean.abs() < 0.01 && (plain.variance - 1.0).abs() < 0.02, "{plain:?}");
    assert!((2.5..3.0).contains(&plain.kurtosis), "{plain:?}");
    let tailed = Tailed::new(0.9, 0.3);
    let tailed = shape(7, 200_000, |word| tailed.of(word));
    assert!(tailed.mean.abs() < 0.05 && (0.6..1.4).contains(&tailed.variance), "{tailed:?}");
    assert!(tailed.kurtosis > 15.0, "{tailed:?}");
}

#[test]
fn units_fill_their_range() {
    let units: Vec<f64> = (0..1_000).map(|i| unit(mix(3, i))).collect();
    assert!(units.iter().all(|unit| (0.0..1.0).contains(unit)));
    assert!((units.iter().sum::<f64>() / 1_000.0 - 0.5).abs() < 0.05);
    assert_eq!(unit(0), 0.0);
    assert!(unit(u64::MAX) < 1.0, "one is never reached");
}

#[test]
fn a_sum_of_four_uniform_numbers_has_the_moments_of_its_closed_form() {
    const N: u64 = 20_000;
    let n = N as f64;
    for seed in 1..=3 {
        let found = shape(seed, N, normal);
        // Four uniform numbers: kurtosis 3 - 6 / 20, from which the error of the variance follows.
        assert!(found.mean.abs() < SIGMAS / n.sqrt(), "seed {seed}: {found:?}");
        let error = (1.7 / n).sqrt();
        assert!((found.variance - 1.0).abs() < SIGMAS * error, "seed {seed}: {found:?}");
        assert!(found.skewness.abs() < SIGMAS * (6.0 / n).sqrt(), "seed {seed}: {found:?}");
        assert!(
            (found.kurtosis - 2.7).abs() < SIGMAS * (24.0 / n).sqrt(),
            "seed {seed}: {found:?}"
        );
    }
}

#[test]
fn normal_numbers_are_symmetric_and_bounded() {
    let most = normal(u64::MAX);
    assert!((3.46..3.465).contains(&most), "two times the root of 3: {most}");
    for i in 0..1_000 {
        let word = mix(11, i);
        assert_eq!(normal(!word), -normal(word), "word {word:#x}");
        assert!(normal(word).abs() <= most, "word {word:#x}");
    }
}

#[test]
fn without_a_tail_a_number_is_the_normal_one_and_tails_grow_with_their_weight() {
    let plain = Tailed::new(0.0, 0.0);
    for i in 0..100 {
        let word = mix(5, i);
        assert!((plain.of(word) - normal(word)).abs() < 1e-12, "word {word:#x}");
    }
    for seed in 1..=2 {
        let kurtosis = |tail: f64| {
            let tailed = Tailed::new(tail, 0.0);
            shape(seed, 20_000, |word| tailed.of(word)).kurtosis
        };
        let found = [0.0, 0.3, 0.6, 0.9].map(kurtosis);
        let grow = found.windows(2).all(|pair| pair[1] > pair[0] + 0.5);
        assert!(grow, "seed {seed}: {found:?}");
    }
}

#[test]
fn tailed_numbers_keep_their_mean_and_spread_and_lean_to_the_side_of_their_skew() {
    const N: u64 = 20_000;
    for (tail, skew) in [(0.3, 0.0), (0.3, 0.3), (0.9, 0.0), (0.9, 0.3), (0.9, -0.3), (0.5, 0.9)] {
        let tailed = Tailed::new(tail, skew);
        let found = shape(2, N, |word| tailed.of(word));
        assert!(found.mean.abs() < SIGMAS / (N as f64).sqrt(), "{tail} {skew}: {found:?}");
        // The closed form is of truly normal numbers, which go beyond what four uniform ones do.
        assert!((0.75..1.1).contains(&found.variance), "{tail} {skew}: {found:?}");
        if skew != 0.0 {
            let lean = found.skewness * skew.signum();
            assert!(lean > 0.3, "{tail} {skew}: {found:?}");
        }
    }
}

#[test]
fn numbers_of_two_keys_have_nothing_in_common() {
    const N: u64 = 10_000;
    for (a, b) in [(1, 2), (7, 8), (1 << 63, 0), (0xffff, 0xfffe)] {
        let pair = |i: u64| normal(mix(a, i)) * normal(mix(b, i));
        let correlation = (0..N).map(pair).sum::<f64>() / N as f64;
        assert!(correlation.abs() < SIGMAS / (N as f64).sqrt(), "{a} {b}: {correlation}");
    }
}

#[test]
fn every_bit_of_both_keys_turns_half_of_the_word() {
    const N: u64 = 200;
    for bit in 0..64 {
        let turn = 1_u64 << bit;
        let turned = |pairs: &dyn Fn(u64) -> (u64, u64)| {
            let n_bits: u32 = (0..N).map(pairs).map(|(a, b)| (a ^ b).count_ones()).sum();
            f64::from(n_bits) / N as f64
        };
        let first = turned(&|i| (mix(i, 7), mix(i ^ turn, 7)));
        let second = turned(&|i| (mix(7, i), mix(7, i ^ turn)));
        // A sum of 64 fair bits has a spread of 4, its mean over N words the root of N less.
        let error = SIGMAS * 4.0 / (N as f64).sqrt();
        for (side, found) in [("first", first), ("second", second)] {
            assert!((found - 32.0).abs() < error, "bit {bit} of the {side}: {found}");
        }
    }
}

#[test]
fn words_of_small_keys_never_meet() {
    let words: BTreeSet<u64> = (0..100).flat_map(|a| (0..100).map(move |b| mix(a, b))).collect();
    assert_eq!(words.len(), 100 * 100);
}
