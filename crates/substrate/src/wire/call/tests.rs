//! Calls on their way through the wire: what comes out is what was meant, or a refusal by name.

use super::*;
use crate::wire::metadata::Encoded;
use chain::{Call, CallError, Mechanism, SubnetIdentity, ledger::HyperparameterChange as Change};
use parity_scale_codec::{Compact, DecodeAll};
use proptest::{collection::vec, prelude::*, strategy::Union};
use protocol::{AccountId, NetUid, Uid};
use std::collections::BTreeSet;
use subxt::metadata::Metadata;

const KEY: AccountId32 = AccountId32([1; 32]);

/// One change of each rule, with a value that needs all its bytes.
fn changes() -> Vec<Change> {
    let (short, long) = (0xfffe, 0xffff_ffff_ffff_fffe);
    vec![
        Change::WeightsVersion(long),
        Change::WeightsRateLimit(long - 1),
        Change::AdjustmentInterval(short),
        Change::ImmunityPeriod(short - 1),
        Change::MinWeights(short - 2),
        Change::MaxUids(short - 3),
        Change::Kappa(short - 4),
        Change::ActivityCutoff(short - 5),
        Change::RegistrationAllowed(true),
        Change::TargetRegistrations(short - 6),
        Change::MinBurn(long - 2),
        Change::MaxBurn(long - 3),
        Change::MaxValidators(short - 7),
        Change::BondsMovingAverage(long - 4),
        Change::MaxRegistrationsPerBlock(short - 8),
        Change::Tempo(short - 9),
        Change::CommitReveal(true),
        Change::RevealPeriod(long - 5),
        Change::BondsPenalty(short - 10),
        Change::Yuma3(true),
    ]
}

fn told() -> Metadata {
    Metadata::decode_from(&Encoded::usual().version_15).unwrap()
}

fn read(bytes: &[u8]) -> Result<RuntimeCall, codec::Error> {
    RuntimeCall::decode_all(&mut &*bytes)
}

/// What the ledger is to do for a call that has come over the wire.
fn arrive(call: impl Into<RuntimeCall>) -> Result<Call, CallError> {
    let call = call.into();
    let again = read(&call.encode()).unwrap();
    assert_eq!(again, call);
    again.try_into()
}

fn other(name: &str) -> Result<Call, CallError> {
    Err(CallError::Other(name.to_owned()))
}

#[test]
fn every_rule_is_changed_by_the_call_that_clients_find_under_its_name() {
    let metadata = told();
    let pallet = metadata.pallet_by_name("AdminUtils").unwrap();
    let mut indices = BTreeSet::new();
    for change in changes() {
        let call = AdminUtilsCall::of(NetUid(0x102), change);
        assert_eq!(call.change(), (NetUid(0x102), change));
        let meant = Call::SetHyperparameter { netuid: NetUid(0x102), change };
        assert_eq!(arrive(meant.clone()), Ok(meant));
        let bytes = call.encode();
        let variant = pallet.call_variant_by_index(bytes[0]).unwrap();
        let (name, argument, value) = on_chain(change);
        let fields: Vec<&str> =
            variant.fields.iter().map(|field| field.name.as_deref().unwrap()).collect();
        assert_eq!((variant.name.as_str(), &fields[..]), (name, &["netuid", argument][..]));
        // The call, the subnet, then the value alone.
        let mut expected = match value {
            Ok(number) => number.to_le_bytes().to_vec(),
            Err(flag) => vec![u8::from(flag)],
        };
        expected.truncate(bytes.len() - 3);
        assert_eq!((&bytes[1..3], &bytes[3..]), (&[2, 1][..], &expected[..]), "{name}");
        assert!(indices.insert(bytes[0]), "{name}");
    }
    assert_eq!(indices.len(), pallet.call_variants().unwrap().len(), "a rule is missing above");
}

#[test]
fn flags_are_switched_off_as_they_are_switched_on() {
    for change in
        [Change::RegistrationAllowed(false), Change::CommitReveal(false), Change::Yuma3(false)]
    {
        let meant = Call::SetHyperparameter { netuid: NetUid(1), change };
        assert_eq!(arrive(meant.clone()), Ok(meant));
        assert_eq!(on_chain(change).2, Err(false));
    }
}

