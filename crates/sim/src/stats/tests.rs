//! Intervals against closed forms, tables and how often they hold the truth.

use super::*;
use crate::noise::{mix, normal};

#[test]
fn an_interval_holds_the_mean_of_its_numbers() {
    let interval = Interval::of(&[1.0, 2.0, 3.0]);
    assert_eq!((interval.mean, interval.n), (2.0, 3));
    assert!((interval.half_width - 4.303 / 3f64.sqrt()).abs() < 1e-12);
    assert!(!interval.is_above(1.0));
    assert_eq!(Interval::of(&[7.0]), Interval { mean: 7.0, half_width: 0.0, n: 1 });
    assert!((quantile(30) - 2.042).abs() < 0.02);
}

#[test]
fn two_numbers_have_the_interval_of_the_closed_form() {
    // The deviation of two is their distance over the root of 2, and so is the error of the mean.
    for (a, b) in [(0.0, 1.0), (-3.0, 5.0), (2.5, 2.5), (1e-6, 1e6)] {
        let interval = Interval::of(&[a, b]);
        let expected = 12.706 * (b - a) / 2.0;
        assert!((interval.mean - (a + b) / 2.0).abs() <= 1e-9 * (a + b), "{interval:?}");
        assert!((interval.half_width - expected).abs() <= 1e-9 * expected.abs(), "{interval:?}");
        assert_eq!(interval.n, 2);
    }
}

#[test]
fn numbers_that_are_all_the_same_leave_no_doubt_and_no_numbers_nothing() {
    assert_eq!(Interval::of(&[]), Interval { mean: 0.0, half_width: 0.0, n: 0 });
    let same = Interval::of(&[0.25; 8]);
    assert_eq!(same, Interval { mean: 0.25, half_width: 0.0, n: 8 });
    assert!(same.is_above(0.2) && !same.is_above(0.25), "above is not at");
    assert!(!Interval::of(&[]).is_above(0.0));
}

#[test]
fn an_interval_moves_and_grows_with_its_numbers_and_knows_no_order() {
    for seed in 0..20 {
        let numbers: Vec<f64> = (0..3 + seed % 12).map(|i| normal(mix(seed, i))).collect();
        let own = Interval::of(&numbers);
        let moved: Vec<f64> = numbers.iter().rev().map(|x| 100.0 - 8.0 * x).collect();
        let moved = Interval::of(&moved);
        let (mean, half_width) = (100.0 - 8.0 * own.mean, 8.0 * own.half_width);
        assert!((moved.mean - mean).abs() < 1e-9, "seed {seed}: {own:?} {moved:?}");
        assert!((moved.half_width - half_width).abs() < 1e-9, "seed {seed}: {own:?} {moved:?}");
        let low = own.mean - own.half_width;
        assert!(own.is_above(low - 1e-9) && !own.is_above(low + 1e-9), "seed {seed}: {own:?}");
    }
}

#[test]
fn quantiles_are_those_of_the_table_and_within_1_percent_beyond_it() {
    assert_eq!((quantile(1), quantile(10)), (12.706, 2.228));
    for (n, known) in [
        (11, 2.201),
        (12, 2.179),
        (15, 2.131),
        (20, 2.086),
        (30, 2.042),
        (60, 2.000),
        (120, 1.980),
        (1_000, 1.962),
    ] {
        let found = quantile(n);
        assert!((found / known - 1.0).abs() < 0.01, "{n} degrees of freedom: {found}");
    }
    let falls = (1..500).all(|n| quantile(n + 1) < quantile(n));
    assert!(falls, "more seeds never widen an interval of the same deviation");
}

#[test]
fn the_interval_of_95_percent_holds_the_truth_in_95_percent_of_all_seasons() {
    const N: u64 = 2_000;
    for (seed, size) in [(1_u64, 5), (2, 3), (3, 20)] {
        let holds = |trial: &u64| {
            let word = mix(seed, *trial);
            let numbers: Vec<f64> = (0..size).map(|i| 7.0 + normal(mix(word, i))).collect();
            let interval = Interval::of(&numbers);
            (interval.mean - 7.0).abs() <= interval.half_width
        };
        let found = (0..N).filter(holds).count() as f64 / N as f64;
        // Five standard errors of a share of 0.95.
        let error = 5.0 * (0.95 * 0.05 / N as f64).sqrt();
        assert!((found - 0.95).abs() < error, "seed {seed}, {size} numbers: {found}");
    }
}

#[test]
fn an_interval_is_written_with_its_three_names() {
    let json = serde_json::to_value(Interval::of(&[1.0, 2.0])).unwrap();
    let keys: Vec<&String> = json.as_object().unwrap().keys().collect();
    assert_eq!(keys.len(), 3, "{json}");
    assert_eq!((&json["mean"], &json["n"]), (&serde_json::json!(1.5), &serde_json::json!(2)));
    assert!(json["half_width"].as_f64().unwrap() > 6.0, "{json}");
}
