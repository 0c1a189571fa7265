//! Several processes with one key: what is reported as paid is what was paid, to the call.
//!
//! A client with a connection of its own stands for a process: it shares nothing with the others
//! but the key.

use chain::{Call, CallStatus, Chain as _, Genesis, Keypair, SubnetGenesis};
use protocol::{Block, NetUid, Seed, Uid};
use std::{
    net::SocketAddr,
    sync::Barrier,
    thread,
    time::{Duration, Instant},
};
use substrate::{ClientConfig, DevNode, Effects, SubstrateChain, dev};

const TAO: u64 = 1_000_000_000;

/// Pairs of equal payments; `AGON_MONEY_PAIRS` asks for more.
const PAIRS: usize = 25;

fn key(number: u64) -> Keypair {
    Keypair::from_seed(Seed::of_number(number))
}

fn node(block_time: Option<Duration>) -> DevNode {
    let accounts = (0..10).map(|i| (key(i).public(), 100_000 * TAO)).collect();
    let owner = key(9).public();
    let hyperparameters =
        chain::Hyperparameters { max_registrations_per_block: 8, ..Default::default() };
    let subnets = vec![SubnetGenesis { owner, hyperparameters }];
    let genesis = Genesis { accounts, subnets, ..Genesis::default() };
    let listen = SocketAddr::from(([127, 0, 0, 1], 0));
    DevNode::start(&dev::Config { listen, database: None, genesis, block_time }).unwrap()
}

fn process(node: &DevNode) -> SubstrateChain {
    SubstrateChain::connect(ClientConfig::new(node.url())).unwrap()
}

/// What became of a call, when it is known.
fn fate(chain: &SubstrateChain, call: &Call, signer: &Keypair) -> CallStatus {
    let mut id = chain.submit(call.clone(), signer).unwrap();
    let until = Instant::now() + Duration::from_secs(60);
    loop {
        match chain.status(id).unwrap() {
            CallStatus::Pending => {
                assert!(Instant::now() < until, "no fate within a minute");
                thread::sleep(Duration::from_millis(5));
            }
            // Another process was quicker, and this call never will be included.
            CallStatus::Displaced => id = chain.submit(call.clone(), signer).unwrap(),
            fate => return fate,
        }
    }
}

/// Each of the processes makes its payments, all at the same moments; how many were applied.
fn pay_together(node: &DevNode, rounds: usize, amounts: &[u64]) -> usize {
    let (barrier, to) = (Barrier::new(amounts.len()), key(1).public());
    thread::scope(|scope| {
        let processes: Vec<_> = amounts
            .iter()
            .map(|amount| {
                let chain = process(node);
                let barrier = &barrier;
                scope.spawn(move || {
                    let pay = |_| {
                        barrier.wait();
                        let call = Call::Transfer { to, amount_rao: *amount };
                        matches!(fate(&chain, &call, &key(0)), CallStatus::Applied(_))
                    };
                    (0..rounds).map(pay).filter(|applied| *applied).count()
                })
            })
            .collect();
        processes.into_iter().map(|process| process.join().unwrap()).sum()
    })
}

#[test]
fn of_equal_payments_made_together_as_many_are_paid_as_are_reported() {
    let pairs = std::env::var("AGON_MONEY_PAIRS").ok().and_then(|text| text.parse().ok());
    let pairs = pairs.unwrap_or(PAIRS);
    let node = node(Some(Duration::from_millis(10)));
    let reported = pay_together(&node, pairs, &[TAO, TAO]);
    assert_eq!(reported, 2 * pairs, "every process gets a nonce of its own");
    let paid = process(&node).balance(key(1).public()).unwrap() - 100_000 * TAO;
    assert_eq!(paid, reported as u64 * TAO);
}

#[test]
fn eight_different_payments_of_one_key_at_once_all_go_through() {
    let node = node(Some(Duration::from_millis(20)));
    let amounts: Vec<u64> = (1..=8).collect();
    assert_eq!(pay_together(&node, 2, &amounts), 16);
    let paid = process(&node).balance(key(1).public()).unwrap() - 100_000 * TAO;
    assert_eq!(paid, 2 * amounts.iter().sum::<u64>());
}

#[test]
fn a_call_in_a_block_whose_state_is_gone_is_said_to_be_there_and_no_more() {
    let node = node(None);
    let chain = process(&node);
    let id = chain.submit(Call::Transfer { to: key(1).public(), amount_rao: 5 }, &key(0)).unwrap();
    for _ in 0..dev::STATE_BLOCKS + 2 {
        node.produce_block().unwrap();
    }
    assert_eq!(chain.status(id).unwrap(), CallStatus::Unreadable(Block(1)));
    assert_eq!(chain.balance(key(1).public()).unwrap(), 100_000 * TAO + 5);
}

