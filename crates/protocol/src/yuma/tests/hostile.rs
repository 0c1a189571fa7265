//! Inputs that nobody should have sent.

use super::Network;
use crate::yuma::{Error, Input, LiquidAlpha, MAX_NEURONS, epoch};

fn error(change: impl FnOnce(&mut Input)) -> Error {
    let mut network = Network::new(&[1, 2, 3]);
    change(&mut network.input);
    epoch(&network.input).unwrap_err()
}

#[test]
fn lists_of_another_length_than_n_are_named() {
    let length = |field, found| Error::Length { field, found, n: 3 };
    assert_eq!(error(|i| i.stake_rao.push(0)), length("stake_rao", 4));
    assert_eq!(error(|i| i.last_update.clear()), length("last_update", 0));
    assert_eq!(
        error(|i| i.validator_permit_before.truncate(2)),
        length("validator_permit_before", 2)
    );
    assert_eq!(error(|i| i.block_at_registration.push(0)), length("block_at_registration", 4));
    assert_eq!(error(|i| i.weights_u16.push(Vec::new())), length("weights_u16", 4));
    assert_eq!(error(|i| i.bonds_before_u16.clear()), length("bonds_before_u16", 0));
    assert_eq!(error(|i| i.commit_blocks = Some(Vec::new())), length("commit_blocks", 0));
}

#[test]
fn rows_name_each_slot_that_exists_at_most_once() {
    let field = "weights_u16";
    assert_eq!(
        error(|i| i.weights_u16[1] = vec![(0, 1), (3, 1)]),
        Error::NoSuchUid { field, row: 1, uid: 3, n: 3 }
    );
    assert_eq!(
        error(|i| i.weights_u16[0] = vec![(1, 1), (2, 1), (1, 1)]),
        Error::DuplicateUid { field, row: 0, uid: 1 }
    );
    let field = "bonds_before_u16";
    assert_eq!(
        error(|i| i.bonds_before_u16[2] = vec![(u16::MAX, 1)]),
        Error::NoSuchUid { field, row: 2, uid: u16::MAX, n: 3 }
    );
}

#[test]
fn numbers_beyond_the_chains_range_are_refused() {
    assert_eq!(error(|i| i.n = MAX_NEURONS + 1), Error::TooManyNeurons(MAX_NEURONS + 1));
    assert_eq!(error(|i| i.n = usize::MAX), Error::TooManyNeurons(usize::MAX));
    assert_eq!(error(|i| i.stake_rao = vec![u64::MAX; 3]), Error::TooMuchStake);
    assert_eq!(error(|i| i.bonds_moving_average = 1_000_001), Error::MovingAverage(1_000_001));
    assert_eq!(error(|i| i.owner_uid = Some(3)), Error::NoSuchOwner { uid: 3, n: 3 });
    let alpha = LiquidAlpha { low: 2, high: 1, steepness: 0 };
    assert_eq!(
        error(|i| {
            i.yuma3 = true;
            i.liquid_alpha = Some(alpha);
        }),
        Error::LiquidAlpha
    );
    assert_eq!(
        error(|i| i.liquid_alpha = Some(LiquidAlpha { low: 1, ..alpha })),
        Error::LiquidAlpha
    );
}

#[test]
fn extreme_but_legal_numbers_are_computed_without_overflow() {
    for yuma3 in [false, true] {
        for steepness in [i16::MIN, 0, i16::MAX] {
            let mut network = Network::new(&[i64::MAX as u64 - 2, 1, 1]);
            let input = &mut network.input;
            input.yuma3 = yuma3;
            input.liquid_alpha = yuma3.then_some(LiquidAlpha { low: 0, high: u16::MAX, steepness });
            input.block = u64::MAX;
            input.last_update = vec![u64::MAX; 3];
            input.last_epoch = u64::MAX;
            input.activity_cutoff = u64::MAX;
            input.tempo = u16::MAX;
            input.emission_rao = Some(u64::MAX);
            input.weights_u16 = vec![vec![(0, u16::MAX), (1, u16::MAX), (2, u16::MAX)]; 3];
            input.bonds_before_u16 = input.weights_u16.clone();
            for (kappa, penalty) in [(0, 0), (u16::MAX, 1), (32_767, u16::MAX)] {
                input.kappa = kappa;
                input.bonds_penalty = penalty;
                let output = epoch(input).unwrap();
                let paid: u128 = output.emission.iter().map(|rao| u128::from(*rao)).sum();
                assert!(paid <= u128::from(u64::MAX));
            }
        }
    }
}

#[test]
fn an_empty_subnet_has_an_empty_epoch() {
    let output = epoch(&Network::new(&[]).input).unwrap();
    assert!(output.emission.is_empty() && output.bonds.is_empty());
}

#[test]
fn fields_that_are_misspelt_or_missing_are_refused_but_the_expected_result_is_ignored() {
    let text = serde_json::to_value(Network::new(&[1, 2]).input).unwrap();
    let read = |value: serde_json::Value| serde_json::from_value::<Input>(value);
    assert!(read(text.clone()).is_ok());
    let mut with_result = text.clone();
    with_result["expect"] = serde_json::json!({ "incentive": [1, 2] });
    assert!(read(with_result).is_ok());
    let mut misspelt = text.clone();
    misspelt["emision_rao"] = 1.into();
    assert!(read(misspelt).unwrap_err().to_string().contains("emision_rao"));
    let mut missing = text;
    missing.as_object_mut().unwrap().remove("kappa");
    assert!(read(missing).unwrap_err().to_string().contains("kappa"));
}