#[test]
fn the_numbers_of_calls_that_read_are_those_that_clients_are_told() {
    let metadata = told();
    let mut pallets = BTreeSet::new();
    for pallet in metadata.pallets() {
        let Some(variants) = pallet.call_variants() else { continue };
        let expected: Vec<u8> = (0..=u8::MAX)
            .filter(|index| variants.iter().any(|variant| variant.index == *index))
            .collect();
        let reads = |index: &u8| {
            // Zeros are arguments of every call: subnet 0, an empty list, key 0.
            let mut bytes = vec![pallet.call_index(), *index];
            bytes.extend([0; 200]);
            RuntimeCall::decode(&mut &bytes[..]).is_ok()
        };
        let found: Vec<u8> = (0..=u8::MAX).filter(reads).collect();
        assert_eq!(found, expected, "{}", pallet.name());
        pallets.insert(pallet.call_index());
    }
    for number in (0..=u8::MAX).filter(|number| !pallets.contains(number)) {
        assert!(read(&[number, 0, 0, 0]).is_err(), "pallet {number}");
    }
    assert_eq!(pallets, BTreeSet::from([0, 5, 7, 18, 19]));
}

#[test]
fn calls_that_differ_only_in_what_has_no_meaning_here_do_the_same() {
    let (netuid, dest) = (3, Address::Id(KEY));
    let to = AccountId(KEY.0);
    let transfer = Call::Transfer { to, amount_rao: 5 };
    for call in [
        BalancesCall::transfer_allow_death { dest: dest.clone(), value: 5 },
        BalancesCall::transfer_keep_alive { dest: dest.clone(), value: 5 },
    ] {
        assert_eq!(arrive(RuntimeCall::Balances(call)).as_ref(), Ok(&transfer));
    }
    for keep_alive in [false, true] {
        let call = BalancesCall::transfer_all { dest: dest.clone(), keep_alive };
        assert_eq!(arrive(RuntimeCall::Balances(call)), Ok(Call::TransferAll { to }));
    }
    let subtensor = |call| arrive(RuntimeCall::SubtensorModule(call));
    let (hotkey, amount_rao) = (to, 7);
    for (limit_price, allow_partial) in [(0, false), (u64::MAX, true)] {
        let add = SubtensorCall::add_stake_limit {
            hotkey: KEY,
            netuid,
            amount_staked: 7,
            limit_price,
            allow_partial,
        };
        let staked = Call::AddStake { hotkey, netuid: NetUid(3), amount_rao };
        assert_eq!(subtensor(add), Ok(staked));
        let remove = SubtensorCall::remove_stake_limit {
            hotkey: KEY,
            netuid,
            amount_unstaked: 7,
            limit_price,
            allow_partial,
        };
        let unstaked = Call::RemoveStake { hotkey, netuid: NetUid(3), amount_rao };
        assert_eq!(subtensor(remove), Ok(unstaked));
    }
}

fn locked(mecid: u8, sealed: Vec<u8>) -> RuntimeCall {
    RuntimeCall::SubtensorModule(SubtensorCall::commit_timelocked_mechanism_weights {
        netuid: 3,
        mecid,
        commit: SealedBytes::new(sealed),
        reveal_round: 8,
        commit_reveal_version: 4,
    })
}

fn locked_plainly(sealed: Vec<u8>) -> RuntimeCall {
    RuntimeCall::SubtensorModule(SubtensorCall::commit_timelocked_weights {
        netuid: 3,
        commit: SealedBytes::new(sealed),
        reveal_round: 8,
        commit_reveal_version: 4,
    })
}

