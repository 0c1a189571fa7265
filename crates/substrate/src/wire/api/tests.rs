//! What the runtime APIs answer: in the shapes that clients are told, and what the ledger says.

use super::*;
use crate::wire::{
    metadata::Encoded,
    primitives::AccountId32,
    storage::items,
    tests::{BUSY_BLOCK, HIDDEN, Held, OPEN, TAO, account, busy},
};
use chain::Ledger;
use parity_scale_codec::{Compact, Decode, DecodeAll, Encode};
use proptest::prelude::*;
use protocol::AccountId;
use std::sync::LazyLock;
use subxt::{ext::scale_value::scale::decode_as_type, metadata::Metadata};

/// A subnet that nobody opened.
const NOWHERE: u16 = 9;

/// A slot, field by field as clients read it.
#[derive(Debug, PartialEq, Decode)]
struct Lite {
    keys: (AccountId32, AccountId32),
    place: (Compact<u16>, Compact<u16>),
    active: bool,
    axon: metagraph::AxonInfo,
    prometheus: (u64, u32, u128, u16, u8),
    stake: Vec<(AccountId32, Compact<u64>)>,
    rank: Compact<u16>,
    emission: Compact<u64>,
    incentive: Compact<u16>,
    consensus: Compact<u16>,
    trust: Compact<u16>,
    validator_trust: Compact<u16>,
    dividends: Compact<u16>,
    last_update: Compact<u64>,
    permit_and_score: (bool, Compact<u16>),
}

/// Hotkey, coldkey, subnet, stake; locked, emission, emission in TAO, drain; whether registered.
type StakeInfo = ((AccountId32, AccountId32, Compact<u16>, Compact<u64>), [Compact<u64>; 4], bool);

/// Hotkey, take, those who stake, owner, subnets, permits, two returns.
type Delegate = (
    (AccountId32, Compact<u16>),
    Vec<(AccountId32, Vec<(Compact<u16>, Compact<u64>)>)>,
    AccountId32,
    (Vec<Compact<u16>>, Vec<Compact<u16>>),
    [Compact<u64>; 2],
);

fn ask<T: DecodeAll>(method: &str, arguments: &impl Encode, state: &Held) -> T {
    let bytes = call(method, &arguments.encode(), state).unwrap();
    T::decode_all(&mut &bytes[..]).unwrap()
}

fn id(number: u64) -> AccountId32 {
    account(number).into()
}

fn sample() -> (Ledger, Held) {
    let ledger = busy();
    let state = Held::of(&ledger);
    (ledger, state)
}

fn told() -> Metadata {
    Metadata::decode_from(&Encoded::usual().version_15).unwrap()
}

/// Arguments for a method that takes these, by name.
fn arguments(names: &str) -> Vec<u8> {
    match names {
        "" => Vec::new(),
        "version" => 15_u32.encode(),
        "netuid" => OPEN.0.encode(),
        "netuid uid" => (OPEN.0, 1_u16).encode(),
        "uxt len" => (vec![1_u8, 2], 2_u32).encode(),
        "account" | "coldkey" | "coldkey_account" => id(0).encode(),
        "hotkey coldkey" => (id(100), id(0)).encode(),
        "coldkey_accounts" => vec![id(0), id(2)].encode(),
        "coldkey_accounts netuids" => (vec![id(0)], Some(vec![0_u16, 1])).encode(),
        "hotkey_account coldkey_account netuid" => (id(100), id(0), OPEN.0).encode(),
        other => panic!("a method takes `{other}`: say what that is"),
    }
}

/// Name, names of the arguments and type of the result of every method.
fn told_methods(metadata: &Metadata) -> Vec<(String, String, u32)> {
    let mut all = Vec::new();
    for api in metadata.runtime_api_traits() {
        for method in api.methods() {
            let names: Vec<String> = method.inputs().map(|input| input.name.to_string()).collect();
            let name = format!("{}_{}", api.name(), method.name());
            all.push((name, names.join(" "), method.output_ty()));
        }
    }
    all
}

#[test]
fn every_method_answers_in_the_shape_that_clients_are_told() {
    let (metadata, (_, state)) = (told(), sample());
    let all = told_methods(&metadata);
    assert_eq!(all.len(), methods().len());
    for (method, names, ty) in all {
        for state in [&state, &Held(Default::default())] {
            let answer = call(&method, &arguments(&names), state).unwrap();
            let mut rest = &answer[..];
            let value = decode_as_type(&mut rest, ty, metadata.types());
            assert!(value.is_ok() && rest.is_empty(), "{method}: {value:?}");
        }
    }
}

