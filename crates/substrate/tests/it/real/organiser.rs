//! What owners of subnets ask, by the metadata of real runtimes.

use super::{
    NEWEST, RUNTIMES,
    endpoint::{Endpoint, Served, hexed},
};
use chain::{CallError, Error, Mechanism};
use parity_scale_codec::Encode;
use protocol::{AccountId, Block, NetUid};
use substrate::{
    ClientConfig, SubnetStart, SubstrateChain,
    wire::storage::items::{self, SubnetIdentityV3},
};

const NETUID: NetUid = NetUid(9);
const OWNER: AccountId = AccountId([5; 32]);
/// The newest block.
const HEAD: u64 = 1_000;

/// A chain of this runtime with one subnet, and what else is stored.
fn client(name: &str, stored: &[(Vec<u8>, Vec<u8>)]) -> (Endpoint, SubstrateChain) {
    let mut served = Served::new(name);
    served.head = HEAD;
    served.hashes = [(HEAD, hexed(&[7; 32]))].into();
    let subnet = [
        (items::NETWORKS_ADDED.key(&(NETUID.0,)), true.encode()),
        (items::SUBNET_OWNER.key(&(NETUID.0,)), OWNER.0.to_vec()),
    ];
    for (key, value) in subnet.iter().chain(stored) {
        served.storage.insert(hexed(key), hexed(value));
    }
    let endpoint = Endpoint::start(served);
    let chain = SubstrateChain::connect(ClientConfig::new(&endpoint.url)).unwrap();
    (endpoint, chain)
}

/// The key of an item that our node does not have.
fn key(name: &str, rest: &[u8]) -> Vec<u8> {
    let parts = ["SubtensorModule", name];
    let hashed = parts.map(|part| sp_crypto_hashing::twox_128(part.as_bytes()));
    [hashed.concat(), rest.to_vec()].concat()
}

fn number(key: Vec<u8>, number: u64) -> (Vec<u8>, Vec<u8>) {
    (key, number.encode())
}

#[test]
fn whether_a_subnet_is_started_and_when_it_can_be_is_read_from_every_runtime_that_tells() {
    let opened = number(items::NETWORK_REGISTERED_AT.key(&(NETUID.0,)), 500);
    let paid = number(items::FIRST_EMISSION_BLOCK_NUMBER.key(&(NETUID.0,)), 901);
    let delay = number(items::START_CALL_DELAY.key(&()), 600);
    for (spec, name) in RUNTIMES {
        let (_endpoint, chain) = client(name, &[opened.clone(), delay.clone()]);
        let start = match chain.subnet_start(NETUID) {
            Ok(start) => start,
            Err(Error::Incompatible { what }) => {
                assert_eq!((spec, what.as_str()), (219, "SubtensorModule.start_call"));
                continue;
            }
            Err(error) => panic!("{spec}: {error}"),
        };
        // A constant in the older one: a week of blocks.
        let from = Block(if spec == 343 { 500 + 50_400 } else { 1_100 });
        let block = Block(HEAD);
        assert_eq!(start, SubnetStart { block, owner: OWNER, from, first_emission: None });
        assert_eq!(start.refusal(OWNER), Some(CallError::StartCallNotReady));
        assert_eq!(start.refusal(AccountId([6; 32])), Some(CallError::BadOrigin));
        let (_endpoint, chain) = client(name, &[opened.clone(), paid.clone()]);
        let start = chain.subnet_start(NETUID).unwrap();
        assert_eq!(start.first_emission, Some(Block(901)));
        let again = CallError::FirstEmissionBlockNumberAlreadySet;
        assert_eq!(start.refusal(OWNER), Some(again));
        let nowhere = chain.subnet_start(NetUid(8)).unwrap_err();
        assert!(matches!(nowhere, Error::NoSubnet(NetUid(8))), "{nowhere}");
    }
    let (_endpoint, chain) = client(NEWEST.1, &[number(delay.0, 501), opened]);
    let start = chain.subnet_start(NETUID).unwrap();
    assert_eq!((start.from, start.refusal(OWNER)), (Block(1_001), None), "the next block can");
}

#[test]
fn when_a_subnet_can_be_opened_and_who_waits_is_read_from_every_runtime() {
    for (spec, name) in RUNTIMES {
        let last = match spec {
            219 => key("NetworkLastRegistered", &[]),
            _ => key("LastRateLimitedBlock", &[2]),
        };
        let limit = number(key("NetworkRateLimit", &[]), 300);
        let (_endpoint, chain) = client(name, &[]);
        let opening = chain.opening().unwrap();
        assert_eq!((opening.from, opening.is_open()), (Block(0), true), "{spec}: nobody has yet");
        for (block, is_open) in [(701, true), (702, false)] {
            let stored = [number(last.clone(), block), limit.clone()];
            let (_endpoint, chain) = client(name, &stored);
            let opening = chain.opening().unwrap();
            assert_eq!(opening.from, Block(block + 300), "{spec}");
            assert_eq!((opening.is_open(), opening.queue.len()), (is_open, 0), "{spec}");
        }
    }
    // Coldkey, hotkey, mechanism, no identity, what was locked, a price, block, number of the lock.
    let waits = ([1_u8; 32], [2_u8; 32], 1_u16, 0_u8, 5_u64, 6_u128, 900_u64, 7_u32);
    let queue = (key("NetworkRegistrationQueue", &[]), vec![waits].encode());
    let (_endpoint, chain) = client(NEWEST.1, &[queue]);
    assert_eq!(chain.opening().unwrap().queue, [AccountId([1; 32])]);
}

#[test]
fn what_is_said_of_a_subnet_and_how_many_mechanisms_it_has_is_read() {
    let said = SubnetIdentityV3 {
        subnet_name: b"agon".to_vec(),
        additional: vec![0xff],
        ..SubnetIdentityV3::default()
    };
    let identity = (items::SUBNET_IDENTITIES.key(&(NETUID.0,)), said.encode());
    let two = (items::MECHANISM_COUNT_CURRENT.key(&(NETUID.0,)), vec![2]);
    for (spec, name) in RUNTIMES {
        let (_endpoint, chain) = client(name, &[identity.clone(), two.clone()]);
        let (is_old, found) = (spec == 219, chain.identity(NETUID).unwrap());
        let parts = found.map(|found| (found.name, found.additional));
        assert_eq!(parts, (!is_old).then(|| (b"agon".to_vec(), vec![0xff])), "{spec}");
        let count = if is_old { 1 } else { 2 };
        assert_eq!(chain.mechanism_count(NETUID).unwrap(), count, "{spec}");
        let none = chain.metagraph_of(NETUID, Mechanism(2), None).unwrap_err();
        assert!(matches!(none, Error::NoMechanism { count: n, .. } if n == count), "{none}");
        assert_eq!(chain.owned_subnets(OWNER).unwrap(), [NETUID], "{spec}");
        assert_eq!(chain.owned_subnets(AccountId([6; 32])).unwrap(), [], "{spec}");
        assert_eq!(chain.identity(NetUid(8)).unwrap(), None);
    }
}