#[test]
fn a_mechanism_is_named_by_the_call_and_the_first_is_the_subnet() {
    let weigh = |mecid| {
        RuntimeCall::SubtensorModule(SubtensorCall::set_mechanism_weights {
            netuid: 3,
            mecid,
            dests: vec![1, 2],
            weights: vec![4, 5],
            version_key: 6,
        })
    };
    let meant = Call::SetWeights {
        netuid: NetUid(3),
        uids: vec![Uid(1), Uid(2)],
        weights: vec![4, 5],
        version_key: 6,
    };
    assert_eq!(arrive(weigh(0)).as_ref(), Ok(&meant));
    let plain = RuntimeCall::from(meant);
    assert_eq!(plain.encode()[..2], [7, 0], "our own go by `set_weights`");
    let meant = Call::CommitTimelockedWeights {
        netuid: NetUid(3),
        sealed: vec![9; 300],
        round: 8,
        version: 4,
    };
    assert_eq!(arrive(locked_plainly(vec![9; 300])).as_ref(), Ok(&meant));
    assert_eq!(arrive(locked(0, vec![9; 300])).as_ref(), Ok(&meant));
    assert_eq!(locked_plainly(vec![9]).encode()[..2], [7, 113]);
    assert_eq!(RuntimeCall::from(meant).encode()[..2], [7, 118]);
    for mecid in [1, 2, u8::MAX] {
        let set = Call::SetMechanismWeights {
            netuid: NetUid(3),
            mechanism: Mechanism(mecid),
            uids: vec![Uid(1), Uid(2)],
            weights: vec![4, 5],
            version_key: 6,
        };
        assert_eq!(arrive(weigh(mecid)), Ok(set));
        let commit = Call::CommitTimelockedMechanismWeights {
            netuid: NetUid(3),
            mechanism: Mechanism(mecid),
            sealed: vec![9],
            round: 8,
            version: 4,
        };
        assert_eq!(arrive(locked(mecid, vec![9])), Ok(commit));
    }
}

#[test]
fn attack_more_sealed_bytes_than_a_call_takes_do_not_read() {
    let forms: [fn(Vec<u8>) -> RuntimeCall; 2] = [locked_plainly, |sealed| locked(0, sealed)];
    for form in forms {
        assert!(arrive(form(vec![0; SEALED_BYTES_MAX])).is_ok());
        assert!(arrive(form(Vec::new())).is_ok(), "the ledger says what it thinks of nothing");
        let error = read(&form(vec![0; SEALED_BYTES_MAX + 1]).encode()).unwrap_err();
        assert!(error.to_string().contains("more encrypted weights"), "{error}");
    }
    assert_eq!(SEALED_BYTES_MAX, 5_000);
}

#[test]
fn accounts_are_named_by_their_keys_alone() {
    for dest in [
        Address::Index(Compact(())),
        Address::Raw(vec![1; 32]),
        Address::Address32([1; 32]),
        Address::Address20([1; 20]),
    ] {
        for call in [
            BalancesCall::transfer_allow_death { dest: dest.clone(), value: 1 },
            BalancesCall::transfer_keep_alive { dest: dest.clone(), value: 1 },
            BalancesCall::transfer_all { dest: dest.clone(), keep_alive: false },
        ] {
            assert_eq!(arrive(RuntimeCall::Balances(call)), other("CannotLookup"), "{dest:?}");
        }
    }
}

fn commit(fields: Vec<Data>) -> RuntimeCall {
    let info = CommitmentInfo { fields };
    RuntimeCall::Commitments(CommitmentsCall::set_commitment { netuid: 3, info })
}

#[test]
fn a_commitment_has_one_field_or_none() {
    let is = |data: &[u8]| -> Result<Call, CallError> {
        Ok(Call::SetCommitment { netuid: NetUid(3), data: data.to_vec() })
    };
    let text = || Data::Raw(b"text".to_vec());
    assert_eq!(arrive(commit(vec![text()])), is(b"text"));
    assert_eq!(arrive(commit(Vec::new())), is(b""));
    assert_eq!(arrive(commit(vec![Data::None])), is(b""));
    assert_eq!(arrive(commit(vec![Data::Raw(Vec::new())])), is(b""));
    // Read so far that the ledger can say that it is too long.
    assert_eq!(arrive(commit(vec![Data::BigRaw(vec![1; 512])])), is(&[1; 512]));
    let several = "TooManyFieldsInCommitmentInfo";
    for fields in [
        vec![text(), text()],
        vec![text(), Data::None],
        vec![Data::None, text()],
        vec![Data::None, Data::None, Data::None],
    ] {
        assert_eq!(arrive(commit(fields.clone())), other(several), "{fields:?}");
    }
}

