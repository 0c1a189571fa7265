//! Extrinsics: one spelling each, one signer, one era.

use super::*;
use chain::{Call, HyperparameterChange, Mechanism, SubnetIdentity};
use proptest::prelude::*;
use protocol::{Block, NetUid, Seed, Uid};
use std::collections::BTreeSet;

const GENESIS: BlockHash = BlockHash([7; 32]);

fn weigh(uids: &[u16], weights: &[u16]) -> Call {
    let uids = uids.iter().copied().map(Uid).collect();
    Call::SetWeights { netuid: NetUid(1), uids, weights: weights.to_vec(), version_key: 0 }
}

fn calls() -> Vec<Call> {
    let key = AccountId([1; 32]);
    let netuid = NetUid(1);
    let reveal = Call::RevealWeights {
        netuid,
        uids: vec![Uid(1)],
        weights: vec![2],
        salt: vec![3, 4],
        version_key: 5,
    };
    vec![
        Call::Remark { data: b"hello".to_vec() },
        Call::BurnedRegister { netuid, hotkey: key },
        Call::RegisterLimit { netuid, hotkey: key, limit_rao: 5 },
        Call::TransferAll { to: key },
        Call::UnstakeAll { hotkey: key },
        Call::SwapHotkey { hotkey: key, new_hotkey: AccountId([2; 32]), netuid: None },
        Call::SwapHotkey { hotkey: key, new_hotkey: AccountId([2; 32]), netuid: Some(netuid) },
        Call::AddStake { hotkey: key, netuid, amount_rao: 5 },
        Call::RemoveStake { hotkey: key, netuid, amount_rao: 5 },
        Call::Transfer { to: key, amount_rao: 5 },
        Call::RegisterNetwork { hotkey: key },
        Call::SetCommitment { netuid, data: b"x".to_vec() },
        Call::SetCommitment { netuid, data: b"x\0".to_vec() },
        Call::SetCommitment { netuid, data: vec![1; 128] },
        weigh(&[1, 2], &[3]),
        weigh(&[1], &[2, 3]),
        weigh(&[1], &[2]),
        Call::CommitWeights { netuid, hash: [9; 32] },
        reveal,
        Call::CommitTimelockedWeights { netuid, sealed: vec![1; 299], round: 9, version: 4 },
        Call::SetHyperparameter { netuid, change: HyperparameterChange::Tempo(5) },
        Call::StartSubnet { netuid },
        Call::SetSubnetIdentity {
            netuid,
            identity: SubnetIdentity { name: b"x".to_vec(), ..SubnetIdentity::default() },
        },
        Call::SetMechanismWeights {
            netuid,
            mechanism: Mechanism(1),
            uids: vec![Uid(1)],
            weights: vec![2],
            version_key: 3,
        },
        Call::CommitTimelockedMechanismWeights {
            netuid,
            mechanism: Mechanism(1),
            sealed: vec![1; 299],
            round: 9,
            version: 4,
        },
    ]
}

#[test]
fn no_two_calls_signers_nonces_or_chains_share_a_name() {
    let mut names = BTreeSet::new();
    for call in calls() {
        for nonce in [0, 1] {
            for number in [1, 2] {
                let keys = Keypair::from_seed(Seed::of_number(number));
                for genesis in [GENESIS, BlockHash([8; 32])] {
                    let signed = SignedCall::sign(call.clone(), nonce, genesis, &keys);
                    assert!(signed.is_authentic(genesis, genesis));
                    assert!(names.insert(signed.id()), "{call:?}");
                }
            }
        }
    }
}

#[test]
fn every_call_reads_back_as_it_was_written() {
    let keys = Keypair::from_seed(Seed::of_number(1));
    for call in calls() {
        for era in [Era::Immortal, Era::mortal(64, Block(1_000))] {
            let lifetime = Lifetime { era, birth: GENESIS };
            let called = call.clone().into();
            let signed = SignedCall::sign_in_era(called, 300, lifetime, GENESIS, &keys);
            let read = SignedCall::from_bytes(&signed.to_bytes()).unwrap();
            assert_eq!(read, signed);
            assert_eq!(Call::try_from(read.call).unwrap(), call);
        }
    }
}

