//! Moving averages, merging, rounding, softmax.

use super::*;
use proptest::prelude::*;

fn miner(uid: u16, key: u8) -> Miner {
    Miner { uid: Uid(uid), hotkey: AccountId([key; 32]) }
}

#[test]
fn a_new_winner_takes_over_by_halves() {
    let (old, new) = (miner(1, 1), miner(2, 2));
    let mut average = MovingAverage::default();
    average.update(0.5, &[(old, 1.0), (new, 0.0)]);
    assert_eq!(average.of(&old), 1.0, "the first round is taken as it is");
    for expected in [0.5, 0.75, 0.875, 0.9375] {
        average.update(0.5, &[(old, 0.0), (new, 1.0)]);
        assert_eq!((average.of(&new), average.of(&old)), (expected, 1.0 - expected));
    }
}

#[test]
fn attack_whoever_leaves_is_paid_less_and_less_be_there_others_or_not() {
    let mut average = MovingAverage::default();
    average.update(0.5, &[]);
    assert!(average.is_empty(), "there was nobody yet");
    average.update(0.5, &[(miner(1, 1), 1.0)]);
    average.update(0.5, &[(miner(1, 1), 0.0), (miner(2, 2), 0.0)]);
    average.update(0.5, &[]);
    assert_eq!(average.of(&miner(1, 1)), 0.25);
    assert_eq!(average.of(&miner(2, 2)), 0.0);
    (0..40).for_each(|_| average.update(0.5, &[]));
    assert!(average.is_empty(), "at last it is forgotten");
}

#[test]
fn an_average_that_gets_nothing_new_is_forgotten_at_last() {
    let mut average = MovingAverage::default();
    average.update(0.5, &[(miner(1, 1), 1.0)]);
    for _ in 0..41 {
        average.update(0.5, &[(miner(2, 2), 1.0)]);
    }
    assert_eq!(average.iter().map(|a| a.uid.0).collect::<Vec<_>>(), [2]);
}

#[test]
fn an_average_survives_its_own_text_and_a_bad_list_is_refused() {
    let mut average = MovingAverage::default();
    average.update(0.5, &[(miner(7, 7), 0.1), (miner(3, 3), 0.9)]);
    let json = serde_json::to_string(&average).unwrap();
    assert_eq!(serde_json::from_str::<MovingAverage>(&json).unwrap(), average);
    let one = Average { uid: Uid(1), hotkey: AccountId([1; 32]), weight: 0.5 };
    assert_eq!(MovingAverage::try_from(vec![one, one]), Err(NotAnAverage::Twice(Uid(1))));
    let above = Average { weight: 1.5, ..one };
    assert_eq!(MovingAverage::try_from(vec![above]), Err(NotAnAverage::OutOfRange(Uid(1))));
}

#[test]
fn competitions_are_merged_by_reward_share() {
    let of = |weights: &[(Miner, f64)]| {
        let mut average = MovingAverage::default();
        average.update(0.5, weights);
        average
    };
    let (a, b, gone) = (miner(1, 1), miner(2, 2), miner(1, 9));
    let registered = BTreeSet::from([a, b]);
    let (first, second) = (of(&[(a, 1.0)]), of(&[(a, 0.25), (b, 0.75)]));
    let merged = merge(&[(0.14, &first), (0.42, &second)], &registered);
    assert!((merged[&Uid(1)] - (0.14 + 0.42 * 0.25) / 0.56).abs() < 1e-15);
    assert!((merged[&Uid(2)] - 0.42 * 0.75 / 0.56).abs() < 1e-15);

    let nothing = MovingAverage::default();
    let merged = merge(&[(0.9, &nothing), (0.1, &first)], &registered);
    assert_eq!(merged, BTreeMap::from([(Uid(1), 1.0)]), "no data: the share goes to the others");
    let merged = merge(&[(0.5, &of(&[(gone, 1.0)])), (0.5, &second)], &registered);
    assert!((merged[&Uid(2)] - 0.75).abs() < 1e-15, "who took over a slot inherits nothing");
    assert!(merge(&[(1.0, &nothing)], &registered).is_empty());
}

#[test]
fn weights_become_integers_as_the_sdk_makes_them() {
    let quantized = |weights: &[f64]| -> Vec<(u16, u16)> {
        let weights = (0..).zip(weights).map(|(uid, weight)| (Uid(uid), *weight)).collect();
        quantize(&weights).into_iter().map(|(uid, weight)| (uid.0, weight)).collect()
    };
    assert_eq!(quantized(&[0.25, 0.5, 0.0]), [(0, 32_768), (1, 65_535)], "32767.5 goes to even");
    let (two, three) = (2.5 / 65_535.0, 3.5 / 65_535.0);
    assert_eq!(quantized(&[1.0, two, three]), [(0, 65_535), (1, 2), (2, 4)]);
    assert_eq!(quantized(&[1.0, 7e-6]), [(0, 65_535)], "zeros are left out");
    assert_eq!(quantized(&[1e-300]), [(0, 65_535)]);
    assert!(quantized(&[0.0]).is_empty() && quantized(&[]).is_empty());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn softmax_does_not_depend_on_the_order_of_its_values(
        values in prop::collection::vec(0.0..=1.0, 1..40), turn in 0usize..40,
        exponent in -4.0..=4.0,
    ) {
        let temperature = 10f64.powf(exponent).clamp(1e-4, 1e4);
        let mut weights = softmax(&values, temperature);
        let mut turned = values.clone();
        turned.rotate_left(turn % values.len());
        weights.rotate_left(turn % values.len());
        prop_assert_eq!(weights, softmax(&turned, temperature));
    }
}