#[test]
fn every_length_of_a_field_is_a_kind_of_its_own() {
    for n in 0..=128_usize {
        let field = Data::of(vec![7; n]);
        let bytes = field.encode();
        assert_eq!((usize::from(bytes[0]), bytes.len()), (n + 1, n + 1));
        assert_eq!(Data::decode_all(&mut &bytes[..]), Ok(field.clone()));
        assert_eq!(field.bytes(), vec![7; n]);
        for cut in 0..bytes.len() {
            assert!(Data::decode_all(&mut &bytes[..cut]).is_err(), "{cut} of {n}");
        }
    }
    assert_eq!(Data::None.encode(), [0]);
    let long = Data::of(vec![7; 129]);
    assert_eq!(long, Data::BigRaw(vec![7; 129]));
    assert_eq!(long.encode()[..3], [136, 5, 2], "its length in two bytes");
}

#[test]
fn attack_fields_of_other_kinds_or_lengths_do_not_read() {
    for kind in (130..=u8::MAX).filter(|kind| *kind != 136) {
        let mut bytes = vec![kind];
        bytes.extend([0; 600]);
        assert!(Data::decode(&mut &bytes[..]).is_err(), "kind {kind}");
    }
    assert!(Data::decode_all(&mut &Data::BigRaw(vec![1; 512]).encode()[..]).is_ok());
    let error = Data::decode_all(&mut &Data::BigRaw(vec![1; 513]).encode()[..]).unwrap_err();
    assert!(error.to_string().contains("more than 512 bytes"), "{error}");
    // More fields than anybody takes, each of one byte; and a list that only says it is long.
    let fields = |n: u32| {
        let mut bytes = Compact(n).encode();
        bytes.extend([0; 100]);
        CommitmentInfo::decode(&mut &bytes[..])
    };
    assert_eq!(fields(3).unwrap().fields, [Data::None, Data::None, Data::None]);
    for n in [4, 100, 1 << 30, u32::MAX] {
        let error = fields(n).unwrap_err();
        assert!(error.to_string().contains("more than three fields"), "{n}: {error}");
    }
}

fn any_key() -> impl Strategy<Value = AccountId> {
    any::<[u8; 32]>().prop_map(AccountId)
}

fn any_subnet() -> impl Strategy<Value = NetUid> {
    any::<u16>().prop_map(NetUid)
}

fn any_shorts() -> impl Strategy<Value = Vec<u16>> {
    vec(any::<u16>(), 0..70)
}

fn any_uids() -> impl Strategy<Value = Vec<Uid>> {
    vec(any::<u16>().prop_map(Uid), 0..70)
}

/// Calls of coldkeys with any arguments that fit the wire.
fn money_calls() -> Vec<BoxedStrategy<Call>> {
    let place = || (any_subnet(), any_key());
    let paid = || (any_subnet(), any_key(), any::<u64>());
    let swapped = (any_key(), any_key(), proptest::option::of(any_subnet()));
    vec![
        vec(any::<u8>(), 0..300).prop_map(|data| Call::Remark { data }).boxed(),
        place().prop_map(|(netuid, hotkey)| Call::BurnedRegister { netuid, hotkey }).boxed(),
        paid()
            .prop_map(|(netuid, hotkey, limit_rao)| Call::RegisterLimit {
                netuid,
                hotkey,
                limit_rao,
            })
            .boxed(),
        paid()
            .prop_map(|(netuid, hotkey, amount_rao)| Call::AddStake { hotkey, netuid, amount_rao })
            .boxed(),
        paid()
            .prop_map(|(netuid, hotkey, amount_rao)| Call::RemoveStake {
                hotkey,
                netuid,
                amount_rao,
            })
            .boxed(),
        paid().prop_map(|(_, to, amount_rao)| Call::Transfer { to, amount_rao }).boxed(),
        any_key().prop_map(|to| Call::TransferAll { to }).boxed(),
        any_key().prop_map(|hotkey| Call::UnstakeAll { hotkey }).boxed(),
        any_key().prop_map(|hotkey| Call::RegisterNetwork { hotkey }).boxed(),
        swapped
            .prop_map(|(hotkey, new_hotkey, netuid)| Call::SwapHotkey {
                hotkey,
                new_hotkey,
                netuid,
            })
            .boxed(),
    ]
}

