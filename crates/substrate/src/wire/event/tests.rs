//! What watchers of blocks are told, in which order and under which names.

use super::*;
use crate::wire::metadata::Encoded;
use chain::ledger::HyperparameterChange;
use parity_scale_codec::DecodeAll;
use protocol::{AccountId, NetUid, Uid};
use subxt::{ext::scale_value::scale::decode_as_type, metadata::Metadata};

const FROM: AccountId = AccountId([1; 32]);
const TO: AccountId = AccountId([2; 32]);
const NETUID: NetUid = NetUid(3);

fn id(account: AccountId) -> AccountId32 {
    account.into()
}

/// Every event of the ledger that clients are told of, as they are.
fn told() -> Vec<(Event, RuntimeEvent)> {
    let subtensor = RuntimeEvent::SubtensorModule;
    let transfer = BalancesEvent::Transfer { from: id(FROM), to: id(TO), amount: 5 };
    let commitment = CommitmentsEvent::Commitment { netuid: 3, who: id(TO) };
    let (from, to, hash) = (id(FROM), id(TO), [6; 32]);
    vec![
        (
            Event::Transferred { from: FROM, to: TO, amount_rao: 5 },
            RuntimeEvent::Balances(transfer),
        ),
        (
            Event::NeuronRegistered { netuid: NETUID, uid: Uid(7), hotkey: TO },
            subtensor(SubtensorEvent::NeuronRegistered(3, 7, to)),
        ),
        (
            Event::SubnetIdentitySet { netuid: NETUID },
            subtensor(SubtensorEvent::SubnetIdentitySet(3)),
        ),
        (Event::NetworkAdded { netuid: NETUID }, subtensor(SubtensorEvent::NetworkAdded(3, 0))),
        (
            Event::StakeAdded { coldkey: FROM, hotkey: TO, netuid: NETUID, amount_rao: 8 },
            subtensor(SubtensorEvent::StakeAdded(from, to, 8, 8, 3, 0)),
        ),
        (
            Event::StakeRemoved { coldkey: FROM, hotkey: TO, netuid: NETUID, amount_rao: 8 },
            subtensor(SubtensorEvent::StakeRemoved(from, to, 8, 8, 3, 0)),
        ),
        (
            Event::WeightsSet { netuid: NETUID, uid: Uid(7) },
            subtensor(SubtensorEvent::WeightsSet(3, 7)),
        ),
        (
            Event::WeightsCommitted { hotkey: TO, netuid: NETUID, hash },
            subtensor(SubtensorEvent::WeightsCommitted(to, 3, H256(hash))),
        ),
        (
            Event::WeightsRevealed { hotkey: TO, netuid: NETUID, hash },
            subtensor(SubtensorEvent::WeightsRevealed(to, 3, H256(hash))),
        ),
        (
            Event::TimelockedCommitted { hotkey: TO, netuid: NETUID, hash, round: 9 },
            subtensor(SubtensorEvent::TimelockedWeightsCommitted(to, 3, H256(hash), 9)),
        ),
        (
            Event::TimelockedRevealed { hotkey: TO, netuid: NETUID },
            subtensor(SubtensorEvent::TimelockedWeightsRevealed(3, to)),
        ),
        (Event::Committed { netuid: NETUID, hotkey: TO }, RuntimeEvent::Commitments(commitment)),
    ]
}

/// Events for which Bittensor's runtime has none of the same meaning.
fn untold() -> Vec<Event> {
    vec![
        Event::Remarked { signer: FROM },
        Event::HotkeySwapped { coldkey: FROM, old: TO, new: FROM },
        Event::HyperparameterSet { netuid: NETUID, change: HyperparameterChange::Tempo(5) },
    ]
}

const SUCCESS: RuntimeEvent =
    RuntimeEvent::System(SystemEvent::ExtrinsicSuccess { dispatch_info: DispatchInfo::FREE });

fn at(phase: Phase, event: RuntimeEvent) -> Record {
    EventRecord { phase, event, topics: Vec::new() }
}

