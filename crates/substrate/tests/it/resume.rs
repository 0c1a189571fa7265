//! A signed call that a process left behind, taken up by the next one.

use chain::{Call, CallStatus, Chain as _, Genesis, Keypair, Signed};
use protocol::{Block, Seed};
use std::net::SocketAddr;
use substrate::{ClientConfig, DevNode, SubstrateChain, dev};

/// Blocks in which a call may be included.
const ERA: u32 = 8;

fn key(number: u64) -> Keypair {
    Keypair::from_seed(Seed::of_number(number))
}

fn node() -> DevNode {
    let accounts = (0..2).map(|i| (key(i).public(), 1_000_000_000)).collect();
    let genesis = Genesis { accounts, ..Genesis::default() };
    let listen = SocketAddr::from(([127, 0, 0, 1], 0));
    DevNode::start(&dev::Config { listen, database: None, genesis, block_time: None }).unwrap()
}

/// A client that has seen nothing yet.
fn process(node: &DevNode) -> SubstrateChain {
    let config = ClientConfig { era_blocks: ERA, ..ClientConfig::new(node.url()) };
    SubstrateChain::connect(config).unwrap()
}

fn pass(node: &DevNode, n: u32) {
    for _ in 0..n {
        node.produce_block().unwrap();
    }
}

fn paid(node: &DevNode) -> u64 {
    process(node).balance(key(1).public()).unwrap() - 1_000_000_000
}

fn signed(node: &DevNode) -> Signed {
    let call = Call::Transfer { to: key(1).public(), amount_rao: 5 };
    process(node).sign(call, &key(0), None).unwrap()
}

#[test]
fn what_was_sent_and_included_is_found_in_its_block_however_late() {
    // In its time, and long after it.
    for n_blocks in [0, 3, 2 * ERA] {
        let node = node();
        pass(&node, 3);
        let signed = signed(&node);
        process(&node).send(&signed).unwrap();
        pass(&node, 1 + n_blocks);
        let next = process(&node);
        assert_eq!(next.status(signed.id).unwrap(), CallStatus::Unknown, "it knows of no call");
        next.resume(&signed).unwrap();
        assert_eq!(next.status(signed.id).unwrap(), CallStatus::Applied(Block(4)));
        pass(&node, 2);
        assert_eq!(paid(&node), 5, "after {n_blocks} blocks");
    }
}

#[test]
fn what_was_signed_and_never_sent_is_sent_in_its_time_and_expires_after_it() {
    let node = node();
    let early = signed(&node);
    pass(&node, 2);
    let next = process(&node);
    next.resume(&early).unwrap();
    assert_eq!(next.status(early.id).unwrap(), CallStatus::Pending);
    pass(&node, 1);
    assert_eq!(next.status(early.id).unwrap(), CallStatus::Applied(Block(3)));
    let late = signed(&node);
    pass(&node, 2 * ERA);
    let next = process(&node);
    next.resume(&late).unwrap();
    assert_eq!(next.status(late.id).unwrap(), CallStatus::Expired);
    pass(&node, 2);
    assert_eq!(paid(&node), 5);
}

#[test]
fn of_two_processes_that_signed_with_one_nonce_one_is_included() {
    let node = node();
    let (ours, theirs) = (signed(&node), signed(&node));
    assert_ne!(ours.id, theirs.id, "signatures of two processes are unlike");
    process(&node).send(&theirs).unwrap();
    pass(&node, 2);
    let next = process(&node);
    next.resume(&ours).unwrap();
    assert_eq!(next.status(ours.id).unwrap(), CallStatus::Displaced);
    assert_eq!(paid(&node), 5);
}

#[test]
fn calls_that_two_threads_resume_are_looked_for_in_every_block_of_each() {
    let node = node();
    let mut all = Vec::new();
    for amount_rao in 1..=8 {
        let call = Call::Transfer { to: key(1).public(), amount_rao };
        let signed = process(&node).sign(call, &key(0), None).unwrap();
        process(&node).send(&signed).unwrap();
        pass(&node, 1);
        all.push((signed, CallStatus::Applied(Block(amount_rao))));
    }
    let next = process(&node);
    std::thread::scope(|scope| {
        for (signed, expected) in &all {
            let next = &next;
            scope.spawn(move || {
                next.resume(signed).unwrap();
                assert_eq!(next.status(signed.id).unwrap(), *expected);
            });
        }
    });
}
