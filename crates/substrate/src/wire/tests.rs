//! A ledger with something of everything, which the tests of the wire read in their ways.

use super::storage::{Entries, State, project};
use chain::{
    Call, Genesis, Hyperparameters, Keypair, Ledger, Mechanism, SubnetGenesis, SubnetIdentity,
    Weights,
    ledger::{OwnCall, RAO_PER_TAO},
};
use protocol::{AccountId, NetUid, Seed, Uid};
use std::collections::BTreeMap;

pub(super) const TAO: u64 = RAO_PER_TAO;
/// Subnet on which weights are set openly.
pub(super) const OPEN: NetUid = NetUid(1);
/// Subnet on which weights are hidden.
pub(super) const HIDDEN: NetUid = NetUid(2);
/// The block after which [`busy`] stands.
pub(super) const BUSY_BLOCK: u64 = 21;

/// A state that a test holds.
pub(super) struct Held(pub(super) Entries);

impl Held {
    pub(super) fn of(ledger: &Ledger) -> Self {
        Self(project(ledger))
    }
}

impl State for Held {
    fn get(&self, key: &[u8]) -> Option<Vec<u8>> {
        self.0.get(key).map(|value| value.bytes().to_vec())
    }

    fn keys(&self, prefix: &[u8]) -> Vec<Vec<u8>> {
        self.0.keys().filter(|key| key.starts_with(prefix)).cloned().collect()
    }
}

pub(super) fn key(number: u64) -> Keypair {
    Keypair::from_seed(Seed::of_number(number))
}

pub(super) fn account(number: u64) -> AccountId {
    key(number).public()
}

/// One block with these calls, all of which take effect.
fn act(ledger: &mut Ledger, calls: Vec<(u64, Call)>) {
    let mut nonces: BTreeMap<AccountId, u32> = BTreeMap::new();
    let mut own = Vec::new();
    for (signer, call) in calls {
        let signer = account(signer);
        let nonce = nonces.entry(signer).or_insert(ledger.nonce(signer));
        own.push(OwnCall::new(signer, *nonce, call));
        *nonce += 1;
    }
    let produced = ledger.produce_block(own).unwrap();
    assert!(produced.left_out.is_empty(), "{:?}", produced.left_out);
    for (_, result) in produced.applied {
        result.unwrap();
    }
}

pub(super) fn pass_to(ledger: &mut Ledger, block: u64) {
    while ledger.head().block.0 < block {
        act(ledger, Vec::new());
    }
}

/// What the owner of subnet 3 says of it.
pub(super) fn identity() -> SubnetIdentity {
    SubnetIdentity {
        name: b"agon".to_vec(),
        github: b"https://example.com/agon".to_vec(),
        contact: b"somebody@example.com".to_vec(),
        url: b"https://example.com".to_vec(),
        discord: b"agon on discord".to_vec(),
        description: b"models of the tests".to_vec(),
        logo_url: b"https://example.com/logo.png".to_vec(),
        additional: vec![0xff],
    }
}

/// Rules of a subnet with an epoch every ten blocks and one validator.
pub(super) fn fast() -> Hyperparameters {
    Hyperparameters {
        tempo: 10,
        max_validators: 1,
        max_registrations_per_block: 100,
        target_registrations: 100,
        weights_rate_limit: 0,
        commitment_rate_limit: 0,
        immunity_period: 0,
        ..Hyperparameters::default()
    }
}

/// A ledger with something of everything: coldkeys 0 to 2, hotkeys 100 to 105, three subnets,
/// stakes, weights and bonds, commitments, and commits of both kinds that wait.
pub(super) fn busy() -> Ledger {
    let hiding = Hyperparameters { commit_reveal: true, ..fast() };
    let subnet = |owner, hyperparameters| SubnetGenesis { owner: account(owner), hyperparameters };
    let genesis = Genesis {
        seed: 1,
        accounts: (0..3).map(|i| (account(i), 1_000 * TAO)).collect(),
        subnets: vec![subnet(0, fast()), subnet(1, hiding)],
        network_price_rao: TAO,
    };
    let mut ledger = Ledger::new(&genesis).unwrap();
    let register = |netuid, hotkey| Call::BurnedRegister { netuid, hotkey: account(hotkey) };
    let stake = |hotkey, tao| Call::AddStake {
        hotkey: account(hotkey),
        netuid: NetUid(0),
        amount_rao: tao * TAO,
    };
    let calls = vec![
        (0, register(OPEN, 100)),
        (0, register(OPEN, 101)),
        (1, register(HIDDEN, 103)),
        (1, register(HIDDEN, 104)),
    ];
    act(&mut ledger, calls);
    let calls = vec![
        (1, register(OPEN, 102)),
        (0, stake(100, 100)),
        (1, stake(103, 50)),
        (2, stake(100, 7)),
        (2, Call::RegisterNetwork { hotkey: account(105) }),
    ];
    act(&mut ledger, calls);
    pass_to(&mut ledger, 10);
    let weights = Weights {
        netuid: HIDDEN,
        mechanism: Mechanism::FIRST,
        uids: vec![Uid(1), Uid(0)],
        weights: vec![5, 1],
        version_key: 0,
    };
    let hidden = weights.hidden(&ledger.hiding(HIDDEN).unwrap().unwrap(), &key(103)).unwrap();
    let set = Call::SetWeights {
        netuid: OPEN,
        uids: vec![Uid(1), Uid(2)],
        weights: vec![3, 1],
        version_key: 0,
    };
    let commit = |netuid, text: &str| Call::SetCommitment { netuid, data: text.into() };
    let calls = vec![
        (100, set),
        (103, Call::CommitWeights { netuid: HIDDEN, hash: [7; 32] }),
        (103, hidden.call),
        (2, Call::SetSubnetIdentity { netuid: NetUid(3), identity: identity() }),
        (101, commit(OPEN, "the first")),
        (104, commit(HIDDEN, "")),
    ];
    act(&mut ledger, calls);
    pass_to(&mut ledger, BUSY_BLOCK);
    ledger
}
