//! Time-locked weights over the node, from the bytes of the call to the weights that are set: what
//! stands in storage meanwhile, and what blocks tell of it.

use chain::{
    Call, CallStatus, Chain as _, Genesis, Hyperparameters, Keypair, Mechanism, Reveal,
    SubnetGenesis, Weights,
    ledger::{SEALED_BYTES_MAX, last_round},
};
use parity_scale_codec::DecodeAll as _;
use protocol::{Block, NetUid, Seed, Uid};
use serde_json::{Value, json};
use std::net::SocketAddr;
use substrate::{
    ClientConfig, DevNode, SignedCall, SubstrateChain, dev,
    wire::{
        call::{RuntimeCall, SealedBytes, SubtensorCall},
        event::{Record, RuntimeEvent, SubtensorEvent, SystemEvent},
        primitives::{AccountId32, H256, Phase},
        storage::{State, items},
    },
};
use timelock::Signature;

const TAO: u64 = 1_000_000_000;
const NETUID: NetUid = NetUid(1);
/// Hotkey of the validator; its slot is 0, and the miner's is 1.
const VALIDATOR: u64 = 100;

fn key(number: u64) -> Keypair {
    Keypair::from_seed(Seed::of_number(number))
}

/// A chain with a permitted validator on a subnet that hides weights, after the first epoch.
struct World {
    node: DevNode,
    chain: SubstrateChain,
}

/// The newest state, asked for key by key.
impl State for World {
    fn get(&self, key: &[u8]) -> Option<Vec<u8>> {
        let value = self.ask("state_getStorage", &json!([hexed(key)]));
        value.as_str().map(|text| hex::decode(&text[2..]).unwrap())
    }

    fn keys(&self, prefix: &[u8]) -> Vec<Vec<u8>> {
        let keys = self.ask("state_getKeysPaged", &json!([hexed(prefix), 1_000]));
        let keys: Vec<String> = serde_json::from_value(keys).unwrap();
        keys.iter().map(|key| hex::decode(&key[2..]).unwrap()).collect()
    }
}

fn hexed(bytes: &[u8]) -> String {
    format!("0x{}", hex::encode(bytes))
}

impl World {
    fn new() -> Self {
        let hyperparameters = Hyperparameters {
            tempo: 10,
            max_validators: 1,
            max_registrations_per_block: 8,
            weights_rate_limit: 0,
            commit_reveal: true,
            ..Hyperparameters::default()
        };
        let genesis = Genesis {
            accounts: vec![(key(0).public(), 1_000 * TAO)],
            subnets: vec![SubnetGenesis { owner: key(0).public(), hyperparameters }],
            ..Genesis::default()
        };
        let listen = SocketAddr::from(([127, 0, 0, 1], 0));
        let config = dev::Config { listen, database: None, genesis, block_time: None };
        let node = DevNode::start(&config).unwrap();
        let chain = SubstrateChain::connect(ClientConfig::new(node.url())).unwrap();
        let world = Self { node, chain };
        let (validator, miner) = (key(VALIDATOR).public(), key(VALIDATOR + 1).public());
        let register = |hotkey| Call::BurnedRegister { netuid: NETUID, hotkey };
        let stake = Call::AddStake { hotkey: validator, netuid: NETUID, amount_rao: 100 * TAO };
        for call in [register(validator), register(miner), stake] {
            world.put(call, 0);
        }
        world.pass_to(10);
        world
    }

    fn ask(&self, method: &str, params: &Value) -> Value {
        let request = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params });
        let answer = self.node.answer(&request.to_string()).unwrap();
        let answer: Value = serde_json::from_str(&answer).unwrap();
        assert!(answer["error"].is_null(), "{method}: {answer}");
        answer["result"].clone()
    }

    /// Puts a call into the pool.
    fn put(&self, call: impl Into<RuntimeCall>, signer: u64) {
        let signer = key(signer);
        let nonce = self.node.next_nonce(signer.public());
        let call = SignedCall::sign(call, nonce, self.node.genesis_hash(), &signer);
        self.ask("author_submitExtrinsic", &json!([hexed(&call.to_bytes())]));
    }

    fn pass_to(&self, block: u64) {
        while self.node.head().block < Block(block) {
            self.node.produce_block().unwrap();
        }
    }

    /// What the newest block tells.
    fn events(&self) -> Vec<Record> {
        let bytes = self.get(&items::EVENTS.key(&())).unwrap();
        Vec::<Record>::decode_all(&mut &bytes[..]).unwrap()
    }

    /// A call that hides the weights now, and when they are opened.
    fn hide(&self, weights: &[(u16, u16)]) -> (Sealed, Reveal) {
        let weights = Weights {
            netuid: NETUID,
            mechanism: Mechanism::FIRST,
            uids: weights.iter().map(|(uid, _)| Uid(*uid)).collect(),
            weights: weights.iter().map(|(_, weight)| *weight).collect(),
            version_key: 0,
        };
        let rules = self.chain.hiding(NETUID).unwrap().unwrap();
        let handed = weights.hidden(&rules, &key(VALIDATOR)).unwrap();
        let Call::CommitTimelockedWeights { sealed, round, version, .. } = handed.call else {
            panic!("another call hides weights")
        };
        (Sealed { sealed, round, version }, handed.reveal.unwrap())
    }
}

