//! What Bittensor's own SDK has recorded of the newest runtime, to the byte.

use super::{
    NEWEST, RUNTIMES,
    endpoint::{Endpoint, Served, hexed},
    testdata,
};
use chain::{
    Call, CallId, CallStatus, Chain as _, Error, HyperparameterChange, Keypair, Mechanism, Signed,
    SubnetIdentity,
};
use keys::{Signature, verify};
use parity_scale_codec::{Decode as _, Encode as _};
use protocol::{AccountId, Block, NetUid, Uid};
use serde_json::Value;
use substrate::{
    ClientConfig, SubstrateChain,
    wire::{call::RuntimeCall, primitives::AccountId32, storage::items},
};

/// Where the signature begins in a signed call: after length, version, signer and kind.
const SIGNATURE_AT: usize = 2 + 1 + 33 + 1;

fn recorded() -> Value {
    serde_json::from_slice(&std::fs::read(testdata("recorded-461.json")).unwrap()).unwrap()
}

fn bytes(hexadecimal: &Value) -> Vec<u8> {
    hex::decode(hexadecimal.as_str().unwrap().trim_start_matches("0x")).unwrap()
}

fn text(value: &Value) -> String {
    value.as_str().unwrap().to_owned()
}

fn list<'a>(recorded: &'a Value, name: &str) -> &'a Vec<Value> {
    recorded[name].as_array().unwrap()
}

fn alice() -> Keypair {
    Keypair::from_uri("//Alice").unwrap()
}

fn account(address: &str) -> AccountId {
    address.parse().unwrap()
}

/// The chain that was recorded, before the block or after it.
fn endpoint(recorded: &Value, head: u64, nonce: u64) -> Endpoint {
    let block = &recorded["block"];
    let mut served = Served::new(NEWEST.1);
    served.genesis = text(&recorded["network"]["genesis_hash"]);
    served.nonce = nonce;
    served.head = head;
    let parent = text(&block["header"]["parentHash"]);
    served.hashes = [(66, parent), (67, text(&block["hash"]))].into();
    served.block = (67, block.clone());
    let pairs = list(recorded, "storage").iter().map(|pair| (text(&pair[0]), text(&pair[1])));
    served.storage = pairs.collect();
    served.storage.insert(hexed(&items::EVENTS.key(&())), text(&recorded["events"]));
    Endpoint::start(served)
}

fn client(endpoint: &Endpoint) -> SubstrateChain {
    SubstrateChain::connect(ClientConfig::new(&endpoint.url)).unwrap()
}

/// The bytes of a call that the client signs, without what stands before it.
fn call_bytes(client: &SubstrateChain, call: Call) -> Result<Vec<u8>, Error> {
    let expected = RuntimeCall::from(call.clone()).encode();
    let signed = client.sign(call, &alice(), None)?.bytes;
    // Only the length is taken from ours: the caller looks at the bytes.
    Ok(signed[signed.len() - expected.len()..].to_vec())
}

fn identity() -> SubnetIdentity {
    let part = |name: &str| name.as_bytes().to_vec();
    SubnetIdentity {
        name: part("agon"),
        github: part("https://example.com/agon"),
        contact: part("somebody@example.com"),
        url: part("https://example.com"),
        discord: part("agon on discord"),
        description: part("models"),
        logo_url: part("https://example.com/logo.png"),
        additional: Vec::new(),
    }
}

