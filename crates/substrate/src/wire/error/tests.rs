//! Refusals on their way through the wire: by number there, by name back.

use super::*;
use crate::wire::metadata::Encoded;
use parity_scale_codec::DecodeAll;
use std::collections::BTreeSet;
use subxt::metadata::Metadata;

/// Pallets with errors.
const PALLETS: [&str; 3] = ["SubtensorModule", "Commitments", "AdminUtils"];

fn told() -> Metadata {
    Metadata::decode_from(&Encoded::usual().version_15).unwrap()
}

/// Pallet and name under which a client finds a refusal, which has no other bytes set.
fn found(metadata: &Metadata, error: DispatchError) -> Option<(String, String)> {
    let DispatchError::Module(ModuleError { index, error: [number, 0, 0, 0] }) = error else {
        return None;
    };
    let pallet = metadata.pallet_by_error_index(index)?;
    Some((pallet.name().to_owned(), pallet.error_variant_by_index(number)?.name.clone()))
}

#[test]
fn every_error_that_clients_are_told_of_travels_as_itself() {
    let metadata = told();
    let mut names = BTreeSet::new();
    for pallet in PALLETS {
        let variants = metadata.pallet_by_name(pallet).unwrap().error_variants().unwrap();
        for variant in variants {
            let error = dispatch_error(&CallError::from_name(&variant.name));
            let expected = (pallet.to_owned(), variant.name.clone());
            assert_eq!(found(&metadata, error), Some(expected), "{error:?}");
            assert_eq!(DispatchError::decode_all(&mut &error.encode()[..]), Ok(error));
            assert!(names.insert(variant.name.clone()), "{} stands in two pallets", variant.name);
        }
    }
    assert!(names.len() > 40, "{names:?}");
}

#[test]
fn refusals_of_the_ledger_are_found_again_by_their_names() {
    let metadata = told();
    for (error, pallet) in [
        (CallError::SubnetNotExists, "SubtensorModule"),
        (CallError::RegistrationPriceLimitExceeded, "SubtensorModule"),
        (CallError::HotKeyAlreadyRegisteredInSubNet, "SubtensorModule"),
        (CallError::NeuronNoValidatorPermit, "SubtensorModule"),
        (CallError::ExpiredWeightCommit, "SubtensorModule"),
        (CallError::IncorrectCommitRevealVersion, "SubtensorModule"),
        (CallError::InvalidRevealRound, "SubtensorModule"),
        (CallError::TooManyUnrevealedCommits, "SubtensorModule"),
        (CallError::AccountNotAllowedCommit, "Commitments"),
        (CallError::CommitmentTooLong, "Commitments"),
        (CallError::CommitmentSetRateLimitExceeded, "Commitments"),
        (CallError::ValueNotInBounds, "AdminUtils"),
        (CallError::MechanismDoesNotExist, "SubtensorModule"),
        (CallError::NotSubnetOwner, "SubtensorModule"),
        (CallError::InvalidIdentity, "SubtensorModule"),
        (CallError::FirstEmissionBlockNumberAlreadySet, "SubtensorModule"),
        (CallError::Other("TooManyFieldsInCommitmentInfo".to_owned()), "Commitments"),
    ] {
        let (place, name) = found(&metadata, dispatch_error(&error)).unwrap();
        assert_eq!((place.as_str(), CallError::from_name(&name)), (pallet, error));
    }
}

#[test]
fn refusals_without_a_pallet_travel_as_substrate_has_them() {
    let other = |name: &str| CallError::Other(name.to_owned());
    for (error, expected, bytes) in [
        (CallError::BadOrigin, DispatchError::BadOrigin, vec![2]),
        (
            CallError::FundsUnavailable,
            DispatchError::Token(TokenError::FundsUnavailable),
            vec![7, 0],
        ),
        (other("CannotLookup"), DispatchError::CannotLookup, vec![1]),
        (other("NoSuchName"), DispatchError::Other, vec![0]),
        (CallError::ExhaustsResources, DispatchError::Other, vec![0]),
    ] {
        assert_eq!(dispatch_error(&error), expected);
        assert_eq!(expected.encode(), bytes);
    }
}

#[test]
fn errors_have_the_numbers_of_bittensors_runtime() {
    for (error, bytes) in [
        (CallError::SettingWeightsTooFast, [3, 7, 29, 0, 0, 0]),
        (CallError::HotKeyNotRegisteredInSubNet, [3, 7, 4, 0, 0, 0]),
        (CallError::RegistrationPriceLimitExceeded, [3, 7, 136, 0, 0, 0]),
        (CallError::AccountNotAllowedCommit, [3, 18, 1, 0, 0, 0]),
        (CallError::ValueNotInBounds, [3, 19, 5, 0, 0, 0]),
    ] {
        assert_eq!(dispatch_error(&error).encode(), bytes, "{error}");
    }
}

#[test]
fn attack_a_refusal_of_any_name_travels() {
    let long = "Subnet".repeat(10_000);
    for name in ["", " ", "subnetnotexists", "SubnetNotExists ", "0", "76", "\0", long.as_str()] {
        let error = CallError::Other(name.to_owned());
        assert_eq!(dispatch_error(&error), DispatchError::Other, "{name:.20}");
    }
}