/// What a call hands over.
#[derive(Clone)]
struct Sealed {
    sealed: Vec<u8>,
    round: u64,
    version: u16,
}

impl Sealed {
    /// The call of 2025.
    fn plain(self) -> RuntimeCall {
        RuntimeCall::SubtensorModule(SubtensorCall::commit_timelocked_weights {
            netuid: NETUID.0,
            commit: SealedBytes::new(self.sealed),
            reveal_round: self.round,
            commit_reveal_version: self.version,
        })
    }

    /// That of one mechanism.
    fn of_mechanism(self, mecid: u8) -> RuntimeCall {
        RuntimeCall::SubtensorModule(SubtensorCall::commit_timelocked_mechanism_weights {
            netuid: NETUID.0,
            mecid,
            commit: SealedBytes::new(self.sealed),
            reveal_round: self.round,
            commit_reveal_version: self.version,
        })
    }
}

fn validator() -> AccountId32 {
    key(VALIDATOR).public().into()
}

#[test]
fn a_commit_stands_under_its_epoch_and_is_told_of_by_either_call() {
    let world = World::new();
    let (first, reveal) = world.hide(&[(1, 7), (0, 1)]);
    let (second, _) = world.hide(&[(1, 3), (0, 3)]);
    assert_ne!(first.sealed, second.sealed);
    world.put(first.clone().plain(), VALIDATOR);
    world.put(second.clone().of_mechanism(0), VALIDATOR);
    world.pass_to(11);
    let rows = items::TIMELOCKED_WEIGHT_COMMITS.read(&world, &(NETUID.0, 1));
    let row = |of: &Sealed| (validator(), 11, SealedBytes::new(of.sealed.clone()), of.round);
    assert_eq!(rows, [row(&first), row(&second)]);
    assert_eq!(first.round, reveal.round);
    let mut expected = Vec::new();
    for (number, of) in (0..).zip([&first, &second]) {
        let hash = H256(chain::hash::blake2_256(&of.sealed));
        let (hotkey, round) = (validator(), of.round);
        let told = SubtensorEvent::TimelockedWeightsCommitted(hotkey, NETUID.0, hash, round);
        expected.push((Phase::ApplyExtrinsic(number), RuntimeEvent::SubtensorModule(told)));
    }
    let events = world.events().into_iter().filter(|record| {
        !matches!(record.event, RuntimeEvent::System(SystemEvent::ExtrinsicSuccess { .. }))
    });
    let events: Vec<_> = events.map(|record| (record.phase, record.event)).collect();
    assert_eq!(events, expected);
    // A commit is an update, and no weights.
    assert_eq!(items::LAST_UPDATE.read(&world, &(NETUID.0,))[0], 11);
    assert_eq!(world.keys(&items::WEIGHTS.prefix()), Vec::<Vec<u8>>::new());
}

#[test]
fn the_row_vanishes_with_the_reveal_which_comes_before_the_calls_of_its_block() {
    let world = World::new();
    let (commit, reveal) = world.hide(&[(1, 7), (0, 1)]);
    world.put(commit.plain(), VALIDATOR);
    world.pass_to(reveal.from.0 + 2);
    let rows = items::TIMELOCKED_WEIGHT_COMMITS.key(&(NETUID.0, 1));
    assert!(world.get(&rows).is_some(), "the epoch has come, the round has not");
    assert_eq!(items::SUBNET_EPOCH_INDEX.read(&world, &(NETUID.0,)), 2);
    world.put(Call::Remark { data: vec![1] }, 0);
    world.pass_to(reveal.from.0 + 3);
    assert_eq!(world.get(&rows), None);
    let subtensor = RuntimeEvent::SubtensorModule;
    let events: Vec<_> = world.events().into_iter().map(|told| (told.phase, told.event)).collect();
    let set = subtensor(SubtensorEvent::WeightsSet(NETUID.0, 0));
    let opened = subtensor(SubtensorEvent::TimelockedWeightsRevealed(NETUID.0, validator()));
    let expected = [(Phase::Initialization, set), (Phase::Initialization, opened)];
    assert_eq!(events[..2], expected);
    assert_eq!(events[2].0, Phase::ApplyExtrinsic(0));
    assert_eq!(events.len(), 3);
    assert_eq!(items::WEIGHTS.read(&world, &(NETUID.0, 0)), [(1, 65_535), (0, 9_362)]);
    assert_eq!(world.chain.weights(NETUID, Uid(0)).unwrap(), [(Uid(1), 65_535), (Uid(0), 9_362)]);
    assert_eq!(items::LAST_UPDATE.read(&world, &(NETUID.0,))[0], 11, "as old as the commit");
    world.pass_to(reveal.from.0 + 4);
    assert_eq!(world.events(), [], "told once");
}