/// A call of each kind that our client makes; what it learns to make is added here.
fn calls() -> Vec<Call> {
    use HyperparameterChange as Change;
    let (netuid, hotkey, to) = (NetUid(9), AccountId([3; 32]), AccountId([4; 32]));
    let uids = vec![Uid(0), Uid(5), Uid(70)];
    let weights = vec![65_535, 32_768, 1];
    let (salt, version_key) = (vec![1, 2, 65_535], 1 << 60);
    let mut calls = vec![
        Call::Remark { data: vec![1; 300] },
        Call::Transfer { to, amount_rao: u64::MAX },
        Call::TransferAll { to },
        Call::BurnedRegister { netuid, hotkey },
        Call::RegisterLimit { netuid, hotkey, limit_rao: 1 << 50 },
        Call::AddStake { hotkey, netuid, amount_rao: 1 },
        Call::RemoveStake { hotkey, netuid, amount_rao: 1 << 63 },
        Call::UnstakeAll { hotkey },
        Call::SwapHotkey { hotkey, new_hotkey: to, netuid: None },
        Call::SwapHotkey { hotkey, new_hotkey: to, netuid: Some(netuid) },
        Call::RegisterNetwork { hotkey },
        Call::SetWeights { netuid, uids: uids.clone(), weights: weights.clone(), version_key },
        Call::CommitWeights { netuid, hash: [7; 32] },
        Call::RevealWeights { netuid, uids, weights, salt, version_key },
        Call::CommitTimelockedWeights {
            netuid,
            sealed: vec![7; 1_313],
            round: 1 << 40,
            version: 4,
        },
        Call::StartSubnet { netuid },
        Call::SetSubnetIdentity { netuid, identity: identity() },
        Call::SetMechanismWeights {
            netuid,
            mechanism: Mechanism(1),
            uids: vec![Uid(5)],
            weights: vec![9],
            version_key: 7,
        },
        Call::CommitTimelockedMechanismWeights {
            netuid,
            mechanism: Mechanism(15),
            sealed: vec![7; 300],
            round: 1 << 40,
            version: 4,
        },
    ];
    let lengths = (0..=128).map(|n| Call::SetCommitment { netuid, data: vec![n; usize::from(n)] });
    calls.extend(lengths);
    let changes = [
        Change::WeightsVersion(1 << 60),
        Change::WeightsRateLimit(100),
        Change::AdjustmentInterval(360),
        Change::ImmunityPeriod(4_096),
        Change::MinWeights(8),
        Change::MaxUids(256),
        Change::Kappa(32_767),
        Change::ActivityCutoff(5_000),
        Change::RegistrationAllowed(false),
        Change::TargetRegistrations(2),
        Change::MinBurn(500_000),
        Change::MaxBurn(100_000_000_000),
        Change::MaxValidators(64),
        Change::BondsMovingAverage(900_000),
        Change::MaxRegistrationsPerBlock(1),
        Change::Tempo(360),
        Change::CommitReveal(true),
        Change::RevealPeriod(3),
        Change::BondsPenalty(65_535),
        Change::Yuma3(true),
    ];
    calls.extend(changes.map(|change| Call::SetHyperparameter { netuid, change }));
    calls
}

#[test]
fn our_client_writes_each_call_for_bittensors_runtimes_as_our_node_reads_it() {
    for (spec, name) in RUNTIMES.into_iter().filter(|(spec, _)| *spec > 300) {
        let endpoint = Endpoint::start(Served::new(name));
        let client = client(&endpoint);
        for call in calls() {
            let ours = RuntimeCall::from(call.clone()).encode();
            match call_bytes(&client, call.clone()) {
                Ok(bytes) => assert_eq!(hexed(&bytes), hexed(&ours), "{spec}: {call:?}"),
                // A runtime of 2025 knows no limit of the price.
                Err(Error::Incompatible { what }) => {
                    assert!(spec < 461, "{spec}: {what}");
                    assert_eq!(what, "SubtensorModule.register_limit", "{spec}");
                }
                Err(error) => panic!("{spec}: {call:?}: {error}"),
            }
        }
    }
}