#[test]
fn a_call_that_no_block_took_in_its_time_is_expired() {
    let node = node(None);
    let config = ClientConfig { era_blocks: 4, ..ClientConfig::new(node.url()) };
    let chain = SubstrateChain::connect(config).unwrap();
    // The pool lets only so many of one block pass: the last ones are left out until it is late.
    let fill = Call::Remark { data: vec![0; 31_000] };
    for _ in 0..255 {
        process(&node).submit(fill.clone(), &key(2)).unwrap();
    }
    let late: Vec<_> = (0..255).map(|_| chain.submit(fill.clone(), &key(3)).unwrap()).collect();
    for _ in 0..4 {
        node.produce_block().unwrap();
    }
    let last = late[254];
    assert_eq!(chain.status(last).unwrap(), CallStatus::Expired);
}

#[test]
fn a_call_tells_what_itself_has_made_and_not_what_others_did_in_the_same_block() {
    let node = node(None);
    let owners: Vec<(SubstrateChain, u64)> = (2..6).map(|i| (process(&node), i)).collect();
    let open = |(chain, i): &(SubstrateChain, u64)| {
        let call = Call::RegisterNetwork { hotkey: key(100 + i).public() };
        chain.submit(call, &key(*i)).unwrap()
    };
    let ids: Vec<_> = owners.iter().map(open).collect();
    node.produce_block().unwrap();
    for ((chain, i), id) in owners.iter().zip(ids) {
        assert_eq!(chain.status(id).unwrap(), CallStatus::Applied(Block(1)));
        let netuid = chain.effects(id).netuid.unwrap();
        let metagraph = chain.metagraph(netuid).unwrap();
        assert_eq!(metagraph.neurons[0].hotkey, key(100 + i).public(), "subnet {netuid}");
    }
    let (chain, _) = &owners[0];
    let register = |hotkey| Call::BurnedRegister { netuid: NetUid(1), hotkey };
    let ids = [200, 201].map(|i| chain.submit(register(key(i).public()), &key(0)).unwrap());
    node.produce_block().unwrap();
    for (id, uid) in ids.into_iter().zip([0, 1]) {
        chain.status(id).unwrap();
        let slot = Some((NetUid(1), Uid(uid)));
        assert_eq!(chain.effects(id), Effects { netuid: None, slot });
    }
}

#[test]
fn a_slot_costs_no_more_than_its_limit_when_the_call_is_included() {
    let node = node(None);
    let chain = process(&node);
    assert!(chain.takes_price_limits().unwrap());
    let price = chain.slot_price_rao(NetUid(1)).unwrap();
    let buy = |hotkey: u64, limit_rao| {
        let call =
            Call::RegisterLimit { netuid: NetUid(1), hotkey: key(hotkey).public(), limit_rao };
        let id = chain.submit(call, &key(0)).unwrap();
        node.produce_block().unwrap();
        chain.status(id).unwrap()
    };
    let dear = chain::CallError::RegistrationPriceLimitExceeded;
    assert_eq!(buy(200, price - 1), CallStatus::Refused(Block(1), dear));
    assert_eq!(buy(200, price), CallStatus::Applied(Block(2)));
}

#[test]
fn the_rules_of_a_subnet_can_be_read_under_the_names_by_which_they_are_set() {
    let node = node(None);
    let chain = process(&node);
    let rules = chain.rules(NetUid(1)).unwrap();
    assert_eq!((rules.owner, rules.slots), (key(9).public(), 0));
    assert_eq!(rules.number("max_registrations_per_block"), Some(8));
    assert_eq!(rules.number("commitment_rate_limit"), Some(100));
    let defaults = serde_json::to_value(chain::Hyperparameters::default()).unwrap();
    for rule in &rules.rules {
        let is_ours = rule.name == "max_registrations_per_block";
        let value = serde_json::to_value(rule.value).unwrap();
        assert!(is_ours || value == defaults[rule.name], "{rule:?}");
    }
    assert_eq!(chain.slot(NetUid(1), key(200).public()).unwrap(), None);
}

#[test]
fn the_block_from_which_a_hotkey_may_commit_again_is_known_before() {
    let node = node(None);
    let chain = process(&node);
    let hotkey = key(200);
    let register = Call::BurnedRegister { netuid: NetUid(1), hotkey: hotkey.public() };
    chain.submit(register, &key(0)).unwrap();
    node.produce_block().unwrap();
    assert_eq!(chain.next_commitment(NetUid(1), hotkey.public()).unwrap(), Block(0), "any");
    let commit = || Call::SetCommitment { netuid: NetUid(1), data: b"x".to_vec() };
    chain.submit(commit(), &hotkey).unwrap();
    node.produce_block().unwrap();
    let next = chain.next_commitment(NetUid(1), hotkey.public()).unwrap();
    assert_eq!(next, Block(102), "the second block and a hundred more");
    while node.head().block.0 < next.0 - 2 {
        node.produce_block().unwrap();
    }
    for is_in_time in [false, true] {
        let id = chain.submit(commit(), &hotkey).unwrap();
        let head = node.produce_block().unwrap();
        let applied = chain.status(id).unwrap() == CallStatus::Applied(head.block);
        assert_eq!((applied, head.block >= next), (is_in_time, is_in_time));
    }
    let nowhere = chain.next_commitment(NetUid(9), hotkey.public()).unwrap_err();
    assert!(matches!(nowhere, chain::Error::NoSubnet(NetUid(9))), "{nowhere}");
}