#[test]
fn attack_arguments_that_are_cut_short_are_an_error_that_names_the_method() {
    let (_, state) = sample();
    for (method, names, _) in told_methods(&told()) {
        // What a call costs does not depend on the call.
        if method == "TransactionPaymentApi_query_info" {
            continue;
        }
        let whole = arguments(&names);
        for n in 0..whole.len() {
            let error = call(&method, &whole[..n], &state).unwrap_err();
            assert!(matches!(error, ApiError::Arguments { .. }), "{method} {n}: {error}");
            assert!(error.to_string().contains(&method), "{error}");
        }
    }
}

#[test]
fn a_method_that_is_not_there_is_named_in_the_words_that_clients_know() {
    let (_, state) = sample();
    for method in
        ["Core_versions", "core_version", "Core", "Core_", "_version", "", "_", "Core_version_"]
    {
        let error = call(method, &[], &state).unwrap_err();
        assert_eq!(error, ApiError::NotFound(method.to_owned()));
        assert_eq!(error.to_string(), format!("Exported method {method} is not found"));
    }
    let long = "Core_".repeat(1_000);
    let error = call(&long, &[], &state).unwrap_err().to_string();
    assert!(error.len() < 200, "{error}");
}

static SAMPLE: LazyLock<(Metadata, Held)> = LazyLock::new(|| (told(), sample().1));

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    /// Whatever stands in the arguments: an answer in its shape, or an error, and no panic.
    #[test]
    fn attack_any_arguments_get_an_answer_in_its_shape_or_an_error(
        at in any::<prop::sample::Index>(),
        bytes in prop::collection::vec(any::<u8>(), 0..120),
    ) {
        let (metadata, state) = &*SAMPLE;
        let all = told_methods(metadata);
        let (method, _, ty) = &all[at.index(all.len())];
        if let Ok(answer) = call(method, &bytes, state) {
            let mut rest = &answer[..];
            prop_assert!(decode_as_type(&mut rest, *ty, metadata.types()).is_ok(), "{}", method);
            prop_assert!(rest.is_empty(), "{}", method);
        }
    }
}

#[test]
fn the_version_lists_every_api_once_under_the_hash_of_its_name() {
    let (_, state) = sample();
    let version: RuntimeVersion = ask("Core_version", &(), &state);
    assert_eq!(version, runtime_version());
    assert_eq!((version.spec_version, version.transaction_version), (SPEC_VERSION, 1));
    // Hashes by another implementation.
    for (name, number) in
        [("df6acb689907609b", 5), ("37e397fc7c91f5e4", 2), ("bc9d89904f5b923f", 1)]
    {
        let of: Vec<u32> = version
            .apis
            .iter()
            .filter(|(hash, _)| hex::encode(hash) == name)
            .map(|(_, number)| *number)
            .collect();
        assert_eq!(of, [number], "{name}");
    }
    assert_eq!(version.apis.len(), told().runtime_api_traits().len());
}

#[test]
fn metadata_come_in_the_versions_that_are_listed_and_no_other() {
    let (_, state) = sample();
    let at =
        |version: u32| -> Option<Vec<u8>> { ask("Metadata_metadata_at_version", &version, &state) };
    let usual = Encoded::usual();
    assert_eq!(ask::<Vec<u32>>("Metadata_metadata_versions", &(), &state), [14, 15]);
    assert_eq!(at(14).as_ref(), Some(&usual.version_14));
    assert_eq!(at(15).as_ref(), Some(&usual.version_15));
    assert_eq!([at(0), at(13), at(16), at(u32::MAX)], [None, None, None, None]);
    assert_eq!(ask::<Vec<u8>>("Metadata_metadata", &(), &state), usual.version_14);
}

#[test]
fn nonces_are_those_of_the_ledger_and_a_strangers_is_zero() {
    let (ledger, state) = sample();
    for number in [0, 1, 2, 100, 103, 200] {
        let nonce: u32 = ask("AccountNonceApi_account_nonce", &id(number), &state);
        assert_eq!(nonce, ledger.nonce(account(number)), "{number}");
    }
    assert_eq!(ledger.nonce(account(103)), 2);
}