#[test]
fn a_runtime_before_the_subnets_had_stake_of_their_own_gets_what_it_takes() {
    let endpoint = Endpoint::start(Served::new("219-finney-v14"));
    let client = client(&endpoint);
    let hotkey = AccountId([3; 32]);
    let stake = Call::AddStake { hotkey, netuid: NetUid(9), amount_rao: 5 };
    let signed = client.sign(stake, &alice(), None).unwrap().bytes;
    let expected = [&[7, 2][..], &hotkey.0, &5_u64.to_le_bytes()].concat();
    assert!(signed.ends_with(&expected), "{}", hexed(&signed));
    let change = HyperparameterChange::Yuma3(true);
    let newer = Call::SetHyperparameter { netuid: NetUid(9), change };
    let error = client.sign(newer, &alice(), None).unwrap_err();
    assert!(error.to_string().contains("AdminUtils.sudo_set_yuma3_enabled"), "{error}");
}

#[test]
fn calls_are_those_that_bittensors_sdk_composes() {
    let recorded = recorded();
    let endpoint = endpoint(&recorded, 66, 0);
    let client = client(&endpoint);
    let (bob, hotkey) = (
        account("5FHneW46xGXgs5mUiveU4sbTyGBzmstUspZC92UhjJM694ty"),
        account("5G6Fyo6U2fDhJXDJGp4Dr6XViVCdPcryiyLBDsusguSRcYvJ"),
    );
    let weights = |netuid, uids: &[u16], weights: &[u16], version_key| Call::SetWeights {
        netuid: NetUid(netuid),
        uids: uids.iter().copied().map(Uid).collect(),
        weights: weights.to_vec(),
        version_key,
    };
    let (one, nine) = (NetUid(1), NetUid(9));
    let text = format!("me:my-model:{}:{}:1", "a".repeat(40), "B".repeat(43));
    let ours = [
        Call::Transfer { to: bob, amount_rao: 12_345 },
        Call::AddStake { hotkey, netuid: one, amount_rao: 1_000_000_000 },
        Call::RemoveStake { hotkey, netuid: one, amount_rao: 5 },
        Call::BurnedRegister { netuid: one, hotkey },
        Call::BurnedRegister { netuid: nine, hotkey: bob },
        weights(1, &[0, 1], &[100, 200], 0),
        weights(9, &[0, 5, 7], &[65_535, 32_768, 1], 4),
        Call::Remark { data: vec![0, 1, 2, 3] },
        Call::RegisterLimit { netuid: nine, hotkey: bob, limit_rao: 500_000_000 },
        Call::SetCommitment { netuid: nine, data: text.into_bytes() },
    ];
    let theirs: Vec<Vec<u8>> =
        list(&recorded, "calls").iter().map(|call| bytes(&call["bytes"])).collect();
    for call in ours {
        let bytes = call_bytes(&client, call.clone()).unwrap();
        assert!(theirs.contains(&bytes), "{call:?}: {}", hexed(&bytes));
    }
}

#[test]
fn our_node_reads_the_calls_that_bittensors_sdk_composes() {
    let recorded = recorded();
    let mut n_read = 0;
    for call in list(&recorded, "calls") {
        let data = bytes(&call["bytes"]);
        // Pallets that are not here, and a field of a commitment that the chain opens by itself.
        let Ok(read) = RuntimeCall::decode(&mut &data[..]) else { continue };
        assert_eq!(hexed(&read.encode()), hexed(&data), "{}", call["call"]);
        n_read += 1;
    }
    assert!(n_read >= 12, "only {n_read} are read");
}

#[test]
fn a_signature_is_over_the_payload_that_bittensors_sdk_signs() {
    let recorded = recorded();
    let payload = &recorded["payloads"][1];
    let endpoint = endpoint(&recorded, 66, payload["nonce"].as_u64().unwrap());
    let bob = account("5FHneW46xGXgs5mUiveU4sbTyGBzmstUspZC92UhjJM694ty");
    let call = Call::Transfer { to: bob, amount_rao: 12_345 };
    let signed = client(&endpoint).sign(call, &alice(), None).unwrap().bytes;
    let signature = signed[SIGNATURE_AT..][..64].try_into().unwrap();
    let said = bytes(&payload["payload_hex"]);
    assert!(verify(&said, &Signature(signature), alice().public()));
}