#[test]
fn names_and_signatures_of_calls_are_frozen() {
    let keys = Keypair::from_seed(Seed::of_number(1));
    let bytes: Vec<u8> = calls()
        .into_iter()
        .flat_map(|call| SignedCall::sign(call, 3, GENESIS, &keys).to_bytes())
        .collect();
    let hex: String = blake2_256(&bytes)[..8].iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(hex, "1bb7e69c07e54c29");
}

#[test]
fn attack_bytes_that_are_no_signed_call_are_refused_by_name() {
    let keys = Keypair::from_seed(Seed::of_number(1));
    let bytes = SignedCall::sign(weigh(&[1], &[2]), 0, GENESIS, &keys).to_bytes();
    for n in 0..bytes.len() {
        assert!(SignedCall::from_bytes(&bytes[..n]).is_err(), "{n} bytes");
    }
    let mut more = bytes.clone();
    more.push(0);
    assert!(matches!(SignedCall::from_bytes(&more), Err(ExtrinsicError::Length { .. })));
    let mut unsigned = bytes.clone();
    unsigned[2] = 4;
    assert_eq!(SignedCall::from_bytes(&unsigned), Err(ExtrinsicError::Version(4)));
    let giant = vec![0xff; EXTRINSIC_BYTES_MAX + 1];
    assert_eq!(SignedCall::from_bytes(&giant), Err(ExtrinsicError::TooLong(giant.len())));
    // A vector that says it holds a billion entries, in a few bytes.
    let mut bomb = bytes;
    let at = bomb.len() - 8 - 3 - 3;
    bomb[at..at + 3].copy_from_slice(&[0xfe, 0xff, 0xff]);
    assert!(SignedCall::from_bytes(&bomb).is_err());
}

#[test]
fn eras_say_when_they_begin_and_end() {
    let era = Era::mortal(64, Block(1_000));
    assert_eq!(era, Era::Mortal { period: 64, phase: 40 });
    for (current, birth) in [(1_000, 1_000), (1_063, 1_000), (1_064, 1_064), (999, 936)] {
        assert_eq!(era.birth(Block(current)), Block(birth), "{current}");
        assert_eq!(era.death(Block(current)), Some(Block(birth + 64)));
    }
    assert_eq!(Era::Immortal.birth(Block(9)), Block(0));
    assert_eq!(Era::mortal(64, Block(42)).encode(), [0xa5, 0x02], "as Substrate's tests have it");
    assert_eq!(Era::mortal(32_768, Block(20_000)).encode(), [0x4e, 0x9c]);
}

proptest! {
    /// What reads at all reads back to the same bytes: nobody can give a call a second name.
    #[test]
    fn an_extrinsic_has_one_spelling(
        index in 0..25_usize, at in any::<prop::sample::Index>(), with in any::<u8>(),
    ) {
        let keys = Keypair::from_seed(Seed::of_number(1));
        let mut bytes = SignedCall::sign(calls()[index].clone(), 3, GENESIS, &keys).to_bytes();
        let at = at.index(bytes.len());
        bytes[at] = with;
        if let Ok(read) = SignedCall::from_bytes(&bytes) {
            prop_assert_eq!(read.to_bytes(), bytes);
        }
    }

    #[test]
    fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        if let Ok(read) = SignedCall::from_bytes(&bytes) {
            prop_assert_eq!(read.to_bytes(), bytes);
        }
    }

    #[test]
    fn eras_read_back(encoded in any::<[u8; 2]>()) {
        if let Ok(era) = Era::decode(&mut &encoded[..]) {
            let bytes = era.encode();
            prop_assert_eq!(&bytes[..], &encoded[..bytes.len()]);
        }
    }
}