#[test]
fn the_metagraph_of_the_runtime_is_that_of_the_ledger() {
    let (ledger, state) = sample();
    for netuid in ledger.netuids() {
        let graph: Option<Metagraph> = ask("SubnetInfoRuntimeApi_get_metagraph", &netuid.0, &state);
        let (graph, expected) = (graph.unwrap(), ledger.metagraph(netuid).unwrap());
        let n = expected.neurons.len();
        assert_eq!((graph.netuid, graph.block.0), (Compact(netuid.0), BUSY_BLOCK));
        assert_eq!((usize::from(graph.num_uids.0), u64::from(graph.tempo.0)), (n, expected.tempo));
        assert_eq!(graph.last_step.0, expected.last_epoch.0);
        assert_eq!(graph.burn.0, ledger.burn_rao(netuid).unwrap());
        let lengths = [
            graph.hotkeys.len(),
            graph.coldkeys.len(),
            graph.identities.len(),
            graph.axons.len(),
            graph.trust.len(),
            graph.rank.len(),
            graph.alpha_stake.len(),
            graph.tao_stake.len(),
            graph.collateral_locked.len(),
            graph.collateral_min.len(),
            graph.collateral_earned.len(),
            graph.pruning_score.len(),
        ];
        assert_eq!(lengths, [n; 12], "every list is by uid");
        for (i, neuron) in expected.neurons.iter().enumerate() {
            assert_eq!(graph.hotkeys[i], AccountId32::from(neuron.hotkey));
            assert_eq!(graph.coldkeys[i], AccountId32::from(neuron.coldkey));
            assert_eq!(graph.total_stake[i].0, neuron.stake_rao);
            assert_eq!(graph.emission[i].0, neuron.emission_rao);
            assert_eq!(graph.incentives[i].0, neuron.incentive);
            assert_eq!(graph.dividends[i].0, neuron.dividends);
            assert_eq!(graph.consensus[i].0, neuron.consensus);
            assert_eq!(graph.last_update[i].0, neuron.last_update.0);
            assert_eq!(graph.block_at_registration[i].0, neuron.block_at_registration.0);
            assert_eq!(graph.validator_permit[i], neuron.validator_permit);
            assert_eq!(graph.active[i], neuron.active);
        }
    }
    for nowhere in [0, 4, NOWHERE, u16::MAX] {
        let graph: Option<Metagraph> = ask("SubnetInfoRuntimeApi_get_metagraph", &nowhere, &state);
        assert_eq!(graph, None, "{nowhere}");
    }
}

#[test]
fn slots_one_by_one_are_those_of_the_ledger() {
    let (ledger, state) = sample();
    for netuid in ledger.netuids() {
        let (_, subnet) = ledger.subnets().find(|(other, _)| *other == netuid).unwrap();
        let all: Vec<Lite> = ask("NeuronInfoRuntimeApi_get_neurons_lite", &netuid.0, &state);
        let neurons = ledger.metagraph(netuid).unwrap().neurons;
        assert_eq!(all.len(), neurons.len());
        for (read, neuron) in all.into_iter().zip(neurons) {
            let slot = &subnet.slots[usize::from(neuron.uid.0)];
            let expected = Lite {
                keys: (neuron.hotkey.into(), neuron.coldkey.into()),
                place: (Compact(neuron.uid.0), Compact(netuid.0)),
                active: neuron.active,
                axon: Default::default(),
                prometheus: Default::default(),
                stake: vec![(neuron.coldkey.into(), Compact(neuron.stake_rao))],
                rank: Compact(0),
                emission: Compact(neuron.emission_rao),
                incentive: Compact(neuron.incentive),
                consensus: Compact(neuron.consensus),
                trust: Compact(0),
                validator_trust: Compact(neuron.validator_trust),
                dividends: Compact(neuron.dividends),
                last_update: Compact(neuron.last_update.0),
                permit_and_score: (neuron.validator_permit, Compact(slot.pruning_score)),
            };
            assert_eq!(read, expected);
            let place = (netuid.0, neuron.uid.0);
            let one: Option<Lite> = ask("NeuronInfoRuntimeApi_get_neuron_lite", &place, &state);
            assert_eq!(one, Some(expected));
        }
    }
    for place in [(OPEN.0, 3_u16), (OPEN.0, u16::MAX), (NOWHERE, 0)] {
        let none: Option<Lite> = ask("NeuronInfoRuntimeApi_get_neuron_lite", &place, &state);
        assert_eq!(none, None, "{place:?}");
    }
    let none: Vec<Lite> = ask("NeuronInfoRuntimeApi_get_neurons_lite", &NOWHERE, &state);
    assert_eq!(none, []);
}