#[test]
fn what_stands_around_a_call_is_what_bittensors_sdk_writes() {
    let recorded = recorded();
    let extrinsic = &recorded["extrinsics"][1];
    let endpoint = endpoint(&recorded, 66, extrinsic["nonce"].as_u64().unwrap());
    let bob = account("5FHneW46xGXgs5mUiveU4sbTyGBzmstUspZC92UhjJM694ty");
    let call = Call::Transfer { to: bob, amount_rao: 12_345 };
    let mut ours = client(&endpoint).sign(call, &alice(), None).unwrap().bytes;
    // Ours is another signature each time.
    ours[SIGNATURE_AT..][..64].copy_from_slice(&bytes(&extrinsic["signature_hex"]));
    assert_eq!(hexed(&ours), text(&extrinsic["extrinsic_hex"]));
}

#[test]
fn keys_of_storage_are_those_of_bittensors_sdk() {
    let recorded = recorded();
    let alice = AccountId32::from(alice().public());
    for (item, ours) in [
        ("System.Account", items::ACCOUNT.key(&(alice,))),
        ("System.Events", items::EVENTS.key(&())),
        ("Timestamp.Now", items::NOW.key(&())),
        ("SubtensorModule.Tempo", items::TEMPO.key(&(1,))),
        ("SubtensorModule.NetworksAdded", items::NETWORKS_ADDED.key(&(3,))),
        ("SubtensorModule.Bonds", items::BONDS.key(&(1, 0))),
        ("SubtensorModule.Keys", items::KEYS.key(&(1, 0))),
        ("SubtensorModule.BlocksSinceLastStep", items::BLOCKS_SINCE_LAST_STEP.key(&(7,))),
    ] {
        let theirs = list(&recorded, "keys").iter().find(|key| key["item"] == item).unwrap();
        assert_eq!(hexed(&ours), text(&theirs["bytes"]), "{item}");
    }
}

#[test]
fn our_client_reads_the_storage_that_bittensors_node_gave() {
    let recorded = recorded();
    let endpoint = endpoint(&recorded, 67, 0);
    let client = client(&endpoint);
    assert_eq!(client.head().unwrap().block, Block(67));
    let info = client.info().unwrap();
    assert_eq!((info.spec_version, info.subnets), (461, vec![NetUid(1)]));
    for known in list(&recorded, "accounts") {
        let address = text(&known["address"]);
        let free = known["free"].as_u64().unwrap();
        assert_eq!(client.balance(account(&address)).unwrap(), free, "{address}");
    }
    let rules = client.rules(NetUid(1)).unwrap();
    assert_eq!(rules.number("tempo"), Some(100));
    assert_eq!(rules.owner, AccountId([0; 32]));
    // What is not stored reads as the runtime's default.
    assert_eq!(rules.number("kappa"), Some(32_767));
    assert!(matches!(client.rules(NetUid(9_999)), Err(Error::NoSubnet(NetUid(9_999)))));
}

#[test]
fn the_fate_of_a_call_is_read_from_the_block_that_bittensors_node_gave() {
    let recorded = recorded();
    let position = recorded["receipt"]["extrinsic"].as_u64().unwrap() as usize;
    let bytes = bytes(&recorded["block"]["extrinsics"][position]);
    let id = CallId(chain::hash::blake2_256(&bytes));
    let signer = alice().public();
    let signed = Signed { id, signer, nonce: 0, from: Block(66), last: Block(130), bytes };
    for (head, fate) in [(66, CallStatus::Pending), (67, CallStatus::Applied(Block(67)))] {
        let endpoint = endpoint(&recorded, head, 0);
        let client = client(&endpoint);
        client.resume(&signed).unwrap();
        assert_eq!(client.status(id).unwrap(), fate);
    }
}