#[test]
fn the_pulse_in_storage_opens_what_was_sealed_to_its_round_and_only_then() {
    let world = World::new();
    let (commit, reveal) = world.hide(&[(1, 7), (0, 1)]);
    world.put(commit.clone().plain(), VALIDATOR);
    let beacon = world.chain.hiding(NETUID).unwrap().unwrap().beacon;
    let mut opened = Vec::new();
    for block in 11..=reveal.from.0 + 4 {
        world.pass_to(block);
        let round = items::LAST_STORED_ROUND.read(&world, &());
        assert_eq!(round, last_round(Block(block)));
        assert_eq!(world.keys(&items::PULSES.prefix()), [items::PULSES.key(&(round,))]);
        let pulse = items::PULSES.read(&world, &(round,));
        let signature = Signature(pulse.signature.try_into().unwrap());
        assert!(beacon.public_key.verify(&signature, round), "block {block}");
        if let Ok(plain) = timelock::open(&commit.sealed, &signature) {
            opened.push((block, timelock::Weights::from_bytes(&plain).unwrap()));
        }
    }
    let [(block, weights)] = &opened[..] else { panic!("opened {} times", opened.len()) };
    assert_eq!(*block, reveal.from.0 + 3);
    assert_eq!((&weights.uids[..], &weights.values[..]), (&[1, 0][..], &[7, 1][..]));
    assert_eq!(weights.hotkey, Some(validator().0));
}

#[test]
fn refused_commits_leave_no_row_and_say_why() {
    let world = World::new();
    let (good, _) = world.hide(&[(1, 7), (0, 1)]);
    let old = Sealed { round: last_round(Block(11)) - 1, ..good.clone() };
    let other = Sealed { version: good.version + 1, ..good.clone() };
    for (call, name) in [
        (old.plain(), "InvalidRevealRound"),
        (other.plain(), "IncorrectCommitRevealVersion"),
        (good.clone().of_mechanism(1), "MechanismDoesNotExist"),
    ] {
        world.put(call, VALIDATOR);
        world.node.produce_block().unwrap();
        let events = world.events();
        let [record] = &events[..] else { panic!("{events:?}") };
        let RuntimeEvent::System(SystemEvent::ExtrinsicFailed { dispatch_error, .. }) =
            record.event
        else {
            panic!("{record:?}")
        };
        let named = substrate::wire::error::dispatch_error(&chain::CallError::from_name(name));
        assert_eq!(dispatch_error, named, "{name}");
        let prefix = items::TIMELOCKED_WEIGHT_COMMITS.prefix();
        assert_eq!(world.keys(&prefix), Vec::<Vec<u8>>::new(), "{name}");
    }
    // One byte more than a call takes is no call at all, and the pool says so.
    let large = Sealed { sealed: vec![1; SEALED_BYTES_MAX + 1], ..good };
    let call = SignedCall::sign(large.plain(), 3, world.node.genesis_hash(), &key(VALIDATOR));
    let request = json!({
        "jsonrpc": "2.0",
        "id": 1,
        "method": "author_submitExtrinsic",
        "params": [hexed(&call.to_bytes())],
    });
    let answer = world.node.answer(&request.to_string()).unwrap();
    assert!(answer.contains("1001") && answer.contains("more encrypted weights"), "{answer}");
    let most = Sealed { sealed: vec![1; SEALED_BYTES_MAX], ..good };
    world.put(most.plain(), VALIDATOR);
    world.node.produce_block().unwrap();
    let row = items::TIMELOCKED_WEIGHT_COMMITS.read(&world, &(NETUID.0, 1));
    assert_eq!(row[0].2.clone().into_bytes().len(), SEALED_BYTES_MAX, "unread until its round");
}

#[test]
fn a_client_hands_weights_over_as_the_subnet_wants_them_now() {
    let world = World::new();
    let weights = Weights {
        netuid: NETUID,
        mechanism: Mechanism::FIRST,
        uids: vec![Uid(1), Uid(0)],
        weights: vec![7, 1],
        version_key: 0,
    };
    let hand = || {
        let handed = world.chain.hand(&weights, &key(VALIDATOR)).unwrap();
        let is_hidden = handed.reveal.is_some();
        let id = world.chain.submit(handed.call, &key(VALIDATOR)).unwrap();
        let head = world.node.produce_block().unwrap();
        assert_eq!(world.chain.status(id).unwrap(), CallStatus::Applied(head.block));
        is_hidden
    };
    assert!(hand());
    let change = chain::HyperparameterChange::CommitReveal(false);
    world.put(Call::SetHyperparameter { netuid: NETUID, change }, 0);
    world.node.produce_block().unwrap();
    assert_eq!(world.chain.hiding(NETUID).unwrap(), None);
    assert!(!hand());
    assert_eq!(items::WEIGHTS.read(&world, &(NETUID.0, 0)), [(1, 65_535), (0, 9_362)]);
}