/// What the ledger says of the stakes of a coldkey, in the order of storage.
fn stakes(ledger: &Ledger, coldkey: u64, netuid: u16) -> Vec<StakeInfo> {
    let own = ledger.stakes().filter(|((_, owner), _)| *owner == account(coldkey));
    let mut rows: Vec<StakeInfo> = own
        .map(|((hotkey, owner), rao)| {
            let place = (hotkey.into(), owner.into(), Compact(netuid), Compact(rao));
            (place, [Compact(0); 4], true)
        })
        .collect();
    rows.sort_by_key(|((hotkey, owner, ..), ..)| items::STAKE.key(&(*hotkey, *owner)));
    rows
}

#[test]
fn stakes_of_coldkeys_are_those_of_the_ledger() {
    let (ledger, state) = sample();
    for coldkey in [0, 1, 2, 77] {
        let rows: Vec<StakeInfo> =
            ask("StakeInfoRuntimeApi_get_stake_info_for_coldkey", &id(coldkey), &state);
        assert_eq!(rows, stakes(&ledger, coldkey, 0), "coldkey {coldkey}");
        assert_eq!(rows.is_empty(), coldkey == 77);
    }
    // Each once, however often it is named, in the order of the first time.
    let asked = vec![id(2), id(0), id(77), id(2), id(0)];
    let rows: Vec<(AccountId32, Vec<StakeInfo>)> =
        ask("StakeInfoRuntimeApi_get_stake_info_for_coldkeys", &asked, &state);
    let of = |coldkey| (id(coldkey), stakes(&ledger, coldkey, 0));
    assert_eq!(rows, [of(2), of(0), of(77)]);
}

#[test]
fn attack_a_list_of_many_coldkeys_is_answered_for_some() {
    let (_, state) = sample();
    let many: Vec<AccountId32> = (0..1_000_u16)
        .map(|i| {
            let mut bytes = [7; 32];
            bytes[..2].copy_from_slice(&i.to_le_bytes());
            AccountId32(bytes)
        })
        .collect();
    let rows: Vec<(AccountId32, Vec<StakeInfo>)> =
        ask("StakeInfoRuntimeApi_get_stake_info_for_coldkeys", &many, &state);
    assert_eq!(rows.len(), 256);
    assert_eq!(rows[255].0, many[255]);
    let method = "StakeInfoRuntimeApi_get_stake_availability_for_coldkeys";
    let arguments = (many, None::<Vec<u16>>);
    let rows: BTreeMap<AccountId32, BTreeMap<u16, [Compact<u64>; 3]>> =
        ask(method, &arguments, &state);
    assert_eq!(rows.len(), 256);
}

#[test]
fn stake_behind_a_hotkey_counts_on_every_subnet_that_is_there() {
    let (ledger, state) = sample();
    let method = "StakeInfoRuntimeApi_get_stake_info_for_hotkey_coldkey_netuid";
    for netuid in [0, OPEN.0, HIDDEN.0, 3] {
        let info: Option<StakeInfo> = ask(method, &(id(100), id(2), netuid), &state);
        assert_eq!(info, Some(stakes(&ledger, 2, netuid)[0]), "{netuid}");
    }
    let nowhere: Option<StakeInfo> = ask(method, &(id(100), id(2), NOWHERE), &state);
    assert_eq!(nowhere, None);
    let nothing: Option<StakeInfo> = ask(method, &(id(77), id(2), 0_u16), &state);
    let ((.., stake), _, is_registered) = nothing.unwrap();
    assert_eq!((stake, is_registered), (Compact(0), false));
}