#[test]
fn every_effect_of_a_call_is_told_before_its_success() {
    for (event, expected) in told() {
        let records = records(&[], [Ok(event)].iter());
        let call = Phase::ApplyExtrinsic(0);
        assert_eq!(records, [at(call, expected), at(call, SUCCESS)]);
    }
    for event in untold() {
        assert_eq!(records(&[], [Ok(event)].iter()), [at(Phase::ApplyExtrinsic(0), SUCCESS)]);
    }
}

#[test]
fn a_refused_call_is_told_with_its_reason_and_without_an_effect() {
    let refused = Err(CallError::SettingWeightsTooFast);
    let records = records(&[], [refused].iter());
    let RuntimeEvent::System(SystemEvent::ExtrinsicFailed { dispatch_error, dispatch_info }) =
        &records[0].event
    else {
        panic!("{records:?}")
    };
    assert_eq!(records.len(), 1);
    assert_eq!(*dispatch_error, error::dispatch_error(&CallError::SettingWeightsTooFast));
    assert_eq!(*dispatch_info, DispatchInfo::FREE);
}

#[test]
fn what_the_start_of_a_block_revealed_comes_first_and_belongs_to_no_call() {
    let set = Event::WeightsSet { netuid: NETUID, uid: Uid(1) };
    let revealed = Event::TimelockedRevealed { hotkey: TO, netuid: NETUID };
    let transfer = Event::Transferred { from: FROM, to: TO, amount_rao: 5 };
    let results = [
        Ok(transfer.clone()),
        Err(CallError::BadOrigin),
        Ok(Event::Remarked { signer: FROM }),
        Ok(transfer),
    ];
    // What is not told has no place among those that are.
    let start = [set, Event::Remarked { signer: FROM }, revealed];
    let records = records(&start, results.iter());
    let phases: Vec<Phase> = records.iter().map(|record| record.phase).collect();
    let call = Phase::ApplyExtrinsic;
    let first = Phase::Initialization;
    assert_eq!(phases, [first, first, call(0), call(0), call(1), call(2), call(3), call(3)]);
    let subtensor = RuntimeEvent::SubtensorModule;
    assert_eq!(records[0].event, subtensor(SubtensorEvent::WeightsSet(3, 1)));
    let opened = subtensor(SubtensorEvent::TimelockedWeightsRevealed(3, id(TO)));
    assert_eq!(records[1].event, opened);
    assert!(records.iter().all(|record| record.topics.is_empty()));
}

#[test]
fn a_block_without_calls_tells_nothing() {
    assert_eq!(records(&[], std::iter::empty()), []);
}

#[test]
fn the_bytes_of_events_read_by_the_names_that_clients_are_told() {
    let metadata = Metadata::decode_from(&Encoded::usual().version_15).unwrap();
    let ty = metadata.outer_enums().event_enum_ty();
    let mut names = Vec::new();
    for (_, event) in told() {
        let bytes = event.encode();
        assert_eq!(RuntimeEvent::decode_all(&mut &bytes[..]), Ok(event));
        let mut rest = &bytes[..];
        let value = decode_as_type(&mut rest, ty, metadata.types());
        assert!(value.is_ok() && rest.is_empty(), "{value:?}");
        let pallet = metadata.pallet_by_event_index(bytes[0]).unwrap();
        let variant = pallet.event_variant_by_index(bytes[1]).unwrap();
        names.push(format!("{}.{}", pallet.name(), variant.name));
    }
    let expected = [
        "Balances.Transfer",
        "SubtensorModule.NeuronRegistered",
        "SubtensorModule.SubnetIdentitySet",
        "SubtensorModule.NetworkAdded",
        "SubtensorModule.StakeAdded",
        "SubtensorModule.StakeRemoved",
        "SubtensorModule.WeightsSet",
        "SubtensorModule.WeightsCommitted",
        "SubtensorModule.WeightsRevealed",
        "SubtensorModule.TimelockedWeightsCommitted",
        "SubtensorModule.TimelockedWeightsRevealed",
        "Commitments.Commitment",
    ];
    assert_eq!(names, expected);
}