/// Calls of hotkeys and of owners of subnets, likewise.
fn subnet_calls() -> Vec<BoxedStrategy<Call>> {
    let set = (any_subnet(), any_uids(), any_shorts(), any::<u64>());
    let reveal = (any_subnet(), any_uids(), any_shorts(), any_shorts(), any::<u64>());
    let lock = (any_subnet(), vec(any::<u8>(), 0..400), any::<u64>(), any::<u16>());
    vec![
        (any_subnet(), vec(any::<u8>(), 0..=512))
            .prop_map(|(netuid, data)| Call::SetCommitment { netuid, data })
            .boxed(),
        set.prop_map(|(netuid, uids, weights, version_key)| Call::SetWeights {
            netuid,
            uids,
            weights,
            version_key,
        })
        .boxed(),
        (any_subnet(), any::<[u8; 32]>())
            .prop_map(|(netuid, hash)| Call::CommitWeights { netuid, hash })
            .boxed(),
        reveal
            .prop_map(|(netuid, uids, weights, salt, version_key)| Call::RevealWeights {
                netuid,
                uids,
                weights,
                salt,
                version_key,
            })
            .boxed(),
        lock.prop_map(|(netuid, sealed, round, version)| Call::CommitTimelockedWeights {
            netuid,
            sealed,
            round,
            version,
        })
        .boxed(),
        (any_subnet(), prop::sample::select(changes()))
            .prop_map(|(netuid, change)| Call::SetHyperparameter { netuid, change })
            .boxed(),
        any_subnet().prop_map(|netuid| Call::StartSubnet { netuid }).boxed(),
        (any_subnet(), any_identity())
            .prop_map(|(netuid, identity)| Call::SetSubnetIdentity { netuid, identity })
            .boxed(),
    ]
}

fn any_identity() -> impl Strategy<Value = SubnetIdentity> {
    let part = || vec(any::<u8>(), 0..40);
    let first = (part(), part(), part(), part());
    let last = (part(), part(), part(), part());
    (first, last).prop_map(|((name, github, contact, url), last)| {
        let (discord, description, logo_url, additional) = last;
        SubnetIdentity { name, github, contact, url, discord, description, logo_url, additional }
    })
}

/// Calls of hotkeys for another mechanism than the first.
fn mechanism_calls() -> Vec<BoxedStrategy<Call>> {
    let place = || (any_subnet(), (1..=u8::MAX).prop_map(Mechanism));
    let set = (place(), any_uids(), any_shorts(), any::<u64>());
    let lock = (place(), vec(any::<u8>(), 0..400), any::<u64>(), any::<u16>());
    vec![
        set.prop_map(|((netuid, mechanism), uids, weights, version_key)| {
            Call::SetMechanismWeights { netuid, mechanism, uids, weights, version_key }
        })
        .boxed(),
        lock.prop_map(|((netuid, mechanism), sealed, round, version)| {
            Call::CommitTimelockedMechanismWeights { netuid, mechanism, sealed, round, version }
        })
        .boxed(),
    ]
}

fn any_call() -> impl Strategy<Value = Call> {
    Union::new(money_calls().into_iter().chain(subnet_calls()).chain(mechanism_calls()))
}

proptest! {
    #[test]
    fn every_call_arrives_as_it_was_meant(call in any_call()) {
        prop_assert_eq!(arrive(call.clone()), Ok(call));
    }

    /// A call that is cut anywhere is no call, and neither is one with something behind it.
    #[test]
    fn attack_a_call_that_is_cut_or_continued_does_not_read(
        call in any_call(), at in any::<prop::sample::Index>(), more in any::<u8>(),
    ) {
        let mut bytes = RuntimeCall::from(call).encode();
        let n = at.index(bytes.len());
        prop_assert!(read(&bytes[..n]).is_err(), "{} of {} bytes", n, bytes.len());
        bytes.push(more);
        prop_assert!(read(&bytes).is_err());
    }

    /// Bytes that read are those that are written: a call has one spelling.
    #[test]
    fn a_call_has_one_spelling(
        pallet in prop::sample::select(vec![0_u8, 5, 7, 18, 19]),
        index in any::<u8>(),
        rest in vec(any::<u8>(), 0..120),
    ) {
        let bytes = [vec![pallet, index], rest].concat();
        let mut left = &bytes[..];
        if let Ok(call) = RuntimeCall::decode(&mut left) {
            let n_read = bytes.len() - left.len();
            prop_assert_eq!(call.encode(), &bytes[..n_read]);
            // What the ledger does not do is refused by its name.
            let refusal = Call::try_from(call).err();
            prop_assert!(refusal.is_none_or(|refusal| matches!(refusal, CallError::Other(_))));
        }
    }
}