#[test]
fn all_stake_can_be_taken_back_on_the_root_network() {
    type Rows = BTreeMap<AccountId32, BTreeMap<u16, [Compact<u64>; 3]>>;
    let (ledger, state) = sample();
    let method = "StakeInfoRuntimeApi_get_stake_availability_for_coldkeys";
    let asked = vec![id(0), id(2), id(77)];
    let all: Rows = ask(method, &(asked.clone(), None::<Vec<u16>>), &state);
    for coldkey in [0, 2] {
        let total = Compact(
            stakes(&ledger, coldkey, 0).iter().map(|((.., stake), ..)| stake.0).sum::<u64>(),
        );
        let expected = BTreeMap::from([(0, [total, Compact(0), total])]);
        assert_eq!(all[&id(coldkey)], expected, "total, locked, available");
    }
    assert!(all[&id(77)].is_empty());
    let root: Rows = ask(method, &(asked.clone(), Some(vec![OPEN.0, 0])), &state);
    assert_eq!(root, all);
    let elsewhere: Rows = ask(method, &(asked, Some(vec![OPEN.0])), &state);
    assert!(elsewhere.len() == 3 && elsewhere.values().all(BTreeMap::is_empty));
}

#[test]
fn delegates_are_the_hotkeys_that_somebody_stakes_behind_each_once() {
    let (ledger, state) = sample();
    let delegates: Vec<Delegate> = ask("DelegateInfoRuntimeApi_get_delegates", &(), &state);
    let hotkeys: BTreeSet<AccountId32> =
        ledger.stakes().map(|((hotkey, _), _)| hotkey.into()).collect();
    let read: BTreeSet<AccountId32> = delegates.iter().map(|delegate| delegate.0.0).collect();
    assert_eq!((delegates.len(), &read), (hotkeys.len(), &hotkeys));
    for ((hotkey, take), nominators, owner, (subnets, permits), returns) in delegates {
        assert_eq!((take, returns), (Compact(11_796), [Compact(0); 2]));
        assert_eq!(ledger.owner(hotkey.into()).map(AccountId32::from), Some(owner));
        for (coldkey, rows) in nominators {
            let keys = (AccountId::from(hotkey), AccountId::from(coldkey));
            let (_, rao) = ledger.stakes().find(|(of, _)| *of == keys).unwrap();
            assert_eq!(rows, [(Compact(0), Compact(rao))]);
        }
        let seats = ledger.subnets().filter_map(|(netuid, subnet)| {
            subnet
                .slot(&AccountId::from(hotkey))
                .map(|(_, slot)| (Compact(netuid.0), slot.validator_permit))
        });
        let seats: Vec<(Compact<u16>, bool)> = seats.collect();
        let all: Vec<Compact<u16>> = seats.iter().map(|(netuid, _)| *netuid).collect();
        let permitted = seats.iter().filter(|(_, permit)| *permit).map(|(netuid, _)| *netuid);
        assert_eq!((subnets, permits), (all, permitted.collect::<Vec<_>>()));
    }
}

#[test]
fn prices_and_the_next_epoch_are_told_of_subnets_that_are_there() {
    let (_, state) = sample();
    let cost: u64 = ask("SubnetRegistrationRuntimeApi_get_network_registration_cost", &(), &state);
    assert_eq!(cost, TAO);
    let price: u64 = ask("SwapRuntimeApi_current_alpha_price", &OPEN.0, &state);
    let all: Vec<(u16, u64)> = ask("SwapRuntimeApi_current_alpha_price_all", &(), &state);
    assert_eq!((price, all), (TAO, vec![(1, TAO), (2, TAO), (3, TAO)]));
    let next = |netuid: u16| -> Option<u64> {
        ask("SubnetInfoRuntimeApi_get_next_epoch_start_block", &netuid, &state)
    };
    // A tempo after the last: block 20, and block 2 in which the third subnet was opened.
    assert_eq!((next(OPEN.0), next(HIDDEN.0), next(3)), (Some(30), Some(30), Some(362)));
    assert_eq!((next(0), next(NOWHERE)), (None, None));
}

#[test]
fn the_next_epoch_that_the_runtime_tells_is_the_one_that_runs() {
    let mut ledger = busy();
    for _ in 0..25 {
        let state = Held::of(&ledger);
        let told: Option<u64> =
            ask("SubnetInfoRuntimeApi_get_next_epoch_start_block", &OPEN.0, &state);
        let produced = ledger.produce_block(Vec::new()).unwrap();
        let runs = produced.epochs.iter().any(|epoch| epoch.netuid == OPEN);
        assert_eq!(told == Some(produced.head.block.0), runs, "block {}", produced.head.block);
    }
}
